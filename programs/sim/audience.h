/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_SIM_AUDIENCE_H
#define PROGRAMS_SIM_AUDIENCE_H

/*
 * Who asks for what, and when: a Zipf law over the contents, a catalogue swap
 * that gives every content another rank, and a crowd for one content more that
 * nobody asked for before. Or an audience as `vodst audience` brings it.
 */

#include "core/bytes.h"
#include "programs/sim/arrivals.h"
#include "programs/sim/config.h"

#define CONTENT_NAME_LEN 9 /* "c" and 8 hexadecimal digits */

struct audience {
    const struct sim_config *config;
    struct rng rng;
    struct alias ranks;
    double *shares; /* of all plays, by rank, greatest first */
    bool is_swapped;
    uint32_t swap_step, swap_offset;
    struct arrivals arrivals; /* of an audience */
    uint64_t drawn_ms, due;   /* plays that start in the step until then */
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

/* The next play that starts in the step which ends at now_ms; false: no more.
 * Swaps when due. */
bool audience_next(struct audience *audience, uint64_t now_ms,
                   uint32_t *content);
uint64_t audience_crowd_starts(struct audience *audience, uint64_t now_ms);
uint32_t audience_pick(struct audience *audience); /* a content */
/* Segments of a play that starts now. */
uint32_t audience_segments(struct audience *audience);

/* Whose levels are timed: the crowd's, or the first of an audience's. */
static inline uint32_t
watched_content(const struct sim_config *config)
{
    return config->names != NULL ? 0 : config->contents;
}

/* The name of a content, and back. */
struct bytes content_name(const struct sim_config *config, uint32_t content,
                          uint8_t name[CONTENT_NAME_LEN]);
uint32_t content_of_name(const struct sim_config *config, struct bytes name);

#endif
