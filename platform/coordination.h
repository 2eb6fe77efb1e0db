/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PLATFORM_COORDINATION_H
#define PLATFORM_COORDINATION_H

/*
 * How a node finds the Manager and hears of a new table: all that the agent
 * knows of the way the system is coordinated. The `static` way has the
 * Managers from the configuration, the `consul` way has the leader from Consul's
 * KV, and wake-ups by its events. Tables come by the Manager's long poll in both.
 */

#include "core/table.h"
#include "platform/http.h"

/* What a way of coordination may tell by itself. All of it is a hint: it may
 * come late, twice, out of order, or never. */
struct coordination_listener {
    /* There is this table, or a newer one, at the Manager. */
    void (*publish)(void *context, struct table_version version);
    /* Report now. */
    void (*collect)(void *context);
    /* There may be another Manager: ask it for a table now. */
    void (*ask)(void *context);
    void *context;
};

struct coordination {
    /* Base URL of the Manager to talk to now; never NULL. */
    const char *(*manager)(struct coordination *self);
    /* The one at `url` did not answer: name another, if there is one. */
    void (*manager_failed)(struct coordination *self, const char *url);
    /* The one at `url` says that the one at `leader` is to be asked. */
    void (*manager_moved)(struct coordination *self, const char *url,
                          const char *leader);
    /* How this node is, for all to see. */
    void (*node_is)(struct coordination *self, enum node_state state);
    void (*free)(struct coordination *self);
    /* A table came from the Manager. */
    void (*table_came)(struct coordination *self);
    struct coordination_listener listener; /* set before the loop runs */
};

/* `urls` (at least one) and the client must outlive it. NULL: memory. */
struct coordination *coordination_static_new(struct event_base *base,
                                             struct http_client *client,
                                             const char *const *urls,
                                             size_t count);

#endif
