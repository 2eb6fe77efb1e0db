/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A counter file with anything in it is refused, or can be read and added to.
 * The input is the first 256 bytes of the header, then slots and heap, so that
 * inputs stay small.
 */

#include "core/content.h"
#include "core/counters.h"

#include <assert.h>
#include <stdlib.h>

#define HEADER_SIZE 4096
#define HEADER_GIVEN 256

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
use(struct counters *c)
{
    static const char *const ids[] = {"a", "film-1", "film-2", "a.b_c-d"};
    struct counters_entry entry;

    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
            struct bytes id = bytes_of_text(ids[i]);
            counters_add(c, content_hash(id), id, 1000, COUNTERS_START);
            counters_add(c, i + 1, id, 0, COUNTERS_OFFLOADED);
        }
    }
    uint32_t seen = 0;
    for (uint32_t cursor = 0; counters_next(c, &cursor, &entry); seen++) {
        assert(content_id_is_valid(entry.id));
        assert(entry.id.ptr >= c->map);
        assert(entry.id.ptr + entry.id.len <= c->map + c->map_size);
    }
    assert(seen <= c->slot_count);
    const uint32_t blocks = counters_block_count(c);
    uint32_t changes = 0;
    for (uint32_t i = 0; i < blocks; i++)
        changes |= counters_changes(c)[i];
    (void) changes;
    assert((uint64_t) blocks * COUNTERS_BLOCK_SLOTS >= c->slot_count);
    assert(counters_used(c) <= c->slot_count);
    (void) counters_overflow(c);
    (void) counters_has_shape(c, 10, 32);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct counters c;
    size_t given = size < HEADER_GIVEN ? size : HEADER_GIVEN;
    size_t map_size = HEADER_SIZE + (size - given);
    uint8_t *map = calloc(1, map_size);
    if (map == NULL)
        return 0;
    if (given > 0)
        memcpy(map, data, given);
    if (size > given)
        memcpy(map + HEADER_SIZE, data + given, size - given);
    if (counters_open(map, map_size, &c) == 0)
        use(&c);
    free(map);
    return 0;
}
