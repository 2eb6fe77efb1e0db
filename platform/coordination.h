/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PLATFORM_COORDINATION_H
#define PLATFORM_COORDINATION_H

/*
 * How a node finds the Manager and hears of a new table: all that the agent
 * knows of the way the system is coordinated. The `static` way has the
 * Managers from the configuration, and the Manager's long poll as wake-up.
 */

#include <stddef.h>

struct coordination {
    /* Base URL of the Manager to talk to now; never NULL. */
    const char *(*manager)(struct coordination *self);
    /* The one at `url` did not answer: name another, if there is one. */
    void (*manager_failed)(struct coordination *self, const char *url);
    void (*free)(struct coordination *self);
    /* How long a question for a newer table may wait at the Manager. 0: wake
     * up by other means, and ask without waiting. */
    unsigned table_wait_ms;
};

/* `urls` (at least one) must outlive it. NULL: memory. */
struct coordination *coordination_static_new(const char *const *urls,
                                             size_t count);

#endif
