/* SPDX-License-Identifier: Apache-2.0 */
/* The pace of a node, see core/pace.h. */

#include "core/pace.h"

/* Adds to the tick, which begins at 0 when it was last used for an earlier
 * one. Who loses the race to begin it adds to what the winner began, and so
 * does who was held up until a later one is there. */
static void
tick_add(uint64_t *counter, uint32_t tick, uint64_t n)
{
    uint64_t seen = __atomic_load_n(counter, __ATOMIC_RELAXED);
    const uint64_t first = (uint64_t) tick << 32 | (n & UINT32_MAX);

    if (seen >> 32 < tick
        && __atomic_compare_exchange_n(counter, &seen, first, false,
                                       __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        return;
    __atomic_fetch_add(counter, n & UINT32_MAX, __ATOMIC_RELAXED);
}

static uint64_t
tick_read(const uint64_t *counter, uint32_t tick)
{
    const uint64_t seen = __atomic_load_n(counter, __ATOMIC_RELAXED);
    return seen >> 32 == tick ? seen & UINT32_MAX : 0;
}

void
pace_add(struct pace *pace, uint64_t now_ms, uint32_t requests, uint64_t bytes)
{
    const uint32_t tick = (uint32_t) (now_ms / PACE_TICK_MS);
    struct pace_tick *t = &pace->ticks[tick % PACE_TICKS];

    if (requests > 0)
        tick_add(&t->requests, tick, requests);
    if (bytes > 0)
        tick_add(&t->kibibytes, tick, (bytes + 1023) / 1024);
}

void
pace_read(const struct pace *pace, uint64_t now_ms, struct pace_rate *out)
{
    const uint32_t now = (uint32_t) (now_ms / PACE_TICK_MS);
    /* of the tick a second ago, the part that is within the second */
    const uint64_t rest_ms = PACE_TICK_MS - now_ms % PACE_TICK_MS;
    uint64_t requests = 0, kibibytes = 0;

    for (uint32_t i = 0; i <= PACE_SECOND && i <= now; i++) {
        const struct pace_tick *t = &pace->ticks[(now - i) % PACE_TICKS];
        const uint64_t part_ms = i < PACE_SECOND ? PACE_TICK_MS : rest_ms;
        requests += tick_read(&t->requests, now - i) * part_ms;
        kibibytes += tick_read(&t->kibibytes, now - i) * part_ms;
    }
    out->requests = requests / PACE_TICK_MS;
    out->bits = kibibytes * 8192 / PACE_TICK_MS;
}
