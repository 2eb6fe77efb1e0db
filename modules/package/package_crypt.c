/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an answer is encrypted with, by location and content, and the texts
 * that tell players so.
 */
#include "modules/package/package.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "core/err.h"
#include "media/hls/ts_playlist.h"
#include "media/segment_map.h"

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
    } else if (bytes_equal(name, BYTES_LITERAL("aes-128"))) {
        *out = CRYPT_AES128;
    } else if (name.len != 0 && !bytes_equal(name, BYTES_LITERAL("off"))) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "package: encryption \"%V\" is none of off, cenc, "
                      "cbcs and aes-128",
                      &text);
        return NGX_HTTP_INTERNAL_SERVER_ERROR; /* never in the clear */
    }
    return NGX_OK;
}

static const struct crypt_systems *
package_systems(ngx_http_request_t *r)
{
    static const struct crypt_systems none;
    const ngx_http_package_loc_conf_t *conf =
        ngx_http_get_module_loc_conf(r, ngx_http_package_module);

    return conf->systems == NULL ? &none : conf->systems;
}

/* A key, and what its server gives of it for players, which may be NULL. */
struct package_key {
    const struct crypt_key *key;
    const struct crypt_signals *signals;
};

static int
package_key_find(ngx_http_request_t *r, const ngx_http_package_ctx_t *ctx,
                 const struct track_info *track, uint32_t period,
                 struct package_key *out)
{
    const ngx_http_package_loc_conf_t *conf =
        ngx_http_get_module_loc_conf(r, ngx_http_package_module);
    const struct crypt_key_name name = {
        .folder = ctx->path.folder,
        .class = crypt_class_of(track),
        .period = period,
    };
    struct package_key found = {
        .key = conf->keys != NULL ? crypt_keys_find(conf->keys, &name)
                                  : package_keys_find(&ctx->keys, &name),
        .signals = package_keys_signals(&ctx->keys, &name),
    };

    if (found.key == NULL) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "package: no key for track %s of \"%V\" in period %uD",
                      track->name, &ctx->use.index->name, period);
        return ERR_NOT_FOUND;
    }
    *out = found;
    return 0;
}

static uint64_t
package_period_count(const ngx_http_package_loc_conf_t *conf,
                     const struct track_info *track)
{
    return conf->key_period == 0 || track->segment_count == 0
               ? 1
               : (track->segment_count - 1) / conf->key_period + 1;
}

/* 0 or ERR_*; the caller frees with ngx_free either way. */
static int
package_asset_open(const ngx_http_package_ctx_t *ctx, struct asset **out)
{
    const struct package_index *index = ctx->use.index;

    *out = ngx_alloc(sizeof **out, ngx_cycle->log);
    return *out == NULL
               ? ERR_MEMORY
               : asset_decode(bytes_of(index->file, index->file_size), *out);
}

/* Of the longest track: all of them have one asking. */
static int
package_asset_periods(ngx_http_request_t *r, const ngx_http_package_ctx_t *ctx,
                      uint64_t *out)
{
    const ngx_http_package_loc_conf_t *conf =
        ngx_http_get_module_loc_conf(r, ngx_http_package_module);
    struct asset *asset;
    int err = package_asset_open(ctx, &asset);

    for (size_t i = 0; err == 0 && i < asset->track_count; i++) {
        uint64_t count = package_period_count(conf, &asset->tracks[i]);

        *out = ngx_max(*out, count);
    }
    ngx_free(asset);
    return err;
}

/* Tracks of one film may differ by a segment: a few periods more are asked for,
 * so that one asking does for all. */
#define PERIODS_STEP 16

static ngx_int_t
package_keys_get(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx)
{
    ngx_http_package_loc_conf_t *conf =
        ngx_http_get_module_loc_conf(r, ngx_http_package_module);
    const struct package_index *index = ctx->use.index;
    struct cpix_request what = {
        .folder = ctx->path.folder,
        .scheme = ctx->crypt.scheme,
        .period_count = 1,
        .has_periods = conf->key_period != 0,
        .systems = package_systems(r),
        .recipient = conf->key_recipient,
    };
    uint64_t count = 1;

    if (what.has_periods && !index->is_asset) {
        count = package_period_count(conf, &index->track.info);
    } else if (what.has_periods && package_asset_periods(r, ctx, &count) != 0) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    if (what.has_periods) {
        count = (count + PERIODS_STEP - 1) / PERIODS_STEP * PERIODS_STEP;
        what.period_count = (uint32_t) ngx_min(count, CRYPT_PERIODS_MAX);
    }
    return package_keys_step(r, &ctx->keys, &conf->key_server, conf->key_valid,
                             &what);
}

