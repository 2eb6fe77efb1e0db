/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_SEALED_H
#define MEDIA_SEALED_H

/*
 * The frame of the files this folder writes (asset, index): what the file is,
 * its version, its size, and a checksum over all of it. Internal to media/.
 *
 *   0  magic     8 bytes
 *   8  version   u32 le
 *  12  zero      u32
 *  16  size      u64 le, of the whole file
 *  24  checksum  u64 le, XXH3-64 of the body seeded by that of bytes 0..23
 *  32  body
 */

#include "core/buffer.h"

#define SEALED_HEADER_SIZE 32 /* bytes */
#define SEALED_MAGIC_SIZE 8

/* Appends a header whose size and checksum sealed_end fills in. Returns where
 * it starts in `out`. */
size_t sealed_begin(struct buffer *out, const char *magic, uint32_t version);
void sealed_end(struct buffer *out, size_t start);

/* What the header says; file.len >= SEALED_HEADER_SIZE. */
static inline uint64_t
sealed_size(struct bytes file)
{
    return load_le64(file.ptr + 16);
}

/* *body points into `file`. ERR_TRUNCATED, ERR_INVALID (another kind of file,
 * or bytes behind its end), ERR_VERSION, ERR_CHECKSUM. */
int sealed_open(struct bytes file, const char *magic, uint32_t version,
                struct bytes *body);

#endif
