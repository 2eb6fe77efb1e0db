/* SPDX-License-Identifier: Apache-2.0 */
/* Randomness from a seed, see programs/sim/random.h. */

#include "programs/sim/random.h"

#include "core/err.h"

#include <math.h>
#include <stdlib.h>

#define POISSON_STEP 30.0 /* exp(-30) is far from underflow */

struct rng
rng_of(uint64_t seed, uint64_t stream)
{
    struct rng rng = {seed};
    rng.state = rng_next(&rng) ^ stream * 0xd1342543de82ef95u;
    return rng;
}

uint64_t
rng_next(struct rng *rng)
{
    uint64_t x = rng->state += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

double
rng_unit(struct rng *rng)
{
    return (double) (rng_next(rng) >> 11) * 0x1p-53;
}

bool
rng_happens(struct rng *rng, double probability)
{
    return probability > 0 && rng_unit(rng) < probability;
}

/* Sums of Poisson numbers are Poisson: large means go in steps. */
uint64_t
rng_poisson(struct rng *rng, double mean)
{
    uint64_t n = 0;
    while (mean > 0) {
        double step = mean < POISSON_STEP ? mean : POISSON_STEP;
        double limit = exp(-step);
        for (double p = rng_unit(rng); p > limit; p *= rng_unit(rng))
            n++;
        mean -= step;
    }
    return n;
}

uint64_t
rng_geometric(struct rng *rng, double mean)
{
    if (mean <= 1)
        return 1;
    return 1 + (uint64_t) (log1p(-rng_unit(rng)) / log1p(-1 / mean));
}

/* Weights are scaled to a mean of 1; those under it are filled up from those
 * over it, one of each at a time. */
static void
alias_fill(struct alias *alias, double *weights, uint32_t *work)
{
    uint32_t small = 0, large = alias->count;
    for (uint32_t i = 0; i < alias->count; i++) {
        if (weights[i] < 1)
            work[small++] = i;
        else
            work[--large] = i;
    }
    while (small > 0 && large < alias->count) {
        uint32_t low = work[--small], high = work[large];
        alias->keep[low] = (uint32_t) (weights[low] * UINT32_MAX);
        alias->other[low] = high;
        weights[high] -= 1 - weights[low];
        if (weights[high] < 1) {
            work[small++] = high;
            large++;
        }
    }
    for (uint32_t i = 0; i < small; i++)
        alias->other[work[i]] = work[i];
    for (uint32_t i = large; i < alias->count; i++)
        alias->other[work[i]] = work[i];
}

int
alias_init(struct alias *alias, double *weights, uint32_t count)
{
    uint32_t *work = calloc(count, sizeof *work);
    *alias = (struct alias){
        .count = count,
        .other = calloc(count, sizeof *alias->other),
        .keep = calloc(count, sizeof *alias->keep),
    };
    if (work == NULL || alias->other == NULL || alias->keep == NULL) {
        free(work);
        alias_fini(alias);
        return ERR_MEMORY;
    }
    double sum = 0;
    for (uint32_t i = 0; i < count; i++)
        sum += weights[i];
    for (uint32_t i = 0; i < count; i++)
        weights[i] *= count / sum;
    alias_fill(alias, weights, work);
    free(work);
    return 0;
}

void
alias_fini(struct alias *alias)
{
    free(alias->other);
    free(alias->keep);
    *alias = (struct alias){0};
}

uint32_t
alias_draw(const struct alias *alias, struct rng *rng)
{
    uint64_t x = rng_next(rng);
    uint32_t i = (uint32_t) ((x >> 32) * alias->count >> 32);
    return (uint32_t) x <= alias->keep[i] ? i : alias->other[i];
}
