/* SPDX-License-Identifier: Apache-2.0 */
/* TLS 1.2 or newer by OpenSSL, on libevent's streams. */

#include "platform/http_tls.h"

#include "platform/http_private.h"
#include "platform/log.h"

#include <stdlib.h>

#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

struct http_tls {
    SSL_CTX *context;
};

static int
refuse(const char *what, const char *file)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    log_error("tls: cannot use %s %s (%s)", what, file,
              reason == NULL ? "unknown reason" : reason);
    ERR_clear_error();
    return ERR_INVALID;
}

static int
configure(SSL_CTX *context, const struct http_tls_config *config)
{
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    if (config->ca_file == NULL)
        SSL_CTX_set_default_verify_paths(context);
    else if (SSL_CTX_load_verify_file(context, config->ca_file) != 1)
        return refuse("the CA file", config->ca_file);
    if (config->certificate_file == NULL)
        return 0;
    if (SSL_CTX_use_certificate_chain_file(context, config->certificate_file)
        != 1)
        return refuse("the certificate", config->certificate_file);
    if (SSL_CTX_use_PrivateKey_file(context, config->key_file, SSL_FILETYPE_PEM)
            != 1
        || SSL_CTX_check_private_key(context) != 1)
        return refuse("the key", config->key_file);
    return 0;
}

/* Told here, since to the HTTP client a failed handshake is a closed
 * connection like any other. */
static int
verify(int is_good, X509_STORE_CTX *store)
{
    if (!is_good)
        log_warn(
            "tls: refuse a certificate (%s)",
            X509_verify_cert_error_string(X509_STORE_CTX_get_error(store)));
    return is_good;
}

static int
expect_name(SSL *ssl, const char *host)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    if (X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1)
        return 1;
    ERR_clear_error();
    X509_VERIFY_PARAM_set_hostflags(param,
                                    X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set_tlsext_host_name(ssl, host) == 1
           && X509_VERIFY_PARAM_set1_host(param, host, 0) == 1;
}

static struct bufferevent *
stream_new(struct event_base *base, const char *host, void *context)
{
    const struct http_tls *tls = context;
    SSL *ssl = SSL_new(tls->context);
    if (ssl == NULL)
        return NULL;
    if (!expect_name(ssl, host)) {
        SSL_free(ssl);
        return NULL;
    }
    /* takes the SSL */
    struct bufferevent *stream = bufferevent_openssl_socket_new(
        base, -1, ssl, BUFFEREVENT_SSL_CONNECTING, BEV_OPT_CLOSE_ON_FREE);
    if (stream == NULL)
        SSL_free(ssl);
    return stream;
}

int
http_tls_new(const struct http_tls_config *config, struct http_tls **out)
{
    struct http_tls *tls = calloc(1, sizeof *tls);
    if (tls == NULL)
        return ERR_MEMORY;
    tls->context = SSL_CTX_new(TLS_client_method());
    int err = tls->context == NULL ? ERR_MEMORY : 0;
    if (err == 0)
        err = configure(tls->context, config);
    if (err != 0) {
        http_tls_free(tls);
        return err;
    }
    SSL_CTX_set_verify(tls->context, SSL_VERIFY_PEER, verify);
    *out = tls;
    return 0;
}

void
http_tls_free(struct http_tls *tls)
{
    if (tls == NULL)
        return;
    SSL_CTX_free(tls->context);
    free(tls);
}

void
http_client_use_tls(struct http_client *client, struct http_tls *tls)
{
    http_client_set_stream(client, stream_new, tls);
}
