/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The content handler for HLS and DASH: playlists and MPDs, init segments and
 * segments of CMAF, WebVTT or transport streams, and sheets of thumbnails, from
 * the stored form that ingest writes (asset.idx, <track>.idx and the track's
 * file).
 *
 *   package $path;             "<content>/<version>/<...>"; content handler
 *   package_root folder;       source: files folder/<content>/<version>/<file>
 *   package_fill /prefix/ [/again/];
 *                              source: slices through an internal location,
 *                              /prefix/<content>/<version>/<file>?slice=<n>;
 *                              the second is for what broke off by the first,
 *                              and had better use no disk
 *   package_plain folder [size=10g] [segment=4s];
 *                              a film.mp4 in the place of asset.idx is served
 *                              as if ingested in segments of that length; what
 *                              is made for that is kept in the folder, up to
 *                              that size
 *   package_slice size;        of a slice; 1m
 *   package_index_memory size; index files held in a worker; 64m
 *   package_pathways $text;    of a multivariant playlist or an MPD, for
 * content steering: "<server-uri> <name> <base>[?<query>] ...", see
 * media/pathways.h; empty: none
 *   package_trick_play $text;  1: an MPD has sets of key frames alone, which
 *                              other tools than players take for more tracks
 *
 *   package_quality $text;     sd or hd: manifests leave out the pictures above,
 *                              see media/crypt/keys.h, where that leaves any
 *
 *   package_encryption $text;  off, cenc, cbcs or, of transport streams,
 *                              aes-128; off
 *   package_keys file;         see media/crypt/keys.h; read with the
 *                              configuration
 *   package_drm name ...;      which players are told of the keys: widevine,
 *                              playready[=licence URL], fairplay,
 *                              clearkey[=licence URL]; playready-ui=URL and
 *                              playready-service=DS_ID are more of its header
 *   package_clear_lead n;      segments at the start that are not encrypted; 0
 *   package_key_period n;      segments until the key changes; 0: it never does
 *   package_key_server /prefix/ [valid=1h];
 *                              asked for keys instead of a file, through an
 *                              internal location; what it gives of them for
 *                              package_drm's systems players are told as it is;
 *                              see docs/runbook/keys.md
 *   package_key_certificate certificate key;
 *                              files in PEM: the key server is to encrypt its
 *                              keys to the certificate, and none in the clear
 *                              is taken
 *   package_key_uri $text;     where players of aes-128 get the key: a URI,
 *                              absolute or relative to the playlist, another
 *                              for each key
 *   package_identity $text;    1: so do those of cenc and cbcs by HLS, whose
 *                              playlists tell them of no license system
 *
 *   $package_slice_range       in the fill location: "bytes=0-1048575"
 *   $package_kid               of the track that is encrypted: its key's name,
 *                              32 digits of hex
 *   $package_kind              multivariant, mpd, playlist, iframes, init,
 *                              segment, text or image
 *
 * Manifests take the arguments start and end, in seconds of the film: they are
 * then of the segments around those times, see media/clip.h.
 *
 * A segment is one range of the track file. From a folder it leaves by
 * sendfile, as nginx's static files do; through the fill location it leaves as
 * the cache holds it, slice by slice.
 */
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "core/err.h"
#include "modules/package/package.h"

#define PACKAGE_SLICE_SIZE_MIN 1024u

