/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_DEMAND_RINGS_H
#define CORE_DEMAND_RINGS_H

/*
 * For core/demand*.c alone: what is asked of contents over time. A content has
 * a ring, which is a number, while requests lie in its window. What lies in one
 * bucket of all rings lies side by side, and so do the sums of all buckets: to
 * empty a bucket and to look at all sums is to walk a few dense arrays.
 *
 * Plays are kept by the role of who counted them, and which to go by is
 * decided when rates are asked for: so it does not matter in which order the
 * nodes were first heard (rule 3).
 */

#include "core/demand_windows.h"

#define ROLE_COUNT (NODE_ROLE_REDIRECTOR + 1)

enum ring_kind {
    RING_SERVED, /* requests, by origins */
    RING_STARTS, /* and one more for the other role */
    RING_OFFLOADED = RING_STARTS + ROLE_COUNT,
    RING_KINDS = RING_OFFLOADED + ROLE_COUNT,
};

/* Of one kind; nothing is allocated before something is counted. */
struct ring_counts {
    uint32_t *totals;           /* by ring: of its buckets */
    uint32_t *buckets[BUCKETS]; /* by bucket number modulo BUCKETS, and ring */
    bool *used[BUCKETS];        /* by block of rings: it may hold something */
    uint64_t sum;               /* of all totals */
};

#define RING_UNUSED UINT32_MAX

struct rings {
    struct ring_counts counts[RING_KINDS];
    uint32_t *contents; /* whose it is: a position, or RING_UNUSED */
    uint32_t *unused;
    uint32_t count, unused_count, capacity;
    bool *emptied; /* by block: a ring lost its last counts of a kind */
};

/* All zeros is none. */
void rings_fini(struct rings *rings);

/* A ring without counts for a content. ERR_MEMORY. */
int rings_take(struct rings *rings, uint32_t content, uint32_t *ring);
/* Asks the processor for what counting requests in the running bucket and the
 * one before will touch. */
void rings_prefetch(const struct rings *rings, uint32_t ring, uint64_t bucket);
/* Saturates: rates stay finite whatever a report says. ERR_MEMORY. */
int rings_add(struct rings *rings, enum ring_kind kind, uint32_t ring,
              const struct spread *spread);
/* Empties the buckets that begin after `from`, up to and with `to`. Rings that
 * have no counts any more come last in rings->unused, where the caller takes
 * them from their contents. */
void rings_rotate(struct rings *rings, uint64_t from, uint64_t to);

static inline uint32_t
rings_total(const struct rings *rings, enum ring_kind kind, uint32_t ring)
{
    const uint32_t *totals = rings->counts[kind].totals;
    return totals != NULL ? totals[ring] : 0;
}

/* Counts in the n newest buckets, from `bucket` back, for n from 0 to `most`,
 * which is BUCKETS at most. */
void rings_newest(const struct rings *rings, enum ring_kind kind, uint32_t ring,
                  uint64_t bucket, unsigned most, double sums[]);

#endif
