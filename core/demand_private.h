/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_DEMAND_PRIVATE_H
#define CORE_DEMAND_PRIVATE_H

/*
 * What a struct demand is made of, for core/demand.c, which answers, and
 * core/demand_merge.c, which takes reports in: nothing for other files.
 */

#include "core/demand_contents.h"
#include "core/demand_nodes.h"

struct demand {
    struct demand_policy policy;
    struct window_clock clock;
    struct contents contents;
    struct nodes nodes;
    double plays_seen[ROLE_COUNT]; /* that were not offloaded */
    double requests_seen;
    uint64_t left_out; /* entries */
};

/* Moves the windows to now_ms, when that is later. */
void demand_move(struct demand *d, uint64_t now_ms);

#endif
