/* SPDX-License-Identifier: Apache-2.0 */
/* Options first, then the environment, then the defaults. */

#include "platform/consul_options.h"

#include "core/buffer.h"
#include "core/err.h"
#include "platform/files.h"
#include "platform/log.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define TOKEN_SIZE_MAX 1024 /* bytes */
#define URL_SIZE 256

static const char *
or_environment(const char *option, const char *name)
{
    if (option != NULL)
        return option;
    const char *value = getenv(name);
    return value == NULL || *value == '\0' ? NULL : value;
}

static bool
prefix_is_valid(const char *prefix)
{
    for (const char *p = prefix; *p != '\0'; p++)
        if (!isalnum((unsigned char) *p) && *p != '-' && *p != '_')
            return false;
    return *prefix != '\0' && strlen(prefix) <= CONSUL_PREFIX_LEN_MAX;
}

bool
consul_options_chosen(const struct consul_options *options)
{
    return strcmp(options->coordination, "consul") == 0;
}

const char *
consul_options_fault(const struct consul_options *options)
{
    if (!consul_options_chosen(options)
        && strcmp(options->coordination, "static") != 0)
        return "--coordination is neither static nor consul";
    if (!prefix_is_valid(options->prefix))
        return "--consul-prefix is not 1 to 32 of A-Z a-z 0-9 _ -";
    if ((or_environment(options->certificate_file, "CONSUL_CLIENT_CERT")
         == NULL)
        != (or_environment(options->key_file, "CONSUL_CLIENT_KEY") == NULL))
        return "--consul-certificate-file and --consul-key-file go together";
    return "";
}

/* CONSUL_HTTP_ADDR may come without a scheme. */
static void
url_find(const struct consul_options *options, char url[URL_SIZE])
{
    const char *found = or_environment(options->url, "CONSUL_HTTP_ADDR");
    const char *ssl = getenv("CONSUL_HTTP_SSL");
    const bool is_tls =
        ssl != NULL && (strcmp(ssl, "true") == 0 || strcmp(ssl, "1") == 0);
    if (found == NULL)
        found = "127.0.0.1:8500";
    snprintf(url, URL_SIZE, "%s%s",
             strstr(found, "://") != NULL ? ""
             : is_tls                     ? "https://"
                                          : "http://",
             found);
}

/* Empty where none is given. */
static int
token_find(const struct consul_options *options, struct buffer *token)
{
    const char *path =
        or_environment(options->token_file, "CONSUL_HTTP_TOKEN_FILE");
    if (path == NULL) {
        const char *text = or_environment(NULL, "CONSUL_HTTP_TOKEN");
        buffer_append_text(token, text == NULL ? "" : text);
    } else {
        const int err = file_read(path, token);
        if (err != 0) {
            log_error("consul: cannot read the token file %s (%s)", path,
                      err == ERR_IO ? strerror(errno) : err_text(err));
            return err;
        }
        while (token->len > 0 && isspace(token->ptr[token->len - 1]))
            token->len--;
    }
    const bool is_empty = token->len == 0;
    buffer_append_u8(token, '\0');
    if (token->err == 0 && is_empty)
        token->len = 0;
    return token->err;
}

int
consul_options_open(const struct consul_options *options,
                    struct event_base *base, struct consul **out)
{
    char url[URL_SIZE];
    struct buffer token;
    buffer_init(&token, TOKEN_SIZE_MAX);
    url_find(options, url);
    int err = token_find(options, &token);
    const struct consul_config config = {
        .url = url,
        .token = token.len == 0 ? NULL : (const char *) token.ptr,
        .ca_file = or_environment(options->ca_file, "CONSUL_CACERT"),
        .certificate_file =
            or_environment(options->certificate_file, "CONSUL_CLIENT_CERT"),
        .key_file = or_environment(options->key_file, "CONSUL_CLIENT_KEY"),
    };
    if (err == 0)
        err = consul_new(base, &config, out);
    if (token.ptr != NULL)
        explicit_bzero(token.ptr, token.capacity);
    buffer_fini(&token);
    return err;
}