static char *ngx_http_package(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ngx_http_package_source(ngx_conf_t *cf, ngx_command_t *cmd,
                                     void *conf);
static ngx_int_t ngx_http_package_variables(ngx_conf_t *cf);
static ngx_int_t ngx_http_package_postconfiguration(ngx_conf_t *cf);
static void *ngx_http_package_create_main_conf(ngx_conf_t *cf);
static char *ngx_http_package_init_main_conf(ngx_conf_t *cf, void *conf);
static void *ngx_http_package_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_package_merge_loc_conf(ngx_conf_t *cf, void *parent,
                                             void *child);
static ngx_int_t ngx_http_package_init_process(ngx_cycle_t *cycle);

/* clang-format off */
static ngx_command_t ngx_http_package_commands[] = {
    { ngx_string("package"),
      NGX_HTTP_LOC_CONF | NGX_CONF_TAKE1,
      ngx_http_package,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("package_root"),
      NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF
          | NGX_CONF_TAKE1,
      ngx_http_package_source,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_package_loc_conf_t, root),
      NULL },

    { ngx_string("package_fill"),
      NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF
          | NGX_CONF_TAKE12,
      ngx_http_package_source,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_package_loc_conf_t, fill),
      NULL },

    { ngx_string("package_slice"),
      NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF
          | NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_package_loc_conf_t, slice_size),
      NULL },

    { ngx_string("package_plain"),
      NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF
          | NGX_CONF_TAKE123,
      package_plain_directive,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("package_pathways"),
      NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF
          | NGX_CONF_TAKE1,
      ngx_http_set_complex_value_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_package_loc_conf_t, pathways),
      NULL },

    { ngx_string("package_trick_play"),
      NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF
          | NGX_CONF_TAKE1,
      ngx_http_set_complex_value_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_package_loc_conf_t, trick_play),
      NULL },

    { ngx_string("package_encryption"),
      NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF
          | NGX_CONF_TAKE1,
      ngx_http_set_complex_value_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_package_loc_conf_t, encryption),
      NULL },

    { ngx_string("package_keys"),
      NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF
          | NGX_CONF_TAKE1,
      package_keys_directive,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("package_key_server"),
      NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF
          | NGX_CONF_TAKE12,
      package_key_server_directive,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("package_key_certificate"),
      NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF
          | NGX_CONF_TAKE2,
      package_key_certificate_directive,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("package_drm"),
      NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF
          | NGX_CONF_1MORE,
      package_drm_directive,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("package_clear_lead"),
      NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF
          | NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_package_loc_conf_t, clear_lead),
      NULL },

    { ngx_string("package_key_period"),
      NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF
          | NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_package_loc_conf_t, key_period),
      NULL },

    { ngx_string("package_key_uri"),
      NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF
          | NGX_CONF_TAKE1,
      ngx_http_set_complex_value_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_package_loc_conf_t, key_uri),
      NULL },

    { ngx_string("package_quality"),
      NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF
          | NGX_CONF_TAKE1,
      ngx_http_set_complex_value_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_package_loc_conf_t, quality),
      NULL },

    { ngx_string("package_identity"),
      NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF
          | NGX_CONF_TAKE1,
      ngx_http_set_complex_value_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_package_loc_conf_t, identity),
      NULL },

    { ngx_string("package_index_memory"),
      NGX_HTTP_MAIN_CONF | NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_package_main_conf_t, index_memory),
      NULL },

    ngx_null_command
};
/* clang-format on */

static ngx_http_module_t ngx_http_package_module_ctx = {
    .preconfiguration = ngx_http_package_variables,
    .postconfiguration = ngx_http_package_postconfiguration,
    .create_main_conf = ngx_http_package_create_main_conf,
    .init_main_conf = ngx_http_package_init_main_conf,
    .create_loc_conf = ngx_http_package_create_loc_conf,
    .merge_loc_conf = ngx_http_package_merge_loc_conf,
};

ngx_module_t ngx_http_package_module = {
    NGX_MODULE_V1,
    &ngx_http_package_module_ctx,
    ngx_http_package_commands,
    NGX_HTTP_MODULE,
    NULL, /* init master */
    NULL, /* init module */
    ngx_http_package_init_process,
    NULL, /* init thread */
    NULL, /* exit thread */
    NULL, /* exit process */
    NULL, /* exit master */
    NGX_MODULE_V1_PADDING,
};

/* ---- the request ---- */

void
package_track_turn(ngx_http_package_ctx_t *ctx, unsigned number)
{
    const struct bytes track = ctx->path.track;
    const struct package_use use = ctx->use;

    if (ctx->turn != number) {
        ctx->path.track = ctx->path.muxed;
        ctx->path.muxed = track;
        ctx->use = ctx->muxed;
        ctx->muxed = use;
        ctx->turn = number;
    }
}

/* Those of two tracks one after the other. */
static ngx_int_t
package_indexes_step(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx)
{
    ngx_int_t rc = package_index_step(r, ctx);

    if (rc == NGX_OK && ctx->path.muxed.len != 0 && ctx->turn == 0) {
        package_track_turn(ctx, 1);
        rc = package_index_step(r, ctx);
    }
    if (rc == NGX_OK) {
        package_track_turn(ctx, 0);
    }
    return rc;
}

/* How large the segments of a part of a film are, the indexes of its tracks
 * say: one after the other comes where a second track has its place. */
