/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_PUBLISH_H
#define CORE_PUBLISH_H

/*
 * When the next load table is worth publishing: at once when a content is to be
 * spread wider than before, or kept from the CDN or not, and when the nodes or
 * their states change; for what may wait only now and then, as all nodes fetch
 * every table. That is narrower owner sets and smaller shares, which waited for
 * their hold time, and loads and rates alone.
 */

#include "core/demand.h"

#define PUBLISH_LOAD_MS 1000 /* at least, before a table that may wait */

/* The origins of the nodes, as a table lists them; room for node_count. Texts
 * are the nodes'. Returns how many there are. */
size_t publish_origins(const struct demand_node *nodes, size_t node_count,
                       struct table_node *origins);

/* `since_ms` after the last table was published. Versions and times of
 * creation do not count. */
bool publish_is_due(const struct table *last, const struct table *next,
                    uint64_t since_ms);

#endif
