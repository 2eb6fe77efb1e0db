/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_MLIC_CALLBACK_CACHE_H
#define PROGRAMS_MLIC_CALLBACK_CACHE_H

/*
 * Answers of services by a hash of the question, in a table of a fixed size where
 * the newer takes the place of an older. Time is the caller's, in ms.
 */

#include "programs/mlic/callback_answer.h"
#include "programs/mlic/callback_question.h"

struct callback_cache;

int callback_cache_new(struct callback_cache **out);    /* ERR_MEMORY */
void callback_cache_free(struct callback_cache *cache); /* NULL is fine */

/* What the service says now, in the place of what it said before. It holds for
 * `age_s`; what allows can be had for `stale_s` more as stale. */
void callback_cache_put(struct callback_cache *cache,
                        const uint8_t question[CALLBACK_QUESTION_SIZE],
                        const struct callback_answer *answer, uint32_t age_s,
                        uint32_t stale_s, uint64_t now_ms);

/* NULL: there is none that holds, or is stale where that is fine. Valid until the
 * next put. */
const struct callback_answer *callback_cache_get(
    const struct callback_cache *cache,
    const uint8_t question[CALLBACK_QUESTION_SIZE], bool is_stale_fine,
    uint64_t now_ms);

#endif
