/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an answer is encrypted with, by location and content, and the texts
 * that tell players so.
 */
#include "modules/package/package.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "core/err.h"
#include "media/segment_map.h"

/* "film" of "film/1". */
static struct bytes
package_content(const ngx_http_package_ctx_t *ctx)
{
    const struct bytes folder = ctx->path.folder;
    const uint8_t *slash = memchr(folder.ptr, '/', folder.len);

    return bytes_of(folder.ptr,
                    slash ? (size_t) (slash - folder.ptr) : folder.len);
}

static ngx_int_t
package_scheme_read(ngx_http_request_t *r, enum crypt_scheme *out)
{
    const ngx_http_package_loc_conf_t *conf =
        ngx_http_get_module_loc_conf(r, ngx_http_package_module);
    ngx_str_t text = ngx_null_string;

    *out = 0;
    if (conf->encryption == NULL) {
        return NGX_OK;
    }
    if (ngx_http_complex_value(r, conf->encryption, &text) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    const struct bytes name = bytes_of(text.data, text.len);
    if (bytes_equal(name, BYTES_LITERAL("cenc"))) {
        *out = CRYPT_CENC;
    } else if (bytes_equal(name, BYTES_LITERAL("cbcs"))) {
        *out = CRYPT_CBCS;
    } else if (name.len != 0 && !bytes_equal(name, BYTES_LITERAL("off"))) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "package: encryption \"%V\" is none of off, cenc and "
                      "cbcs",
                      &text);
        return NGX_HTTP_INTERNAL_SERVER_ERROR; /* never in the clear */
    }
    return NGX_OK;
}

/* The key of one track, and what else goes into its segments. */
static int
package_track_crypt(ngx_http_request_t *r, const ngx_http_package_ctx_t *ctx,
                    const struct track_info *track, struct crypt *out)
{
    const ngx_http_package_loc_conf_t *conf =
        ngx_http_get_module_loc_conf(r, ngx_http_package_module);
    const struct crypt_key *key =
        conf->keys == NULL
            ? NULL
            : crypt_keys_find(conf->keys, package_content(ctx), track);

    if (key == NULL) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "package: no key for track %s of \"%V\"", track->name,
                      &ctx->use.index->node.str);
        return ERR_NOT_FOUND;
    }
    /* the same wherever the track is served, another for each version */
    const struct bytes folder = ctx->path.folder;
    const uint64_t seed = XXH3_64bits(folder.ptr, folder.len);
    *out = (struct crypt){
        .scheme = ctx->crypt.scheme,
        .key = *key,
        .has_periods = conf->clear_lead != 0,
        .iv_base =
            XXH3_64bits_withSeed(track->name, ngx_strlen(track->name), seed),
    };
    return 0;
}

ngx_int_t
package_crypt_set(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx)
{
    const struct package_index *index = ctx->use.index;
    ngx_int_t rc = package_scheme_read(r, &ctx->crypt.scheme);

    if (rc != NGX_OK || ctx->crypt.scheme == 0 || index->is_asset) {
        return rc;
    }
    if (!track_has_samples(&index->track.info)) {
        ctx->crypt.scheme = 0; /* subtitles and thumbnails stay clear */
        return NGX_OK;
    }
    return package_track_crypt(r, ctx, &index->track.info, &ctx->crypt) == 0
               ? NGX_OK
               : NGX_HTTP_INTERNAL_SERVER_ERROR;
}

static int
package_asset_crypt(ngx_http_request_t *r, const ngx_http_package_ctx_t *ctx,
                    struct bytes clear, const struct crypt_systems *systems,
                    struct asset *asset, struct buffer *out)
{
    struct crypt crypts[ASSET_TRACKS_MAX];
    const struct package_index *index = ctx->use.index;
    int err = asset_decode(bytes_of(index->file, index->file_size), asset);

    for (size_t i = 0; err == 0 && i < asset->track_count; i++) {
        crypts[i].scheme = 0;
        if (track_has_samples(&asset->tracks[i])) {
            err = package_track_crypt(r, ctx, &asset->tracks[i], &crypts[i]);
        }
    }
    if (err == 0 && ctx->path.kind == PACKAGE_MPD) {
        crypt_mpd_write(clear, asset, crypts, systems, out);
    } else if (err == 0) {
        crypt_multivariant_write(clear, crypts, asset->track_count, systems,
                                 out);
    }
    ngx_explicit_memzero(crypts, sizeof crypts);
    return err != 0 ? err : out->err;
}

int
package_crypt_text(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx,
                   struct bytes clear, struct buffer *out)
{
    static const struct crypt_systems none;
    const ngx_http_package_loc_conf_t *conf =
        ngx_http_get_module_loc_conf(r, ngx_http_package_module);
    const struct crypt_systems *systems =
        conf->systems == NULL ? &none : conf->systems;
    struct buffer pssh;
    struct asset *asset;
    int err;

    switch (ctx->path.kind) {
    case PACKAGE_MULTIVARIANT:
    case PACKAGE_MPD:
        asset = ngx_palloc(r->pool, sizeof *asset);
        if (asset == NULL) {
            return ERR_MEMORY;
        }
        err = package_asset_crypt(r, ctx, clear, systems, asset, out);
        ngx_pfree(r->pool, asset);
        return err;
    case PACKAGE_INIT:
        buffer_init(&pssh, 16u << 10);
        crypt_pssh_write(&ctx->crypt, systems, &pssh);
        cenc_init_write(&ctx->use.index->track.info, &ctx->crypt,
                        buffer_bytes(&pssh), out);
        err = pssh.err;
        buffer_fini(&pssh);
        return err != 0 ? err : out->err;
    case PACKAGE_PLAYLIST:
    case PACKAGE_IFRAMES:
    case PACKAGE_SEGMENT:
    case PACKAGE_TEXT_SEGMENT:
    case PACKAGE_TEXT:
    case PACKAGE_IMAGE:
        break;
    }
    crypt_playlist_write(clear, &ctx->crypt, systems, out);
    return out->err;
}

