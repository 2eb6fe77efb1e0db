/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One play request: parse the path, verify the token, decide, answer. All of it
 * happens in one handler of the rewrite phase, before anything that costs: a
 * request that leaves here with a redirect is answered by a header alone. One
 * that is to be served here goes on to the location's content handler, with
 * the reasons already among its headers.
 */

#include "modules/redirect/ngx_http_redirect.h"

#include "core/err.h"

/* What a redirected request carries beside its own arguments: how often it was
 * redirected, and how often by a full node. Of a count three digits are read. */
#define REDIRECT_COUNT_MAX 999
static const ngx_str_t hop_name = ngx_string("hop=");
static const ngx_str_t spill_name = ngx_string("spill=");
/* What a player says that had no luck where it was sent. */
static const ngx_str_t retry_name = ngx_string("retry=");

/* Longer than everything of a decision's text but the node and the version. */
#define REDIRECT_TEXT_FIXED \
    sizeof("level=critical k=4294967295 node= rule=less-loaded version=")

/* clang-format off */
static ngx_str_t location_key = ngx_string("Location");
static ngx_str_t cache_key = ngx_string("Cache-Control");
static ngx_str_t cache_value = ngx_string("no-store");
static ngx_str_t origin_key = ngx_string("Access-Control-Allow-Origin");
static ngx_str_t origin_value = ngx_string("*");
static ngx_str_t expose_key = ngx_string("Access-Control-Expose-Headers");
static ngx_str_t expose_value = ngx_string("X-Vodst-Node, X-Vodst-Decision");
static ngx_str_t methods_key = ngx_string("Access-Control-Allow-Methods");
static ngx_str_t headers_key = ngx_string("Access-Control-Allow-Headers");
static ngx_str_t age_key = ngx_string("Access-Control-Max-Age");
static ngx_str_t age_value = ngx_string("86400");
static ngx_str_t allow_key = ngx_string("Allow");
static ngx_str_t allow_value = ngx_string("GET, HEAD, OPTIONS");
static ngx_str_t retry_key = ngx_string("Retry-After");
static ngx_str_t retry_value = ngx_string("1");
static ngx_str_t node_key = ngx_string("X-Vodst-Node");
static ngx_str_t decision_key = ngx_string("X-Vodst-Decision");
/* clang-format on */

static ngx_table_elt_t *
ngx_http_redirect_header(ngx_http_request_t *r, const ngx_str_t *key,
                         const ngx_str_t *value)
{
    ngx_table_elt_t *h = ngx_list_push(&r->headers_out.headers);
    if (h != NULL) {
        h->hash = 1;
        h->key = *key;
        h->value = *value;
        h->lowcase_key = NULL;
    }
    return h;
}

/* A request that an internal redirect brings here again carries the headers of
 * the first time. */
static void
ngx_http_redirect_unset_headers(ngx_http_request_t *r)
{
    for (ngx_list_part_t *part = &r->headers_out.headers.part; part != NULL;
         part = part->next) {
        ngx_table_elt_t *h = part->elts;
        for (ngx_uint_t i = 0; i < part->nelts; i++) {
            if (h[i].key.data == node_key.data
                || h[i].key.data == decision_key.data
                || h[i].key.data == origin_key.data
                || h[i].key.data == expose_key.data
                || h[i].key.data == cache_key.data)
                h[i].hash = 0;
        }
    }
}

/* What every answer carries, served ones included: players of other origins
 * read them. */
static ngx_int_t
ngx_http_redirect_common_headers(ngx_http_request_t *r,
                                 const ngx_http_redirect_srv_conf_t *rscf,
                                 const ngx_str_t *text)
{
    if (ngx_http_redirect_header(r, &origin_key, &origin_value) == NULL
        || ngx_http_redirect_header(r, &expose_key, &expose_value) == NULL
        || ngx_http_redirect_header(r, &decision_key, text) == NULL
        || (rscf->self.len > 0
            && ngx_http_redirect_header(r, &node_key, &rscf->self) == NULL))
        return NGX_ERROR;
    return NGX_OK;
}

static ngx_int_t
ngx_http_redirect_preflight(ngx_http_request_t *r)
{
    if (ngx_http_discard_request_body(r) != NGX_OK
        || ngx_http_redirect_header(r, &origin_key, &origin_value) == NULL
        || ngx_http_redirect_header(r, &methods_key, &allow_value) == NULL
        || ngx_http_redirect_header(r, &headers_key, &origin_value) == NULL
        || ngx_http_redirect_header(r, &age_key, &age_value) == NULL)
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    r->headers_out.status = NGX_HTTP_NO_CONTENT;
    r->header_only = 1;
    return ngx_http_send_header(r);
}

