/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answers, made from an index: a text from memory, or a segment, which is
 * one range of the track file.
 */
#include "modules/package/package.h"

#include "core/err.h"
#include "media/hls/ts_playlist.h"
#include "media/key_frame.h"

static void
package_type_set(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx)
{
    ngx_str_t *type = &r->headers_out.content_type;

    switch (ctx->path.kind) {
    case PACKAGE_MULTIVARIANT:
    case PACKAGE_PLAYLIST:
    case PACKAGE_IFRAMES:
    case PACKAGE_TS_MULTIVARIANT:
    case PACKAGE_TS_PLAYLIST:
        ngx_str_set(type, "application/vnd.apple.mpegurl");
        break;
    case PACKAGE_MPD:
        ngx_str_set(type, "application/dash+xml");
        break;
    case PACKAGE_INIT:
    case PACKAGE_SEGMENT:
    case PACKAGE_KEY_SEGMENT:
        if (ctx->use.index->track.info.kind == TRACK_AUDIO) {
            ngx_str_set(type, "audio/mp4");
        } else {
            ngx_str_set(type, "video/mp4");
        }
        break;
    case PACKAGE_TEXT_SEGMENT:
    case PACKAGE_TEXT:
    case PACKAGE_TEXT_PART:
    case PACKAGE_TS_TEXT_SEGMENT:
        ngx_str_set(type, "text/vtt");
        break;
    case PACKAGE_TS_SEGMENT:
        ngx_str_set(type, "video/mp2t");
        break;
    case PACKAGE_IMAGE:
        ngx_str_set(type, "image/jpeg");
        break;
    }
    r->headers_out.content_type_len = type->len;
    r->headers_out.content_type_lowcase = NULL;
}

ngx_int_t
package_headers_set(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx,
                    off_t length, uint64_t tag)
{
    struct package_index *index = ctx->use.index;
    ngx_table_elt_t *etag = ngx_list_push(&r->headers_out.headers);

    if (etag == NULL) {
        return NGX_ERROR;
    }
    etag->hash = 1;
    ngx_str_set(&etag->key, "ETag");
    etag->value.data = ngx_pnalloc(r->pool, 2 * sizeof tag + 2);
    if (etag->value.data == NULL) {
        etag->hash = 0;
        return NGX_ERROR;
    }
    etag->value.len = (size_t) (ngx_sprintf(etag->value.data, "\"%016xL\"", tag)
                                - etag->value.data);
    r->headers_out.etag = etag;
    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = length;
    r->headers_out.last_modified_time = index->modified;
    package_type_set(r, ctx);
    return NGX_OK;
}

ngx_int_t
package_header_send(ngx_http_request_t *r)
{
    ngx_int_t rc = ngx_http_send_header(r);

    return rc == NGX_ERROR || rc > NGX_OK || r->header_only
                   || r->filter_finalize
               ? rc
               : NGX_DECLINED;
}

static ngx_int_t
package_text_send(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx,
                  struct bytes bytes, uint64_t hash)
{
    ngx_chain_t out = {.next = NULL};
    ngx_int_t rc;

    out.buf = ngx_calloc_buf(r->pool);
    if (out.buf == NULL
        || package_headers_set(r, ctx, (off_t) bytes.len, hash) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    r->allow_ranges = 1;
    rc = package_header_send(r);
    if (rc != NGX_DECLINED) {
        return rc;
    }
    /* `memory`: nobody may change it; it is the pool's, or the index's, which
     * is held until the request ends */
    out.buf->memory = 1;
    out.buf->pos = (u_char *) (uintptr_t) bytes.ptr;
    out.buf->last = out.buf->pos + bytes.len;
    out.buf->last_buf = r == r->main;
    out.buf->last_in_chain = 1;
    return ngx_http_output_filter(r, &out);
}

ngx_int_t
package_text_failed(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx, int err)
{
    ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                  "package: write %s of \"%V\" failed (%s)",
                  package_kind_name(ctx->path.kind), &ctx->use.index->name,
                  err_text(err));
    return NGX_HTTP_INTERNAL_SERVER_ERROR;
}

ngx_int_t
package_made_send(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx,
                  struct buffer *text, int err)
{
    struct bytes bytes = buffer_bytes(text);
    u_char *copy = NULL;

