/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_SIM_PAIRS_H
#define PROGRAMS_SIM_PAIRS_H

/*
 * What a node has to do with a content: its plays now and the counts of its
 * counter file. A pair is made with the content's first play on the node, and
 * stays: it is also the copy that was filled then. Those of a node lie together
 * in blocks, as its reports walk over them.
 */

#include "core/placement.h"

/* Two to a line of the processor's cache, and each lies in one. */
struct pair {
    uint32_t content;
    uint32_t plays;                       /* now */
    uint32_t changed_step;                /* when the counts last changed */
    uint32_t requests, starts, offloaded; /* since the start */
    uint32_t told;                        /* requests, of them, in reports */
    uint16_t node;
};

/* A pair lies anywhere: who walks over many has it brought so far ahead. */
#define PAIRS_AHEAD 16

#define PAIRS_BLOCK 64
#define PAIR_OF_NOBODY UINT16_MAX /* the node of a place that is free */

struct pairs {
    struct pair *list;
    uint32_t end, capacity;             /* of the list */
    uint32_t count;                     /* of pairs in it */
    uint32_t next[PLACEMENT_NODES_MAX]; /* place of each node's next one, or 0
                                         * modulo PAIRS_BLOCK: in a new block */
    uint32_t *slots; /* open addressing: position + 1, 0 free */
    uint32_t slot_count;
};

/* All zeros is an empty one. */
void pairs_fini(struct pairs *pairs);
/* Finds or makes it: its position. Ends the program without memory: a
 * simulation is worth nothing then. */
uint32_t pairs_at(struct pairs *pairs, uint32_t content, uint16_t node);

/* realloc for a list that grows by half when it is full; ends the program
 * without memory. */
void *list_grow(void *list, uint32_t count, uint32_t *capacity, size_t size);

#endif
