/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_BOX_WRITE_H
#define MEDIA_BOX_WRITE_H

/*
 * Boxes of ISO/IEC 14496-12 §4.2, written in one go: the size is put in at the
 * end. Internal to media/.
 */

#include "core/buffer.h"

/* Where it starts, for box_end. */
static inline size_t
box_begin(struct buffer *out, const char *type)
{
    const size_t start = out->len;
    buffer_append_be32(out, 0);
    buffer_append(out, type, 4);
    return start;
}

static inline size_t
full_box_begin(struct buffer *out, const char *type, uint8_t version,
               uint32_t flags)
{
    const size_t start = box_begin(out, type);
    buffer_append_be32(out, (uint32_t) version << 24 | flags);
    return start;
}

static inline void
box_end(struct buffer *out, size_t start)
{
    if (out->err == 0)
        store_be32(out->ptr + start, (uint32_t) (out->len - start));
}

#endif
