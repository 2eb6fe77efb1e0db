/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_SIM_AUDIENCE_H
#define PROGRAMS_SIM_AUDIENCE_H

/*
 * Who asks for what, and when: a Zipf law over the contents, a catalogue swap
 * that gives every content another rank, and a crowd for one content more that
 * nobody asked for before.
 */

#include "core/bytes.h"
#include "programs/sim/config.h"
#include "programs/sim/random.h"

#define CONTENT_NAME_LEN 9 /* "c" and 8 hexadecimal digits */

struct audience {
    const struct sim_config *config;
    struct rng rng;
    struct alias ranks;
    double *shares; /* of all plays, by rank, greatest first */
    bool is_swapped;
    uint32_t swap_step, swap_offset;
};

/* ERR_MEMORY. The config must outlive it. */
int audience_init(struct audience *audience, const struct sim_config *config);
void audience_fini(struct audience *audience);

/* Plays that are under way in the steady state, the crowd apart. */
double audience_plays(const struct audience *audience);
/* Plays of the crowd once it is whole. */
double audience_crowd(const struct audience *audience);
/* The content of a rank, as of now. */
uint32_t audience_content(const struct audience *audience, uint32_t rank);
/* The one that the crowd wants: behind all others. */
uint32_t audience_crowd_content(const struct audience *audience);

/* How many plays start in the step that begins at now_ms; swaps when due. */
uint64_t audience_starts(struct audience *audience, uint64_t now_ms);
uint64_t audience_crowd_starts(struct audience *audience, uint64_t now_ms);
uint32_t audience_pick(struct audience *audience); /* a content */
/* Requests until a play that starts now is over. */
uint32_t audience_requests(struct audience *audience);

/* The name of a content, and back. */
struct bytes content_name(uint32_t content, uint8_t name[CONTENT_NAME_LEN]);
uint32_t content_of_name(struct bytes name);

#endif
