/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segments as transport streams. The maps of all tracks come first and say how
 * long the answer is; then the samples of a muxed segment are read in the order
 * in which the transform wants them.
 *
 * From a folder that is one chain of pieces of both files. A fill costs a
 * subrequest, so there the sound comes some seconds at a time, into memory, and
 * the pictures it stands between as one window:
 *
 *   pictures  |v v v v v|v v v v v|     a window each, through the transform
 *   sound     |   a a   |  a   a  |     before it, in memory
 */
#include "modules/package/package.h"

#include "core/err.h"
#include "media/crypt/aes128.h"
#include "media/segment_map.h"
#include "media/text/text_ts.h"
#include "media/ts/ts.h"

#define HELD_SIZE_MAX (8u << 10) /* bytes */

enum ts_step {
    TS_MAP,    /* of the track whose turn it is, into memory */
    TS_SOUND,  /* into memory */
    TS_WINDOW, /* through the transform */
};

/* Around the muxer, when a fill brings one track and the other is in memory. */
struct ts_feed {
    struct transform super;
    struct transform *muxer;
    struct ts_inputs inputs;
    struct ts_range range; /* what goes in next */
    size_t passing;        /* the source that comes in */
    struct bytes held;     /* of the other, or before it */
};

struct package_ts {
    struct segment segments[TS_SOURCES_MAX];
    struct ts_source sources[TS_SOURCES_MAX];
    size_t count;
    u_char *map;
    struct ts_inputs inputs; /* what was not asked for yet */
    ngx_file_t *files;       /* from a folder: one for each */

    /* filled */
    enum ts_step step;
    struct ts_range range;             /* the next of the inputs */
    uint64_t position[TS_SOURCES_MAX]; /* in the samples */
    uint64_t held_size, window_size;
    size_t window_source;
    u_char *held;
    struct ts_feed feed;
};

/* ---- what can be one ---- */

static bool
is_ts(const ngx_http_package_ctx_t *ctx)
{
    return ctx->path.kind == PACKAGE_TS_MULTIVARIANT
           || ctx->path.kind == PACKAGE_TS_PLAYLIST
           || ctx->path.kind == PACKAGE_TS_SEGMENT
           || ctx->path.kind == PACKAGE_TS_TEXT_SEGMENT;
}

static int
ts_tracks_check(ngx_http_package_ctx_t *ctx)
{
    const struct track_info *info = &ctx->use.index->track.info;
    int err;

    if (ctx->use.index->is_asset) {
        err = package_index_ts(ctx->use.index)->bytes.err;
        return err == ERR_NOT_FOUND ? ERR_UNSUPPORTED : 0;
    }
    if (info->kind == TRACK_TEXT && ctx->path.kind != PACKAGE_TS_SEGMENT) {
        return ctx->muxed.index == NULL ? 0 : ERR_UNSUPPORTED;
    }
    err = track_has_samples(info) ? ts_track_check(info) : ERR_UNSUPPORTED;
    if (err == 0 && ctx->muxed.index != NULL) {
        const struct track_info *other = &ctx->muxed.index->track.info;

        err = info->kind == TRACK_VIDEO && other->kind == TRACK_AUDIO
                  ? ts_track_check(other)
                  : ERR_UNSUPPORTED;
    }
    return err;
}

bool
package_ts_fits(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx)
{
    ngx_log_t *log = r->connection->log;
    const bool is_aes128 = ctx->crypt.scheme == CRYPT_AES128;

    if (ctx->crypt.scheme != 0 && is_ts(ctx) != is_aes128) {
        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "package: %s of \"%V\" refused (aes-128 is of transport "
                      "streams, which have no other encryption)",
                      package_kind_name(ctx->path.kind), &ctx->use.index->name);
        return false;
    }
    if (!is_ts(ctx)) {
        return true;
    }
    int err = ts_tracks_check(ctx);
    if (err != 0) {
        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "package: %s of \"%V\" as a transport stream refused "
                      "(%s)",
                      package_kind_name(ctx->path.kind), &ctx->use.index->name,
                      err_text(err));
    }
    return err == 0;
}

