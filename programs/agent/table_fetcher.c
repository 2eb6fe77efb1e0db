/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps one question for a newer table open at the Manager, and puts what
 * comes into place for nginx: verified first, written beside and renamed, and
 * only ever forward in version (rule 4). A Manager that was restarted asks
 * back for the table that is held, and is told.
 */

#include "programs/agent/agent.h"

#include "core/err.h"
#include "platform/files.h"
#include "platform/log.h"
#include "platform/loop.h"

#include <stdio.h>
#include <stdlib.h>

#define WAIT_MS 30000       /* that the question may, at the Manager */
#define ANSWER_TIME_MS 5000 /* over that */
#define RETRY_MS 100
/* Within which a table that was heard of has come, or the question for it hangs
 * somewhere on the way. */
#define GRACE_MS 4000

struct table_fetcher {
    struct agent_shared *shared;
    struct event timer, grace;
    struct http_fetch *fetch;   /* NULL: none under way */
    char url[MANAGER_URL_SIZE]; /* of the Manager that is asked */
    unsigned failure_count;
    struct table_version hinted; /* that was heard of, and is to come */
    bool cannot_write;           /* as was told; a full disk, most often */
};

static int
table_check(struct bytes encoded, struct table_version *version)
{
    struct table_snapshot *snapshot;
    const int err = table_decode(encoded, &snapshot);
    if (err != 0)
        return err;
    *version = snapshot->table.version;
    table_free(snapshot);
    return 0;
}

static int
table_install(struct table_fetcher *f, struct bytes encoded)
{
    struct table_version version;
    struct table_version *held = &f->shared->held;
    int err = table_check(encoded, &version);
    if (err != 0) {
        log_error("agent: refuse a table from %s (%s)", f->url, err_text(err));
        return err;
    }
    const int order = table_version_compare(version, *held);
    if (order == 0)
        return 0;
    if (order < 0) {
        log_warn("agent: refuse table %llu.%llu (%llu.%llu is held)",
                 (unsigned long long) version.term,
                 (unsigned long long) version.sequence,
                 (unsigned long long) held->term,
                 (unsigned long long) held->sequence);
        return ERR_STALE;
    }
    err = held_write(f->shared->config->table, encoded, "the table before",
                     &f->cannot_write);
    if (err != 0)
        return err;
    *held = version;
    log_debug("agent: install table %llu.%llu",
              (unsigned long long) version.term,
              (unsigned long long) version.sequence);
    return 0;
}

static void
fetch_failed(struct table_fetcher *f)
{
    const struct timeval wait = back_off(++f->failure_count, RETRY_MS);
    event_add(&f->timer, &wait);
}

static void
told(const struct http_response *response, void *context)
{
    static const struct timeval wait = {.tv_usec = RETRY_MS * 1000};
    struct table_fetcher *f = context;
    f->fetch = NULL;
    if (response->err == 0 && response->status == 204)
        event_add(&f->timer, &wait); /* it may ask again, for a newer one */
    else
        fetch_failed(f);
}

static void
tell_held_table(struct table_fetcher *f)
{
    char url[MANAGER_URL_SIZE + MANAGER_PATH_SIZE];
    struct buffer text;
    buffer_init(&text, TABLE_SIZE_MAX);
    const int err = file_read(f->shared->config->table, &text);
    manager_url(url, f->url, "v1/table");
    const struct http_fetch_config config = {
        .method = "PUT",
        .url = url,
        .body = buffer_bytes(&text),
        .timeout_ms = ANSWER_TIME_MS,
        .discard_body = true,
        .done = told,
        .context = f,
    };
    if (err == 0)
        f->fetch = http_fetch(f->shared->client, &config);
    if (f->fetch == NULL)
        fetch_failed(f);
    buffer_fini(&text);
}

static void
answered(const struct http_response *response, void *context)
{
    struct table_fetcher *f = context;
    struct coordination *coordination = f->shared->coordination;
    f->fetch = NULL;
    if (response->err == 0 && response->status == 204) {
        f->failure_count = 0;
        table_fetcher_start(f);
    } else if (response->err == 0 && response->status == 200) {
        if (table_install(f, response->body) != 0) {
            fetch_failed(f);
            return;
        }
        f->failure_count = 0;
        coordination->table_came(coordination);
        table_fetcher_start(f);
    } else if (response->err == 0 && response->status == 307) {
        manager_redirected(f->shared, f->url, response);
        fetch_failed(f);
    } else if (response->err == 0 && response->status == 409) {
        tell_held_table(f);
    } else {
        if (response->err == 0)
            log_warn("agent: cannot fetch the table from %s (it answers %d)",
                     f->url, response->status);
        coordination->manager_failed(coordination, f->url);
        fetch_failed(f);
    }
}