/* What else goes into a track's segments than the key. */
static struct crypt
package_track_crypt(ngx_http_request_t *r, const ngx_http_package_ctx_t *ctx,
                    const struct track_info *track, const struct crypt_key *key)
{
    const ngx_http_package_loc_conf_t *conf =
        ngx_http_get_module_loc_conf(r, ngx_http_package_module);

    /* the same wherever the track is served, another for each version, also
     * where a film is replaced: an IV may not be used twice with a key */
    const struct bytes folder = ctx->path.folder;
    const uint64_t seed =
        XXH3_64bits_withSeed(folder.ptr, folder.len, ctx->use.index->hash);
    return (struct crypt){
        .scheme = ctx->crypt.scheme,
        .key = *key,
        .has_periods = conf->clear_lead != 0 || conf->key_period != 0,
        .iv_base =
            XXH3_64bits_withSeed(track->name, ngx_strlen(track->name), seed),
    };
}

/* What players are told of it; the lists lie in the request's pool. */
static int
package_track_tell(ngx_http_request_t *r, const ngx_http_package_ctx_t *ctx,
                   const struct track_info *track, struct crypt_track *out)
{
    const ngx_http_package_loc_conf_t *conf =
        ngx_http_get_module_loc_conf(r, ngx_http_package_module);
    uint64_t count = package_period_count(conf, track);

    *out = (struct crypt_track){0};
    if (!track_has_samples(track)) { /* subtitles and thumbnails stay clear */
        return 0;
    }
    if (count > CRYPT_PERIODS_MAX) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "package: track %s of \"%V\" has %uL periods of keys, "
                      "over %uD",
                      track->name, &ctx->use.index->name, count,
                      (uint32_t) CRYPT_PERIODS_MAX);
        return ERR_LIMIT;
    }
    const struct crypt_signals **signals =
        ngx_palloc(r->pool, count * sizeof *signals);
    u_char *kids = ngx_pnalloc(r->pool, count * CRYPT_KEY_SIZE);
    if (signals == NULL || kids == NULL) {
        return ERR_MEMORY;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct package_key found;
        int err = package_key_find(r, ctx, track, i, &found);

        if (err != 0) {
            return err;
        }
        ngx_memcpy(kids + i * CRYPT_KEY_SIZE, found.key->kid, CRYPT_KEY_SIZE);
        signals[i] = found.signals;
    }
    *out = (struct crypt_track){
        .scheme = ctx->crypt.scheme,
        .kids = (const uint8_t(*)[CRYPT_KEY_SIZE]) kids,
        .period_count = (uint32_t) count,
        .period_segments = (uint32_t) conf->key_period,
        .signals = signals,
        .playready = &package_systems(r)->playready,
    };
    return 0;
}

/* What is given of 64 keys may have 16 kB for each system. */
#define PACKAGE_BOXES_SIZE_MAX (4u << 20)

/* With keys that change each fragment has the boxes of its own, so that a
 * player may begin anywhere. */
static int
package_fragment_boxes(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx,
                       const struct package_key *key)
{
    const struct crypt_track track = {
        .scheme = ctx->crypt.scheme,
        .kids = &key->key->kid,
        .period_count = 1,
        .signals = &key->signals,
        .playready = &package_systems(r)->playready,
    };
    struct buffer boxes;
    u_char *copy;
    int err;

    buffer_init(&boxes, PACKAGE_BOXES_SIZE_MAX);
    crypt_pssh_write(&track, package_systems(r), &boxes);
    err = boxes.err;
    copy = ngx_pnalloc(r->pool, boxes.len + 1);
    if (copy == NULL) {
        err = ERR_MEMORY;
    } else if (boxes.len != 0) {
        ngx_memcpy(copy, boxes.ptr, boxes.len);
        ctx->crypt.pssh = bytes_of(copy, boxes.len);
    }
    buffer_fini(&boxes);
    return err;
}