static ngx_int_t
package_rates_step(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx)
{
    if (!ctx->is_clipped || !ctx->use.index->is_asset) {
        return NGX_OK;
    }
    if (ctx->rates == NULL) {
        ctx->rates = ngx_palloc(r->pool, sizeof *ctx->rates);
        if (ctx->rates == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
        /* where it fails there are none, and the answer fails, too */
        ctx->rates->count = 0;
        (void) package_index_rates(ctx->use.index, &ctx->clip, ctx->rates);
    }
    for (; ctx->rate_count < ctx->rates->count; ctx->rate_count++) {
        ctx->path.muxed = bytes_of_text(ctx->rates->list[ctx->rate_count].name);
        package_track_turn(ctx, 1);
        ngx_int_t rc = package_index_step(r, ctx);
        if (rc != NGX_OK) {
            return rc;
        }
        clip_rates_find(ctx->rates, ctx->rate_count, &ctx->use.index->track);
        package_index_release(&ctx->use);
        package_track_turn(ctx, 0);
    }
    ctx->path.muxed.len = 0;
    return NGX_OK;
}

static ngx_int_t
package_begin(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx)
{
    ngx_int_t rc = package_indexes_step(r, ctx);

    if (rc == NGX_OK) {
        rc = package_rates_step(r, ctx);
    }
    if (rc == NGX_OK) {
        rc = package_plain_segment(r, ctx);
    }
    if (rc == NGX_OK) {
        rc = package_crypt_set(r, ctx);
    }
    if (rc != NGX_OK) {
        return rc;
    }
    ctx->is_answering = true;
    return package_answer(r, ctx);
}

static ngx_int_t
package_step(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx)
{
    ngx_int_t rc = ctx->is_answering ? package_answer_resume(r, ctx)
                                     : package_begin(r, ctx);

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) { /* whose page goes as it is */
        package_transform_close(&ctx->transform);
        if (rc != NGX_HTTP_RANGE_NOT_SATISFIABLE
            && r->headers_out.content_range != NULL) {
            r->headers_out.content_range->hash = 0;
            r->headers_out.content_range = NULL;
        }
    }
    return rc;
}

static void
package_resume(ngx_http_request_t *r)
{
    ngx_http_package_ctx_t *ctx =
        ngx_http_get_module_ctx(r, ngx_http_package_module);
    ngx_int_t rc;

    /* the viewer's line may wake the request before what it waited for does:
     * once is enough, and a second time would be after its end */
    if (ctx->use.ready.posted) {
        ngx_delete_posted_event(&ctx->use.ready);
    }
    if (ctx->keys.ready.posted) {
        ngx_delete_posted_event(&ctx->keys.ready);
    }
    rc = package_step(r, ctx);
    if (rc != NGX_DONE) {
        ngx_http_finalize_request(r, rc);
    }
}

/* What this request waited for is there, or is not going to be. */
static void
package_ready(ngx_event_t *ev)
{
    ngx_http_request_t *r = ev->data;
    ngx_connection_t *c = r->connection;

    ngx_http_set_log_request(c->log, r);
    package_resume(r);
    ngx_http_run_posted_requests(c);
}

static void
package_cleanup(void *context)
{
    ngx_http_package_ctx_t *ctx = context;

    package_plain_forget(ctx);
    package_index_release(&ctx->use);
    package_keys_release(&ctx->keys);
    package_index_release(&ctx->muxed);
    package_transform_close(&ctx->transform);
    ngx_explicit_memzero(&ctx->crypt, sizeof ctx->crypt);
    if (ctx->fill.memory != ctx->head) {
        ngx_free(ctx->fill.memory);
    }
    ngx_free(ctx->head);
    ctx->fill.memory = ctx->head = NULL;
}

static ngx_http_package_ctx_t *
package_ctx_new(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t *cleanup =
        ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_package_ctx_t));
    ngx_http_package_ctx_t *ctx;

    if (cleanup == NULL) {
        return NULL;
    }
    ctx = cleanup->data;
    ngx_memzero(ctx, sizeof *ctx);
    ctx->use.ready.handler = package_ready;
    ctx->use.ready.data = r;
    ctx->use.ready.log = r->connection->log;
    ctx->keys.ready = ctx->use.ready;
    ctx->muxed = ctx->use;
    cleanup->handler = package_cleanup;
    ngx_http_set_ctx(r, ctx, ngx_http_package_module);
    return ctx;
}

