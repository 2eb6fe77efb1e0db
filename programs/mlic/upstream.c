/* SPDX-License-Identifier: Apache-2.0 */

#include "programs/mlic/upstream.h"

#include "core/err.h"
#include "platform/http_tls.h"
#include "platform/key_file.h"
#include "platform/log.h"

#include <stdio.h>
#include <stdlib.h>

#define CONNECTIONS_MAX 64
#define ANSWER_SIZE_MAX (1u << 20)

struct upstream {
    struct upstream_config config;
    struct http_client *client;
    struct http_tls *tls;
    unsigned asked; /* how often, now */
};

/* Keys are in what is asked. */
static bool
url_is_safe(const char *url)
{
    return http_url_is_valid_tls(url)
           && (strncmp(url, "https://", 8) == 0
               || strncmp(url, "http://127.0.0.1:", 17) == 0
               || strncmp(url, "http://[::1]:", 13) == 0);
}

static int
key_use(struct http_client *client, const char *path)
{
    char key[KEY_SIZE];
    int err = key_file_owner_check(path);
    if (err == 0)
        err = key_file_read(path, key);
    if (err == 0)
        err = http_client_authorize(client, key);
    explicit_bzero(key, sizeof key);
    return err;
}

int
upstream_new(struct event_base *base, const struct upstream_config *config,
             struct upstream **out)
{
    const struct http_tls_config tls = {
        .ca_file = config->ca_file,
        .certificate_file = config->certificate_file,
        .key_file = config->certificate_key_file,
    };
    int err = 0;
    if (!url_is_safe(config->url)) {
        log_error("upstream: refuse %s (keys are sent there: it must be "
                  "https://)",
                  config->url);
        return ERR_INVALID;
    }
    if ((tls.certificate_file == NULL) != (tls.key_file == NULL)) {
        log_error("upstream: a certificate for %s needs its key, and a key "
                  "its certificate",
                  config->url);
        return ERR_INVALID;
    }
    struct upstream *upstream = calloc(1, sizeof *upstream);
    if (upstream == NULL)
        return ERR_MEMORY;
    upstream->config = *config;
    upstream->client = http_client_new(base, CONNECTIONS_MAX);
    err = upstream->client == NULL ? ERR_MEMORY
                                   : http_tls_new(&tls, &upstream->tls);
    if (err == 0) {
        http_client_use_tls(upstream->client, upstream->tls);
        if (config->key_file != NULL)
            err = key_use(upstream->client, config->key_file);
    }
    if (err != 0)
        upstream_free(upstream);
    else
        *out = upstream;
    return err;
}

void
upstream_free(struct upstream *upstream)
{
    if (upstream == NULL)
        return;
    http_client_free(upstream->client);
    http_tls_free(upstream->tls);
    free(upstream);
}

bool
upstream_is_asked(const struct upstream *upstream)
{
    return upstream->asked > 0;
}

struct asking {
    struct upstream *upstream;
    struct http_request *request;
    struct http_fetch *fetch;
    const struct license_system *system;
    const char *name;
    uint64_t *failures;
};

static void
asking_forsaken(void *context)
{
    struct asking *asking = context;
    http_fetch_cancel(asking->fetch);
    asking->upstream->asked--;
    free(asking);
}

static void
fail(const struct asking *asking, int err, const char *reason)
{
    (*asking->failures)++;
    log_warn("upstream: no license of %s (%s)", asking->name, reason);
    http_reply_error(asking->request, err,
                     "the service that makes %s licenses %s", asking->name,
                     reason);
}

static void
answer_take(const struct asking *asking, struct bytes answer)
{
    const char *reason = NULL;
    struct buffer license;
    buffer_init(&license, ANSWER_SIZE_MAX);
    if (asking->system->take(answer, &license, &reason) != 0)
        fail(asking, ERR_UPSTREAM, reason);
    else
        http_reply(asking->request, 200, asking->system->content_type,
                   buffer_bytes(&license));
    buffer_fini(&license);
}

static void
asking_answered(const struct http_response *response, void *context)
{
    struct asking *asking = context;
    char reason[64];
    if (response->err == 0 && response->status == 200
        && asking->system->take != NULL) {
        answer_take(asking, response->body);
    } else if (response->err == 0 && response->status == 200) {
        http_reply(asking->request, 200, asking->system->content_type,
                   response->body);
    } else if (response->err == 0) {
        snprintf(reason, sizeof reason, "answered %d", response->status);
        fail(asking, ERR_UPSTREAM, reason);
    } else {
        fail(asking, response->err,
             response->err == ERR_TIMEOUT ? "did not answer in time"
             : response->err == ERR_LIMIT ? "answered too much"
                                          : "cannot be reached");
    }
    asking->upstream->asked--;
    free(asking);
}

void
upstream_ask(struct upstream *upstream, struct http_request *request,
             const struct license_system *system, const char *name,
             struct bytes question, uint64_t *failures)
{
    const char *const headers[] = {"Content-Type", system->upstream_type, NULL};
    struct asking *asking = calloc(1, sizeof *asking);
    if (asking == NULL) {
        http_reply_error(request, ERR_MEMORY, NULL);
        return;
    }
    *asking = (struct asking){.upstream = upstream,
                              .request = request,
                              .system = system,
                              .name = name,
                              .failures = failures};
    const struct http_fetch_config config = {
        .method = "POST",
        .url = upstream->config.url,
        .headers = headers,
        .body = question,
        .timeout_ms = upstream->config.timeout_ms,
        .body_size_max = ANSWER_SIZE_MAX,
        .done = asking_answered,
        .context = asking,
    };
    asking->fetch = http_fetch(upstream->client, &config);
    if (asking->fetch == NULL) {
        fail(asking, ERR_UPSTREAM, "cannot be asked");
        free(asking);
        return;
    }
    upstream->asked++;
    http_request_on_close(request, asking_forsaken, asking);
}
