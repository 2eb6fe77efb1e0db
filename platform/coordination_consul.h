/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PLATFORM_COORDINATION_CONSUL_H
#define PLATFORM_COORDINATION_CONSUL_H

/* The `consul` way to coordinate, for an agent. */

#include "platform/consul.h"
#include "platform/coordination.h"

struct coordination_consul_config {
    struct consul *consul;
    const char *prefix; /* of keys, events and services */
    /* The node's service: PREFIX-ROLE, with its URL ("": none) and weight. */
    const char *node, *role, *url;
    unsigned weight;
    /* Managers to try while Consul has not named one; at least one. */
    const char *const *urls;
    size_t url_count;
};

/* What the config points to must outlive it. The first hints come from the
 * loop, never from inside this call. NULL: memory. */
struct coordination *coordination_consul_new(
    struct event_base *base, const struct coordination_consul_config *config);

#endif