/* A part of the film is asked for by manifests; segments know of none. */
static ngx_int_t
package_clip_read(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx)
{
    int err;

    switch (ctx->path.kind) {
    case PACKAGE_MULTIVARIANT:
    case PACKAGE_MPD:
    case PACKAGE_PLAYLIST:
    case PACKAGE_IFRAMES:
    case PACKAGE_TS_MULTIVARIANT:
    case PACKAGE_TS_PLAYLIST:
        break;
    case PACKAGE_INIT:
    case PACKAGE_SEGMENT:
    case PACKAGE_KEY_SEGMENT:
    case PACKAGE_TEXT_SEGMENT:
    case PACKAGE_TEXT:
    case PACKAGE_TEXT_PART:
    case PACKAGE_IMAGE:
    case PACKAGE_TS_SEGMENT:
    case PACKAGE_TS_TEXT_SEGMENT:
        return NGX_OK;
    }
    err = clip_parse(bytes_of(r->args.data, r->args.len), &ctx->clip);
    ctx->is_clipped = err == 0;
    if (err != ERR_INVALID) {
        return NGX_OK;
    }
    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "package: start and end of \"%V\" are no times in seconds, "
                  "or are the wrong way round",
                  &r->args);
    return NGX_HTTP_BAD_REQUEST;
}

static ngx_int_t
ngx_http_package_handler(ngx_http_request_t *r)
{
    ngx_http_package_loc_conf_t *conf =
        ngx_http_get_module_loc_conf(r, ngx_http_package_module);
    ngx_http_package_ctx_t *ctx;
    ngx_str_t path;
    ngx_int_t rc;

    if (!(r->method & (NGX_HTTP_GET | NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }
    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }
    if ((conf->fill.len != 0 || conf->key_server.len != 0) && r != r->main) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "package: package_fill and package_key_server cannot "
                      "serve a subrequest");
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    ctx = package_ctx_new(r);
    if (ctx == NULL || ngx_http_complex_value(r, conf->path, &path) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    if (package_path_parse(bytes_of(path.data, path.len), &ctx->path) != 0) {
        ngx_http_set_ctx(r, NULL, ngx_http_package_module);
        return NGX_HTTP_NOT_FOUND;
    }
    rc = package_clip_read(r, ctx);
    if (rc != NGX_OK) {
        return rc;
    }
    rc = package_step(r, ctx);
    if (rc == NGX_DONE) {
        r->read_event_handler = ngx_http_test_reading;
        r->write_event_handler = package_resume;
        r->main->count++;
    }
    return rc;
}

struct package_fill *
package_fill_of(ngx_http_request_t *r)
{
    ngx_http_package_ctx_t *ctx;

    if (r == r->main) {
        return NULL;
    }
    ctx = ngx_http_get_module_ctx(r->parent, ngx_http_package_module);
    return ctx != NULL && ctx->fill.subrequest == r ? &ctx->fill : NULL;
}

struct package_keys_use *
package_keys_of(ngx_http_request_t *r)
{
    ngx_http_package_ctx_t *ctx;

    if (r == r->main) {
        return NULL;
    }
    ctx = ngx_http_get_module_ctx(r->parent, ngx_http_package_module);
    return ctx != NULL && ctx->keys.subrequest == r ? &ctx->keys : NULL;
}

struct package_transform *
package_transform_of(ngx_http_request_t *r)
{
    ngx_http_package_ctx_t *ctx =
        ngx_http_get_module_ctx(r, ngx_http_package_module);

    return ctx != NULL && ctx->transform.transform != NULL
                   && ctx->fill.request == NULL
               ? &ctx->transform
               : NULL;
}

/* ---- variables ---- */

static ngx_int_t
package_variable_set(ngx_http_variable_value_t *v, ngx_str_t text)
{
    v->data = text.data;
    v->len = (unsigned) text.len;
    v->valid = text.data != NULL;
    v->not_found = text.data == NULL;
    v->no_cacheable = 1; /* subrequests share the request's variables */
    return NGX_OK;
}

/* Worked out from the subrequest's own argument, so that it is right in what
 * nginx derives from it, too (an update of the cache in the background). */
static ngx_int_t
package_slice_range_variable(ngx_http_request_t *r,
                             ngx_http_variable_value_t *v, uintptr_t unused)
{
    const ngx_http_package_loc_conf_t *conf =
        ngx_http_get_module_loc_conf(r->main, ngx_http_package_module);
    ngx_str_t range = ngx_null_string, slice;
    off_t number;

    if (r == r->main || conf->fill.len == 0
        || ngx_http_arg(r, (u_char *) "slice", 5, &slice) != NGX_OK
        || (number = ngx_atoof(slice.data, slice.len)) == NGX_ERROR) {
        return package_variable_set(v, range);
    }
    range.data = ngx_pnalloc(r->pool, sizeof("bytes=-") + 2 * NGX_INT64_LEN);
    if (range.data == NULL) {
        return NGX_ERROR;
    }
    uint64_t start = (uint64_t) number * conf->slice_size;
    range.len = (size_t) (ngx_sprintf(range.data, "bytes=%uL-%uL", start,
                                      start + conf->slice_size - 1)
                          - range.data);
    return package_variable_set(v, range);
}

static ngx_int_t
package_kind_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
                      uintptr_t unused)
{
    const ngx_http_package_ctx_t *ctx =
        ngx_http_get_module_ctx(r->main, ngx_http_package_module);
    ngx_str_t text = ngx_null_string;

    if (ctx != NULL) {
        const char *name = package_kind_name(ctx->path.kind);

        text.data = (u_char *) (uintptr_t) name;
        text.len = ngx_strlen(name);
    }
    return package_variable_set(v, text);
}

