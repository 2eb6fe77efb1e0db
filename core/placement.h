/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_PLACEMENT_H
#define CORE_PLACEMENT_H

/*
 * Which nodes own a content: weighted rendezvous hashing (Thaler and
 * Ravishankar 1998; weights as in Schindelhauer and Schomaker 2005: score =
 * weight / -ln(u)). Integer arithmetic only, so that every node of every
 * build comes to the same order. The owner set of size k is the first k of
 * the order: sets are prefixes of each other (rule 7).
 */

#include "core/bytes.h"

#define PLACEMENT_NODES_MAX 1024

struct placement_node {
    uint64_t hash;   /* of the node's name; must differ between nodes */
    uint32_t weight; /* 1 to 65535, or 0: never an owner */
};

uint64_t placement_node_hash(struct bytes name);

/*
 * Writes the indexes of the first k owners, best first, to owners[0..k).
 * Returns how many there are: min(k, nodes with weight > 0). Costs
 * O(count * k) for small k, for large O(count) with equal weights and
 * O(count + k log k) with others.
 */
size_t placement_owners(const struct placement_node *nodes, size_t count,
                        uint64_t content, size_t k, uint16_t *owners);

#endif
