/* SPDX-License-Identifier: Apache-2.0 */
/* Contents on nodes, see programs/sim/pairs.h. */

#include "programs/sim/pairs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_SIZE 64 /* bytes, of the processor's cache */

static void
memory_is_out(void)
{
    fputs("vodst-sim: out of memory\n", stderr);
    exit(1);
}

static uint32_t
slot_of(const struct pairs *pairs, uint32_t content, uint16_t node)
{
    const uint64_t key = ((uint64_t) content << 16 | node) + 1;
    return (uint32_t) (key * 0x9e3779b97f4a7c15u >> 32)
           & (pairs->slot_count - 1);
}

/* The slot that holds the pair, or the free one where it belongs. */
static uint32_t *
slot_find(const struct pairs *pairs, uint32_t content, uint16_t node)
{
    uint32_t at = slot_of(pairs, content, node);
    for (;; at = (at + 1) & (pairs->slot_count - 1)) {
        uint32_t *slot = &pairs->slots[at];
        if (*slot == 0)
            return slot;
        const struct pair *pair = &pairs->list[*slot - 1];
        if (pair->content == content && pair->node == node)
            return slot;
    }
}

static void
slots_grow(struct pairs *pairs)
{
    if ((uint64_t) pairs->count * 4 < (uint64_t) pairs->slot_count * 3)
        return;
    free(pairs->slots);
    pairs->slot_count = pairs->slot_count ? pairs->slot_count * 2 : 1024;
    pairs->slots = calloc(pairs->slot_count, sizeof *pairs->slots);
    if (pairs->slots == NULL)
        memory_is_out();
    for (uint32_t i = 0; i < pairs->end; i++) {
        const struct pair *pair = &pairs->list[i];
        if (pair->node != PAIR_OF_NOBODY)
            *slot_find(pairs, pair->content, pair->node) = i + 1;
    }
}

void *
list_grow(void *list, uint32_t count, uint32_t *capacity, size_t size)
{
    if (count < *capacity)
        return list;
    const uint32_t more = *capacity < 64 ? 64 : *capacity + *capacity / 2;
    void *grown = realloc(list, more * size);
    if (grown == NULL)
        memory_is_out();
    *capacity = more;
    return grown;
}

/* Room for a block more, at a line's begin. */
static void
blocks_grow(struct pairs *pairs)
{
    const uint32_t blocks = pairs->capacity / PAIRS_BLOCK;
    const size_t more = (size_t) (blocks + blocks / 2 + 1) * PAIRS_BLOCK;
    if (pairs->end + PAIRS_BLOCK <= pairs->capacity)
        return;
    struct pair *grown = aligned_alloc(LINE_SIZE, more * sizeof *grown);
    if (grown == NULL)
        memory_is_out();
    if (pairs->end > 0)
        memcpy(grown, pairs->list, pairs->end * sizeof *grown);
    free(pairs->list);
    pairs->list = grown;
    pairs->capacity = (uint32_t) more;
}

/* A place for one more of the node. */
static uint32_t
place_take(struct pairs *pairs, uint16_t node)
{
    uint32_t *next = &pairs->next[node];
    if (*next % PAIRS_BLOCK == 0) {
        blocks_grow(pairs);
        *next = pairs->end;
        pairs->end += PAIRS_BLOCK;
        for (uint32_t i = *next; i < pairs->end; i++)
            pairs->list[i].node = PAIR_OF_NOBODY;
    }
    return (*next)++;
}

void
pairs_fini(struct pairs *pairs)
{
    free(pairs->list);
    free(pairs->slots);
    *pairs = (struct pairs){0};
}

uint32_t
pairs_at(struct pairs *pairs, uint32_t content, uint16_t node)
{
    slots_grow(pairs);
    uint32_t *slot = slot_find(pairs, content, node);
    if (*slot != 0)
        return *slot - 1;
    const uint32_t place = place_take(pairs, node);
    pairs->list[place] = (struct pair){.content = content, .node = node};
    pairs->count++;
    *slot = place + 1;
    return place;
}
