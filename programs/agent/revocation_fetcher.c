/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks st-api every second for the plays that were revoked, and puts a newer
 * list into place for nginx: verified first, written beside and renamed. While
 * no st-api answers, the list that is there stays.
 */

#include "programs/agent/agent.h"

#include "core/err.h"
#include "core/revocations.h"
#include "platform/files.h"
#include "platform/log.h"
#include "platform/loop.h"

#include <stdio.h>
#include <stdlib.h>

#define POLL_MS 1000
#define ANSWER_TIME_MS 5000

struct revocation_fetcher {
    struct agent_shared *shared;
    struct event timer;
    struct http_fetch *fetch; /* NULL: none under way */
    size_t api;               /* the st-api that is asked */
    unsigned failure_count;
    uint64_t held; /* number of the list in the file */
    bool cannot_write;
};

static void
next(struct revocation_fetcher *f)
{
    f->failure_count = 0;
    const struct timeval wait = loop_back_off(1, POLL_MS, POLL_MS);
    event_add(&f->timer, &wait);
}

/* Told once, of the first of several in a row. */
static void
failed(struct revocation_fetcher *f, const char *reason)
{
    const struct agent_config *config = f->shared->config;
    if (f->failure_count++ == 0)
        log_warn("agent: cannot fetch revoked plays from %s (%s), those before "
                 "stay",
                 config->apis[f->api], reason);
    f->api = (f->api + 1) % config->api_count;
    const struct timeval wait = back_off(f->failure_count, POLL_MS);
    event_add(&f->timer, &wait);
}

static int
list_check(struct bytes encoded, uint64_t *number)
{
    struct revocations *read;
    const int err = revocations_decode(encoded, &read);
    if (err == 0) {
        *number = read->number;
        free(read);
    }
    return err;
}

static void
list_install(struct revocation_fetcher *f, struct bytes encoded)
{
    uint64_t number;
    int err = list_check(encoded, &number);
    if (err != 0) {
        failed(f, err_text(err));
        return;
    }
    /* another st-api, which has not seen the last change yet */
    if (number > f->held) {
        err = held_write(f->shared->config->revoked, encoded,
                         "the list of revoked plays before", &f->cannot_write);
        if (err == 0)
            f->held = number;
    }
    next(f);
}

static void
answered(const struct http_response *response, void *context)
{
    struct revocation_fetcher *f = context;
    char reason[32];
    f->fetch = NULL;
    if (response->err != 0) {
        failed(f, err_text(response->err));
    } else if (response->status == 200) {
        list_install(f, response->body);
    } else if (response->status == 204) {
        next(f);
    } else {
        snprintf(reason, sizeof reason, "it answers %d", response->status);
        failed(f, reason);
    }
}

static void
ask(evutil_socket_t fd, short what, void *arg)
{
    struct revocation_fetcher *f = arg;
    char url[MANAGER_URL_SIZE + MANAGER_PATH_SIZE], path[MANAGER_PATH_SIZE];
    snprintf(path, sizeof path, "v1/revocations?after=%llu",
             (unsigned long long) f->held);
    manager_url(url, f->shared->config->apis[f->api], path);
    const struct http_fetch_config config = {
        .method = "GET",
        .url = url,
        .timeout_ms = ANSWER_TIME_MS,
        .body_size_max = REVOCATIONS_SIZE_MAX,
        .done = answered,
        .context = f,
    };
    f->fetch = http_fetch(f->shared->api, &config);
    if (f->fetch == NULL)
        failed(f, err_text(ERR_MEMORY));
}

static void
read_old_list(struct revocation_fetcher *f)
{
    const char *path = f->shared->config->revoked;
    struct buffer text;
    buffer_init(&text, REVOCATIONS_SIZE_MAX);
    int err = file_read(path, &text);
    if (err == 0)
        err = list_check(buffer_bytes(&text), &f->held);
    if (err != 0 && err != ERR_NOT_FOUND)
        log_warn("agent: ignore the revoked plays in %s (%s)", path,
                 err_text(err));
    buffer_fini(&text);
}

struct revocation_fetcher *
revocation_fetcher_new(struct agent_shared *shared)
{
    struct revocation_fetcher *f = calloc(1, sizeof *f);
    if (f == NULL)
        return NULL;
    f->shared = shared;
    evtimer_assign(&f->timer, shared->base, ask, f);
    read_old_list(f);
    ask(-1, 0, f);
    return f;
}

void
revocation_fetcher_free(struct revocation_fetcher *f)
{
    if (f == NULL)
        return;
    event_del(&f->timer);
    http_fetch_cancel(f->fetch);
    free(f);
}