int
package_crypt_open(ngx_http_package_ctx_t *ctx, const struct segment *segment,
                   struct bytes head)
{
    const struct bytes box = bytes_of(head.ptr, segment->map_size);
    struct segment_map map;
    size_t size;
    int err = segment_map_memory_size(box, &size);

    if (err != 0) {
        return err;
    }
    void *memory = ngx_alloc(size ? size : 1, ngx_cycle->log);
    if (memory == NULL) {
        return ERR_MEMORY;
    }
    err = segment_map_decode(box, segment, memory, &map);
    if (err == 0) {
        const struct cenc_segment clear = {
            .info = &ctx->use.index->track.info,
            .header =
                bytes_of(head.ptr + segment->map_size, segment->header_size),
            .number = segment->number,
            .map = &map,
        };

        err =
            cenc_transform_open(&clear, &ctx->crypt, &ctx->transform.transform);
    }
    ngx_free(memory);
    return err;
}

/* ---- configuration ---- */

static char *
package_keys_refuse(ngx_conf_t *cf, ngx_str_t *name, ngx_err_t error,
                    unsigned line, const char *reason)
{
    ngx_conf_log_error(NGX_LOG_EMERG, cf, error,
                       "\"package_keys\": read \"%V\" failed (line %uD: %s)",
                       name, (uint32_t) line, reason);
    return NGX_CONF_ERROR;
}

static void
package_keys_cleanup(void *context)
{
    crypt_keys_fini(context);
}

static char *
package_keys_read(ngx_conf_t *cf, ngx_str_t *name, ngx_fd_t fd,
                  struct crypt_keys *out)
{
    ngx_file_info_t info;
    unsigned line = 0;

    if (ngx_fd_info(fd, &info) == NGX_FILE_ERROR || !ngx_is_file(&info)
        || ngx_file_size(&info) > (off_t) CRYPT_KEYS_SIZE_MAX) {
        return package_keys_refuse(cf, name, 0, 0, "not a file of keys");
    }
    size_t size = (size_t) ngx_file_size(&info);
    u_char *text = ngx_palloc(cf->pool, size + 1); /* names point into it */
    if (text == NULL || ngx_read_fd(fd, text, size) != (ssize_t) size) {
        return package_keys_refuse(cf, name, ngx_errno, 0, "cannot be read");
    }
    int err = crypt_keys_parse(bytes_of(text, size), out, &line);
    return err == 0 ? NGX_CONF_OK
                    : package_keys_refuse(cf, name, 0, line, err_text(err));
}

char *
package_keys_directive(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_package_loc_conf_t *plcf = conf;
    ngx_str_t *value = cf->args->elts;
    ngx_str_t name = value[1];
    ngx_pool_cleanup_t *cleanup =
        ngx_pool_cleanup_add(cf->pool, sizeof *plcf->keys);

    if (plcf->keys != NULL) {
        return "is duplicate";
    }
    if (cleanup == NULL || ngx_conf_full_name(cf->cycle, &name, 1) != NGX_OK) {
        return NGX_CONF_ERROR;
    }
    plcf->keys = cleanup->data;
    ngx_memzero(plcf->keys, sizeof *plcf->keys);
    cleanup->handler = package_keys_cleanup;
    ngx_fd_t fd = ngx_open_file(name.data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);
    if (fd == NGX_INVALID_FILE) {
        return package_keys_refuse(cf, &name, ngx_errno, 0, "cannot be opened");
    }
    char *rc = package_keys_read(cf, &name, fd, plcf->keys);
    (void) ngx_close_file(fd);
    return rc;
}

char *
package_drm_directive(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    static const struct bytes clearkey = {(const uint8_t *) "clearkey=", 9};
    ngx_http_package_loc_conf_t *plcf = conf;
    ngx_str_t *value = cf->args->elts;

    if (plcf->systems != NULL) {
        return "is duplicate";
    }
    plcf->systems = ngx_pcalloc(cf->pool, sizeof *plcf->systems);
    if (plcf->systems == NULL) {
        return NGX_CONF_ERROR;
    }
    for (ngx_uint_t i = 1; i < cf->args->nelts; i++) {
        const struct bytes name = bytes_of(value[i].data, value[i].len);

        if (bytes_equal(name, BYTES_LITERAL("widevine"))) {
            plcf->systems->has_widevine = true;
        } else if (bytes_equal(name, BYTES_LITERAL("playready"))) {
            plcf->systems->has_playready = true;
        } else if (bytes_equal(name, BYTES_LITERAL("fairplay"))) {
            plcf->systems->has_fairplay = true;
        } else if (bytes_equal(name, BYTES_LITERAL("clearkey"))) {
            plcf->systems->has_clearkey = true;
        } else if (name.len > clearkey.len
                   && bytes_equal(bytes_of(name.ptr, clearkey.len), clearkey)) {
            plcf->systems->has_clearkey = true;
            plcf->systems->clearkey_url =
                bytes_of(name.ptr + clearkey.len, name.len - clearkey.len);
        } else {
            return "has an unknown name";
        }
    }
    return NGX_CONF_OK;
}
