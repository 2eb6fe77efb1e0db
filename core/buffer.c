/* SPDX-License-Identifier: Apache-2.0 */
/* The growing buffer of core/buffer.h. */

#include "core/buffer.h"
#include "core/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define BUFFER_FIRST_SIZE 256

/* Room for len more bytes, or NULL with b->err set. */
static uint8_t *
buffer_reserve(struct buffer *b, size_t len)
{
    size_t need;
    if (b->err != 0)
        return NULL;
    if (size_add_overflows(b->len, len, &need) || need > b->size_max) {
        b->err = ERR_LIMIT;
        return NULL;
    }
    if (need > b->capacity) {
        size_t capacity = b->capacity ? b->capacity : BUFFER_FIRST_SIZE;
        while (capacity < need && capacity <= b->size_max / 2)
            capacity *= 2;
        if (capacity < need || capacity > b->size_max)
            capacity = b->size_max;
        uint8_t *ptr = realloc(b->ptr, capacity);
        if (ptr == NULL) {
            b->err = ERR_MEMORY;
            return NULL;
        }
        b->ptr = ptr;
        b->capacity = capacity;
    }
    return b->ptr + b->len;
}

void
buffer_init(struct buffer *b, size_t size_max)
{
    *b = (struct buffer){.size_max = size_max};
}

void
buffer_fini(struct buffer *b)
{
    free(b->ptr);
    buffer_init(b, b->size_max);
}

void
buffer_append(struct buffer *b, const void *ptr, size_t len)
{
    if (len == 0)
        return;
    uint8_t *to = buffer_reserve(b, len);
    if (to == NULL)
        return;
    memcpy(to, ptr, len);
    b->len += len;
}

void
buffer_append_bytes(struct buffer *b, struct bytes bytes)
{
    buffer_append(b, bytes.ptr, bytes.len);
}

void
buffer_append_text(struct buffer *b, const char *text)
{
    buffer_append(b, text, strlen(text));
}

void
buffer_printf(struct buffer *b, const char *format, ...)
{
    va_list args;
    char text[256];

    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (len < 0) {
        if (b->err == 0)
            b->err = ERR_INVALID;
        return;
    }
    if ((size_t) len < sizeof text) {
        buffer_append(b, text, (size_t) len);
        return;
    }
    /* one byte more than is kept: vsnprintf terminates what it writes */
    char *long_text = malloc((size_t) len + 1);
    if (long_text == NULL) {
        if (b->err == 0)
            b->err = ERR_MEMORY;
        return;
    }
    va_start(args, format);
    vsnprintf(long_text, (size_t) len + 1, format, args);
    va_end(args);
    buffer_append(b, long_text, (size_t) len);
    free(long_text);
}

void
buffer_append_u8(struct buffer *b, uint8_t v)
{
    buffer_append(b, &v, sizeof v);
}

void
buffer_append_le16(struct buffer *b, uint16_t v)
{
    uint8_t bytes[sizeof v];
    store_le16(bytes, v);
    buffer_append(b, bytes, sizeof bytes);
}

void
buffer_append_le32(struct buffer *b, uint32_t v)
{
    uint8_t bytes[sizeof v];
    store_le32(bytes, v);
    buffer_append(b, bytes, sizeof bytes);
}

void
buffer_append_le64(struct buffer *b, uint64_t v)
{
    uint8_t bytes[sizeof v];
    store_le64(bytes, v);
    buffer_append(b, bytes, sizeof bytes);
}

void
buffer_append_be16(struct buffer *b, uint16_t v)
{
    buffer_append_le16(b, __builtin_bswap16(v));
}

void
buffer_append_be32(struct buffer *b, uint32_t v)
{
    buffer_append_le32(b, __builtin_bswap32(v));
}

void
buffer_append_be64(struct buffer *b, uint64_t v)
{
    buffer_append_le64(b, __builtin_bswap64(v));
}

struct bytes
buffer_bytes(const struct buffer *b)
{
    return bytes_of(b->ptr, b->len);
}
