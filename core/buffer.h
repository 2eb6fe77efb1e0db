/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_BUFFER_H
#define CORE_BUFFER_H

/*
 * A growing byte buffer with a stated maximum, for everything that is
 * written: reports, tables, playlists, boxes. A failed append sets `err` and
 * turns every later append into nothing, so a writer checks once at the end.
 */

#include "core/bytes.h"

struct buffer {
    uint8_t *ptr;
    size_t len;
    size_t capacity;
    size_t size_max; /* bytes; an append past it sets ERR_LIMIT */
    int err;
};

void buffer_init(struct buffer *b, size_t size_max);
void buffer_fini(struct buffer *b); /* frees; the struct may be init'ed again */

void buffer_append(struct buffer *b, const void *ptr, size_t len);
void buffer_append_bytes(struct buffer *b, struct bytes bytes);
void buffer_append_text(struct buffer *b, const char *text);
void buffer_printf(struct buffer *b, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void buffer_append_u8(struct buffer *b, uint8_t v);
void buffer_append_le16(struct buffer *b, uint16_t v);
void buffer_append_le32(struct buffer *b, uint32_t v);
void buffer_append_le64(struct buffer *b, uint64_t v);
void buffer_append_be16(struct buffer *b, uint16_t v);
void buffer_append_be32(struct buffer *b, uint32_t v);
void buffer_append_be64(struct buffer *b, uint64_t v);

/* The bytes written so far; valid until the next append or fini. */
struct bytes buffer_bytes(const struct buffer *b);

#endif
