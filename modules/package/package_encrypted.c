/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encrypted segments: what the map and the header say is needed before the
 * samples can be changed, so they are read first, by themselves.
 */
#include "modules/package/package.h"

#include "core/err.h"

static size_t
package_head_size(const struct segment *segment)
{
    return segment->map_size + segment->header_size;
}

/* The map and the header are there: they say how long the answer is. */
static ngx_int_t
package_encrypted_begin(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx,
                        const struct segment *segment)
{
    struct {
        uint64_t crypt;
        uint32_t number;
    } what = {crypt_fingerprint(&ctx->crypt), segment->number};
    struct package_transform *transform = &ctx->transform;
    struct byte_range range;
    int err = package_crypt_open(
        ctx, segment, bytes_of(ctx->head, package_head_size(segment)));

    ngx_free(ctx->head); /* a slow viewer would hold it for long */
    ctx->head = ctx->fill.memory = NULL;
    if (err != 0) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "package: encrypt segment %uD of \"%V\" failed (%s)",
                      segment->number, &ctx->use.index->name, err_text(err));
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    if (package_headers_set(
            r, ctx, (off_t) transform->transform->size_out,
            package_index_hash(
                ctx->use.index,
                bytes_of(&what, sizeof what.crypt + sizeof what.number)))
        != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    ngx_int_t rc = package_range_take(r, &range);
    transform->start = range.start;
    transform->end = range.end;
    return rc;
}

static ngx_int_t
package_encrypted_send(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx,
                       const struct segment *segment)
{
    ngx_file_t *file = ngx_pcalloc(r->pool, sizeof *file);
    ssize_t size = (ssize_t) package_head_size(segment);
    ngx_int_t rc;

    if (file == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    rc = package_media_open(r, ctx, segment, file);
    if (rc != NGX_OK) {
        return rc;
    }
    if (ngx_read_file(file, ctx->head, (size_t) size, (off_t) segment->offset)
        != size) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    rc = package_encrypted_begin(r, ctx, segment);
    if (rc != NGX_OK) {
        return rc;
    }
    return package_window_send(r, file, segment_samples_start(segment),
                               segment_samples_start(segment) + segment->size);
}

/* The map and the header first, then the samples. */
ngx_int_t
package_encrypted_resume(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx)
{
    struct segment segment;
    ngx_int_t rc = package_fill_step(&ctx->fill);

    if (rc != NGX_OK || ctx->fill.transform != NULL) {
        return rc == NGX_OK ? ngx_http_send_special(r, NGX_HTTP_LAST) : rc;
    }
    (void) track_index_segment(&ctx->use.index->track, ctx->path.segment,
                               &segment);
    rc = package_encrypted_begin(r, ctx, &segment);
    if (rc != NGX_OK) {
        return rc;
    }
    return package_window_answer(
        r, ctx, &segment, segment_samples_start(&segment),
        segment_samples_start(&segment) + segment.size);
}

ngx_int_t
package_encrypted_answer(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx,
                         const struct segment *segment)
{
    ngx_http_package_loc_conf_t *conf =
        ngx_http_get_module_loc_conf(r, ngx_http_package_module);
    size_t size = package_head_size(segment);
    ngx_int_t rc;

    if (size > PACKAGE_HEAD_SIZE_MAX) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    ctx->head = ngx_alloc(size, r->connection->log);
    if (ctx->head == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    if (!package_is_filled(conf, ctx)) {
        return package_encrypted_send(r, ctx, segment);
    }
    rc = package_fill_set(r, ctx, segment->offset, segment->offset + size);
    if (rc != NGX_OK) {
        return rc;
    }
    ctx->fill.is_whole = true;
    ctx->fill.memory = ctx->head;
    return package_encrypted_resume(r, ctx);
}
