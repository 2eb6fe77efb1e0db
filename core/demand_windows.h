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

/* Requests by time. */
struct series {
    uint64_t total;
    uint32_t buckets[BUCKETS]; /* at bucket number modulo BUCKETS */
};

/* Plays by time: half the width, as there is one for each of these. */
struct plays {
    uint32_t total;
    uint16_t buckets[BUCKETS];
};

/*
 * Plays are kept by the role of who counted them, and which to go by is
 * decided when rates are asked for: so it does not matter in which order the
 * nodes were first heard (rule 3).
 */
#define ROLE_COUNT (NODE_ROLE_REDIRECTOR + 1)

/* What was asked of one content. */
struct ring {
    uint32_t content;     /* its position, see core/demand_contents.h */
    bool is_touched;      /* was added to since its total was taken */
    struct series served; /* by origins */
    struct plays starts[ROLE_COUNT];
    struct plays offloaded[ROLE_COUNT];
};

/* Spread n evenly over from_ms, which lies in the long window, to now; the
 * salt, which differs between contents, decides on rounding. Both saturate:
 * rates stay finite whatever a report says. */
void series_add(struct series *series, const struct window_clock *clock,
                uint64_t from_ms, uint64_t n, uint64_t salt);
void plays_add(struct plays *plays, const struct window_clock *clock,
               uint64_t from_ms, uint64_t n, uint64_t salt);

/* Empty the buckets that begin after `from`, up to and with `to`. */
void series_rotate(struct series *series, uint64_t from, uint64_t to);
/* False when nothing is left. */
bool ring_rotate(struct ring *ring, uint64_t from, uint64_t to);

/* Counts in the running bucket and the `whole` ones before. */
double series_sum(const struct series *series, uint64_t bucket, unsigned whole);
double plays_sum(const struct plays *plays, uint64_t bucket, unsigned whole);
/* Seconds that these buckets cover. */
double window_seconds(const struct window_clock *clock, unsigned whole);

#endif
