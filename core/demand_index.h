/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_DEMAND_INDEX_H
#define CORE_DEMAND_INDEX_H

/*
 * For core/demand*.c alone: arrays that grow and hash indexes over them, for
 * items that are found by a key and never removed, and what those count.
 */

#include "core/bytes.h"

/* What reports tell of a content: of them all, or the most that one told. */
struct totals {
    uint64_t requests, bytes, starts, offloaded;
};

/* Grows an array of `size`-byte items by half when it is full. `array` is the
 * address of the pointer to it, of whatever type. ERR_MEMORY. */
int array_grow(void *array, uint32_t count, uint32_t *capacity, size_t size);

/*
 * Open addressing from a hash to positions in an array. Who looks something up
 * walks the positions that index_next() gives and compares what lies there;
 * as slots hold half of the hash, that is hardly ever something else.
 */
struct index {
    struct index_slot *slots;
    uint32_t size; /* a power of two, or 0 */
};

struct index_slot {
    uint32_t half;  /* of the hash, the greater */
    uint32_t place; /* position + 1; 0: free */
};

struct index_walk {
    uint32_t half, at;
};

static inline struct index_walk
index_walk(uint64_t hash)
{
    return (struct index_walk){(uint32_t) (hash >> 32), (uint32_t) hash};
}

/* The next position that may be the one; false: there is none. */
static inline bool
index_next(const struct index *index, struct index_walk *walk,
           uint32_t *position)
{
    if (index->size == 0)
        return false;
    for (;;) {
        const struct index_slot *slot =
            &index->slots[walk->at++ & (index->size - 1)];
        if (slot->place == 0)
            return false;
        if (slot->half == walk->half) {
            *position = slot->place - 1;
            return true;
        }
    }
}

/* For one more beside the `count` that are in it. */
bool index_has_room(const struct index *index, uint32_t count);
/* An empty index of twice the size in place of *index; the caller refills.
 * ERR_MEMORY. */
int index_double(struct index *index);
void index_put(struct index *index, uint64_t hash, uint32_t position);

#endif