static ngx_int_t
ngx_http_redirect_method_not_allowed(ngx_http_request_t *r)
{
    if (ngx_http_redirect_header(r, &allow_key, &allow_value) == NULL
        || ngx_http_redirect_header(r, &origin_key, &origin_value) == NULL)
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    return NGX_HTTP_NOT_ALLOWED;
}

/* 403 or 404. Which of the reasons it was helps who debugs a player, and tells
 * nobody what a valid token looks like. */
static ngx_int_t
ngx_http_redirect_refuse(ngx_http_request_t *r,
                         const ngx_http_redirect_srv_conf_t *rscf,
                         ngx_int_t status, const char *text)
{
    ngx_http_redirect_ctx_t *ctx = ngx_pcalloc(r->pool, sizeof *ctx);
    if (ctx == NULL)
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    ctx->is_refused = true;
    ctx->text.data = (u_char *) (uintptr_t) text;
    ctx->text.len = ngx_strlen(text);
    ngx_http_set_ctx(r, ctx, ngx_http_redirect_module);

    if (ngx_http_redirect_common_headers(r, rscf, &ctx->text) != NGX_OK
        || ngx_http_redirect_header(r, &cache_key, &cache_value) == NULL)
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    return status;
}

/* The end of the argument that starts at p. */
static u_char *
ngx_http_redirect_argument_end(u_char *p, u_char *end)
{
    u_char *amp = ngx_strlchr(p, end, '&');
    return amp != NULL ? amp : end;
}

static bool
ngx_http_redirect_is_argument(const u_char *p, const u_char *end,
                              const ngx_str_t *name)
{
    return (size_t) (end - p) >= name->len
           && ngx_memcmp(p, name->data, name->len) == 0;
}

static unsigned
ngx_http_redirect_count(u_char *p, u_char *end)
{
    ngx_int_t n = end - p > 3 ? REDIRECT_COUNT_MAX : ngx_atoi(p, end - p);
    return n == NGX_ERROR ? 0 : (unsigned) n;
}

static unsigned
ngx_http_redirect_argument(ngx_http_request_t *r, const ngx_str_t *name)
{
    u_char *end = r->args.data + r->args.len;
    for (u_char *p = r->args.data; p < end;) {
        u_char *stop = ngx_http_redirect_argument_end(p, end);
        if (ngx_http_redirect_is_argument(p, stop, name))
            return ngx_http_redirect_count(p + name->len, stop);
        p = stop + 1;
    }
    return 0;
}

static unsigned
ngx_http_redirect_hops(ngx_http_request_t *r,
                       const ngx_http_redirect_srv_conf_t *rscf)
{
    if (rscf->hops < 0)
        return ngx_http_redirect_argument(r, &hop_name);
    ngx_http_variable_value_t *v = ngx_http_get_indexed_variable(r, rscf->hops);
    return v == NULL || v->not_found
               ? 0
               : ngx_http_redirect_count(v->data, v->data + v->len);
}

/* Room for the arguments and the counts: "?", "&", names, three digits each. */
#define REDIRECT_ARGS_EXTRA 32

static u_char *
ngx_http_redirect_append_count(u_char *out, u_char *separator,
                               const ngx_str_t *name, unsigned count)
{
    if (count == 0)
        return out;
    *out++ = *separator;
    *separator = '&';
    out = ngx_cpymem(out, name->data, name->len);
    if (count >= 10)
        return ngx_sprintf(out, "%ui",
                           (ngx_uint_t) ngx_min(count, REDIRECT_COUNT_MAX));
    *out++ = (u_char) ('0' + count);
    return out;
}

/* Writes "?" and the arguments of the request, with the counts in place of
 * earlier ones; those that are 0 are left out. */
static u_char *
ngx_http_redirect_args(ngx_http_request_t *r, unsigned hops, unsigned spills,
                       u_char *out)
{
    u_char separator = '?';
    u_char *end = r->args.data + r->args.len;
    for (u_char *p = r->args.data; p < end;) {
        u_char *stop = ngx_http_redirect_argument_end(p, end);
        if (!ngx_http_redirect_is_argument(p, stop, &hop_name)
            && !ngx_http_redirect_is_argument(p, stop, &spill_name)
            && !ngx_http_redirect_is_argument(p, stop, &retry_name)) {
            *out++ = separator;
            separator = '&';
            out = ngx_cpymem(out, p, stop - p);
        }
        p = stop + 1;
    }
    out = ngx_http_redirect_append_count(out, &separator, &hop_name, hops);
    return ngx_http_redirect_append_count(out, &separator, &spill_name, spills);
}

