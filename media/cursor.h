/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_CURSOR_H
#define MEDIA_CURSOR_H

/*
 * Reads fields one after the other from bytes that may end too early: past
 * the end every read gives 0 and `is_short` stays set, so a parser checks once
 * after a group of fields. Internal to media/.
 */

#include "core/bytes.h"

struct cursor {
    struct bytes rest;
    bool is_short;
};

static inline struct cursor
cursor_of(struct bytes bytes)
{
    return (struct cursor){bytes, false};
}

/* Empty when fewer than len bytes are left. */
static inline struct bytes
cursor_bytes(struct cursor *c, size_t len)
{
    if (c->is_short || len > c->rest.len) {
        c->is_short = true;
        return (struct bytes){c->rest.ptr, 0};
    }
    const struct bytes taken = {c->rest.ptr, len};
    c->rest.ptr += len;
    c->rest.len -= len;
    return taken;
}

static inline uint8_t
cursor_u8(struct cursor *c)
{
    const struct bytes b = cursor_bytes(c, 1);
    return b.len == 0 ? 0 : b.ptr[0];
}

#define CURSOR_READ(name, type)                               \
    static inline type cursor_##name(struct cursor *c)        \
    {                                                         \
        const struct bytes b = cursor_bytes(c, sizeof(type)); \
        return b.len == 0 ? 0 : load_##name(b.ptr);           \
    }

CURSOR_READ(be16, uint16_t)
CURSOR_READ(be32, uint32_t)
CURSOR_READ(be64, uint64_t)
CURSOR_READ(le32, uint32_t)
CURSOR_READ(le64, uint64_t)

#undef CURSOR_READ

#endif
