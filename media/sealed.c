/* SPDX-License-Identifier: Apache-2.0 */

#include "media/sealed.h"

#include "core/err.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#define OFFSET_VERSION 8
#define OFFSET_SIZE 16
#define OFFSET_CHECKSUM 24

static uint64_t
checksum_of(const uint8_t *file, size_t size)
{
    return XXH3_64bits_withSeed(file + SEALED_HEADER_SIZE,
                                size - SEALED_HEADER_SIZE,
                                XXH3_64bits(file, OFFSET_CHECKSUM));
}

size_t
sealed_begin(struct buffer *out, const char *magic, uint32_t version)
{
    const size_t start = out->len;
    buffer_append(out, magic, SEALED_MAGIC_SIZE);
    buffer_append_le32(out, version);
    buffer_append_le32(out, 0);
    buffer_append_le64(out, 0);
    buffer_append_le64(out, 0);
    return start;
}

void
sealed_end(struct buffer *out, size_t start)
{
    if (out->err != 0)
        return;
    uint8_t *file = out->ptr + start;
    const size_t size = out->len - start;
    store_le64(file + OFFSET_SIZE, size);
    store_le64(file + OFFSET_CHECKSUM, checksum_of(file, size));
}

int
sealed_open(struct bytes file, const char *magic, uint32_t version,
            struct bytes *body)
{
    if (file.len < SEALED_HEADER_SIZE)
        return ERR_TRUNCATED;
    if (memcmp(file.ptr, magic, SEALED_MAGIC_SIZE) != 0)
        return ERR_INVALID;
    if (load_le32(file.ptr + OFFSET_VERSION) != version)
        return ERR_VERSION;
    const uint64_t size = load_le64(file.ptr + OFFSET_SIZE);
    if (size > file.len)
        return ERR_TRUNCATED;
    if (size < file.len)
        return ERR_INVALID;
    if (load_le64(file.ptr + OFFSET_CHECKSUM)
        != checksum_of(file.ptr, file.len))
        return ERR_CHECKSUM;
    *body =
        bytes_of(file.ptr + SEALED_HEADER_SIZE, file.len - SEALED_HEADER_SIZE);
    return 0;
}
