/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PLATFORM_COORDINATION_H
#define PLATFORM_COORDINATION_H

/*
 * How a node finds the Manager and hears of a new table: all that the agent
 * knows of the way the system is coordinated. The `static` way has the
 * Managers from the configuration, and the Manager's long poll as wake-up.
 */

#include "platform/http.h"

/* What a way of coordination may tell by itself. */
struct coordination_listener {
    /* Another Manager: ask now. */
    void (*ask)(void *context);
    void *context;
};

struct coordination {
    /* Base URL of the Manager to talk to now; never NULL. */
    const char *(*manager)(struct coordination *self);
    /* The one at `url` did not answer: name another, if there is one. */
    void (*manager_failed)(struct coordination *self, const char *url);
    void (*free)(struct coordination *self);
    /* How long a question for a newer table may wait at the Manager. 0: wake
     * up by other means, and ask without waiting. */
    unsigned table_wait_ms;
    struct coordination_listener listener; /* set before the loop runs */
};

/* `urls` (at least one) and the client must outlive it. NULL: memory. */
struct coordination *coordination_static_new(struct event_base *base,
                                             struct http_client *client,
                                             const char *const *urls,
                                             size_t count);

#endif
