/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_CLASSIFY_PRIVATE_H
#define CORE_CLASSIFY_PRIVATE_H

/*
 * For core/classify.c, which makes plans of contents and rows of plans,
 * core/classify_even.c, which gives contents of hot nodes another owner, and
 * core/classify_offload.c, which decides what the CDN takes: nothing for other
 * files.
 */

#include "core/classify.h"

#define RATE_FLOOR 0.001 /* requests/s; less is nothing */

struct plan { /* what becomes of one content */
    struct bytes id;
    uint64_t hash;
    double rate;       /* long window */
    double rate_up;    /* what steps up go by */
    uint32_t k, share; /* as before, then as decided */
    uint64_t calmer_since_ms;
    const struct override *override; /* or NULL */
};

struct cluster {
    uint32_t count;  /* N: origins that are up */
    double capacity; /* of all of them, requests/s */
    double unit;     /* the demand that needs a second owner */
};

/* How loaded a node is beside the others. */
enum warmth { WARMTH_COOL, WARMTH_WARM, WARMTH_HOT };

struct evening { /* of the origins that are up; none by thresholds */
    struct placement_node nodes[PLACEMENT_NODES_MAX];
    enum warmth warmth[PLACEMENT_NODES_MAX];
    size_t count;
    bool has_hot;
};

struct classification {
    const struct classify_policy *policy;
    const struct classify_input *input;
    struct cluster cluster;
    struct evening evening;
    struct plan *plans; /* greatest demand first */
    size_t count;
};

/* True when a step down that has been possible since *since_ms may be made
 * now; starts the time when it was not running. */
bool hold_is_over(uint64_t *since_ms, uint64_t now_ms, uint32_t hold_ms);

/* An origin that is up: decisions are made for these. */
static inline bool
node_is_counted(const struct demand_node *node)
{
    return node->last.role == NODE_ROLE_ORIGIN && node->state == NODE_UP;
}

/* Of the demand that needs a second owner: what may get one at a hot node. */
#define EVEN_PART 0.25

void evening_begin(struct evening *evening,
                   const struct classify_policy *policy,
                   const struct classify_input *input);
/* All of its owners are hot: it needs one more. */
bool evening_is_due(const struct evening *evening, const struct plan *plan,
                    double unit);
/* k, or as many more of the plan's as it takes for one that is cool. */
uint32_t evening_owners_down(const struct evening *evening,
                             const struct plan *plan, uint32_t k, double unit);

/* Sets the shares of all plans. */
void offload(struct classification *c);

#endif