ngx_int_t
package_crypt_set(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx)
{
    const ngx_http_package_loc_conf_t *conf =
        ngx_http_get_module_loc_conf(r, ngx_http_package_module);
    const struct package_index *index = ctx->use.index;
    ngx_int_t rc = package_scheme_read(r, &ctx->crypt.scheme);
    uint32_t period = 0;
    int err;

    if (rc != NGX_OK || ctx->crypt.scheme == 0) {
        return rc;
    }
    if (!index->is_asset && !track_has_samples(&index->track.info)) {
        ctx->crypt.scheme = 0; /* subtitles and thumbnails stay clear */
        return NGX_OK;
    }
    if (conf->key_server.len != 0) {
        rc = package_keys_get(r, ctx);
    }
    if (rc != NGX_OK || index->is_asset) {
        return rc;
    }
    const bool is_segment =
        (ctx->path.kind == PACKAGE_SEGMENT
         || ctx->path.kind == PACKAGE_TS_SEGMENT)
        && ctx->path.segment < index->track.info.segment_count;
    const bool is_in_period = is_segment && conf->key_period != 0;
    if (is_in_period) {
        period = (uint32_t) (ctx->path.segment / conf->key_period);
    }
    struct package_key key;
    err = package_key_find(r, ctx, &index->track.info, period, &key);
    if (err == 0) {
        ctx->crypt = package_track_crypt(r, ctx, &index->track.info, key.key);
    }
    ctx->crypt.is_clear = is_segment && ctx->path.segment < conf->clear_lead;
    if (err == 0 && is_in_period && ctx->path.kind == PACKAGE_SEGMENT) {
        err = package_fragment_boxes(r, ctx, &key);
    }
    return err == 0 ? NGX_OK : NGX_HTTP_INTERNAL_SERVER_ERROR;
}

/* Of all classes that have keys: the track's own first, in all periods as far
 * as they fit into a box. */
#define FILM_KIDS_MAX 64

static int
package_film_kids(ngx_http_request_t *r, const ngx_http_package_ctx_t *ctx,
                  struct crypt_track *track)
{
    const ngx_http_package_loc_conf_t *conf =
        ngx_http_get_module_loc_conf(r, ngx_http_package_module);
    u_char *kids = ngx_pnalloc(r->pool, FILM_KIDS_MAX * CRYPT_KEY_SIZE);
    uint32_t count = ngx_min(track->period_count, FILM_KIDS_MAX);

    if (kids == NULL) {
        return ERR_MEMORY;
    }
    ngx_memcpy(kids, track->kids, count * CRYPT_KEY_SIZE);
    for (uint32_t i = 0; i < track->period_count * CRYPT_CLASS_COUNT; i++) {
        const struct crypt_key_name name = {
            .folder = ctx->path.folder,
            .class = i % CRYPT_CLASS_COUNT,
            .period = i / CRYPT_CLASS_COUNT,
        };
        const struct crypt_key *key =
            conf->keys != NULL ? crypt_keys_find(conf->keys, &name)
                               : package_keys_find(&ctx->keys, &name);
        uint32_t same = 0;

        while (key != NULL && same < count
               && ngx_memcmp(kids + same * CRYPT_KEY_SIZE, key->kid,
                             CRYPT_KEY_SIZE)
                      != 0) {
            same++;
        }
        if (key != NULL && same == count && count < FILM_KIDS_MAX) {
            ngx_memcpy(kids + count++ * CRYPT_KEY_SIZE, key->kid,
                       CRYPT_KEY_SIZE);
        }
    }
    track->film_kids = (const uint8_t(*)[CRYPT_KEY_SIZE]) kids;
    track->film_kid_count = count;
    return 0;
}

/* ---- keys as they are ---- */

/* 1: playlists tell where keys are to be had; 0; or ERR_MEMORY. */
static int
package_identity(ngx_http_request_t *r, bool *out)
{
    const ngx_http_package_loc_conf_t *conf =
        ngx_http_get_module_loc_conf(r, ngx_http_package_module);
    ngx_str_t text = ngx_null_string;

    if (conf->identity != NULL
        && ngx_http_complex_value(r, conf->identity, &text) != NGX_OK) {
        return ERR_MEMORY;
    }
    *out = bytes_equal(bytes_of(text.data, text.len), BYTES_LITERAL("1"));
    return 0;
}

/* Where the key that $package_kid says is to be had. */
static int
package_key_uri(ngx_http_request_t *r, struct bytes *out)
{
    const ngx_http_package_loc_conf_t *conf =
        ngx_http_get_module_loc_conf(r, ngx_http_package_module);
    ngx_str_t text = ngx_null_string;

    if (conf->key_uri != NULL
        && ngx_http_complex_value(r, conf->key_uri, &text) != NGX_OK) {
        return ERR_MEMORY;
    }
    bool is_uri = text.len != 0;
    for (size_t i = 0; i < text.len; i++) {
        const u_char c = text.data[i];

        is_uri = is_uri && c > ' ' && c < 0x7f && c != '"';
    }
    if (!is_uri) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "package: package_key_uri is no URI");
        return ERR_INVALID;
    }
    *out = bytes_of(text.data, text.len);
    return 0;
}

/* Of each period, in the request's pool. A player asks for a URI once, so two
 * keys cannot share it. */
static int
package_key_uris(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx,
                 struct crypt_track *track)
{
    struct bytes *uris =
        ngx_palloc(r->pool, track->period_count * sizeof *uris);

