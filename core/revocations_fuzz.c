/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a list of revocations, as they are and with count and checksum
 * made right. What is accepted encodes to the same bytes.
 */

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "core/revocations.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
try(struct bytes encoded)
{
    struct revocations *read;
    if (revocations_decode(encoded, &read) != 0)
        return;
    for (uint32_t i = 0; i < read->count; i++)
        assert(revocations_has(read, read->sessions[i]));
    struct buffer out;
    buffer_init(&out, REVOCATIONS_SIZE_MAX);
    assert(revocations_encode(read->number, read->sessions, read->count, &out)
           == 0);
    assert(bytes_equal(buffer_bytes(&out), encoded));
    buffer_fini(&out);
    free(read);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    try(bytes_of(data, size));
    if (size < 32)
        return 0;
    uint8_t *copy = malloc(size);
    if (copy == NULL)
        return 0;
    memcpy(copy, data, size);
    store_le32(copy + 12, (uint32_t) ((size - 32) / 8));
    const size_t end = 24 + (size - 32) / 8 * 8;
    store_le64(copy + end, XXH3_64bits(copy, end));
    try(bytes_of(copy, end + 8));
    free(copy);
    return 0;
}
