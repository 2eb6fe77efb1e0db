/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answers, made from an index: a text from memory, or a segment, which is
 * one range of the track file.
 */
#include "modules/package/package.h"

#include "core/err.h"

static void
package_type_set(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx)
{
    ngx_str_t *type = &r->headers_out.content_type;

    switch (ctx->path.kind) {
    case PACKAGE_MULTIVARIANT:
    case PACKAGE_PLAYLIST:
    case PACKAGE_IFRAMES:
        ngx_str_set(type, "application/vnd.apple.mpegurl");
        break;
    case PACKAGE_MPD:
        ngx_str_set(type, "application/dash+xml");
        break;
    case PACKAGE_INIT:
    case PACKAGE_SEGMENT:
        if (ctx->use.index->track.info.kind == TRACK_AUDIO) {
            ngx_str_set(type, "audio/mp4");
        } else {
            ngx_str_set(type, "video/mp4");
        }
        break;
    case PACKAGE_TEXT_SEGMENT:
    case PACKAGE_TEXT:
        ngx_str_set(type, "text/vtt");
        break;
    }
    r->headers_out.content_type_len = type->len;
    r->headers_out.content_type_lowcase = NULL;
}

/* The tag is of what is sent: the same on every node that would send it. */
static ngx_int_t
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
    rc = ngx_http_send_header(r);
    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
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

static ngx_int_t
package_text_failed(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx, int err)
{
    ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                  "package: write %s of \"%V\" failed (%s)",
                  package_kind_name(ctx->path.kind), &ctx->use.index->node.str,
                  err_text(err));
    return NGX_HTTP_INTERNAL_SERVER_ERROR;
}

static ngx_int_t
package_text_answer(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx,
                    const struct package_text *text)
{
    const struct bytes bytes = buffer_bytes(&text->bytes);

    if (text->bytes.err != 0 || bytes.len == 0) {
        return package_text_failed(r, ctx, text->bytes.err);
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
                      "package: read pathways \"%V\" failed (%s)", &text,
                      err_text(err));
        *is_any = false; /* the film plays without */
    }
    return NGX_OK;
}