static ngx_int_t
ngx_http_redirect_answer(ngx_http_request_t *r, struct bytes base,
                         unsigned hops, unsigned spills)
{
    /* as received, unless something in it was decoded on the way in; that
     * nothing but visible ASCII is in it was checked with the path */
    bool is_raw = r->uri.data == r->uri_start;
    uintptr_t escapes =
        is_raw
            ? 0
            : 2 * ngx_escape_uri(NULL, r->uri.data, r->uri.len, NGX_ESCAPE_URI);
    u_char *location =
        ngx_pnalloc(r->pool, base.len + r->uri.len + escapes + r->args.len
                                 + REDIRECT_ARGS_EXTRA);
    if (location == NULL || ngx_http_discard_request_body(r) != NGX_OK)
        return NGX_HTTP_INTERNAL_SERVER_ERROR;

    u_char *p = ngx_cpymem(location, base.ptr, base.len);
    if (escapes == 0)
        p = ngx_cpymem(p, r->uri.data, r->uri.len);
    else
        p = (u_char *) ngx_escape_uri(p, r->uri.data, r->uri.len,
                                      NGX_ESCAPE_URI);
    p = ngx_http_redirect_args(r, hops, spills, p);

    ngx_str_t value = {p - location, location};
    ngx_http_clear_location(r);
    r->headers_out.location =
        ngx_http_redirect_header(r, &location_key, &value);
    if (r->headers_out.location == NULL
        || ngx_http_redirect_header(r, &cache_key, &cache_value) == NULL)
        return NGX_HTTP_INTERNAL_SERVER_ERROR;

    r->headers_out.status = NGX_HTTP_MOVED_TEMPORARILY;
    r->headers_out.content_length_n = 0;
    r->header_only = 1;
    return ngx_http_send_header(r);
}

static u_char *
ngx_http_redirect_append(u_char *p, const char *text)
{
    while (*text != '\0')
        *p++ = (u_char) *text++;
    return p;
}

/* Puts the reasons into words, once: the header, the variables and the log all
 * show the same text. */
static ngx_http_redirect_ctx_t *
ngx_http_redirect_explain(ngx_http_request_t *r,
                          const ngx_http_redirect_main_conf_t *rmcf,
                          const struct route_decision *decision,
                          struct bytes node)
{
    ngx_http_redirect_ctx_t *ctx =
        ngx_palloc(r->pool, sizeof *ctx + REDIRECT_TEXT_FIXED + node.len
                                + rmcf->version_len);
    if (ctx == NULL)
        return NULL;
    ctx->is_refused = false;
    ngx_str_null(&ctx->record);
    ctx->action = decision->action;
    ctx->level = decision->level;
    ctx->rule = decision->rule;

    u_char *p = (u_char *) (ctx + 1);
    ctx->text.data = p;
    p = ngx_cpymem(p, "level=", 6);
    p = ngx_http_redirect_append(p, level_name(decision->level));
    p = ngx_cpymem(p, " k=", 3);
    if (decision->owner_count < 10)
        *p++ = (u_char) ('0' + decision->owner_count);
    else
        p = ngx_sprintf(p, "%uD", decision->owner_count);
    p = ngx_cpymem(p, " node=", 6);
    ctx->node.data = p;
    ctx->node.len = node.len;
    p = ngx_cpymem(p, node.ptr, node.len);
    p = ngx_cpymem(p, " rule=", 6);
    p = ngx_http_redirect_append(p, route_rule_name(decision->rule));
    p = ngx_cpymem(p, " version=", 9);
    ctx->version.data = p;
    ctx->version.len = rmcf->version_len;
    p = ngx_cpymem(p, rmcf->version, rmcf->version_len);
    ctx->text.len = p - ctx->text.data;

    ngx_http_set_ctx(r, ctx, ngx_http_redirect_module);
    return ctx;
}

/* The name a decision gives to where the request goes. */
static struct bytes
ngx_http_redirect_node_name(const ngx_http_redirect_main_conf_t *rmcf,
                            const ngx_http_redirect_srv_conf_t *rscf,
                            const struct route_decision *decision)
{
    switch (decision->action) {
    case ROUTE_NODE:
        return rmcf->snapshot->table.nodes[decision->node].name;
    case ROUTE_CDN:
        return BYTES_LITERAL("cdn");
    case ROUTE_SERVE:
        break;
    }
    return rscf->self.len > 0 ? bytes_of(rscf->self.data, rscf->self.len)
                              : BYTES_LITERAL("-");
}

