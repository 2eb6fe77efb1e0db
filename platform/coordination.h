/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PLATFORM_COORDINATION_H
#define PLATFORM_COORDINATION_H

/*
 * How a node finds the Manager and hears of a new table: all that the agent
 * knows of the way the system is coordinated. The `static` way has the
 * Managers from the configuration, and the Manager's long poll as wake-up. The
 * `consul` way has the leader and the tables from Consul's KV and wake-ups by
 * its events, and falls back on the long poll while Consul is away.
 */

#include "core/table.h"
#include "platform/http.h"

/* What a way of coordination may tell by itself. All of it is a hint: it may
 * come late, twice, out of order, or never. */
struct coordination_listener {
    /* Here is a table. It may be an old one, or none at all. */
    void (*table)(void *context, struct bytes encoded);
    /* There is this one, or a newer one, at the Manager. is_coming: it is also
     * on its way here, most likely. */
    void (*publish)(void *context, struct table_version version,
                    bool is_coming);
    /* Report now. */
    void (*collect)(void *context);
    /* Another Manager, or another way to wait for tables: ask now. */
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
    /* How long a question for a newer table may wait at the Manager. 0: wake
     * up by other means, and ask without waiting, every table_poll_ms. May
     * change; then the listener is told to ask. */
    unsigned table_wait_ms, table_poll_ms;
    struct coordination_listener listener; /* set before the loop runs */
};

/* `urls` (at least one) and the client must outlive it. NULL: memory. */
struct coordination *coordination_static_new(struct event_base *base,
                                             struct http_client *client,
                                             const char *const *urls,
                                             size_t count);

#endif
