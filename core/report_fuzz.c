/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a report, as they are, with size and checksum made right, so
 * that what lies behind the checksum is reached, and as one that builds on
 * none, so that its entries are merged.
 */

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "core/content.h"
#include "core/demand.h"

#include <assert.h>
#include <stdlib.h>

#define BASE_AT 80

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
merge(struct bytes encoded)
{
    struct demand *d = demand_new(&demand_policy_default);
    struct demand_merge_result result;
    size_t count;
    if (d == NULL)
        return;
    assert(demand_merge(d, encoded, 1000, &result) == 0);
    assert(demand_merge(d, encoded, 1500, &result) == 0);
    demand_advance(d, 2000);
    demand_rates(d, &count);
    demand_nodes(d, &count);
    demand_free(d);
}

static void
try(struct bytes encoded)
{
    struct report_reader reader;
    struct report_entry entry;
    if (report_open(encoded, &reader) != 0)
        return;
    uint32_t seen = 0;
    while (report_next(&reader, &entry)) {
        assert(content_id_is_valid(entry.id));
        seen++;
    }
    assert(seen == reader.header.entry_count && reader.rest.len == 0);
    merge(encoded);
}

static void
try_framed(uint8_t *copy, size_t size)
{
    store_le32(copy + 12, (uint32_t) size);
    store_le64(copy + size - 8, XXH3_64bits(copy, size - 8));
    try(bytes_of(copy, size));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    try(bytes_of(data, size));
    if (size < BASE_AT + 16)
        return 0;
    uint8_t *copy = malloc(size);
    if (copy == NULL)
        return 0;
    memcpy(copy, data, size);
    try_framed(copy, size);
    store_le64(copy + BASE_AT, 0);
    try_framed(copy, size);
    free(copy);
    return 0;
}