static ngx_int_t
ngx_http_redirect_route(ngx_http_request_t *r,
                        ngx_http_redirect_main_conf_t *rmcf,
                        ngx_http_redirect_srv_conf_t *rscf,
                        const struct play_path *path, uint64_t session)
{
    const bool is_pull =
        ngx_http_test_predicates(r, rscf->pull) == NGX_DECLINED;
    struct route_request request = {
        .content = path->content,
        .hash = content_hash(path->content),
        .session = session,
        .self = (int) ngx_http_redirect_self(rmcf, rscf),
        .hops = is_pull ? (unsigned) rscf->hops_max
                        : ngx_http_redirect_hops(r, rscf),
        .hops_max = (unsigned) rscf->hops_max,
        .has_cdn = rscf->cdn.len > 0,
        .spills = ngx_http_redirect_argument(r, &spill_name),
        .retries = ngx_http_redirect_argument(r, &retry_name),
    };
    struct route_decision decision;
    bool is_noted = !is_pull && ngx_http_redirect_recall(rmcf, rscf, &request);
    route_decide(rmcf->snapshot, &request, &decision);
    if (is_pull)
        ngx_http_redirect_pulled(rmcf);
    else if (is_noted)
        ngx_http_redirect_remember(rmcf, rscf, &request, &decision);

    ngx_http_redirect_ctx_t *ctx = ngx_http_redirect_explain(
        r, rmcf, &decision, ngx_http_redirect_node_name(rmcf, rscf, &decision));
    if (ctx == NULL
        || ngx_http_redirect_common_headers(r, rscf, &ctx->text) != NGX_OK)
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    ctx->path = *path;
    ctx->session = session;
    ctx->is_pull = is_pull;

    ngx_http_redirect_record(r, rmcf, rscf, ctx, &request, &decision);
    switch (decision.action) {
    case ROUTE_NODE:
        return ngx_http_redirect_answer(
            r, rmcf->snapshot->table.nodes[decision.node].url,
            request.hops + !decision.is_passed_on,
            request.spills + decision.is_passed_on);
    case ROUTE_CDN:
        return ngx_http_redirect_answer(
            r, bytes_of(rscf->cdn.data, rscf->cdn.len), 0, 0);
    case ROUTE_SERVE:
        break;
    }
    if (rscf->self.len > 0)
        return NGX_DECLINED;
    if (ngx_http_redirect_header(r, &retry_key, &retry_value) == NULL
        || ngx_http_redirect_header(r, &cache_key, &cache_value) == NULL)
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    return NGX_HTTP_SERVICE_UNAVAILABLE;
}

ngx_int_t
ngx_http_redirect_play_handler(ngx_http_request_t *r)
{
    const ngx_http_redirect_loc_conf_t *rlcf =
        ngx_http_get_module_loc_conf(r, ngx_http_redirect_module);
    if (rlcf->prefix.data == NULL || r != r->main)
        return NGX_DECLINED;

    ngx_http_redirect_main_conf_t *rmcf =
        ngx_http_get_module_main_conf(r, ngx_http_redirect_module);
    ngx_http_redirect_srv_conf_t *rscf =
        ngx_http_get_module_srv_conf(r, ngx_http_redirect_module);

    if (r->internal
        || ngx_http_get_module_ctx(r, ngx_http_redirect_module) != NULL)
        ngx_http_redirect_unset_headers(r);

    if (r->method == NGX_HTTP_OPTIONS)
        return ngx_http_redirect_preflight(r);
    if (!(r->method & (NGX_HTTP_GET | NGX_HTTP_HEAD)))
        return ngx_http_redirect_method_not_allowed(r);

    ngx_http_redirect_look(rmcf, r->connection->log);

    struct play_path path;
    size_t skip = rlcf->prefix.len;
    if (r->uri.len < skip
        || ngx_memcmp(r->uri.data, rlcf->prefix.data, skip) != 0
        || play_path_parse(bytes_of(r->uri.data + skip, r->uri.len - skip),
                           &path)
               != 0)
        return ngx_http_redirect_refuse(r, rscf, NGX_HTTP_NOT_FOUND,
                                        "refused=path");

    struct token_claims claims;
    if (rlcf->has_token) {
        const ngx_http_redirect_play_t play = {
            .token = path.token,
            .prefix = bytes_of(rlcf->prefix.data, skip),
            .content = path.content,
            .rest = path.rest,
        };
        int err = ngx_http_redirect_token(r, &play, &claims);
        if (err != 0)
            return ngx_http_redirect_refuse(
                r, rscf, NGX_HTTP_FORBIDDEN,
                err == ERR_EXPIRED   ? "refused=token-expired"
                : err == ERR_REVOKED ? "refused=token-revoked"
                                     : "refused=token");
    } else {
        claims.session = content_hash(path.token);
    }
    return ngx_http_redirect_route(r, rmcf, rscf, &path, claims.session);
}