static ngx_int_t
package_kid_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
                     uintptr_t unused)
{
    const ngx_http_package_ctx_t *ctx =
        ngx_http_get_module_ctx(r->main, ngx_http_package_module);
    ngx_str_t text = ngx_null_string;

    if (ctx != NULL && ctx->crypt.scheme != 0 && ctx->path.track.len != 0) {
        text.len = 2 * sizeof ctx->crypt.key.kid;
        text.data = ngx_pnalloc(r->pool, text.len);
        if (text.data == NULL) {
            return NGX_ERROR;
        }
        ngx_hex_dump(text.data, (u_char *) (uintptr_t) ctx->crypt.key.kid,
                     sizeof ctx->crypt.key.kid);
    }
    return package_variable_set(v, text);
}

static ngx_int_t
ngx_http_package_variables(ngx_conf_t *cf)
{
    static const struct {
        ngx_str_t name;
        ngx_http_get_variable_pt get;
    } variables[] = {
        {ngx_string("package_slice_range"), package_slice_range_variable},
        {ngx_string("package_kind"), package_kind_variable},
        {ngx_string("package_kid"), package_kid_variable},
    };

    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
        ngx_str_t name = variables[i].name;
        ngx_http_variable_t *variable =
            ngx_http_add_variable(cf, &name, NGX_HTTP_VAR_NOCACHEABLE);

        if (variable == NULL) {
            return NGX_ERROR;
        }
        variable->get_handler = variables[i].get;
    }
    return NGX_OK;
}

/* ---- configuration ---- */

static char *
package_conf_refuse(ngx_conf_t *cf, ngx_command_t *cmd, const char *reason)
{
    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"%V\" %s", &cmd->name, reason);
    return NGX_CONF_ERROR;
}

static char *
ngx_http_package(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_package_loc_conf_t *plcf = conf;
    ngx_http_core_loc_conf_t *clcf =
        ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    ngx_str_t *value = cf->args->elts;
    ngx_http_compile_complex_value_t compile = {.cf = cf, .value = &value[1]};

    if (plcf->path != NULL) {
        return package_conf_refuse(cf, cmd, "is duplicate");
    }
    plcf->path = ngx_pcalloc(cf->pool, sizeof *plcf->path);
    if (plcf->path == NULL) {
        return NGX_CONF_ERROR;
    }
    compile.complex_value = plcf->path;
    if (ngx_http_compile_complex_value(&compile) != NGX_OK) {
        return NGX_CONF_ERROR;
    }
    clcf->handler = ngx_http_package_handler;
    return NGX_CONF_OK;
}

static bool
is_location(ngx_str_t name)
{
    return name.len != 0 && name.data[0] == '/'
           && name.data[name.len - 1] == '/';
}

