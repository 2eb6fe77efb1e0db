/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a table file, as they are and with size and checksum made
 * right. What is accepted can be used, and encodes to a table that is equal.
 */

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "core/content.h"
#include "core/route.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
route(const struct table_snapshot *snapshot, struct bytes id)
{
    struct route_decision decision;
    for (int self = -2; self < (int) snapshot->table.node_count; self++) {
        struct route_request request = {
            .content = id,
            .hash = content_hash(id),
            .session = 12345,
            .self = self,
            .hops_max = 2,
            .has_cdn = true,
        };
        route_decide(snapshot, &request, &decision);
        assert(decision.node < (int) snapshot->table.node_count);
        assert((decision.action == ROUTE_NODE) == (decision.node >= 0));
    }
}

static void
try(struct bytes encoded)
{
    struct table_snapshot *snapshot, *again;
    if (table_decode(encoded, &snapshot) != 0)
        return;
    const struct table *table = &snapshot->table;
    for (size_t i = 0; i < table->row_count && i < 64; i++) {
        const struct table_row *row = &table->rows[i];
        assert(table_find(table, row->hash, row->id) == row);
        route(snapshot, row->id);
    }
    for (size_t i = 0; i < table->node_count; i++)
        assert(table_node_find(table, table->nodes[i].name) == (int) i);
    route(snapshot, BYTES_LITERAL("another"));
    struct buffer out;
    buffer_init(&out, TABLE_SIZE_MAX);
    assert(table_encode(table, &out) == 0);
    assert(table_decode(buffer_bytes(&out), &again) == 0);
    assert(again->table.row_count == table->row_count);
    assert(again->available_count == snapshot->available_count);
    table_free(again);
    buffer_fini(&out);
    table_free(snapshot);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    try(bytes_of(data, size));
    if (size < 24)
        return 0;
    uint8_t *copy = malloc(size);
    if (copy == NULL)
        return 0;
    memcpy(copy, data, size);
    store_le32(copy + 12, (uint32_t) size);
    store_le64(copy + size - 8, XXH3_64bits(copy, size - 8));
    try(bytes_of(copy, size));
    free(copy);
    return 0;
}
