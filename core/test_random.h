/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_TEST_RANDOM_H
#define CORE_TEST_RANDOM_H

/* For tests: numbers that follow from a seed (splitmix64). */

#include <stdint.h>

static inline uint64_t
random_next(uint64_t *state)
{
    uint64_t x = *state += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static inline unsigned
random_below(uint64_t *state, unsigned end)
{
    return (unsigned) (random_next(state) % end);
}

#endif