/* package_root or package_fill: one source a level. */
static char *
ngx_http_package_source(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_package_loc_conf_t *plcf = conf;
    bool is_fill = cmd->offset == offsetof(ngx_http_package_loc_conf_t, fill);
    ngx_str_t *value = cf->args->elts;
    ngx_str_t name = value[1];

    if (plcf->root.len != 0 || plcf->fill.len != 0) {
        return package_conf_refuse(cf, cmd,
                                   "is a second source: one of "
                                   "package_root and package_fill");
    }
    if (name.len == 0) {
        return package_conf_refuse(cf, cmd, "has an empty value");
    }
    if (is_fill) {
        if (!is_location(name)
            || (cf->args->nelts > 2 && !is_location(value[2]))) {
            return package_conf_refuse(cf, cmd,
                                       "must start and end with a slash");
        }
        plcf->fill = name;
        if (cf->args->nelts > 2) {
            plcf->again = value[2];
        }
        return NGX_CONF_OK;
    }
    if (ngx_conf_full_name(cf->cycle, &name, 0) != NGX_OK) {
        return NGX_CONF_ERROR;
    }
    while (name.len > 1 && name.data[name.len - 1] == '/') {
        name.len--;
    }
    plcf->root = name;
    return NGX_CONF_OK;
}

static ngx_int_t
ngx_http_package_postconfiguration(ngx_conf_t *cf)
{
    package_fill_filters();
    package_keys_filters();
    return NGX_OK;
}

static void *
ngx_http_package_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_package_main_conf_t *conf = ngx_pcalloc(cf->pool, sizeof *conf);

    if (conf != NULL) {
        conf->index_memory = NGX_CONF_UNSET_SIZE;
    }
    return conf;
}

static char *
ngx_http_package_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_http_package_main_conf_t *pmcf = conf;

    ngx_conf_init_size_value(pmcf->index_memory, 64u << 20);
    return NGX_CONF_OK;
}

static void *
ngx_http_package_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_package_loc_conf_t *conf = ngx_pcalloc(cf->pool, sizeof *conf);

    if (conf != NULL) {
        conf->slice_size = NGX_CONF_UNSET_SIZE;
        conf->clear_lead = NGX_CONF_UNSET_UINT;
        conf->key_period = NGX_CONF_UNSET_UINT;
    }
    return conf;
}

static char *
ngx_http_package_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_package_loc_conf_t *prev = parent;
    ngx_http_package_loc_conf_t *conf = child;
    const ngx_http_core_loc_conf_t *clcf =
        ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->noname && conf->path == NULL) { /* an `if` keeps the handler */
        conf->path = prev->path;
    }
    if (conf->root.len == 0 && conf->fill.len == 0) {
        conf->root = prev->root;
        conf->fill = prev->fill;
        conf->again = prev->again;
    }
    if (conf->plain == NULL) {
        conf->plain = prev->plain;
    }
    if (conf->pathways == NULL) {
        conf->pathways = prev->pathways;
    }
    if (conf->trick_play == NULL) {
        conf->trick_play = prev->trick_play;
    }
    if (conf->encryption == NULL) {
        conf->encryption = prev->encryption;
    }
    if (conf->keys == NULL && conf->key_server.len == 0) {
        conf->keys = prev->keys;
        conf->key_server = prev->key_server;
        conf->key_valid = prev->key_valid;
    }
    if (conf->key_recipient == NULL) {
        conf->key_recipient = prev->key_recipient;
    }
    if (conf->systems == NULL) {
        conf->systems = prev->systems;
    }
    if (conf->key_uri == NULL) {
        conf->key_uri = prev->key_uri;
    }
    if (conf->quality == NULL) {
        conf->quality = prev->quality;
    }
    if (conf->identity == NULL) {
        conf->identity = prev->identity;
    }
    ngx_conf_merge_uint_value(conf->clear_lead, prev->clear_lead, 0);
    ngx_conf_merge_uint_value(conf->key_period, prev->key_period, 0);
    ngx_conf_merge_size_value(conf->slice_size, prev->slice_size, 1u << 20);
    if (conf->slice_size < PACKAGE_SLICE_SIZE_MIN) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"package_slice\" must be at least %uD",
                           (uint32_t) PACKAGE_SLICE_SIZE_MIN);
        return NGX_CONF_ERROR;
    }
    if (conf->path != NULL && conf->root.len == 0 && conf->fill.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"package\" needs a \"package_root\" or a "
                           "\"package_fill\"");
        return NGX_CONF_ERROR;
    }
    return NGX_CONF_OK;
}

static ngx_int_t
ngx_http_package_init_process(ngx_cycle_t *cycle)
{
    ngx_http_package_main_conf_t *conf =
        ngx_http_cycle_get_module_main_conf(cycle, ngx_http_package_module);

    if (conf != NULL) {
        package_index_init(conf->index_memory);
        package_keys_init();
        package_seal_init(cycle->log);
        return package_window_init(cycle);
    }
    return NGX_OK;
}