    if (uris == NULL) {
        return ERR_MEMORY;
    }
    for (uint32_t i = 0; i < track->period_count; i++) {
        ngx_memcpy(ctx->crypt.key.kid, track->kids[i], CRYPT_KEY_SIZE);
        int err = package_key_uri(r, &uris[i]);
        if (err != 0) {
            return err;
        }
        if (i > 0 && bytes_equal(uris[i], uris[i - 1])
            && ngx_memcmp(track->kids[i], track->kids[i - 1], CRYPT_KEY_SIZE)
                   != 0) {
            ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                          "package: package_key_uri is the same for two keys");
            return ERR_INVALID;
        }
    }
    track->uris = uris;
    return 0;
}

static int
package_asset_crypt(ngx_http_request_t *r, const ngx_http_package_ctx_t *ctx,
                    struct bytes clear, struct buffer *out)
{
    static const struct crypt_systems none;
    struct crypt_track tracks[ASSET_TRACKS_MAX];
    struct asset *asset;
    bool is_identity = false;
    int err = package_asset_open(ctx, &asset);

    for (size_t i = 0; err == 0 && i < asset->track_count; i++) {
        err = package_track_tell(r, ctx, &asset->tracks[i], &tracks[i]);
    }
    if (err == 0) {
        err = package_identity(r, &is_identity);
    }
    if (err == 0 && ctx->path.kind == PACKAGE_MPD) {
        crypt_mpd_write(clear, asset, tracks, package_systems(r), out);
    } else if (err == 0) {
        crypt_multivariant_write(clear, tracks, asset->track_count,
                                 is_identity ? &none : package_systems(r), out);
    }
    ngx_free(asset);
    return err != 0 ? err : out->err;
}

/* The init segment, or the media playlist. */
static int
package_track_text(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx,
                   struct bytes clear, struct buffer *out)
{
    const struct track_info *info = &ctx->use.index->track.info;
    struct crypt_track track;
    struct buffer pssh;
    bool is_identity;
    int err = package_track_tell(r, ctx, info, &track);

    if (err != 0) {
        return err;
    }
    if (ctx->path.kind != PACKAGE_INIT) {
        err = package_identity(r, &is_identity);
        if (err == 0 && is_identity) {
            err = package_key_uris(r, ctx, &track);
        }
        if (err != 0) {
            return err;
        }
        crypt_playlist_write(clear, &track, package_systems(r), out);
        return out->err;
    }
    err = package_film_kids(r, ctx, &track);
    if (err != 0) {
        return err;
    }
    buffer_init(&pssh, PACKAGE_BOXES_SIZE_MAX);
    crypt_pssh_write(&track, package_systems(r), &pssh);
    cenc_init_write(info, &ctx->crypt, buffer_bytes(&pssh), out);
    err = pssh.err;
    buffer_fini(&pssh);
    return err != 0 ? err : out->err;
}

/* The playlist of a transport stream, and where its keys are to be had. */
static int
package_key_playlist(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx,
                     struct buffer *out)
{
    const ngx_http_package_loc_conf_t *conf =
        ngx_http_get_module_loc_conf(r, ngx_http_package_module);
    const struct track_info *info = &ctx->use.index->track.info;
    struct crypt_track track;
    int err = package_track_tell(r, ctx, info, &track);

    if (err != 0) {
        return err;
    }
    struct hls_key *list =
        ngx_pcalloc(r->pool, track.period_count * sizeof *list);
    if (list == NULL) {
        return ERR_MEMORY;
    }
    const struct hls_keys keys = {
        .list = list,
        .count = track.period_count,
        .period_segments = track.period_segments,
        .clear_segments = (uint32_t) ngx_min(conf->clear_lead, UINT32_MAX),
    };
    err = package_key_uris(r, ctx, &track);
    for (uint32_t i = 0; err == 0 && i < track.period_count; i++) {
        list[i].uri = track.uris[i];
    }
    /* whose periods are told of the whole */
    struct track_index part = ctx->use.index->track;
    if (err == 0 && ctx->is_clipped) {
        err = track_index_clip(&part, &ctx->clip);
    }
    if (err == 0) {
        ts_media_playlist_write(&part.info, &keys, out);
    }
    return err != 0 ? err : out->err;
}

int
package_crypt_text(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx,
                   struct bytes clear, struct buffer *out)
{
    if (ctx->path.kind == PACKAGE_TS_MULTIVARIANT) {
        buffer_append_bytes(out, clear); /* no player asks for keys so early */
        return out->err;
    }
    if (ctx->path.kind == PACKAGE_TS_PLAYLIST) {
        return package_key_playlist(r, ctx, out);
    }
    return ctx->use.index->is_asset ? package_asset_crypt(r, ctx, clear, out)
                                    : package_track_text(r, ctx, clear, out);
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
