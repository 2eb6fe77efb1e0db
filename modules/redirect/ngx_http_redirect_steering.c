/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Content steering. GET PREFIX<token>/<content>?... answers with the order of
 * a play's pathways by the load table of the moment; $redirect_pathways is
 * what an origin's playlists declare them with.
 *
 * A token that has run out is answered like a good one: an order of names is
 * no media, and a player that is refused here would lose its steering while it
 * still plays from its buffer. For the same reason nothing is answered with
 * 404, 410 or 429, at which players give steering up.
 */

#include "modules/redirect/ngx_http_redirect.h"

#include "core/err.h"

#define STEERING_MANIFEST_SIZE_MAX 8192
#define STEERING_PATHWAYS_SIZE_MAX 16384

/* ---- the manifest ---- */

/* "<token>/<content>", which play_path_parse takes with anything behind it. */
static int
steering_path_parse(struct bytes path, struct bytes *token,
                    struct bytes *content)
{
    const uint8_t *slash =
        path.len > 0 ? memchr(path.ptr, '/', path.len) : NULL;
    if (slash == NULL || slash == path.ptr)
        return ERR_INVALID;
    *token = bytes_of(path.ptr, (size_t) (slash - path.ptr));
    *content = bytes_of(slash + 1, path.len - token->len - 1);
    return content_id_is_valid(*content) ? 0 : ERR_INVALID;
}

/* This request's own URL without its arguments. Absolute, as players resolve
 * it against different things. */
static int
steering_reload_write(ngx_http_request_t *r, struct buffer *out)
{
    const ngx_table_elt_t *host = r->headers_in.host;
#if (NGX_HTTP_SSL)
    const char *scheme = r->connection->ssl != NULL ? "https://" : "http://";
#else
    const char *scheme = "http://";
#endif

    buffer_append_text(out, scheme);
    if (host != NULL)
        buffer_append(out, host->value.data, host->value.len);
    if (!table_node_url_is_valid(buffer_bytes(out)))
        return ERR_INVALID;
    buffer_append(out, r->uri.data, r->uri.len);
    return out->err;
}

static ngx_int_t
steering_answer(ngx_http_request_t *r, const struct steering_order *order,
                time_t ttl)
{
    struct buffer reload, json;
    ngx_int_t rc = NGX_HTTP_BAD_REQUEST;

    buffer_init(&reload, STEERING_MANIFEST_SIZE_MAX);
    buffer_init(&json, STEERING_MANIFEST_SIZE_MAX);
    if (steering_reload_write(r, &reload) == 0) {
        steering_manifest_write(order, buffer_bytes(&reload), (unsigned) ttl,
                                &json);
        rc = json.err != 0
                 ? NGX_HTTP_INTERNAL_SERVER_ERROR
                 : ngx_http_redirect_send_json(r, buffer_bytes(&json));
    }
    buffer_fini(&json);
    buffer_fini(&reload);
    return rc;
}

/* The play's session, or the status of the refusal. A token is for the play and
 * not for this: it is asked about that, as a whole. */
static ngx_int_t
steering_session(ngx_http_request_t *r, struct bytes token,
                 struct bytes content, uint64_t *out)
{
    const ngx_http_redirect_play_t play = {
        .token = token,
        .prefix = BYTES_LITERAL(TOKEN_PREFIX_DEFAULT),
        .content = content,
        .rest = bytes_of("", 0),
        .is_expiry_ignored = true, /* when it ran out does not matter */
    };
    struct token_claims claims;

    if (ngx_http_redirect_token(r, &play, &claims) != 0)
        return NGX_HTTP_FORBIDDEN;
    *out = claims.session;
    return NGX_OK;
}

ngx_int_t
ngx_http_redirect_steering_handler(ngx_http_request_t *r)
{
    ngx_http_redirect_main_conf_t *rmcf =
        ngx_http_get_module_main_conf(r, ngx_http_redirect_module);
    const ngx_http_redirect_srv_conf_t *rscf =
        ngx_http_get_module_srv_conf(r, ngx_http_redirect_module);
    const ngx_http_redirect_loc_conf_t *rlcf =
        ngx_http_get_module_loc_conf(r, ngx_http_redirect_module);
    const size_t skip = rlcf->steering_prefix.len;
    struct route_request request = {
        .self = ROUTE_SELF_REDIRECTOR,
        .has_cdn = rscf->cdn.len > 0,
    };
    struct bytes token;
    struct steering_query query;
    struct steering_order order;

    if (!(r->method & (NGX_HTTP_GET | NGX_HTTP_HEAD)))
        return NGX_HTTP_NOT_ALLOWED;
    ngx_int_t rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK)
        return rc;
    if (r->uri.len < skip
        || ngx_memcmp(r->uri.data, rlcf->steering_prefix.data, skip) != 0
        || steering_path_parse(bytes_of(r->uri.data + skip, r->uri.len - skip),
                               &token, &request.content)
               != 0
        || steering_query_parse(bytes_of(r->args.data, r->args.len), &query)
               != 0)
        return NGX_HTTP_BAD_REQUEST;
    rc = steering_session(r, token, request.content, &request.session);
    if (rc != NGX_OK)
        return rc;

    ngx_http_redirect_look(rmcf, r->connection->log);
    request.hash = content_hash(request.content);
    if (steering_decide(rmcf->snapshot, &request, &query, (uint64_t) ngx_time(),
                        &order)
        != 0)
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    return steering_answer(r, &order, rlcf->steering_ttl);
}