static void
fetch_due(evutil_socket_t fd, short what, void *arg)
{
    table_fetcher_start(arg);
}

/* Here meanwhile, or asked for anew. */
static void
grace_over(evutil_socket_t fd, short what, void *arg)
{
    struct table_fetcher *f = arg;
    const struct table_version hinted = f->hinted;
    f->hinted = (struct table_version){0, 0}; /* it may not exist at all */
    if (table_version_compare(hinted, f->shared->held) <= 0)
        return;
    http_fetch_cancel(f->fetch);
    f->fetch = NULL;
    event_del(&f->timer);
    table_fetcher_start(f);
}

static void
read_old_table(struct table_fetcher *f)
{
    const char *path = f->shared->config->table;
    struct buffer text;
    buffer_init(&text, TABLE_SIZE_MAX);
    int err = file_read(path, &text);
    if (err == 0)
        err = table_check(buffer_bytes(&text), &f->shared->held);
    if (err == 0)
        log_info("agent: hold table %llu.%llu from before",
                 (unsigned long long) f->shared->held.term,
                 (unsigned long long) f->shared->held.sequence);
    else if (err != ERR_NOT_FOUND)
        log_warn("agent: ignore the table in %s (%s)", path, err_text(err));
    buffer_fini(&text);
}

struct table_fetcher *
table_fetcher_new(struct agent_shared *shared)
{
    struct table_fetcher *f = calloc(1, sizeof *f);
    if (f == NULL)
        return NULL;
    f->shared = shared;
    evtimer_assign(&f->timer, shared->base, fetch_due, f);
    evtimer_assign(&f->grace, shared->base, grace_over, f);
    read_old_table(f);
    return f;
}

void
table_fetcher_free(struct table_fetcher *f)
{
    if (f == NULL)
        return;
    event_del(&f->timer);
    event_del(&f->grace);
    http_fetch_cancel(f->fetch);
    free(f);
}

void
table_fetcher_ask(struct table_fetcher *f)
{
    struct coordination *coordination = f->shared->coordination;
    if (f->fetch != NULL
        && strcmp(f->url, coordination->manager(coordination)) == 0)
        return;
    http_fetch_cancel(f->fetch); /* of one that is left */
    f->fetch = NULL;
    event_del(&f->timer);
    table_fetcher_start(f);
}

void
table_fetcher_move(struct table_fetcher *f)
{
    if (f->fetch != NULL)
        table_fetcher_ask(f);
}

void
table_fetcher_hint(struct table_fetcher *f, struct table_version version)
{
    /* one that is newer still gets its own time, at the next hint */
    if (table_version_compare(version, f->shared->held) <= 0
        || event_pending(&f->grace, EV_TIMEOUT, NULL))
        return;
    f->hinted = version;
    const struct timeval wait = loop_back_off(1, GRACE_MS, GRACE_MS);
    event_add(&f->grace, &wait);
}

void
table_fetcher_start(struct table_fetcher *f)
{
    struct coordination *coordination = f->shared->coordination;
    char url[MANAGER_URL_SIZE + MANAGER_PATH_SIZE], path[MANAGER_PATH_SIZE];
    snprintf(f->url, sizeof f->url, "%s", coordination->manager(coordination));
    snprintf(path, sizeof path, "v1/table?after=%llu.%llu&wait_ms=%u",
             (unsigned long long) f->shared->held.term,
             (unsigned long long) f->shared->held.sequence, WAIT_MS);
    manager_url(url, f->url, path);
    const struct http_fetch_config config = {
        .method = "GET",
        .url = url,
        .timeout_ms = WAIT_MS + ANSWER_TIME_MS,
        .body_size_max = TABLE_SIZE_MAX,
        .done = answered,
        .context = f,
    };
    f->fetch = http_fetch(f->shared->client, &config);
    if (f->fetch == NULL)
        fetch_failed(f);
}
