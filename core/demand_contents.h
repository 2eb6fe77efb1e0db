/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_DEMAND_CONTENTS_H
#define CORE_DEMAND_CONTENTS_H

/*
 * For core/demand*.c alone: the contents that were heard of. Each is interned
 * once and never forgotten, as the maxima of the boots refer to it by its
 * position. While requests lie in its window it has a ring; the rings are a
 * dense array of their own, so that rates cost what is asked for and not what
 * ever was. What is in each ring's windows lies beside them once more, denser:
 * of most contents no more than that is ever looked at.
 */

#include "core/demand.h"
#include "core/demand_index.h"
#include "core/demand_windows.h"

struct content {
    uint64_t hash;
    const uint8_t *id;
    uint32_t id_len;
    uint32_t ring; /* index + 1; 0: no requests in the window */
    struct counters_values sums;
};

struct ring_total {
    uint64_t served;
    uint32_t offloaded[ROLE_COUNT];
};

struct text_chunk;

struct contents {
    struct content *list;
    uint32_t count, capacity;
    struct index index; /* by hash */
    struct text_chunk *texts;

    struct ring *rings;
    struct ring_total *totals; /* see contents_total() */
    uint32_t *touched;         /* rings whose totals are old */
    struct demand_rate *rates;
    uint32_t ring_count, ring_capacity; /* of these four */
    uint32_t touched_count;
};

/* All zeros is an empty one. */
void contents_fini(struct contents *contents);

bool contents_find(const struct contents *contents, struct bytes id,
                   uint64_t hash, uint32_t *position);
/* Asks the processor for what finding and counting these will touch, all at
 * once: one by one, each would wait for memory some times. At most
 * CONTENTS_PREFETCH_MAX. The positions are where these may lie; their count. */
#define CONTENTS_PREFETCH_MAX 16
size_t contents_prefetch(const struct contents *contents,
                         const uint64_t *hashes, size_t count,
                         uint32_t *positions);
#define CONTENTS_MAX (1u << 24)
/* Finds or adds it. ERR_LIMIT, ERR_MEMORY. */
int contents_intern(struct contents *contents, struct bytes id,
                    uint32_t *position);
/* Its ring, made when it has none, to be added to; valid until the next one is
 * made or the rings are rotated. NULL: memory. */
struct ring *contents_ring(struct contents *contents, uint32_t position);
/* Brings the totals up to date. */
void contents_total(struct contents *contents);
/* Rotates all rings and drops the empty ones. */
void contents_rotate(struct contents *contents, uint64_t from, uint64_t to);

#endif
