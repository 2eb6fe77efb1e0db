/* SPDX-License-Identifier: Apache-2.0 */
/* Holds a request's token against what else nginx knows of the request. */

#include "modules/redirect/ngx_http_redirect.h"

#include "core/err.h"

/* The viewer's address: of the connection, which the realip module sets where
 * it is told to, or what redirect_client says. False: it is not known. */
static bool
token_client(ngx_http_request_t *r, const ngx_http_redirect_srv_conf_t *rscf,
             struct network *client)
{
    ngx_str_t told = ngx_null_string;

    if (rscf->client != NULL
        && ngx_http_complex_value(r, rscf->client, &told) != NGX_OK)
        return false;
    if (told.len > 0)
        return network_parse_prefix(bytes_of(told.data, told.len), client) == 0;

    const struct sockaddr *address = r->connection->sockaddr;
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *sin = (const void *) address;
        network_set(client, 4, (const uint8_t *) &sin->sin_addr, 32);
        return true;
    }
#if (NGX_HAVE_INET6)
    if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *sin6 = (const void *) address;
        network_set(client, 6, (const uint8_t *) &sin6->sin6_addr, 128);
        return true;
    }
#endif
    return false;
}

int
ngx_http_redirect_token(ngx_http_request_t *r,
                        const ngx_http_redirect_play_t *play,
                        struct token_claims *claims)
{
    const ngx_http_redirect_main_conf_t *rmcf =
        ngx_http_get_module_main_conf(r, ngx_http_redirect_module);
    const ngx_http_redirect_srv_conf_t *rscf =
        ngx_http_get_module_srv_conf(r, ngx_http_redirect_module);
    const ngx_table_elt_t *host = r->headers_in.host;
    struct network client;
    const struct token_request request = {
#if (NGX_HTTP_SSL)
        .scheme = r->connection->ssl != NULL ? BYTES_LITERAL("https")
                                             : BYTES_LITERAL("http"),
#else
        .scheme = BYTES_LITERAL("http"),
#endif
        .authority = host != NULL ? bytes_of(host->value.data, host->value.len)
                                  : BYTES_LITERAL(""),
        .prefix = play->prefix,
        .content = play->content,
        .rest = play->rest,
        .query = bytes_of(r->args.data, r->args.len),
        .method = bytes_of(r->method_name.data, r->method_name.len),
        .client = token_client(r, rscf, &client) ? &client : NULL,
        .now_s = (uint64_t) ngx_time(),
        .early_s = (uint32_t) rmcf->token_early,
        .late_s = (uint32_t) rmcf->token_late,
        .is_expiry_ignored = play->is_expiry_ignored,
    };
    int err = token_verify_request(rmcf->keys, play->token, &request, claims);
    return err == 0 && rmcf->revocations != NULL
                   && revocations_has(rmcf->revocations, claims->session)
               ? ERR_REVOKED
               : err;
}
