/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_DEMAND_WINDOWS_H
#define CORE_DEMAND_WINDOWS_H

/*
 * For core/demand*.c alone: counts over time. The time is cut into buckets;
 * kept are the running one and the WINDOW_BUCKETS whole ones before, which are
 * the long window. Shorter windows are sums of fewer of them.
 */

#include "core/report.h"

#define WINDOW_BUCKETS 20
#define BUCKETS (WINDOW_BUCKETS + 1)

/* Where in time all windows of a demand stand. */
struct window_clock {
    uint32_t bucket_ms;
    uint64_t now_ms;
    uint64_t bucket; /* number of the running one */
};

/* The time over which new counts came together, up to now. */
struct span {
    uint64_t from_ms, length_ms;
    uint64_t first; /* bucket */
    uint32_t count; /* buckets that it lies in */
    uint32_t bucket_ms;
};

/* What falls into each of a span's buckets. */
struct spread {
    uint32_t at, count; /* bucket number modulo BUCKETS of the first */
    uint32_t parts[BUCKETS];
};

/* Requests by time. */
struct series {
    uint64_t total;
    uint32_t buckets[BUCKETS]; /* at bucket number modulo BUCKETS */
};

/* From from_ms, which lies in the long window. */
struct span span_since(const struct window_clock *clock, uint64_t from_ms);
/* Spreads n evenly over the span; the salt, which differs between contents,
 * decides on rounding. */
void spread_over(const struct span *span, uint64_t n, uint64_t salt,
                 struct spread *out);

/* Saturates: rates stay finite whatever a report says. */
void series_add(struct series *series, const struct spread *spread);
/* Empties the buckets that begin after `from`, up to and with `to`. */
void series_rotate(struct series *series, uint64_t from, uint64_t to);

/* Seconds that the running bucket and the `whole` ones before cover. */
double window_seconds(const struct window_clock *clock, unsigned whole);

#endif
