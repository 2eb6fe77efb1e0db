/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request that lacks something of a plain film posts a job and waits; the job
 * goes on without it when the viewer leaves. Jobs for the same thing, also of
 * other workers, wait for each other in their threads.
 */
#include "modules/package/package.h"

#include "core/err.h"

#define PLAIN_FILE "film.mp4"
#define PLAIN_SIZE_MAX ((off_t) 10 << 30) /* bytes */
#define PLAIN_SEGMENT_MS 4000u
#define PLAIN_SEGMENT_MS_LEAST 500
#define PLAIN_SEGMENT_MS_MOST 60000
#define PLAIN_TOUCH_S 60
#define PLAIN_MANAGE_MS 10000u
#define PLAIN_MANAGE_SHARE                               \
    20u /* of its time the manager spends one in so many \
         * at work */

struct package_plain_job {
    ngx_thread_task_t task;
    ngx_http_package_ctx_t *ctx;        /* NULL: nobody waits any more */
    struct kept_film film;              /* the path lies behind the job */
    char track[TRACK_NAME_LEN_MAX + 1]; /* empty: all */
    bool is_segment;
    uint32_t number;
    int err;
    struct kept_error error;
};

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

    if (job->err != 0 && job->error.reason[0] != '\0') {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "package: make %s of \"%s\" failed (%s)",
                      job->is_segment ? "a segment" : "the index",
                      job->film.path, job->error.reason);
    }
    if (ctx != NULL) {
        ctx->plain.job = NULL;
        ctx->plain.is_done = true;
        ctx->plain.status = job_status(job);
        ngx_post_event(&ctx->use.ready, &ngx_posted_events);
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
    job->is_segment = is_segment;
    job->number = ctx->path.segment;
    job->task.ctx = job;
    job->task.handler = job_run;
    job->task.event.data = job;
    job->task.event.handler = job_done;
    job->task.event.log = ngx_cycle->log;
    return job;
}

/* One job for what is asked for, and its status when that was not enough. */
static ngx_int_t
job_step(ngx_http_package_ctx_t *ctx, bool is_segment)
{
    struct package_plain *plain = &ctx->plain;

    if (plain->job != NULL) {
        return NGX_DONE;
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
        ngx_free(job);
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }
    plain->job = job;
    return NGX_DONE;
}

/* ---- steps of a request ---- */

ngx_int_t
package_plain_find(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx)
{
    ngx_http_package_loc_conf_t *conf =
        ngx_http_get_module_loc_conf(r, ngx_http_package_module);
    struct kept_film *film = &ctx->plain.film;
    const struct bytes folder = ctx->path.folder;
    ngx_file_info_t info;
    u_char *path;

    if (conf->plain == NULL || conf->root.len == 0 || ctx->plain.conf != NULL) {
        return NGX_OK;
    }
    path = ngx_pnalloc(r->pool,
                       conf->root.len + folder.len + sizeof("//" PLAIN_FILE));
    if (path == NULL) {
        return NGX_ERROR;
    }
    *ngx_sprintf(path, "%V/%*s/" PLAIN_FILE, &conf->root, folder.len,
                 folder.ptr) = '\0';
    if (ngx_file_info(path, &info) == NGX_FILE_ERROR || !ngx_is_file(&info)) {
        return NGX_OK;
    }
    film->folder = (const char *) conf->plain->folder.data;
    film->path = (const char *) path;
    film->segment_ms = conf->plain->segment_ms;
    kept_identity_set(film, &info);
    ctx->plain.conf = conf->plain;
    return NGX_OK;
}

ngx_int_t
package_plain_index(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx)
{
    return job_step(ctx, false);
}

void
package_plain_forget(ngx_http_package_ctx_t *ctx)
{
    if (ctx->plain.job != NULL) {
        ctx->plain.job->ctx = NULL;
        ctx->plain.job = NULL;
    }
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

static bool
package_plain_is_there(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx,
                       const struct segment *segment)
{
    uint64_t size = segment->map_size + segment_length(segment);
    ngx_str_t name = package_plain_name(r, ctx, segment->number);
    ngx_file_info_t info;

    return name.data != NULL
           && ngx_file_info(name.data, &info) != NGX_FILE_ERROR
           && (uint64_t) ngx_file_size(&info) == size;
}

ngx_int_t
package_plain_segment(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx)
{
    struct package_index *index = ctx->use.index;
    struct segment segment;

    if (ctx->plain.conf == NULL) {
        return NGX_OK;
    }
    if (ngx_time() - index->touched >= PLAIN_TOUCH_S) {
        index->touched = ngx_time();
        kept_touch(ctx->plain.film.folder, ctx->plain.film.identity);
    }
    if (ctx->path.kind != PACKAGE_SEGMENT
        || track_index_segment(&index->track, ctx->path.segment, &segment) != 0
        || package_plain_is_there(r, ctx, &segment)) {
        return NGX_OK;
    }
    return job_step(ctx, true);
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
