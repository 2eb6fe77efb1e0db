/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_OVERRIDE_H
#define CORE_OVERRIDE_H

/*
 * What an operator decides by hand, for a time, over what the policy would:
 *
 *   a content  its level and owner count, or that the CDN never gets it
 *   a node     that it drains: its plays go on, and no new one goes there
 *   the CDN    that it gets nothing, or how much at most
 */

#include "core/content.h"
#include "core/demand.h"

#define OVERRIDES_MAX 1000
#define OVERRIDE_NAME_SIZE (CONTENT_ID_LEN_MAX + 1) /* with its end */

enum override_target { OVERRIDE_CONTENT, OVERRIDE_NODE, OVERRIDE_CDN };

struct override { /* plain data */
    enum override_target target;
    char name[OVERRIDE_NAME_SIZE]; /* content id, node name; "" for the CDN */
    uint64_t until_ms;             /* Unix time */
    /* of a content */
    bool is_pinned;
    enum level level;
    uint32_t owner_count; /* of a pinned normal one; 0: by the policy */
    /* of a content or the CDN */
    bool is_cdn_forbidden;
    /* of the CDN: it takes this at most, whichever is less */
    bool has_budget;
    double budget_share; /* of the sum of demand; 1: all */
    double budget_plays; /* plays/s; 0: any number */
};

/* Name, level and numbers are in range, and it says something. */
bool override_is_valid(const struct override *override);

/* Lists are sorted by target and name, each at most once. */
const struct override *override_find(const struct override *list, size_t count,
                                     enum override_target target,
                                     struct bytes name);
/* Adds it in its place, instead of the one of its name; room for one more in
 * the list. ERR_INVALID, ERR_LIMIT. */
int override_put(struct override *list, size_t *count,
                 const struct override *override);
/* ERR_NOT_FOUND */
int override_remove(struct override *list, size_t *count,
                    enum override_target target, struct bytes name);
/* Removes those whose time is over; true when there were any. */
bool override_expire(struct override *list, size_t *count, uint64_t now_ms);

/* The CDN gets nothing of anything. */
bool override_forbids_cdn(const struct override *list, size_t count);

/* Of nodes that drain by an override, those that are up or full are draining.
 */
void override_nodes(const struct override *list, size_t count,
                    struct demand_node *nodes, size_t node_count);

#endif
