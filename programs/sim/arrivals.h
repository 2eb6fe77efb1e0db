/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_SIM_ARRIVALS_H
#define PROGRAMS_SIM_ARRIVALS_H

/*
 * Viewers who come at random moments (a Poisson process), each for one of some
 * contents by weight. The emulated audience and the simulated one are these:
 * of one seed the same viewers come at the same moments.
 */

#include "programs/sim/random.h"

#include <stddef.h>

struct arrivals {
    /* given; the weights outlive it */
    double rate;           /* viewers a second */
    double ramp_ms;        /* time over which the rate rises from nothing */
    const double *weights; /* of the contents */
    size_t content_count;
    struct rng rng;
    /* the next viewer, after arrivals_next(), which first goes to the first */
    double at_ms; /* since the start */
    size_t content;
};

void arrivals_next(struct arrivals *arrivals);
/* Draws a content, and nothing else. */
size_t arrivals_pick(struct arrivals *arrivals);

/* "demo" or "demo=3": cuts off the weight. ERR_INVALID: no number over 0. */
int arrivals_content(char *text, double *weight);

#endif
