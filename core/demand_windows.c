/* SPDX-License-Identifier: Apache-2.0 */
/* Counts over time, see core/demand_windows.h. */

#include "core/demand_windows.h"

/* From 0 to span_ms - 1, all as often. */
static uint64_t
round_up_ms(uint64_t salt, uint64_t from_ms, uint64_t span_ms)
{
    uint64_t x = salt ^ from_ms * 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    return (x >> 32) * span_ms >> 32;
}

struct span
span_since(const struct window_clock *clock, uint64_t from_ms)
{
    const uint64_t first = from_ms / clock->bucket_ms;
    return (struct span){
        .from_ms = from_ms,
        .length_ms = clock->now_ms - from_ms,
        .first = first,
        .count = (uint32_t) (clock->bucket - first) + 1,
        .bucket_ms = clock->bucket_ms,
    };
}

/*
 * Rounding is of the sum so far, so that nothing is lost. Most contents have a
 * single request to spread: some are rounded up and others down, or all of
 * these would lie in the newest bucket and rates be too great by what belongs
 * before the window.
 */
void
spread_over(const struct span *span, uint64_t n, uint64_t salt,
            struct spread *out)
{
    const uint64_t up_ms = round_up_ms(salt, span->from_ms, span->length_ms);
    uint64_t until_ms = (span->first + 1) * span->bucket_ms - span->from_ms;
    uint64_t done = 0;
    uint32_t i = 0;

    if (n > UINT32_MAX)
        n = UINT32_MAX;
    for (; i + 1 < span->count; i++, until_ms += span->bucket_ms) {
        uint64_t so_far = (n * until_ms + up_ms) / span->length_ms;
        out->parts[i] = (uint32_t) (so_far - done);
        done = so_far;
    }
    out->parts[i] = (uint32_t) (n - done);
    out->at = (uint32_t) (span->first % BUCKETS);
    out->count = span->count;
}

void
series_add(struct series *series, const struct spread *spread)
{
    uint32_t at = spread->at;
    for (uint32_t i = 0; i < spread->count; i++) {
        uint32_t part = spread->parts[i];
        if (part > UINT32_MAX - series->buckets[at])
            part = UINT32_MAX - series->buckets[at];
        series->buckets[at] += part;
        series->total += part;
        at = at + 1 < BUCKETS ? at + 1 : 0;
    }
}

void
series_rotate(struct series *series, uint64_t from, uint64_t to)
{
    if (series->total == 0)
        return;
    if (to - from > BUCKETS)
        from = to - BUCKETS; /* each once */
    while (from != to) {
        uint32_t *at = &series->buckets[++from % BUCKETS];
        series->total -= *at;
        *at = 0;
    }
}

double
window_seconds(const struct window_clock *clock, unsigned whole)
{
    uint64_t elapsed_ms = clock->now_ms - clock->bucket * clock->bucket_ms;
    return ((double) whole * clock->bucket_ms + (double) elapsed_ms) / 1000;
}
