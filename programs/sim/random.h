/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_SIM_RANDOM_H
#define PROGRAMS_SIM_RANDOM_H

/*
 * Randomness from a seed: the same on every machine. A struct rng is plain
 * data with one user; each part of a simulation has its own, so that what one
 * draws does not shift what another one sees.
 */

#include <stdbool.h>
#include <stdint.h>

struct rng {
    uint64_t state;
};

/* Streams of one seed are independent. */
struct rng rng_of(uint64_t seed, uint64_t stream);
uint64_t rng_next(struct rng *rng);
double rng_unit(struct rng *rng); /* in [0, 1) */
/* Never for a probability of 0, and then nothing is drawn. */
bool rng_happens(struct rng *rng, double probability);
uint64_t rng_poisson(struct rng *rng, double mean);
/* Trials up to and with the first success, at least 1; the mean is that. */
uint64_t rng_geometric(struct rng *rng, double mean);

/* Draws from `count` weights in O(1) (Walker 1977, Vose 1991). */
struct alias {
    uint32_t count;
    uint32_t *other;
    uint32_t *keep; /* of 2^32 */
};

/* ERR_MEMORY. Weights are used up. */
int alias_init(struct alias *alias, double *weights, uint32_t count);
void alias_fini(struct alias *alias);
uint32_t alias_draw(const struct alias *alias, struct rng *rng);

#endif
