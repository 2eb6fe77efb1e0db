/* SPDX-License-Identifier: Apache-2.0 */
/* Arrays that grow and hash indexes over them, see core/demand_index.h. */

#include "core/demand_index.h"
#include "core/err.h"

#include <stdlib.h>

int
array_grow(void *array, uint32_t count, uint32_t *capacity, size_t size)
{
    if (count < *capacity)
        return 0;
    uint32_t more = *capacity < 64 ? 64 : *capacity + *capacity / 2;
    void *old, *grown;
    memcpy(&old, array, sizeof old);
    grown = realloc(old, more * size);
    if (grown == NULL)
        return ERR_MEMORY;
    memcpy(array, &grown, sizeof grown);
    *capacity = more;
    return 0;
}

bool
index_has_room(const struct index *index, uint32_t count)
{
    return (uint64_t) count * 4 < (uint64_t) index->size * 3;
}

int
index_double(struct index *index)
{
    uint32_t size = index->size ? index->size * 2 : 64;
    struct index_slot *slots = calloc(size, sizeof *slots);
    if (slots == NULL)
        return ERR_MEMORY;
    free(index->slots);
    *index = (struct index){.slots = slots, .size = size};
    return 0;
}

void
index_put(struct index *index, uint64_t hash, uint32_t position)
{
    uint32_t mask = index->size - 1;
    uint32_t at = (uint32_t) hash & mask;
    while (index->slots[at].place != 0)
        at = (at + 1) & mask;
    index->slots[at] =
        (struct index_slot){(uint32_t) (hash >> 32), position + 1};
}
