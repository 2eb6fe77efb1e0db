/* SPDX-License-Identifier: Apache-2.0 */

#include "programs/mlic/callback_cache.h"

#include "core/err.h"

#include <stdlib.h>

#define PLACES 16384 /* a power of two */

struct place {
    uint8_t question[CALLBACK_QUESTION_SIZE];
    uint64_t holds_ms, stale_ms; /* until then */
    struct callback_answer answer;
};

struct callback_cache {
    struct place places[PLACES];
};

int
callback_cache_new(struct callback_cache **out)
{
    struct callback_cache *cache = calloc(1, sizeof *cache);
    if (cache == NULL)
        return ERR_MEMORY;
    *out = cache;
    return 0;
}

void
callback_cache_free(struct callback_cache *cache)
{
    free(cache);
}

static size_t
place_of(const uint8_t question[CALLBACK_QUESTION_SIZE])
{
    return load_le64(question) % PLACES;
}

void
callback_cache_put(struct callback_cache *cache,
                   const uint8_t question[CALLBACK_QUESTION_SIZE],
                   const struct callback_answer *answer, uint32_t age_s,
                   uint32_t stale_s, uint64_t now_ms)
{
    struct place *place = &cache->places[place_of(question)];
    memcpy(place->question, question, sizeof place->question);
    place->holds_ms = now_ms + 1000ull * age_s;
    place->stale_ms =
        place->holds_ms + (answer->allows ? 1000ull * stale_s : 0);
    place->answer = *answer;
}

const struct callback_answer *
callback_cache_get(const struct callback_cache *cache,
                   const uint8_t question[CALLBACK_QUESTION_SIZE],
                   bool is_stale_fine, uint64_t now_ms)
{
    const struct place *place = &cache->places[place_of(question)];
    return memcmp(place->question, question, sizeof place->question) == 0
                   && now_ms
                          < (is_stale_fine ? place->stale_ms : place->holds_ms)
               ? &place->answer
               : NULL;
}
