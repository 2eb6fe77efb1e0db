/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_COUNTERS_H
#define CORE_COUNTERS_H

/*
 * The counter file: how often each content was asked for since the file was
 * made (its "boot"). nginx workers add to it without a lock; one agent reads
 * it whenever it likes. Both map the same file, so it holds offsets and no
 * pointers. docs/adr/ has the reasons for the layout.
 *
 *   | header, 4096 B | slots, 48 B each | changes, 4 B a block | id heap |
 *
 * A slot is found by linear probing from the content's hash. Slots are never
 * freed. When no slot or no heap is left, the request is counted in
 * `overflow` and nowhere else: nothing is evicted.
 *
 * Slots lie in blocks; a block has a number of changes, which says whether its
 * slots are worth a look: who reads what was counted since the last time walks
 * 4 B a block and not 48 B a slot.
 *
 * 48.5 B a slot and some less than 4/3 slots a content: 64 B a content beside
 * its id.
 */

#include "core/bytes.h"

#define COUNTERS_CONTENTS_MAX 100000000u
#define COUNTERS_ID_BYTES_DEFAULT 32 /* heap a content, bytes */
#define COUNTERS_BLOCK_SLOTS 8

/* What a request adds beside itself and its bytes. */
enum counters_flag {
    COUNTERS_START = 1,     /* it starts a play */
    COUNTERS_OFFLOADED = 2, /* it was sent to the CDN */
    COUNTERS_STARVED = 4,   /* its player had run out of film */
};

struct counters_values {
    uint64_t requests;
    uint64_t bytes;
    uint64_t starts;    /* plays started */
    uint64_t offloaded; /* plays started and sent to the CDN */
    uint32_t starved;   /* requests of players that had to wait, modulo 2^32 */
};

/* A mapped counter file. Plain data, valid while the map is. Any number of
 * processes may hold one; counters_add from any of them at once. */
struct counters {
    uint8_t *map;
    size_t map_size;
    uint64_t boot; /* random, made with the file */
    uint32_t slot_count;
    uint32_t heap_size;
};

/* Bytes of a file for that many contents, or 0 when out of range. */
size_t counters_file_size(uint32_t contents_max, uint32_t id_bytes);

/* Makes an empty counter file in `map` (map_size bytes, all zero, 8-aligned,
 * as counters_file_size said). boot must not be 0. */
int counters_format(void *map, size_t map_size, uint32_t contents_max,
                    uint32_t id_bytes, uint64_t boot);

/* Adopts a map after checking everything that later accesses rely on.
 * ERR_INVALID, ERR_VERSION, ERR_TRUNCATED. */
int counters_open(void *map, size_t map_size, struct counters *out);

/* True when the file was made for this shape, so that a reload may adopt it. */
bool counters_has_shape(const struct counters *c, uint32_t contents_max,
                        uint32_t id_bytes);

/* Adds one request. Lock-free; never blocks, never fails: what has no room is
 * counted as overflow. `hash` is content_hash(id). */
void counters_add(struct counters *c, uint64_t hash, struct bytes id,
                  uint64_t bytes, unsigned flags);

/* Asks the processor for what counters_add of that hash will touch, for a
 * caller that has something to do meanwhile. */
void counters_prefetch(const struct counters *c, uint64_t hash);

struct counters_entry {
    uint32_t slot; /* stable for the life of the file */
    uint64_t hash;
    struct bytes id; /* points into the map */
    struct counters_values values;
};

/* Walks the slots in use: start with *cursor = 0; false at the end. The values
 * of one entry are each exact, and may be of slightly different moments. Safe
 * against a file with wild offsets (such entries are passed over). */
bool counters_next(const struct counters *c, uint32_t *cursor,
                   struct counters_entry *out);

/* One slot's; false when it is free. What `requests` says was counted is in
 * the other values, too. */
bool counters_get(const struct counters *c, uint32_t slot,
                  struct counters_entry *out);
uint64_t counters_requests(const struct counters *c, uint32_t slot);

/* How often something was counted in each block, modulo 2^32; the last block
 * may have fewer slots. To be loaded atomically, with acquire where the
 * block's slots are read next: they have then what was counted until there. */
uint32_t counters_block_count(const struct counters *c);
const uint32_t *counters_changes(const struct counters *c);

uint64_t counters_overflow(const struct counters *c); /* requests */
uint32_t counters_used(const struct counters *c);     /* slots in use */

#endif
