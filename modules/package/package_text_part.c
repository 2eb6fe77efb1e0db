/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of a part of a film, made of what is stored of its segments.
 */
#include "modules/package/package.h"

#include "core/err.h"
#include "media/text/text_part.h"

/* What is stored is there. */
static ngx_int_t
package_text_part_end(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx,
                      const struct text_part *part)
{
    const struct bytes stored =
        bytes_of(ctx->head, (size_t) (part->end - part->start));
    struct buffer text;

    buffer_init(&text, PACKAGE_TEXT_SIZE_MAX);
    int err = text_part_write(&ctx->use.index->track, part, stored, &text);
    ngx_free(ctx->head);
    ctx->head = ctx->fill.memory = NULL;
    return package_made_send(r, ctx, &text, err);
}

ngx_int_t
package_text_part_resume(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx)
{
    struct text_part part;
    ngx_int_t rc = package_fill_step(&ctx->fill);

    if (rc != NGX_OK) {
        return rc;
    }
    (void) text_part_find(&ctx->use.index->track, ctx->path.segment,
                          ctx->path.last, &part);
    return package_text_part_end(r, ctx, &part);
}

static ngx_int_t
package_text_part_read(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx,
                       const struct text_part *part)
{
    struct segment first;
    ngx_file_t *file = ngx_pcalloc(r->pool, sizeof *file);
    const ssize_t size = (ssize_t) (part->end - part->start);

    if (file == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    (void) track_index_segment(&ctx->use.index->track, part->first, &first);
    ngx_int_t rc = package_media_open(r, ctx, &first, file);
    if (rc != NGX_OK) {
        return rc;
    }
    if (ngx_read_file(file, ctx->head, (size_t) size, (off_t) part->start)
        != size) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    return package_text_part_end(r, ctx, part);
}

ngx_int_t
package_text_part_answer(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx)
{
    ngx_http_package_loc_conf_t *conf =
        ngx_http_get_module_loc_conf(r, ngx_http_package_module);
    struct text_part part;

    if (text_part_find(&ctx->use.index->track, ctx->path.segment,
                       ctx->path.last, &part)
        != 0) {
        return NGX_HTTP_NOT_FOUND;
    }
    if (part.end - part.start > PACKAGE_HEAD_SIZE_MAX) {
        return package_text_failed(r, ctx, ERR_LIMIT);
    }
    ctx->head = ngx_alloc((size_t) (part.end - part.start), r->connection->log);
    if (ctx->head == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    if (!package_is_filled(conf, ctx)) {
        return package_text_part_read(r, ctx, &part);
    }
    ngx_int_t rc = package_fill_set(r, ctx, part.start, part.end);
    if (rc != NGX_OK) {
        return rc;
    }
    ctx->fill.is_whole = true;
    ctx->fill.memory = ctx->head;
    return package_text_part_resume(r, ctx);
}
