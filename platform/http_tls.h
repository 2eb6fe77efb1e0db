/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PLATFORM_HTTP_TLS_H
#define PLATFORM_HTTP_TLS_H

/*
 * TLS for the HTTP client: https:// with the other side's certificate and name
 * verified, and one's own certificate where it asks for it. Apart from the
 * client, so that only programs that need it link OpenSSL's libssl.
 */

#include "platform/http.h"

struct http_tls;

struct http_tls_config { /* PEM files; each may be NULL */
    const char *ca_file; /* whom to trust; NULL: whom the system trusts */
    const char *certificate_file, *key_file; /* both or none */
};

/* Logs the reason on failure. ERR_INVALID (a file), ERR_MEMORY. */
int http_tls_new(const struct http_tls_config *config, struct http_tls **out);
void http_tls_free(struct http_tls *tls); /* after the clients that use it */

/* The client takes https:// URLs from now on. */
void http_client_use_tls(struct http_client *client, struct http_tls *tls);

#endif