/* The manifest of one play: tokens stand in it, so no cache may keep it. */
static ngx_int_t
package_steered_answer(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx,
                       package_asset_write *write,
                       const struct pathways *steering)
{
    ngx_table_elt_t *cache = ngx_list_push(&r->headers_out.headers);
    struct buffer text;
    struct bytes bytes;
    int err;

    if (cache == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    cache->hash = 1;
    ngx_str_set(&cache->key, "Cache-Control");
    ngx_str_set(&cache->value, "private, no-store");
    buffer_init(&text, PACKAGE_TEXT_SIZE_MAX);
    err = package_index_manifest(ctx->use.index, write, steering, &text);
    bytes = buffer_bytes(&text);
    u_char *copy = err == 0 ? ngx_pnalloc(r->pool, bytes.len) : NULL;
    if (copy != NULL) {
        ngx_memcpy(copy, bytes.ptr, bytes.len);
    }
    buffer_fini(&text);
    if (copy == NULL) {
        return package_text_failed(r, ctx, err != 0 ? err : ERR_MEMORY);
    }
    bytes = bytes_of(copy, bytes.len);
    return package_text_send(r, ctx, bytes,
                             package_index_hash(ctx->use.index, bytes));
}

/* The manifest of all tracks: `text`, unless the play has pathways. */
static ngx_int_t
package_asset_answer(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx,
                     const struct package_text *(*text)(struct package_index *),
                     package_asset_write *write)
{
    struct pathways steering;
    bool is_steered;

    if (package_pathways(r, &steering, &is_steered) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    return is_steered ? package_steered_answer(r, ctx, write, &steering)
                      : package_text_answer(r, ctx, text(ctx->use.index));
}

/* The track file, opened as nginx's static handler does. */
static ngx_int_t
package_media_open(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx,
                   ngx_file_t *file)
{
    ngx_http_core_loc_conf_t *clcf =
        ngx_http_get_module_loc_conf(r, ngx_http_core_module);
    uint64_t expected = ctx->use.index->track.info.media_size;
    ngx_open_file_info_t of = {
        .read_ahead = clcf->read_ahead,
        .directio = clcf->directio,
        .valid = clcf->open_file_cache_valid,
        .min_uses = clcf->open_file_cache_min_uses,
        .errors = clcf->open_file_cache_errors,
        .events = clcf->open_file_cache_events,
    };

    file->name = package_source_name(
        r, ctx, track_file_suffix(&ctx->use.index->track.info));
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

static ngx_int_t
package_segment_send(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx,
                     const struct segment *segment)
{
    ngx_buf_t *b = ngx_calloc_buf(r->pool);
    ngx_chain_t out = {.buf = b, .next = NULL};
    ngx_int_t rc;

    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    b->file = ngx_pcalloc(r->pool, sizeof *b->file);
    if (b->file == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    rc = package_media_open(r, ctx, b->file);
    if (rc != NGX_OK) {
        return rc;
    }
    r->allow_ranges = 1;
    rc = ngx_http_send_header(r);
    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }
    b->in_file = 1;
    b->file_pos = (off_t) segment_start(segment);
    b->file_last = b->file_pos + (off_t) segment_length(segment);
    b->last_buf = r == r->main;
    b->last_in_chain = 1;
    return ngx_http_output_filter(r, &out);
}

/* True for a request whose answer may be a header alone. */
static bool
package_is_conditional(ngx_http_request_t *r)
{
    return r->headers_in.if_match != NULL || r->headers_in.if_none_match != NULL
           || r->headers_in.if_modified_since != NULL
           || r->headers_in.if_unmodified_since != NULL;
}

ngx_int_t
package_answer_resume(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx)
{
    ngx_int_t rc = package_fill_step(&ctx->fill);

    return rc == NGX_OK ? ngx_http_send_special(r, NGX_HTTP_LAST) : rc;
}

static ngx_int_t
package_segment_fill(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx,
                     const struct segment *segment)
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
        .start = segment_start(segment),
        .end = segment_start(segment) + segment_length(segment),
        .total = ctx->use.index->track.info.media_size,
    };
    if (ctx->fill.uri.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    /* else the first slice's header sends it: an error can have its status */
    if (r->method == NGX_HTTP_HEAD || package_is_conditional(r)) {
        ngx_int_t rc = ngx_http_send_header(r);

        if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
            return rc;
        }
    }
    return package_answer_resume(r, ctx);
}

/* Is it of a track of this kind? */
static bool
package_kind_fits(const ngx_http_package_ctx_t *ctx)
{
    bool is_text = ctx->use.index->track.info.kind == TRACK_TEXT;

    switch (ctx->path.kind) {
    case PACKAGE_INIT:
    case PACKAGE_SEGMENT:
        return !is_text;
    case PACKAGE_TEXT_SEGMENT:
    case PACKAGE_TEXT:
        return is_text;
    case PACKAGE_MULTIVARIANT:
    case PACKAGE_MPD:
    case PACKAGE_PLAYLIST:
    case PACKAGE_IFRAMES:
        break;
    }
    return true;
}

static int
package_segment_find(const ngx_http_package_ctx_t *ctx, struct segment *out)
{
    const struct track_index *track = &ctx->use.index->track;

    return ctx->path.kind == PACKAGE_TEXT
               ? track_index_whole(track, out)
               : track_index_segment(track, ctx->path.segment, out);
}

static ngx_int_t
package_segment_answer(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx)
{
    ngx_http_package_loc_conf_t *conf =
        ngx_http_get_module_loc_conf(r, ngx_http_package_module);
    struct package_index *index = ctx->use.index;
    struct segment segment;
    struct bytes what;

    if (package_segment_find(ctx, &segment) != 0) {
        return NGX_HTTP_NOT_FOUND;
    }
    what = bytes_of(&segment.number, sizeof segment.number);
    if (package_headers_set(r, ctx, (off_t) segment_length(&segment),
                            package_index_hash(index, what))
        != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    return conf->fill.len ? package_segment_fill(r, ctx, &segment)
                          : package_segment_send(r, ctx, &segment);
}

ngx_int_t
package_answer(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx)
{
    if (!ctx->use.index->is_asset && !package_kind_fits(ctx)) {
        return NGX_HTTP_NOT_FOUND;
    }
    switch (ctx->path.kind) {
    case PACKAGE_MULTIVARIANT:
        return package_asset_answer(r, ctx, package_index_playlist,
                                    hls_multivariant_write);
    case PACKAGE_MPD:
        return package_asset_answer(r, ctx, package_index_mpd, dash_mpd_write);
    case PACKAGE_PLAYLIST:
        return package_text_answer(r, ctx,
                                   package_index_playlist(ctx->use.index));
    case PACKAGE_IFRAMES:
        if (ctx->use.index->track.info.key_bandwidth_peak == 0) {
            return NGX_HTTP_NOT_FOUND; /* sound */
        }
        return package_text_answer(r, ctx,
                                   package_index_iframes(ctx->use.index));
    case PACKAGE_INIT:
        return package_text_answer(r, ctx,
                                   package_index_init_segment(ctx->use.index));
    case PACKAGE_SEGMENT:
    case PACKAGE_TEXT_SEGMENT:
    case PACKAGE_TEXT:
        break;
    }
    return package_segment_answer(r, ctx);
}
