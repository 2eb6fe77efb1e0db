/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The `static` way to coordinate: a list of Managers. One that does not answer
 * is left for the next, and the first that answers is gone back to, so that in
 * the end all nodes are with the same one: each Manager publishes for the
 * nodes it hears.
 *
 * While a later one of the list is talked to, those before it are asked, twice
 * a second, whether they are in charge. The first that is, steadily, is it.
 * How steadily, doubles each time it fails soon after a return; all nodes see
 * the same, so they return together. The first wait is shorter than a Manager
 * that follows another one waits for nodes: one lost answer moves no table.
 */

#include "platform/coordination.h"
#include "platform/clock.h"
#include "platform/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#define LOOK_MS 500
#define ANSWER_MS 1000 /* a Manager has for its answer */
#define STEADY_MS 1000 /* it has to answer, at first */
#define STEADY_MS_MAX 60000
#define URL_SIZE 640 /* with its end */

/* Nothing is newer than this: 204, whatever the Manager has, if it is in
 * charge; another answer if it is not. */
#define LOOK_PATH \
    "v1/table?after=18446744073709551615.18446744073709551615&wait_ms=0"

struct coordination_static {
    struct coordination super;
    const char *const *urls;
    size_t count;
    size_t current;

    struct http_client *client;
    struct event *timer;
    struct http_fetch *fetch; /* NULL: nobody is asked now */
    size_t asked;             /* which of the list */
    size_t steady;            /* the one that answers; `count`: none */
    uint64_t steady_since_ms, steady_ms, returned_ms;
};

static const char *
static_manager(struct coordination *self)
{
    const struct coordination_static *c = (struct coordination_static *) self;
    return c->urls[c->current];
}

static void
static_manager_failed(struct coordination *self, const char *url)
{
    struct coordination_static *c = (struct coordination_static *) self;
    /* several questions fail together: only the first moves on */
    if (strcmp(c->urls[c->current], url) != 0)
        return;
    const bool is_soon =
        c->returned_ms != 0 && clock_now_ms() - c->returned_ms < STEADY_MS_MAX;
    c->steady_ms = is_soon ? 2 * c->steady_ms : STEADY_MS;
    if (c->steady_ms > STEADY_MS_MAX)
        c->steady_ms = STEADY_MS_MAX;
    c->returned_ms = 0;
    c->steady = c->count;
    c->current = (c->current + 1) % c->count;
}

static void look(struct coordination_static *c);

static void
is_in_charge(struct coordination_static *c)
{
    const uint64_t now_ms = clock_now_ms();
    if (c->steady != c->asked) {
        c->steady = c->asked;
        c->steady_since_ms = now_ms;
    }
    if (now_ms - c->steady_since_ms < c->steady_ms)
        return;
    log_info("coordination: return to %s", c->urls[c->steady]);
    c->current = c->steady;
    c->steady = c->count;
    c->returned_ms = now_ms;
    if (c->super.listener.ask != NULL)
        c->super.listener.ask(c->super.listener.context);
}

static void
answered(const struct http_response *response, void *context)
{
    struct coordination_static *c = context;
    c->fetch = NULL;
    if (c->asked >= c->current)
        return; /* moved on meanwhile */
    if (response->err == 0 && response->status == 204) {
        is_in_charge(c);
        return;
    }
    if (c->steady == c->asked)
        c->steady = c->count;
    c->asked++;
    look(c);
}

static void
look(struct coordination_static *c)
{
    char url[URL_SIZE];
    if (c->asked >= c->current)
        return;
    const char *base = c->urls[c->asked];
    const size_t len = strlen(base);
    snprintf(url, sizeof url, "%s%s%s", base,
             len > 0 && base[len - 1] == '/' ? "" : "/", LOOK_PATH);
    const struct http_fetch_config config = {
        .method = "GET",
        .url = url,
        .timeout_ms = ANSWER_MS,
        .discard_body = true,
        .done = answered,
        .context = c,
    };
    c->fetch = http_fetch(c->client, &config);
}

static void
look_due(evutil_socket_t fd, short what, void *arg)
{
    struct coordination_static *c = arg;
    if (c->fetch != NULL)
        return;
    c->asked = 0;
    look(c);
}

/* Only to one of the list: that is what the configuration trusts. */
static void
static_manager_moved(struct coordination *self, const char *url,
                     const char *leader)
{
    struct coordination_static *c = (struct coordination_static *) self;
    if (strcmp(c->urls[c->current], url) != 0)
        return;
    for (size_t i = 0; i < c->count; i++)
        if (strcmp(c->urls[i], leader) == 0)
            c->current = i;
}

static void
static_node_is(struct coordination *self, enum node_state state)
{
    /* the reports say it */
}

static void
static_table_came(struct coordination *self)
{
    /* nothing else could have */
}

static void
static_free(struct coordination *self)
{
    struct coordination_static *c = (struct coordination_static *) self;
    http_fetch_cancel(c->fetch);
    event_free(c->timer);
    free(self);
}

struct coordination *
coordination_static_new(struct event_base *base, struct http_client *client,
                        const char *const *urls, size_t count)
{
    static const struct timeval wait = {.tv_usec = LOOK_MS * 1000};
    struct coordination_static *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->super = (struct coordination){
        .manager = static_manager,
        .manager_failed = static_manager_failed,
        .manager_moved = static_manager_moved,
        .node_is = static_node_is,
        .free = static_free,
        .table_came = static_table_came,
    };
    c->urls = urls;
    c->count = c->steady = count;
    c->client = client;
    c->timer = event_new(base, -1, EV_PERSIST, look_due, c);
    if (c->timer == NULL) {
        free(c);
        return NULL;
    }
    event_add(c->timer, &wait);
    return &c->super;
}
