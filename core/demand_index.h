/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_DEMAND_INDEX_H
#define CORE_DEMAND_INDEX_H

/*
 * For core/demand*.c alone: arrays that grow and hash indexes over them, for
 * items that are found by a key and never removed.
 */

#include "core/bytes.h"

/* Grows an array of `size`-byte items by half when it is full. `array` is the
 * address of the pointer to it, of whatever type. ERR_MEMORY. */
int array_grow(void *array, uint32_t count, uint32_t *capacity, size_t size);

/*
 * Open addressing from a hash to positions in an array. Who looks something up
 * walks the slots from `hash & (size - 1)` on, round the end, up to a free one
 * and compares what they point at.
 */
struct index {
    uint32_t *slots; /* position + 1; 0: free */
    uint32_t size;   /* a power of two, or 0 */
};

/* For one more beside the `count` that are in it. */
bool index_has_room(const struct index *index, uint32_t count);
/* An empty index of twice the size in place of *index; the caller refills.
 * ERR_MEMORY. */
int index_double(struct index *index);
void index_put(struct index *index, uint64_t hash, uint32_t position);

#endif