/* ---- what playlists and MPDs declare ---- */

/* Where a pathway's URIs begin, up to the folder of the playlist. A node is
 * asked as if it were the last of a chain of redirects: who comes by a pathway
 * left another node for a reason, and this one's table may not have it yet. */
static void
pathway_base_write(const ngx_http_redirect_main_conf_t *rmcf,
                   const ngx_http_redirect_srv_conf_t *rscf, struct bytes name,
                   struct bytes folder, struct buffer *out)
{
    const struct table *table = &rmcf->snapshot->table;
    const struct bytes url =
        bytes_equal(name, STEERING_CDN)
            ? bytes_of(rscf->cdn.data, rscf->cdn.len)
            : table->nodes[table_node_find(table, name)].url;
    buffer_append(out, url.ptr, url.len);
    buffer_append(out, folder.ptr, folder.len);
    if (!bytes_equal(name, STEERING_CDN))
        buffer_printf(out, "?hop=%u", (unsigned) rscf->hops_max);
}

static void
pathways_write(ngx_http_request_t *r, const ngx_http_redirect_main_conf_t *rmcf,
               const ngx_http_redirect_srv_conf_t *rscf,
               const ngx_http_redirect_ctx_t *ctx,
               const struct steering_pathways *pathways, struct buffer *out)
{
    const struct bytes content = ctx->path.content;
    const struct bytes token = ctx->path.token;
    size_t folder_len = r->uri.len;

    while (r->uri.data[folder_len - 1] != '/')
        folder_len--;
    buffer_append(out, rscf->pathways.data, rscf->pathways.len);
    buffer_append(out, token.ptr, token.len);
    buffer_append_text(out, "/");
    buffer_append(out, content.ptr, content.len);
    buffer_append_text(out, "?");
    /* one that owns nothing took the play over: that was a move */
    bool has_moved = ctx->rule != ROUTE_RULE_OWNER && !ctx->is_pull;
    steering_query_write(pathways, bytes_of(NULL, 0),
                         has_moved ? (uint64_t) ngx_time() : 0, out);
    for (size_t i = 0; i < pathways->count; i++) {
        buffer_append_text(out, " ");
        buffer_append(out, pathways->names[i].ptr, pathways->names[i].len);
        buffer_append_text(out, " ");
        if (i == 0) /* whatever name the viewer knows this node by */
            buffer_append_text(out, ".");
        else
            pathway_base_write(rmcf, rscf, pathways->names[i],
                               bytes_of(r->uri.data, folder_len), out);
    }
}

struct bytes
ngx_http_redirect_pathways(ngx_http_request_t *r,
                           const ngx_http_redirect_ctx_t *ctx)
{
    const ngx_http_redirect_main_conf_t *rmcf =
        ngx_http_get_module_main_conf(r, ngx_http_redirect_module);
    const ngx_http_redirect_srv_conf_t *rscf =
        ngx_http_get_module_srv_conf(r, ngx_http_redirect_module);
    struct route_request request = {
        .content = ctx->path.content,
        .hash = content_hash(ctx->path.content),
        .session = ctx->session,
        .has_cdn = rscf->cdn.len > 0,
    };
    struct steering_pathways pathways;
    struct bytes text = bytes_of(NULL, 0);
    struct buffer out;

    if (rscf->pathways.len == 0 || rscf->self.len == 0
        || ctx->action != ROUTE_SERVE)
        return text;
    steering_declare(rmcf->snapshot, &request,
                     ctx->is_pull ? STEERING_CDN
                                  : bytes_of(rscf->self.data, rscf->self.len),
                     &pathways);
    if (pathways.count < 2)
        return text;
    buffer_init(&out, STEERING_PATHWAYS_SIZE_MAX);
    pathways_write(r, rmcf, rscf, ctx, &pathways, &out);
    u_char *copy = out.err == 0 ? ngx_pnalloc(r->pool, out.len) : NULL;
    if (copy != NULL) {
        ngx_memcpy(copy, out.ptr, out.len);
        text = bytes_of(copy, out.len);
    }
    buffer_fini(&out);
    return text;
}
