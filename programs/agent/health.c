/* SPDX-License-Identifier: Apache-2.0 */
/* Asks the node's nginx, twice a second, whether it is well. */

#include "programs/agent/agent.h"

#include "core/err.h"
#include "platform/log.h"

#include <stdlib.h>

#define CHECK_INTERVAL_MS 500
#define CHECK_TIMEOUT_MS 450
#define CHECK_BODY_SIZE_MAX 65536 /* bytes */
#define FAILURES_TO_DOWN 2

struct health {
    struct agent_shared *shared;
    void (*changed)(void *context);
    void *context;
    struct event timer;
    struct http_fetch *fetch; /* NULL: none under way */
    unsigned failure_count;
    bool is_known; /* it answered, or did not, at least once */
};

static void
state_set(struct health *h, enum node_state state, const char *reason)
{
    if (h->is_known && h->shared->state == state)
        return;
    log_info("agent: node %s is %s (%s)", h->shared->config->node,
             node_state_name(state), reason);
    h->shared->state = state;
    h->is_known = true;
    h->changed(h->context);
}

static void
checked(const struct http_response *response, void *context)
{
    struct health *h = context;
    h->fetch = NULL;
    if (response->err == 0 && response->status / 100 == 2) {
        h->failure_count = 0;
        state_set(h, NODE_UP, "its check answers");
        return;
    }
    h->failure_count++;
    if (h->failure_count >= FAILURES_TO_DOWN || !h->is_known)
        state_set(h, NODE_DOWN,
                  response->err != 0 ? err_text(response->err)
                                     : "its check answers no success");
}

static void
check(evutil_socket_t fd, short what, void *arg)
{
    struct health *h = arg;
    if (h->fetch != NULL)
        return; /* the time-out is shorter, but timers may bunch up */
    const struct http_fetch_config config = {
        .method = "GET",
        .url = h->shared->config->check,
        .timeout_ms = CHECK_TIMEOUT_MS,
        .body_size_max = CHECK_BODY_SIZE_MAX,
        .discard_body = true,
        .done = checked,
        .context = h,
    };
    h->fetch = http_fetch(h->shared->local, &config);
}

struct health *
health_new(struct agent_shared *shared, void (*changed)(void *context),
           void *context)
{
    static const struct timeval interval = {.tv_usec =
                                                CHECK_INTERVAL_MS * 1000};
    struct health *h = calloc(1, sizeof *h);
    if (h == NULL)
        return NULL;
    h->shared = shared;
    h->changed = changed;
    h->context = context;
    event_assign(&h->timer, shared->base, -1, EV_PERSIST, check, h);
    event_add(&h->timer, &interval);
    check(-1, 0, h);
    return h;
}

void
health_free(struct health *h)
{
    if (h == NULL)
        return;
    event_del(&h->timer);
    http_fetch_cancel(h->fetch);
    free(h);
}
