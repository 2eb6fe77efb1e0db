/* SPDX-License-Identifier: Apache-2.0 */
/* Counts over time, see core/demand_windows.h. */

#include "core/demand_windows.h"

/* What falls into each of the buckets from `first` to the running one. */
struct spread {
    uint64_t first;
    uint32_t parts[BUCKETS];
};

/* From 0 to span_ms - 1, all as often. */
static uint64_t
round_up_ms(uint64_t salt, uint64_t from_ms, uint64_t span_ms)
{
    uint64_t x = salt ^ from_ms * 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    return (x >> 32) * span_ms >> 32;
}

/*
 * Rounding is of the sum so far, so that nothing is lost. Most contents have a
 * single request to spread: some are rounded up and others down, or all of
 * these would lie in the newest bucket and rates be too great by what belongs
 * before the window.
 */
static struct spread
spread_of(const struct window_clock *clock, uint64_t from_ms, uint64_t n,
          uint64_t salt)
{
    struct spread spread = {.first = from_ms / clock->bucket_ms};
    uint64_t span_ms = clock->now_ms - from_ms;
    const uint64_t up_ms = round_up_ms(salt, from_ms, span_ms);
    uint64_t done = 0;
    size_t i = 0;

    if (n > UINT32_MAX)
        n = UINT32_MAX;
    for (uint64_t bucket = spread.first; bucket < clock->bucket; bucket++) {
        uint64_t until_ms = (bucket + 1) * clock->bucket_ms - from_ms;
        uint64_t so_far = (n * until_ms + up_ms) / span_ms;
        spread.parts[i++] = (uint32_t) (so_far - done);
        done = so_far;
    }
    spread.parts[i] = (uint32_t) (n - done);
    return spread;
}

static void
plays_rotate(struct plays *plays, uint64_t from, uint64_t to)
{
    if (plays->total == 0)
        return;
    if (to - from > BUCKETS)
        from = to - BUCKETS;
    while (from != to) {
        uint16_t *at = &plays->buckets[++from % BUCKETS];
        plays->total -= *at;
        *at = 0;
    }
}

void
series_add(struct series *series, const struct window_clock *clock,
           uint64_t from_ms, uint64_t n, uint64_t salt)
{
    struct spread spread = spread_of(clock, from_ms, n, salt);
    for (uint64_t b = spread.first; b <= clock->bucket; b++) {
        uint32_t *at = &series->buckets[b % BUCKETS];
        uint32_t part = spread.parts[b - spread.first];
        if (part > UINT32_MAX - *at)
            part = UINT32_MAX - *at;
        *at += part;
        series->total += part;
    }
}

void
plays_add(struct plays *plays, const struct window_clock *clock,
          uint64_t from_ms, uint64_t n, uint64_t salt)
{
    struct spread spread = spread_of(clock, from_ms, n, salt);
    for (uint64_t b = spread.first; b <= clock->bucket; b++) {
        uint16_t *at = &plays->buckets[b % BUCKETS];
        uint32_t part = spread.parts[b - spread.first];
        if (part > (uint32_t) (UINT16_MAX - *at))
            part = (uint32_t) (UINT16_MAX - *at);
        *at = (uint16_t) (*at + part);
        plays->total += part;
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

bool
ring_rotate(struct ring *ring, uint64_t from, uint64_t to)
{
    series_rotate(&ring->served, from, to);
    uint64_t left = ring->served.total;
    for (int role = 0; role < ROLE_COUNT; role++) {
        plays_rotate(&ring->starts[role], from, to);
        plays_rotate(&ring->offloaded[role], from, to);
        left += ring->starts[role].total + ring->offloaded[role].total;
    }
    return left != 0;
}

double
series_sum(const struct series *series, uint64_t bucket, unsigned whole)
{
    uint64_t sum = 0;
    size_t at = bucket % BUCKETS;
    for (unsigned i = 0; i <= whole && i <= bucket; i++) {
        sum += series->buckets[at];
        at = at > 0 ? at - 1 : BUCKETS - 1;
    }
    return (double) sum;
}

double
plays_sum(const struct plays *plays, uint64_t bucket, unsigned whole)
{
    uint32_t sum = 0;
    size_t at = bucket % BUCKETS;
    for (unsigned i = 0; i <= whole && i <= bucket; i++) {
        sum += plays->buckets[at];
        at = at > 0 ? at - 1 : BUCKETS - 1;
    }
    return sum;
}

double
window_seconds(const struct window_clock *clock, unsigned whole)
{
    uint64_t elapsed_ms = clock->now_ms - clock->bucket * clock->bucket_ms;
    return ((double) whole * clock->bucket_ms + (double) elapsed_ms) / 1000;
}
