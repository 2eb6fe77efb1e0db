/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_TERM_H
#define CORE_TERM_H

/*
 * A term belongs to one run of one Manager, so that no two different tables
 * ever have the same version (core/table.h). Rounds order terms; the tag, drawn
 * at random by each run, keeps apart what two Managers make in one round.
 *
 *   term = round << 20 | tag
 *
 * A round is begun with the Unix time in s, or follows one that a node holds:
 * terms stay below 2^53 for 140 years, so that JSON carries them exactly.
 */

#include <stdint.h>

#define TERM_TAG_BITS 20
#define TERM_ROUND_MAX (1ull << 40)

static inline uint64_t
term_make(uint64_t round, uint64_t random)
{
    return round << TERM_TAG_BITS | (random & ((1u << TERM_TAG_BITS) - 1));
}

static inline uint64_t
term_round(uint64_t term)
{
    return term >> TERM_TAG_BITS;
}

#endif
