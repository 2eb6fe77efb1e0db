/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request that lacks something of a plain film posts a job and waits; the job
 * goes on without it when the viewer leaves. Jobs for the same thing, also of
 * other workers, wait for each other in their threads.
 */
#include "modules/package/package.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "core/err.h"

#define PLAIN_FILE "film.mp4"
#define PLAIN_SIZE_MAX ((off_t) 10 << 30) /* bytes */
#define PLAIN_SEGMENT_MS 4000u
#define PLAIN_SEGMENT_MS_LEAST 500
#define PLAIN_SEGMENT_MS_MOST 60000
#define PLAIN_TOUCH_S 60
#define PLAIN_KNOWN_S 60       /* so long a far film is not asked for again */
#define PLAIN_KNOWN_COUNT 1024 /* in a worker */
#define PLAIN_PIECE_SIZE ((uint64_t) 16 << 10) /* bytes, at least: of boxes */
#define PLAIN_MANAGE_MS 10000u
/* of its time the manager spends one in so many at work */
#define PLAIN_MANAGE_SHARE 20u

struct package_plain_job {
    ngx_thread_task_t task;
    ngx_http_package_ctx_t *ctx; /* NULL: nobody waits any more */
    struct kept_film film;       /* the path lies behind the job */
    struct mp4_source source;    /* of a far one: */
    struct pieces pieces;
    char track[TRACK_NAME_LEN_MAX + 1]; /* empty: all */
    bool is_segment;
    uint32_t number;
    int err;
    struct kept_error error;
};

/* What is known of a film behind the fill location. */
struct plain_known {
    uint64_t name; /* hash of its URI */
    time_t until;
    bool is_there;
    uint64_t size, tag;
    time_t modified;
};

static struct plain_known known[PLAIN_KNOWN_COUNT]; /* by the name */

/* ---- the job ---- */

static void
job_run(void *data, ngx_log_t *log)
{
    struct package_plain_job *job = data;
    char name[TRACK_NAME_LEN_MAX + sizeof ".idx"] = "asset.idx";

    if (job->is_segment) {
        job->err =
            kept_segment_make(&job->film, job->track, job->number, &job->error);
        return;
    }
    if (job->track[0] != '\0') {
        *ngx_sprintf((u_char *) name, "%s.idx", job->track) = '\0';
    }
    job->err = kept_index_make(&job->film, name, &job->error);
}

static ngx_int_t
job_status(const struct package_plain_job *job)
{
    switch (job->err) {
    case 0:
        return NGX_OK;
    case ERR_NOT_FOUND:
        return NGX_HTTP_NOT_FOUND;
    case ERR_STALE:
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    default:
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
}

static void
job_done(ngx_event_t *ev)
{
    struct package_plain_job *job = ev->data;
    ngx_http_package_ctx_t *ctx = job->ctx;
    bool is_missing = job->pieces.missing_len != 0;

    if (job->err != 0 && !is_missing && job->error.reason[0] != '\0') {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "package: make %s of \"%s\" failed (%s)",
                      job->is_segment ? "a segment" : "the index",
                      job->film.path, job->error.reason);
    }
    if (ctx != NULL) {
        ctx->plain.job = NULL;
        ctx->plain.pieces = job->pieces;
        ctx->plain.is_done = !is_missing;
        ctx->plain.status = job_status(job);
        ngx_post_event(&ctx->use.ready, &ngx_posted_events);
    } else {
        pieces_fini(&job->pieces);
    }
    ngx_free(job);
}

static struct package_plain_job *
job_new(ngx_http_package_ctx_t *ctx, bool is_segment)
{
    size_t size = ngx_strlen(ctx->plain.film.path) + 1;
    struct package_plain_job *job =
        ngx_calloc(sizeof *job + size, ngx_cycle->log);

    if (job == NULL) {
        return NULL;
    }
    ngx_memcpy(job + 1, ctx->plain.film.path, size);
    ngx_memcpy(job->track, ctx->path.track.ptr, ctx->path.track.len);
    job->ctx = ctx;
    job->film = ctx->plain.film;
    job->film.path = (const char *) (job + 1);
    if (ctx->plain.is_far) {
        job->source =
            (struct mp4_source){pieces_read, &job->pieces, ctx->plain.size};
        job->film.source = &job->source;
        job->pieces = ctx->plain.pieces;
        ctx->plain.pieces = (struct pieces){0};
    }
    job->is_segment = is_segment;
    job->number = ctx->path.segment;
    job->task.ctx = job;
    job->task.handler = job_run;
    job->task.event.data = job;
    job->task.event.handler = job_done;
    job->task.event.log = ngx_cycle->log;
    return job;
}

/* ---- films behind the fill location ---- */

