/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_DEMAND_CONTENTS_H
#define CORE_DEMAND_CONTENTS_H

/*
 * For core/demand*.c alone: the contents that were heard of. Each is interned
 * once and never forgotten, as the maxima of the boots refer to it by its
 * position. While requests lie in its window it has a ring, so that rates cost
 * what is asked for and not what ever was.
 */

#include "core/demand.h"
#include "core/demand_index.h"
#include "core/demand_rings.h"

#define CONTENT_SIZE 64 /* bytes, a line of the processor's cache */

struct content {
    union {
        uint8_t near[16]; /* most ids fit: comparing one costs no look more */
        const uint8_t *far;
    } id;
    uint32_t id_len;
    uint32_t ring; /* index + 1; 0: no requests in the window */
    /* Most are asked for at one node: the boot that was merged last, and where
     * in its list the content is. */
    uint32_t boot, place;
    struct totals sums;
};

_Static_assert(sizeof(struct content) == CONTENT_SIZE, "see above");

struct text_chunk;

#define CONTENTS_MAX (1u << 24)
#define BLOCK_POWER 6 /* 2^6 contents lie in the first block, */
#define BLOCKS_MAX 19 /* and in each later one twice as many as before */

struct contents {
    struct content *blocks[BLOCKS_MAX]; /* none ever moves: rates have ids */
    uint32_t count, count_max;
    struct index index; /* by hash */
    struct text_chunk *texts;

    struct rings rings;
    struct demand_rate *rates; /* room for one a ring */
    uint32_t rates_capacity;
};

/* All zeros but count_max, CONTENTS_MAX at most, is an empty one. */
void contents_fini(struct contents *contents);

static inline struct content *
content_at(const struct contents *contents, uint32_t position)
{
    const uint32_t at = position + (1u << BLOCK_POWER);
    const unsigned power = 31 - (unsigned) __builtin_clz(at);
    return &contents->blocks[power - BLOCK_POWER][at - (1u << power)];
}

/* Its text lies where it is for as long as the contents. */
static inline struct bytes
content_id(const struct content *c)
{
    return bytes_of(c->id_len <= sizeof c->id.near ? c->id.near : c->id.far,
                    c->id_len);
}

bool contents_find(const struct contents *contents, struct bytes id,
                   uint64_t hash, uint32_t *position);
#define CONTENT_UNKNOWN UINT32_MAX
/* Asks the processor for what finding these and counting them in this bucket
 * will touch, all at once: one by one, each would wait for memory some times.
 * Tells where each may lie, or CONTENT_UNKNOWN. */
void contents_prefetch(const struct contents *contents, const uint64_t *hashes,
                       size_t count, uint64_t bucket, uint32_t *positions);
/* Finds or adds it; *position is where it may lie. ERR_LIMIT, ERR_MEMORY. */
int contents_intern(struct contents *contents, struct bytes id, uint64_t hash,
                    uint32_t *position);
/* Its ring, given when it has none. ERR_MEMORY. */
int contents_ring(struct contents *contents, uint32_t position, uint32_t *ring);
/* Rotates all rings and takes those that are empty. */
void contents_rotate(struct contents *contents, uint64_t from, uint64_t to);

#endif
