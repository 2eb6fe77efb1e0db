/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_MARKUP_H
#define MEDIA_MARKUP_H

/*
 * Text into XML and WebVTT, which write what would be a tag in the same way.
 * Internal to media/.
 */

#include "core/buffer.h"

static inline void
markup_append_char(struct buffer *out, uint8_t c)
{
    switch (c) {
    case '&':
        buffer_append_text(out, "&amp;");
        break;
    case '<':
        buffer_append_text(out, "&lt;");
        break;
    case '>':
        buffer_append_text(out, "&gt;");
        break;
    default:
        buffer_append_u8(out, c);
    }
}

/* As the content of an element or of a quoted attribute. */
static inline void
markup_append(struct buffer *out, struct bytes text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '"')
            buffer_append_text(out, "&quot;");
        else
            markup_append_char(out, text.ptr[i]);
    }
}

#endif