static void
fill_set(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx,
         const struct package_fill *what)
{
    ngx_http_package_loc_conf_t *conf =
        ngx_http_get_module_loc_conf(r, ngx_http_package_module);
    ngx_pool_t **pool = ctx->fill.pool;

    ctx->fill = *what;
    ctx->fill.pool = pool;
    ctx->fill.request = r;
    ctx->fill.uri.data = (u_char *) (uintptr_t) ctx->plain.film.path;
    ctx->fill.uri.len = ngx_strlen(ctx->plain.film.path);
    ctx->fill.again = conf->again;
    ctx->fill.prefix_len = conf->fill.len;
    ctx->fill.slice_size = conf->slice_size;
    ctx->fill.is_whole = true;
}

/* What the fill brought becomes a piece, and the fill none. */
static ngx_int_t
fill_take(ngx_http_package_ctx_t *ctx, ngx_int_t rc)
{
    struct package_fill *fill = &ctx->fill;

    if (rc != NGX_OK) {
        ngx_free(fill->memory);
    } else if (pieces_add(&ctx->plain.pieces, fill->start, fill->memory,
                          (size_t) (fill->end - fill->start))
               != 0) {
        rc = NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    *fill = (struct package_fill){.pool = fill->pool};
    return rc;
}

/* Begins to fetch what the last job lacked: the samples of a segment lie close
 * together, the boxes of a film do not. */
static ngx_int_t
piece_begin(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx, bool is_segment)
{
    ngx_http_package_loc_conf_t *conf =
        ngx_http_get_module_loc_conf(r, ngx_http_package_module);
    const struct pieces *pieces = &ctx->plain.pieces;
    uint64_t end =
        pieces->missing_offset + ngx_max(pieces->missing_len, PLAIN_PIECE_SIZE);

    if (is_segment) {
        end += (conf->slice_size - end % conf->slice_size) % conf->slice_size;
    }
    const struct package_fill what = {
        .start = pieces->missing_offset,
        .end = ngx_min(end, ctx->plain.size),
        .total = ctx->plain.size,
        .tag = ctx->plain.tag,
    };
    if (what.end - what.start > PIECES_SIZE_MAX - pieces->size) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "package: read \"%s\" failed (%s)", ctx->plain.film.path,
                      err_text(ERR_LIMIT));
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    u_char *memory = ngx_alloc(what.end - what.start, r->connection->log);
    if (memory == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    fill_set(r, ctx, &what);
    ctx->fill.memory = memory;
    return NGX_OK;
}

static struct plain_known *
known_of(ngx_http_request_t *r, const char *path, uint64_t *name)
{
    *name = XXH3_64bits_withSeed(path, ngx_strlen(path),
                                 (uintptr_t) package_server(r));
    return &known[*name % PLAIN_KNOWN_COUNT];
}

static ngx_int_t
piece_fetch(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx, bool is_segment)
{
    ngx_int_t rc =
        ctx->fill.request == NULL ? piece_begin(r, ctx, is_segment) : NGX_OK;

    if (rc == NGX_OK) {
        rc = package_fill_step(&ctx->fill);
        if (rc != NGX_DONE) {
            rc = fill_take(ctx, rc);
        }
    }
    if (rc != NGX_OK && rc != NGX_DONE) { /* perhaps it is another by now */
        uint64_t name;

        known_of(r, ctx->plain.film.path, &name)->until = 0;
    }
    return rc;
}

/* One job for what is asked for, as often as it lacks something; and its status
 * when that was not enough. */
static ngx_int_t
job_step(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx, bool is_segment)
{
    struct package_plain *plain = &ctx->plain;

    if (plain->job != NULL) {
        return NGX_DONE;
    }
    if (plain->pieces.missing_len != 0) {
        ngx_int_t rc = piece_fetch(r, ctx, is_segment);

        if (rc != NGX_OK) {
            return rc;
        }
    }
    if (plain->is_done) {
        return plain->status == NGX_OK ? NGX_HTTP_INTERNAL_SERVER_ERROR
                                       : plain->status;
    }
    struct package_plain_job *job = job_new(ctx, is_segment);
    if (job == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    if (ngx_thread_task_post(plain->conf->threads, &job->task) != NGX_OK) {
        pieces_fini(&job->pieces);
        ngx_free(job);
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }
    plain->job = job;
    return NGX_DONE;
}

/* ---- steps of a request ---- */

/* "<place>/<content>/<version>/film.mp4", terminated. */
static const char *
plain_path(ngx_http_request_t *r, const ngx_http_package_ctx_t *ctx,
           const ngx_str_t *place)
{
    const struct bytes folder = ctx->path.folder;
    u_char *path =
        ngx_pnalloc(r->pool, place->len + folder.len + sizeof("//" PLAIN_FILE));

    if (path != NULL) {
        const char *slash = place->data[place->len - 1] == '/' ? "" : "/";

        *ngx_sprintf(path, "%V%s%*s/" PLAIN_FILE, place, slash, folder.len,
                     folder.ptr) = '\0';
    }
    return (const char *) path;
}

static void
plain_find_near(const ngx_http_package_loc_conf_t *conf,
                ngx_http_package_ctx_t *ctx)
{
    ngx_file_info_t info;

    if (ngx_file_info(ctx->plain.film.path, &info) != NGX_FILE_ERROR
        && ngx_is_file(&info)) {
        kept_identity_set(&ctx->plain.film, &info);
        ctx->plain.conf = conf->plain;
    }
}

static void
plain_use_known(const ngx_http_package_loc_conf_t *conf,
                ngx_http_package_ctx_t *ctx, const struct plain_known *film)
{
    const struct kept_far far = {bytes_of_text(ctx->plain.film.path),
                                 film->size, film->tag, film->modified};

    if (film->is_there) {
        kept_identity_set_far(&ctx->plain.film, &far);
        ctx->plain.is_far = true;
        ctx->plain.size = film->size;
        ctx->plain.tag = film->tag;
        ctx->plain.conf = conf->plain;
    }
}

/* By its first slice, which is most often of use at once. */
static ngx_int_t
plain_find_far(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx,
               const ngx_http_package_loc_conf_t *conf)
{
    static const struct package_fill first = {
        .is_first = true,
        .size_max = PIECES_SIZE_MAX,
        .end = PACKAGE_FILL_SIZE_UNKNOWN,
        .total = PACKAGE_FILL_SIZE_UNKNOWN,
    };
    uint64_t name;
    struct plain_known *film = known_of(r, ctx->plain.film.path, &name);

    if (ctx->fill.request == NULL) {
        if (film->name == name && ngx_time() < film->until) {
            plain_use_known(conf, ctx, film);
            return NGX_OK;
        }
        fill_set(r, ctx, &first);
    }
    ngx_int_t rc = package_fill_step(&ctx->fill);
    if (rc != NGX_OK && rc != NGX_HTTP_NOT_FOUND) {
        return rc;
    }
    *film = (struct plain_known){.name = name,
                                 .until = ngx_time() + PLAIN_KNOWN_S,
                                 .is_there = rc == NGX_OK,
                                 .size = ctx->fill.total,
                                 .tag = ctx->fill.tag,
                                 .modified = ctx->fill.modified};
    plain_use_known(conf, ctx, film);
    rc = fill_take(ctx, rc);
    return rc == NGX_HTTP_NOT_FOUND ? NGX_OK : rc;
}

ngx_int_t
package_plain_find(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx)
{
    ngx_http_package_loc_conf_t *conf =
        ngx_http_get_module_loc_conf(r, ngx_http_package_module);
    struct kept_film *film = &ctx->plain.film;

    if (conf->plain == NULL || ctx->plain.conf != NULL) {
        return NGX_OK;
    }
    if (film->path == NULL) {
        film->folder = (const char *) conf->plain->folder.data;
        film->segment_ms = conf->plain->segment_ms;
        film->path =
            plain_path(r, ctx, conf->fill.len ? &conf->fill : &conf->root);
        if (film->path == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }
    if (conf->fill.len != 0) {
        return plain_find_far(r, ctx, conf);
    }
    plain_find_near(conf, ctx);
    return NGX_OK;
}

ngx_int_t
package_plain_index(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx)
{
    return job_step(r, ctx, false);
}

void
package_plain_forget(ngx_http_package_ctx_t *ctx)
{
    if (ctx->plain.job != NULL) {
        ctx->plain.job->ctx = NULL;
        ctx->plain.job = NULL;
    }
    pieces_fini(&ctx->plain.pieces);
    ctx->plain.is_done = false;
}

ngx_str_t
package_plain_name(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx,
                   uint32_t number)
{
    char suffix[NGX_INT32_LEN + 2];

    *ngx_sprintf((u_char *) suffix, ".%uD", number) = '\0';
    return package_source_name(r, ctx, suffix);
}

/* Of a kept film's files, which may be gone while its index is in memory. */
static bool
package_plain_is_sent(enum package_kind kind)
{
    return kind == PACKAGE_SEGMENT || kind == PACKAGE_KEY_SEGMENT
           || kind == PACKAGE_TS_SEGMENT || kind == PACKAGE_TEXT
           || kind == PACKAGE_TEXT_SEGMENT || kind == PACKAGE_TEXT_PART
           || kind == PACKAGE_TS_TEXT_SEGMENT;
}

/* Or is there no such segment, as of sound that is over before the picture? */
static bool
package_plain_is_there(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx)
{
    const struct track_index *track = &ctx->use.index->track;
    struct segment segment;
    ngx_file_info_t info;

    if (!track_has_samples(&track->info)) {
        ngx_str_t text =
            package_source_name(r, ctx, track_file_suffix(&track->info));
        return text.data == NULL
               || ngx_file_info(text.data, &info) != NGX_FILE_ERROR;
    }
    if (track_index_segment(track, ctx->path.segment, &segment) != 0) {
        return true;
    }
    uint64_t size = segment.map_size + segment_length(&segment);
    ngx_str_t name = package_plain_name(r, ctx, segment.number);
    return name.data != NULL
           && ngx_file_info(name.data, &info) != NGX_FILE_ERROR
           && (uint64_t) ngx_file_size(&info) == size;
}

ngx_int_t
package_plain_segment(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx)
{
    struct package_index *index = ctx->use.index;
    const unsigned count = ctx->path.muxed.len != 0 ? 2 : 1;
    ngx_int_t rc = NGX_OK;

    if (ctx->plain.conf == NULL) {
        return NGX_OK;
    }
    if (ngx_time() - index->touched >= PLAIN_TOUCH_S) {
        index->touched = ngx_time();
        kept_touch(ctx->plain.film.folder, ctx->plain.film.identity);
    }
    if (!package_plain_is_sent(ctx->path.kind)) {
        return NGX_OK;
    }
    if (ctx->plain.job != NULL) {
        return NGX_DONE;
    }
    while (rc == NGX_OK && ctx->plain.made < count) {
        package_track_turn(ctx, ctx->plain.made);
        if (package_plain_is_there(r, ctx)) {
            package_plain_forget(ctx);
            ctx->plain.made++;
        } else {
            rc = job_step(r, ctx, track_has_samples(&index->track.info));
        }
    }
    package_track_turn(ctx, 0);
    return rc;
}

/* ---- configuration ---- */

/* In nginx's cache manager. */
static ngx_msec_t
package_plain_manage(void *data)
{
    const struct package_plain_conf *conf = data;
    ngx_msec_t start;

    ngx_time_update();
    start = ngx_current_msec;
    (void) kept_shrink((const char *) conf->folder.data,
                       (uint64_t) conf->size_max);
    ngx_time_update();
    return ngx_max(PLAIN_MANAGE_MS,
                   (ngx_current_msec - start) * PLAIN_MANAGE_SHARE);
}

static char *
package_plain_options(ngx_conf_t *cf, struct package_plain_conf *conf)
{
    ngx_str_t *value = cf->args->elts;

    for (ngx_uint_t i = 2; i < cf->args->nelts; i++) {
        ngx_str_t text = value[i];

        if (ngx_strncmp(text.data, "size=", 5) == 0) {
            text.data += 5;
            text.len -= 5;
            conf->size_max = ngx_parse_offset(&text);
            if (conf->size_max <= 0) {
                return "has a bad size";
            }
        } else if (ngx_strncmp(text.data, "segment=", 8) == 0) {
            text.data += 8;
            text.len -= 8;
            ngx_int_t ms = ngx_parse_time(&text, 0);
            if (ms < PLAIN_SEGMENT_MS_LEAST || ms > PLAIN_SEGMENT_MS_MOST) {
                return "has a segment that is not of 500ms to 60s";
            }
            conf->segment_ms = (uint32_t) ms;
        } else {
            return "has an unknown parameter";
        }
    }
    return NGX_CONF_OK;
}

char *
package_plain_directive(ngx_conf_t *cf, ngx_command_t *cmd, void *data)
{
    ngx_http_package_loc_conf_t *plcf = data;
    struct package_plain_conf *conf = ngx_pcalloc(cf->pool, sizeof *conf);
    ngx_path_t *path = ngx_pcalloc(cf->pool, sizeof *path);
    ngx_str_t *value = cf->args->elts;

    if (plcf->plain != NULL) {
        return "is duplicate";
    }
    if (conf == NULL || path == NULL) {
        return NGX_CONF_ERROR;
    }
    conf->folder = value[1];
    conf->size_max = PLAIN_SIZE_MAX;
    conf->segment_ms = PLAIN_SEGMENT_MS;
    conf->threads = ngx_thread_pool_add(cf, NULL);
    if (conf->threads == NULL
        || ngx_conf_full_name(cf->cycle, &conf->folder, 0) != NGX_OK) {
        return NGX_CONF_ERROR;
    }
    path->name = conf->folder;
    path->manager = package_plain_manage;
    path->data = conf;
    path->conf_file = cf->conf_file->file.name.data;
    path->line = cf->conf_file->line;
    if (ngx_add_path(cf, &path) != NGX_OK) {
        return NGX_CONF_ERROR;
    }
    plcf->plain = conf;
    return package_plain_options(cf, conf);
}