    if (err == 0 && bytes.len != 0) {
        copy = ngx_pnalloc(r->pool, bytes.len);
    }
    if (copy != NULL) {
        ngx_memcpy(copy, bytes.ptr, bytes.len);
    }
    buffer_fini(text);
    if (copy == NULL) {
        return package_text_failed(r, ctx, err != 0 ? err : ERR_MEMORY);
    }
    bytes = bytes_of(copy, bytes.len);
    return package_text_send(r, ctx, bytes,
                             package_index_hash(ctx->use.index, bytes));
}

/* A text that is clear so far: keys become part of it where there are any. */
static ngx_int_t
package_made_answer(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx,
                    struct buffer *clear, int err)
{
    struct buffer text;

    if (err != 0 || ctx->crypt.scheme == 0) {
        return package_made_send(r, ctx, clear, err);
    }
    buffer_init(&text, PACKAGE_TEXT_SIZE_MAX);
    err = package_crypt_text(r, ctx, buffer_bytes(clear), &text);
    buffer_fini(clear);
    return package_made_send(r, ctx, &text, err);
}

static ngx_int_t
package_text_answer(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx,
                    const struct package_text *text)
{
    const struct bytes bytes = buffer_bytes(&text->bytes);

    if (text->bytes.err != 0 || bytes.len == 0) {
        return package_text_failed(r, ctx, text->bytes.err);
    }
    if (ctx->crypt.scheme != 0) {
        struct buffer made;

        buffer_init(&made, PACKAGE_TEXT_SIZE_MAX);
        int err = package_crypt_text(r, ctx, bytes, &made);
        return package_made_send(r, ctx, &made, err);
    }
    return package_text_send(r, ctx, bytes, text->hash);
}

/* The pathways of this play, if it has any. */
static ngx_int_t
package_pathways(ngx_http_request_t *r, struct pathways *out, bool *is_any)
{
    const ngx_http_package_loc_conf_t *conf =
        ngx_http_get_module_loc_conf(r, ngx_http_package_module);
    ngx_str_t text = ngx_null_string;

    if (conf->pathways != NULL
        && ngx_http_complex_value(r, conf->pathways, &text) != NGX_OK) {
        return NGX_ERROR;
    }
    *is_any = text.len != 0;
    if (!*is_any) {
        return NGX_OK;
    }
    int err = pathways_parse(bytes_of(text.data, text.len), out);
    if (err != 0) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "package: read package_pathways failed (%s)",
                      err_text(err)); /* a token stands in them */
        *is_any = false;              /* the film plays without */
    }
    return NGX_OK;
}

/* Of one play: tokens stand in it, so no cache may keep it. */
static ngx_int_t
package_private_set(ngx_http_request_t *r)
{
    ngx_table_elt_t *cache = ngx_list_push(&r->headers_out.headers);

    if (cache == NULL) {
        return NGX_ERROR;
    }
    cache->hash = 1;
    ngx_str_set(&cache->key, "Cache-Control");
    ngx_str_set(&cache->value, "private, no-store");
    return NGX_OK;
}

static ngx_int_t
package_clip_failed(ngx_http_request_t *r, struct buffer *text)
{
    buffer_fini(text);
    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "package: nothing lies between start and end of \"%V\"",
                  &r->args);
    return NGX_HTTP_BAD_REQUEST;
}

/* Key frames of encrypted segments are not served alone. */
static ngx_int_t
package_trick_play(ngx_http_request_t *r, const ngx_http_package_ctx_t *ctx,
                   bool *out)
{
    const ngx_http_package_loc_conf_t *conf =
        ngx_http_get_module_loc_conf(r, ngx_http_package_module);
    ngx_str_t text = ngx_null_string;

    if (ctx->path.kind == PACKAGE_MPD && ctx->crypt.scheme == 0
        && conf->trick_play != NULL
        && ngx_http_complex_value(r, conf->trick_play, &text) != NGX_OK) {
        return NGX_ERROR;
    }
    *out = bytes_equal(bytes_of(text.data, text.len), BYTES_LITERAL("1"));
    return NGX_OK;
}

