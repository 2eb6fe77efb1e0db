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

#include <stdbool.h>
#include <stdint.h>

#define TERM_TAG_BITS 20
#define TERM_AHEAD_MAX (1ull << 32) /* s */

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

/*
 * No clock is so far ahead: else it is a lie, which must not use terms up. One
 * just within the limit is followed by a term that is beyond it, but only until
 * the time has passed by as well.
 */
static inline bool
term_is_credible(uint64_t term, uint64_t unix_s)
{
    return term_round(term) <= unix_s + TERM_AHEAD_MAX;
}

#endif