/* ---- opening ---- */

static ngx_int_t
ts_fail(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx, int err)
{
    ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                  "package: transport stream of segment %uD of \"%V\" failed "
                  "(%s)",
                  ctx->path.segment, &ctx->use.index->name, err_text(err));
    return err == ERR_UNSUPPORTED ? NGX_HTTP_NOT_FOUND
                                  : NGX_HTTP_INTERNAL_SERVER_ERROR;
}

/* Room for the map of the track whose turn it is. */
static ngx_int_t
ts_map_begin(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx)
{
    const size_t size = ctx->ts->segments[ctx->turn].map_size;

    if (size > PACKAGE_HEAD_SIZE_MAX) {
        return ts_fail(r, ctx, ERR_LIMIT);
    }
    ctx->ts->map = ctx->head = ngx_alloc(size, r->connection->log);
    return ctx->head == NULL ? NGX_HTTP_INTERNAL_SERVER_ERROR : NGX_OK;
}

/* It is read. */
static ngx_int_t
ts_map_end(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx)
{
    const struct segment *segment = &ctx->ts->segments[ctx->turn];
    const struct bytes box = bytes_of(ctx->ts->map, segment->map_size);
    struct segment_map map;
    size_t size;
    int err = segment_map_memory_size(box, &size);

    if (err != 0) {
        return ts_fail(r, ctx, err);
    }
    void *memory = ngx_palloc(r->pool, size ? size : 1);
    if (memory == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    err = segment_map_decode(box, segment, memory, &map);
    if (err != 0) {
        return ts_fail(r, ctx, err);
    }
    ctx->ts->sources[ctx->turn].samples = map.samples;
    ctx->ts->sources[ctx->turn].sample_count = map.sample_count;
    ngx_free(ctx->head);
    ctx->ts->map = ctx->head = ctx->fill.memory = NULL;
    return NGX_OK;
}

/* The segment of each track; the sound may be over before the picture is. */
static ngx_int_t
ts_new(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx)
{
    struct package_ts *ts = ngx_pcalloc(r->pool, sizeof *ts);

    if (ts == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    do {
        struct segment *segment = &ts->segments[ts->count];

        package_track_turn(ctx, (unsigned) ts->count);
        const struct track_index *track = &ctx->use.index->track;
        if (track_index_segment(track, ctx->path.segment, segment) != 0
            && ts->count == 0) {
            return NGX_HTTP_NOT_FOUND;
        }
        if (ctx->plain.conf != NULL) {
            segment->offset = 0; /* in a file of its own */
        }
        ts->sources[ts->count++] = (struct ts_source){
            .info = &track->info, .decode_time = segment->decode_time};
    } while (ctx->muxed.index != NULL && ts->count < TS_SOURCES_MAX);
    package_track_turn(ctx, 0);
    ctx->ts = ts;
    return NGX_OK;
}

static int
feed_run(struct transform *self, struct transform_io *io)
{
    struct ts_feed *feed = (struct ts_feed *) self;

    for (;;) {
        if (feed->range.size == 0) {
            (void) ts_inputs_next(&feed->inputs, &feed->range);
        }
        const bool is_held = feed->held.len != 0 && feed->range.source == 1;
        const bool is_passing = feed->range.source == feed->passing;
        struct transform_io part = {.out = io->out, .out_len = io->out_len};
        if (is_held) {
            part.in = feed->held.ptr;
            part.in_len = ngx_min(feed->held.len, feed->range.size);
        } else if (is_passing) {
            part.in = io->in;
            part.in_len = ngx_min(io->in_len, feed->range.size);
        }
        const size_t offered = part.in_len;
        int err = feed->muxer->run(feed->muxer, &part);
        const size_t taken = offered - part.in_len;

        io->out = part.out;
        io->out_len = part.out_len;
        feed->range.size -= taken;
        if (is_held) {
            feed->held =
                bytes_of(feed->held.ptr + taken, feed->held.len - taken);
        } else if (is_passing) {
            io->in = part.in;
            io->in_len -= taken;
        }
        if (err != 0 || taken == 0) {
            return err;
        }
    }
}

static void
feed_close(struct transform *self)
{
    struct ts_feed *feed = (struct ts_feed *) self;

    feed->muxer->close(feed->muxer); /* the rest is the pool's */
}

/* What two tracks are filled by goes through the feed. */
static struct transform *
ts_feed_open(struct package_ts *ts, struct transform *muxer)
{
    ts->feed = (struct ts_feed){
        .super = *muxer,
        .muxer = muxer,
        .inputs = ts->inputs,
    };
    ts->feed.super.run = feed_run;
    ts->feed.super.close = feed_close;
    return &ts->feed.super;
}

static int
ts_open(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx)
{
    const ngx_http_package_loc_conf_t *conf =
        ngx_http_get_module_loc_conf(r, ngx_http_package_module);
    struct package_ts *ts = ctx->ts;
    uint8_t iv[AES128_BLOCK_SIZE];
    struct transform *transform;
    int err = ts_transform_open(ts->sources, ts->count, ctx->path.segment,
                                &transform);

    if (err != 0) {
        return err;
    }
    ts_inputs_begin(&ts->inputs, ts->sources, ts->count);
    if (package_is_filled(conf, ctx) && ts->count > 1) {
        transform = ts_feed_open(ts, transform);
    }
    if (ctx->crypt.scheme != 0 && !ctx->crypt.is_clear) {
        aes128_iv_of_segment(ctx->path.segment, iv);
        const uint8_t *key = ctx->crypt.key.key;
        ctx->transform.seal = package_seal_open(r->pool, key, iv);
        err = aes128_transform_open(transform, 0,
                                    ctx->transform.seal != NULL ? NULL : key,
                                    iv, &transform);
    }
    if (err == 0) {
        ctx->transform.transform = transform;
    }
    return err;
}

/* There is a transform: what it will send. */
static ngx_int_t
ts_headers_set(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx)
{
    struct {
        uint64_t muxed, crypt;
        uint32_t number;
        char format[4];
    } what = {
        .muxed = ctx->muxed.index != NULL ? ctx->muxed.index->hash : 0,
        .crypt = ctx->crypt.scheme ? crypt_fingerprint(&ctx->crypt) : 0,
        .number = ctx->path.segment,
        .format = "ts",
    };
    struct byte_range range;
    const off_t size = (off_t) ctx->transform.transform->size_out;
    if (package_headers_set(
            r, ctx, size,
            package_index_hash(ctx->use.index, bytes_of(&what, sizeof what)))
        != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    ngx_int_t rc = package_range_take(r, &range);
    ctx->transform.start = range.start;
    ctx->transform.end = range.end;
    return rc;
}

/* All maps are there. */
static ngx_int_t
ts_begin(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx)
{
    int err = ts_open(r, ctx);

    return err == 0 ? ts_headers_set(r, ctx) : ts_fail(r, ctx, err);
}

static uint64_t
ts_samples_start(const struct package_ts *ts, size_t source)
{
    return segment_start(&ts->segments[source])
           + ts->segments[source].header_size;
}

/* ---- from a folder ---- */

/* Opens the file of the track whose turn it is, and reads the map. */
static ngx_int_t
ts_map_read(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx,
            ngx_file_t *file)
{
    const struct segment *segment = &ctx->ts->segments[ctx->turn];
    ngx_int_t rc = package_media_open(r, ctx, segment, file);

    if (rc == NGX_OK) {
        rc = ts_map_begin(r, ctx);
    }
    if (rc != NGX_OK) {
        return rc;
    }
    if (ngx_read_file(file, ctx->ts->map, segment->map_size,
                      (off_t) segment->offset)
        != (ssize_t) segment->map_size) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    return ts_map_end(r, ctx);
}

/* The next range of either file, in order. */
static bool
ts_range_next(void *context, ngx_buf_t *out)
{
    struct package_ts *ts = context;
    struct ts_range range;

    if (!ts_inputs_next(&ts->inputs, &range)) {
        return false;
    }
    out->in_file = 1;
    out->file = &ts->files[range.source];
    out->file_pos = (off_t) (ts_samples_start(ts, range.source) + range.offset);
    out->file_last = out->file_pos + (off_t) range.size;
    return true;
}

/* All of them, for the copy filter. */
static ngx_chain_t *
ts_ranges(ngx_http_request_t *r, struct package_ts *ts)
{
    ngx_chain_t *out = NULL, **last = &out;
    ngx_buf_t *b = ngx_calloc_buf(r->pool);

    while (b != NULL && ts_range_next(ts, b)) {
        *last = ngx_alloc_chain_link(r->pool);
        if (*last == NULL) {
            return NULL;
        }
        (*last)->buf = b;
        (*last)->next = NULL;
        last = &(*last)->next;
        b = ngx_calloc_buf(r->pool);
    }
    return b != NULL ? out : NULL;
}

static ngx_int_t
ts_send(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx)
{
    struct package_ts *ts = ctx->ts;
    ngx_chain_t *chain = NULL;
    ngx_int_t rc = NGX_OK;

    ts->files = ngx_pcalloc(r->pool, ts->count * sizeof *ts->files);
    if (ts->files == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    for (unsigned i = 0; rc == NGX_OK && i < ts->count; i++) {
        if (ts->segments[i].sample_count != 0) {
            package_track_turn(ctx, i);
            rc = ts_map_read(r, ctx, &ts->files[i]);
        }
    }
    package_track_turn(ctx, 0);
    if (rc == NGX_OK) {
        rc = ts_begin(r, ctx);
    }
    if (rc != NGX_OK) {
        return rc;
    }
    package_transform_read(&ctx->transform, r, false);
    if (!r->filter_need_in_memory) {
        ctx->transform.next = ts_range_next;
        ctx->transform.next_context = ts;
    } else {
        chain = ts_ranges(r, ts);
        if (chain == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }
    rc = package_header_send(r);
    if (rc != NGX_DECLINED) {
        return rc;
    }
    rc = ngx_http_output_filter(r, chain);
    return rc == NGX_ERROR || r != r->main
               ? rc
               : ngx_http_send_special(r, NGX_HTTP_LAST);
}

/* ---- filled ---- */

/* A fill of some of the samples. */
static ngx_int_t
ts_fill_set(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx, size_t source,
            uint64_t size)
{
    struct package_ts *ts = ctx->ts;
    const uint64_t start = ts_samples_start(ts, source) + ts->position[source];

    ts->position[source] += size;
    package_track_turn(ctx, (unsigned) source);
    ngx_int_t rc = package_fill_set(r, ctx, start, start + size);
    package_track_turn(ctx, 0);
    return rc;
}

/* How far it goes next: the pictures up to the sound that has no room any more;
 * sound alone goes through the transform itself. */
static void
ts_plan(struct package_ts *ts)
{
    ts->held_size = 0;
    ts->window_size = 0;
    ts->window_source = 0;
    while (ts->range.size != 0 || ts_inputs_next(&ts->inputs, &ts->range)) {
        if (ts->range.source == 0) {
            ts->window_size += ts->range.size;
        } else if (ts->held_size + ts->range.size <= HELD_SIZE_MAX) {
            ts->held_size += ts->range.size;
        } else {
            break;
        }
        ts->range.size = 0;
    }
    if (ts->window_size == 0) {
        ts->window_source = 1;
        ts->window_size = ts->held_size;
        ts->held_size = 0;
    }
    if (ts->window_size == 0) {
        ts->window_size = ts->range.size;
        ts->range.size = 0;
    }
}

static ngx_int_t
ts_map_fill(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx, unsigned number)
{
    const struct segment *segment = &ctx->ts->segments[number];

    package_track_turn(ctx, number);
    ngx_int_t rc = ts_map_begin(r, ctx);
    if (rc == NGX_OK) {
        rc = package_fill_set(r, ctx, segment->offset,
                              segment->offset + segment->map_size);
    }
    if (rc != NGX_OK) {
        return rc;
    }
    ctx->fill.is_whole = true;
    ctx->fill.memory = ctx->ts->map;
    return NGX_DECLINED;
}

static ngx_int_t
ts_window_fill(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx)
{
    struct package_ts *ts = ctx->ts;
    ngx_int_t rc = ts_fill_set(r, ctx, ts->window_source, ts->window_size);

    if (rc != NGX_OK) {
        return rc;
    }
    ctx->fill.transform = &ctx->transform;
    ts->feed.passing = ts->window_source;
    ts->step = TS_WINDOW;
    return NGX_DECLINED;
}

static ngx_int_t
ts_sound_fill(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx)
{
    struct package_ts *ts = ctx->ts;
    ngx_int_t rc = ts_fill_set(r, ctx, 1, ts->held_size);

    if (rc == NGX_OK && ts->held == NULL) {
        ts->held = ngx_alloc(HELD_SIZE_MAX, r->connection->log);
    }
    if (rc != NGX_OK || ts->held == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    ctx->head = ts->held;
    ctx->fill.is_whole = true;
    ctx->fill.memory = ts->held;
    ts->step = TS_SOUND;
    return NGX_DECLINED;
}

/* What comes behind a fill that is done: NGX_DECLINED when that is another, or
 * what to end the request with. */
static ngx_int_t
ts_step_end(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx)
{
    struct package_ts *ts = ctx->ts;
    ngx_int_t rc;

    switch (ts->step) {
    case TS_MAP:
        rc = ts_map_end(r, ctx);
        if (rc == NGX_OK && ctx->turn == 0
            && ts->segments[1].sample_count != 0) {
            return ts_map_fill(r, ctx, 1);
        }
        package_track_turn(ctx, 0);
        if (rc == NGX_OK) {
            rc = ts_begin(r, ctx);
        }
        if (rc == NGX_OK) {
            rc = package_header_begin(r);
        }
        if (rc != NGX_DECLINED) {
            return rc;
        }
        break;
    case TS_SOUND:
        ts->feed.held = bytes_of(ts->held, ts->held_size);
        return ts_window_fill(r, ctx);
    case TS_WINDOW:
        break;
    }
    ts_plan(ts);
    if (ts->window_size == 0) {
        return ngx_http_send_special(r, NGX_HTTP_LAST);
    }
    return ts->held_size != 0 ? ts_sound_fill(r, ctx) : ts_window_fill(r, ctx);
}

ngx_int_t
package_ts_text_answer(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx)
{
    struct segment segment;
    ngx_int_t rc;

    if (track_index_segment(&ctx->use.index->track, ctx->path.segment, &segment)
        != 0) {
        return NGX_HTTP_NOT_FOUND;
    }
    const uint64_t start = segment_start(&segment);
    const uint64_t end = start + segment_length(&segment);
    int err = text_ts_transform_open(end - start, &ctx->transform.transform);
    rc = err == 0 ? ts_headers_set(r, ctx) : ts_fail(r, ctx, err);
    if (rc != NGX_OK) {
        return rc;
    }
    return package_window_answer(r, ctx, &segment, start, end);
}

ngx_int_t
package_ts_resume(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx)
{
    ngx_int_t rc;

    do {
        rc = package_fill_step(&ctx->fill);
        if (rc == NGX_OK) {
            rc = ts_step_end(r, ctx);
        }
    } while (rc == NGX_DECLINED);
    return rc;
}

ngx_int_t
package_ts_answer(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx)
{
    const ngx_http_package_loc_conf_t *conf =
        ngx_http_get_module_loc_conf(r, ngx_http_package_module);
    ngx_int_t rc = ts_new(r, ctx);

    if (rc != NGX_OK) {
        return rc;
    }
    if (!package_is_filled(conf, ctx)) {
        return ts_send(r, ctx);
    }
    rc = ts_map_fill(r, ctx, 0);
    return rc == NGX_DECLINED ? package_ts_resume(r, ctx) : rc;
}
