/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked of contents over time, see core/demand_rings.h. */

#include "core/demand_rings.h"
#include "core/err.h"

#include <stdlib.h>

#define BLOCK 64                        /* rings */
#define PART_MAX (UINT32_MAX / BUCKETS) /* in a bucket: no total overflows */

/* Room for `to` items, the new ones zeros. */
static int
zeroed_grow(void *array, size_t from, size_t to, size_t size)
{
    void *old, *grown;
    memcpy(&old, array, sizeof old);
    grown = realloc(old, to * size);
    if (grown == NULL)
        return ERR_MEMORY;
    memset((uint8_t *) grown + from * size, 0, (to - from) * size);
    memcpy(array, &grown, sizeof grown);
    return 0;
}

/* All of a kind, from room for so many rings to room for more. */
static int
counts_grow(struct ring_counts *counts, size_t from, size_t to)
{
    int err = 0;
    for (unsigned i = 0; err == 0 && i < BUCKETS; i++) {
        err = zeroed_grow(&counts->buckets[i], from, to,
                          sizeof *counts->buckets[i]);
        if (err == 0)
            err = zeroed_grow(&counts->used[i], from / BLOCK, to / BLOCK,
                              sizeof *counts->used[i]);
    }
    if (err == 0) /* last: it tells that all are there */
        err = zeroed_grow(&counts->totals, from, to, sizeof *counts->totals);
    return err;
}

static int
rings_grow(struct rings *rings)
{
    const size_t from = rings->capacity;
    /* by an eighth only: all of it is zeros that are written */
    const size_t to = from + (from / 8 / BLOCK + 1) * BLOCK;
    int err = zeroed_grow(&rings->contents, from, to, sizeof *rings->contents);
    if (err == 0)
        err = zeroed_grow(&rings->unused, from, to, sizeof *rings->unused);
    if (err == 0)
        err = zeroed_grow(&rings->emptied, from / BLOCK, to / BLOCK,
                          sizeof *rings->emptied);
    for (int kind = 0; err == 0 && kind < RING_KINDS; kind++) {
        if (rings->counts[kind].totals != NULL)
            err = counts_grow(&rings->counts[kind], from, to);
    }
    if (err == 0)
        rings->capacity = (uint32_t) to;
    return err;
}

/* Ready for counts. */
static int
kind_begin(struct rings *rings, struct ring_counts *counts)
{
    return counts->totals != NULL ? 0 : counts_grow(counts, 0, rings->capacity);
}

/* True: a ring has no counts of this kind any more. */
static bool
block_empty(struct ring_counts *counts, uint32_t *bucket, uint32_t block)
{
    uint32_t *restrict totals = &counts->totals[block * BLOCK];
    uint32_t *restrict parts = &bucket[block * BLOCK];
    uint64_t sum = 0;
    uint32_t gone = 0;
    for (unsigned i = 0; i < BLOCK; i++) {
        gone |= totals[i] == parts[i] ? parts[i] : 0;
        totals[i] -= parts[i];
        sum += parts[i];
        parts[i] = 0;
    }
    counts->sum -= sum;
    return gone != 0;
}

static void
bucket_empty(struct rings *rings, struct ring_counts *counts, unsigned at)
{
    for (uint32_t block = 0; block * BLOCK < rings->count; block++) {
        if (!counts->used[at][block])
            continue;
        rings->emptied[block] |=
            block_empty(counts, counts->buckets[at], block);
        counts->used[at][block] = false;
    }
}

static bool
is_empty(const struct rings *rings, uint32_t ring)
{
    for (int kind = 0; kind < RING_KINDS; kind++) {
        if (rings_total(rings, (enum ring_kind) kind, ring) != 0)
            return false;
    }
    return rings->contents[ring] != RING_UNUSED;
}

/* Those without counts in a block where one lost its last of a kind. */
static void
block_release(struct rings *rings, uint32_t block)
{
    const uint32_t first = block * BLOCK;
    rings->emptied[block] = false;
    for (uint32_t ring = first; ring < first + BLOCK && ring < rings->count;
         ring++) {
        if (is_empty(rings, ring))
            rings->unused[rings->unused_count++] = ring;
    }
}

void
rings_fini(struct rings *rings)
{
    for (int kind = 0; kind < RING_KINDS; kind++) {
        struct ring_counts *counts = &rings->counts[kind];
        free(counts->totals);
        for (unsigned i = 0; i < BUCKETS; i++) {
            free(counts->buckets[i]);
            free(counts->used[i]);
        }
    }
    free(rings->contents);
    free(rings->unused);
    free(rings->emptied);
}

int
rings_take(struct rings *rings, uint32_t content, uint32_t *ring)
{
    if (rings->unused_count > 0) {
        *ring = rings->unused[--rings->unused_count];
    } else {
        int err = rings->count == rings->capacity ? rings_grow(rings) : 0;
        if (err != 0)
            return err;
        *ring = rings->count++;
    }
    rings->contents[*ring] = content;
    return 0;
}

void
rings_prefetch(const struct rings *rings, uint32_t ring, uint64_t bucket)
{
    const struct ring_counts *counts = &rings->counts[RING_SERVED];
    if (counts->totals == NULL)
        return;
    __builtin_prefetch(&counts->totals[ring], 1);
    __builtin_prefetch(&counts->buckets[bucket % BUCKETS][ring], 1);
    __builtin_prefetch(&counts->buckets[(bucket - 1) % BUCKETS][ring], 1);
}

int
rings_add(struct rings *rings, enum ring_kind kind, uint32_t ring,
          const struct spread *spread)
{
    struct ring_counts *counts = &rings->counts[kind];
    int err = kind_begin(rings, counts);
    if (err != 0)
        return err;
    uint32_t at = spread->at;
    for (uint32_t i = 0; i < spread->count; i++) {
        uint32_t *bucket = &counts->buckets[at][ring];
        uint32_t part = spread->parts[i];
        if (part > PART_MAX - *bucket)
            part = PART_MAX - *bucket;
        if (part > 0) {
            *bucket += part;
            counts->used[at][ring / BLOCK] = true;
            counts->totals[ring] += part;
            counts->sum += part;
        }
        at = at + 1 < BUCKETS ? at + 1 : 0;
    }
    return 0;
}

void
rings_rotate(struct rings *rings, uint64_t from, uint64_t to)
{
    if (to - from > BUCKETS)
        from = to - BUCKETS; /* each once */
    while (from != to) {
        const unsigned at = (unsigned) (++from % BUCKETS);
        for (int kind = 0; kind < RING_KINDS; kind++) {
            if (rings->counts[kind].sum > 0)
                bucket_empty(rings, &rings->counts[kind], at);
        }
    }
    for (uint32_t block = 0; block * BLOCK < rings->count; block++) {
        if (rings->emptied[block])
            block_release(rings, block);
    }
}

void
rings_newest(const struct rings *rings, enum ring_kind kind, uint32_t ring,
             uint64_t bucket, unsigned most, double sums[])
{
    const struct ring_counts *counts = &rings->counts[kind];
    size_t at = bucket % BUCKETS;
    sums[0] = 0;
    for (unsigned n = 1; n <= most; n++) {
        sums[n] = sums[n - 1];
        if (counts->totals != NULL)
            sums[n] += counts->buckets[at][ring];
        at = at > 0 ? at - 1 : BUCKETS - 1;
    }
}
