/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_CLASSIFY_PRIVATE_H
#define CORE_CLASSIFY_PRIVATE_H

/*
 * For core/classify.c, which makes plans of contents and rows of plans, and
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

struct classification {
    const struct classify_policy *policy;
    const struct classify_input *input;
    struct cluster cluster;
    struct plan *plans; /* greatest demand first */
    size_t count;
};

/* True when a step down that has been possible since *since_ms may be made
 * now; starts the time when it was not running. */
bool hold_is_over(uint64_t *since_ms, uint64_t now_ms, uint32_t hold_ms);

/* Sets the shares of all plans. */
void offload(struct classification *c);

#endif