/* False: out of memory. */
static bool
package_quality(ngx_http_request_t *r, struct package_manifest *out)
{
    const ngx_http_package_loc_conf_t *conf =
        ngx_http_get_module_loc_conf(r, ngx_http_package_module);
    ngx_str_t text = ngx_null_string;

    if (conf->quality != NULL
        && ngx_http_complex_value(r, conf->quality, &text) != NGX_OK) {
        return false;
    }
    const struct bytes name = bytes_of(text.data, text.len);
    out->best = bytes_equal(name, BYTES_LITERAL("sd")) ? CRYPT_CLASS_SD
                                                       : CRYPT_CLASS_HD;
    out->is_limited = name.len != 0;
    return true;
}

/* The manifest of all tracks: `text`, unless this play has another. */
static ngx_int_t
package_asset_answer(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx,
                     const struct package_text *(*text)(struct package_index *),
                     package_asset_write *write)
{
    struct package_manifest what = {.clip =
                                        ctx->is_clipped ? &ctx->clip : NULL};
    struct pathways steering;
    struct buffer made;
    bool is_steered;

    if (package_pathways(r, &steering, &is_steered) != NGX_OK
        || package_trick_play(r, ctx, &what.has_trick_play) != NGX_OK
        || !package_quality(r, &what)) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    if (!is_steered && !ctx->is_clipped && !what.has_trick_play
        && !what.is_limited) {
        return package_text_answer(r, ctx, text(ctx->use.index));
    }
    what.steering = is_steered ? &steering : NULL;
    what.rates = ctx->rates;
    if (is_steered && package_private_set(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    buffer_init(&made, PACKAGE_TEXT_SIZE_MAX);
    int err = package_index_manifest(ctx->use.index, write, &what, &made);
    return err == ERR_NOT_FOUND ? package_clip_failed(r, &made)
                                : package_made_answer(r, ctx, &made, err);
}

/* The playlist of a track: `text`, or of a part of it. */
static ngx_int_t
package_track_answer(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx,
                     const struct package_text *(*text)(struct package_index *),
                     package_track_write *write)
{
    struct buffer made;

    if (!ctx->is_clipped) {
        return package_text_answer(r, ctx, text(ctx->use.index));
    }
    buffer_init(&made, PACKAGE_TEXT_SIZE_MAX);
    int err = package_index_part(ctx->use.index, write, &ctx->clip, &made);
    return err == ERR_NOT_FOUND ? package_clip_failed(r, &made)
                                : package_made_answer(r, ctx, &made, err);
}

static void
package_ts_playlist_write(const struct track_index *track, struct buffer *out)
{
    ts_media_playlist_write(&track->info, NULL, out);
}

/* The track file, or of a plain film the segment's own, but of text. */
static ngx_str_t
package_media_name(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx,
                   const struct segment *segment, uint64_t *size)
{
    const struct track_info *info = &ctx->use.index->track.info;

    if (ctx->plain.conf == NULL || !track_has_samples(info)) {
        *size = info->media_size;
        return package_source_name(r, ctx, track_file_suffix(info));
    }
    *size = segment->map_size + segment_length(segment);
    return package_plain_name(r, ctx, segment->number);
}

ngx_int_t
package_media_open(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx,
                   const struct segment *segment, ngx_file_t *file)
{
    ngx_http_core_loc_conf_t *clcf =
        ngx_http_get_module_loc_conf(r, ngx_http_core_module);
    uint64_t expected;
    ngx_open_file_info_t of = {
        .read_ahead = clcf->read_ahead,
        .directio = NGX_OPEN_FILE_DIRECTIO_OFF, /* maps are read unaligned */
        .valid = clcf->open_file_cache_valid,
        .min_uses = clcf->open_file_cache_min_uses,
        .errors = clcf->open_file_cache_errors,
        .events = clcf->open_file_cache_events,
    };

    file->name = package_media_name(r, ctx, segment, &expected);
    if (file->name.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    if (ngx_open_cached_file(clcf->open_file_cache, &file->name, &of, r->pool)
        != NGX_OK) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, of.err,
                      "package: open \"%V\" failed", &file->name);
        return of.err ? package_file_status(of.err)
                      : NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    if (!of.is_file || (uint64_t) of.size != expected) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "package: open \"%V\" failed (%O bytes, the index says "
                      "%uL)",
                      &file->name, of.size, expected);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    file->fd = of.fd;
    file->log = r->connection->log;
    file->directio = of.is_directio;
    return NGX_OK;
}

/* True for a request whose answer may be a header alone. */
static bool
package_is_conditional(ngx_http_request_t *r)
{
    return r->headers_in.if_match != NULL || r->headers_in.if_none_match != NULL
           || r->headers_in.if_modified_since != NULL
           || r->headers_in.if_unmodified_since != NULL;
}

static ngx_int_t
package_header_add(ngx_http_request_t *r, ngx_table_elt_t **place,
                   const char *name, ngx_str_t value)
{
    *place = ngx_list_push(&r->headers_out.headers);
    if (*place == NULL) {
        return NGX_ERROR;
    }
    (*place)->hash = 1;
    (*place)->key.data = (u_char *) (uintptr_t) name;
    (*place)->key.len = ngx_strlen(name);
    (*place)->value = value;
    return NGX_OK;
}

/* If-Range: the very tag, or the very date. */
static bool
package_is_range_current(ngx_http_request_t *r)
{
    const ngx_table_elt_t *condition = r->headers_in.if_range;

    if (condition == NULL) {
        return true;
    }
    if (condition->value.len > 0 && condition->value.data[0] == '"') {
        const ngx_str_t *tag = &r->headers_out.etag->value;

        return tag->len == condition->value.len
               && ngx_strncmp(tag->data, condition->value.data, tag->len) == 0;
    }
    return r->headers_out.last_modified_time != -1
           && ngx_parse_http_time(condition->value.data, condition->value.len)
                  == r->headers_out.last_modified_time;
}

ngx_int_t
package_range_take(ngx_http_request_t *r, struct byte_range *out)
{
    const ngx_table_elt_t *header = r->headers_in.range;
    uint64_t size = (uint64_t) r->headers_out.content_length_n;
    ngx_str_t text = ngx_string("bytes");
    int err = ERR_UNSUPPORTED;

    *out = (struct byte_range){.end = size};
    if (header != NULL && r == r->main && !package_is_conditional(r)
        && package_is_range_current(r)) {
        err = byte_range_parse(bytes_of(header->value.data, header->value.len),
                               size, out);
    }
    if (err == ERR_UNSUPPORTED) {
        return package_header_add(r, &r->headers_out.accept_ranges,
                                  "Accept-Ranges", text);
    }
    text.data = ngx_pnalloc(r->pool, sizeof("bytes -/") + 3 * NGX_INT64_LEN);
    if (text.data == NULL) {
        return NGX_ERROR;
    }
    u_char *end = err == 0 ? ngx_sprintf(text.data, "bytes %uL-%uL/%uL",
                                         out->start, out->end - 1, size)
                           : ngx_sprintf(text.data, "bytes */%uL", size);
    text.len = (size_t) (end - text.data);
    if (package_header_add(r, &r->headers_out.content_range, "Content-Range",
                           text)
        != NGX_OK) {
        return NGX_ERROR;
    }
    if (err != 0) {
        ngx_http_clear_content_length(r);
        return NGX_HTTP_RANGE_NOT_SATISFIABLE;
    }
    r->headers_out.status = NGX_HTTP_PARTIAL_CONTENT;
    r->headers_out.content_length_n = (off_t) (out->end - out->start);
    return NGX_OK;
}

ngx_int_t
package_window_send(ngx_http_request_t *r, ngx_file_t *file, uint64_t start,
                    uint64_t end)
{
    ngx_buf_t *b = ngx_calloc_buf(r->pool);
    ngx_chain_t out = {.buf = b, .next = NULL};
    ngx_int_t rc;

    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    b->file = file;
    rc = package_header_send(r);
    if (rc != NGX_DECLINED) {
        return rc;
    }
    b->in_file = 1;
    b->file_pos = (off_t) start;
    b->file_last = (off_t) end;
    b->last_in_chain = 1;
    struct package_transform *transform = package_transform_of(r);
    if (transform == NULL) {
        b->last_buf = r == r->main;
        return ngx_http_output_filter(r, &out);
    }
    package_transform_read(transform, r, false);
    rc = ngx_http_output_filter(r, &out);
    return rc == NGX_ERROR || r != r->main
               ? rc
               : ngx_http_send_special(r, NGX_HTTP_LAST);
}

ngx_int_t
package_header_begin(ngx_http_request_t *r)
{
    return r->method == NGX_HTTP_HEAD || package_is_conditional(r)
               ? package_header_send(r)
               : NGX_DECLINED;
}

/* Sends what the current fill brings in. */
static ngx_int_t
package_fill_send(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx)
{
    ngx_int_t rc = package_header_begin(r);

    if (rc != NGX_DECLINED) {
        return rc;
    }
    rc = package_fill_step(&ctx->fill);
    return rc == NGX_OK ? ngx_http_send_special(r, NGX_HTTP_LAST) : rc;
}

ngx_int_t
package_fill_set(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx,
                 uint64_t start, uint64_t end)
{
    ngx_http_package_loc_conf_t *conf =
        ngx_http_get_module_loc_conf(r, ngx_http_package_module);

    ctx->fill = (struct package_fill){
        .request = r,
        .uri = package_source_name(
            r, ctx, track_file_suffix(&ctx->use.index->track.info)),
        .again = conf->again,
        .prefix_len = conf->fill.len,
        .slice_size = conf->slice_size,
        .start = start,
        .end = end,
        .total = ctx->use.index->track.info.media_size,
        .pool = ctx->fill.pool,
    };
    return ctx->fill.uri.data == NULL ? NGX_HTTP_INTERNAL_SERVER_ERROR : NGX_OK;
}

ngx_int_t
package_window_answer(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx,
                      const struct segment *segment, uint64_t start,
                      uint64_t end)
{
    const ngx_http_package_loc_conf_t *conf =
        ngx_http_get_module_loc_conf(r, ngx_http_package_module);
    const bool is_changed = ctx->transform.transform != NULL;
    ngx_file_t *file;
    ngx_int_t rc;

    if (package_is_filled(conf, ctx)) {
        rc = package_fill_set(r, ctx, start, end);
        ctx->fill.transform = is_changed ? &ctx->transform : NULL;
        return rc == NGX_OK ? package_fill_send(r, ctx) : rc;
    }
    file = ngx_pcalloc(r->pool, sizeof *file);
    if (file == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    rc = package_media_open(r, ctx, segment, file);
    if (rc != NGX_OK) {
        return rc;
    }
    r->allow_ranges = !is_changed;
    return package_window_send(r, file, start, end);
}

/* ---- segments ---- */

static int
package_segment_find(const ngx_http_package_ctx_t *ctx, struct segment *out)
{
    const struct track_index *track = &ctx->use.index->track;

    int err = ctx->path.kind == PACKAGE_TEXT
                  ? track_index_whole(track, out)
                  : track_index_segment(track, ctx->path.segment, out);

    if (err == 0 && ctx->plain.conf != NULL
        && track_has_samples(&track->info)) {
        out->offset = 0; /* in a file of its own */
    }
    return err;
}

/* ---- key frames alone ---- */

static ngx_int_t
package_key_answer(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx)
{
    struct package_transform *transform = &ctx->transform;
    const struct {
        uint32_t number, is_key;
    } what = {ctx->path.segment, 1};
    struct byte_range range;
    struct segment segment;

    if (ctx->crypt.scheme != 0 || package_segment_find(ctx, &segment) != 0) {
        return NGX_HTTP_NOT_FOUND;
    }
    int err = key_frame_transform_open(&ctx->use.index->track, segment.number,
                                       &transform->transform);
    if (err != 0) {
        return err == ERR_MEMORY ? NGX_HTTP_INTERNAL_SERVER_ERROR
                                 : NGX_HTTP_NOT_FOUND;
    }
    if (package_headers_set(
            r, ctx, (off_t) transform->transform->size_out,
            package_index_hash(ctx->use.index, bytes_of(&what, sizeof what)))
        != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    ngx_int_t rc = package_range_take(r, &range);
    if (rc != NGX_OK) {
        return rc;
    }
    transform->start = range.start;
    transform->end = range.end;
    const uint64_t start = segment_samples_start(&segment);
    return package_window_answer(r, ctx, &segment, start,
                                 start + segment.key_size);
}

/* ---- all of it ---- */

ngx_int_t
package_answer_resume(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx)
{
    if (ctx->path.kind == PACKAGE_TEXT_PART) {
        return package_text_part_resume(r, ctx);
    }
    if (ctx->ts != NULL) {
        return package_ts_resume(r, ctx);
    }
    if (ctx->head != NULL || ctx->fill.transform != NULL) {
        return package_encrypted_resume(r, ctx);
    }
    ngx_int_t rc = package_fill_step(&ctx->fill);

    return rc == NGX_OK ? ngx_http_send_special(r, NGX_HTTP_LAST) : rc;
}

/* Is it of a track of this kind? */
static bool
package_kind_fits(const ngx_http_package_ctx_t *ctx)
{
    const struct track_info *info = &ctx->use.index->track.info;

    switch (ctx->path.kind) {
    case PACKAGE_INIT:
    case PACKAGE_SEGMENT:
    case PACKAGE_KEY_SEGMENT:
        return track_has_samples(info);
    case PACKAGE_TEXT_SEGMENT:
    case PACKAGE_TEXT:
    case PACKAGE_TEXT_PART:
    case PACKAGE_TS_TEXT_SEGMENT:
        return info->kind == TRACK_TEXT;
    case PACKAGE_IMAGE:
        return info->kind == TRACK_IMAGE;
    case PACKAGE_MULTIVARIANT:
    case PACKAGE_MPD:
    case PACKAGE_PLAYLIST:
    case PACKAGE_IFRAMES:
    case PACKAGE_TS_MULTIVARIANT:
    case PACKAGE_TS_PLAYLIST:
    case PACKAGE_TS_SEGMENT:
        break;
    }
    return true;
}

static ngx_int_t
package_segment_answer(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx)
{
    ngx_http_package_loc_conf_t *conf =
        ngx_http_get_module_loc_conf(r, ngx_http_package_module);
    struct package_index *index = ctx->use.index;
    struct byte_range range = {.start = 0};
    struct segment segment;
    struct bytes what;

    if (package_segment_find(ctx, &segment) != 0) {
        return NGX_HTTP_NOT_FOUND;
    }
    if (ctx->crypt.scheme != 0) {
        return package_encrypted_answer(r, ctx, &segment);
    }
    range.end = segment_length(&segment);
    what = bytes_of(&segment.number, sizeof segment.number);
    if (package_headers_set(r, ctx, (off_t) range.end,
                            package_index_hash(index, what))
        != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    if (package_is_filled(conf, ctx)) {
        ngx_int_t rc = package_range_take(r, &range);

        if (rc != NGX_OK) {
            return rc;
        }
    }
    const uint64_t start = segment_start(&segment);
    return package_window_answer(r, ctx, &segment, start + range.start,
                                 start + range.end);
}

ngx_int_t
package_answer(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx)
{
    if (!ctx->use.index->is_asset && !package_kind_fits(ctx)) {
        return NGX_HTTP_NOT_FOUND;
    }
    if (!package_ts_fits(r, ctx)) {
        return NGX_HTTP_NOT_FOUND;
    }
    switch (ctx->path.kind) {
    case PACKAGE_MULTIVARIANT:
        return package_asset_answer(r, ctx, package_index_playlist,
                                    hls_multivariant_write);
    case PACKAGE_MPD:
        return package_asset_answer(r, ctx, package_index_mpd, dash_mpd_write);
    case PACKAGE_PLAYLIST:
        return package_track_answer(r, ctx, package_index_playlist,
                                    hls_media_playlist_write);
    case PACKAGE_IFRAMES:
        /* sound has none; and where an encrypted segment's first picture ends,
         * the index does not know */
        if (ctx->use.index->track.info.key_bandwidth_peak == 0
            || ctx->crypt.scheme != 0) {
            return NGX_HTTP_NOT_FOUND;
        }
        return package_track_answer(r, ctx, package_index_iframes,
                                    hls_iframe_playlist_write);
    case PACKAGE_INIT:
        return package_text_answer(r, ctx,
                                   package_index_init_segment(ctx->use.index));
    case PACKAGE_KEY_SEGMENT:
        return package_key_answer(r, ctx);
    case PACKAGE_TEXT_PART:
        return package_text_part_answer(r, ctx);
    case PACKAGE_TS_MULTIVARIANT:
        return package_asset_answer(r, ctx, package_index_ts,
                                    ts_multivariant_write);
    case PACKAGE_TS_PLAYLIST:
        return package_track_answer(r, ctx, package_index_ts,
                                    package_ts_playlist_write);
    case PACKAGE_TS_SEGMENT:
        return package_ts_answer(r, ctx);
    case PACKAGE_TS_TEXT_SEGMENT:
        return package_ts_text_answer(r, ctx);
    case PACKAGE_SEGMENT:
    case PACKAGE_TEXT_SEGMENT:
    case PACKAGE_TEXT:
    case PACKAGE_IMAGE:
        break;
    }
    return package_segment_answer(r, ctx);
}
