/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_BYTES_H
#define CORE_BYTES_H

/*
 * Byte strings by value, unaligned loads and stores of fixed byte order, and
 * sizes that cannot wrap. A struct bytes never owns what it points at and is
 * not terminated.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes {
    const uint8_t *ptr;
    size_t len;
};

#define BYTES_LITERAL(s) \
    ((struct bytes){(const uint8_t *) "" s "", sizeof(s) - 1})

static inline struct bytes
bytes_of(const void *ptr, size_t len)
{
    return (struct bytes){(const uint8_t *) ptr, len};
}

static inline struct bytes
bytes_of_text(const char *text)
{
    return bytes_of(text, strlen(text));
}

static inline bool
bytes_equal(struct bytes a, struct bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* The one order of names and ids, <0, 0, >0 as memcmp: bytewise, a prefix
 * before what it begins. Nodes and rows are sorted by it everywhere, so that
 * equal demands give equal tables. */
static inline int
bytes_compare(struct bytes a, struct bytes b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len ? memcmp(a.ptr, b.ptr, len) : 0;
    if (order != 0)
        return order;
    return (a.len > b.len) - (a.len < b.len);
}

/* The whole text as a decimal number; false, and *out undefined, when it is
 * none or over 64 bits. */
static inline bool
bytes_number(struct bytes text, uint64_t *out)
{
    *out = 0;
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] < '0' || text.ptr[i] > '9'
            || __builtin_mul_overflow(*out, 10u, out)
            || __builtin_add_overflow(*out, (uint64_t) (text.ptr[i] - '0'),
                                      out))
            return false;
    return text.len > 0;
}

static inline uint16_t
load_le16(const void *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v; /* every supported machine is little-endian, see below */
}

static inline uint32_t
load_le32(const void *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline uint64_t
load_le64(const void *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void
store_le16(void *p, uint16_t v)
{
    memcpy(p, &v, sizeof v);
}

static inline void
store_le32(void *p, uint32_t v)
{
    memcpy(p, &v, sizeof v);
}

static inline void
store_le64(void *p, uint64_t v)
{
    memcpy(p, &v, sizeof v);
}

/* amd64 and arm64, the only machines Debian's nginx is deployed on at the
 * rates this is made for; a port to another adds the swaps here. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "the files are little-endian");

static inline uint16_t
load_be16(const void *p)
{
    return __builtin_bswap16(load_le16(p));
}

static inline uint32_t
load_be32(const void *p)
{
    return __builtin_bswap32(load_le32(p));
}

static inline uint64_t
load_be64(const void *p)
{
    return __builtin_bswap64(load_le64(p));
}

static inline void
store_be32(void *p, uint32_t v)
{
    store_le32(p, __builtin_bswap32(v));
}

static inline void
store_be64(void *p, uint64_t v)
{
    store_le64(p, __builtin_bswap64(v));
}

/* True when the sum does not fit; *out is set either way. */
static inline bool
size_add_overflows(size_t a, size_t b, size_t *out)
{
    return __builtin_add_overflow(a, b, out);
}

#endif
