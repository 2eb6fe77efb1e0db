/* SPDX-License-Identifier: Apache-2.0 */

#include "media/esds.h"

#include "core/err.h"
#include "media/cursor.h"

enum { TAG_ES = 3, TAG_DECODER_CONFIG = 4, TAG_DECODER_SPECIFIC = 5 };

/* A descriptor of §8.3.3: tag, length in groups of 7 bits. */
static struct cursor
descriptor_take(struct cursor *c, uint8_t *tag)
{
    *tag = cursor_u8(c);
    uint32_t len = 0;
    for (int i = 0; i < 4; i++) {
        const uint8_t byte = cursor_u8(c);
        len = len << 7 | (byte & 0x7f);
        if ((byte & 0x80) == 0)
            break;
    }
    struct cursor inner = cursor_of(cursor_bytes(c, len));
    inner.is_short = c->is_short;
    return inner;
}

int
esds_parse(struct bytes descriptors, struct esds *out)
{
    uint8_t tag;
    struct cursor c = cursor_of(descriptors);
    struct cursor es = descriptor_take(&c, &tag);
    if (tag != TAG_ES)
        return ERR_INVALID;
    cursor_be16(&es); /* ES_ID */
    const uint8_t flags = cursor_u8(&es);
    if (flags & 0x80)
        cursor_be16(&es); /* dependsOn_ES_ID */
    if (flags & 0x40)
        cursor_bytes(&es, cursor_u8(&es)); /* URL */
    if (flags & 0x20)
        cursor_be16(&es); /* OCR_ES_ID */
    struct cursor decoder = descriptor_take(&es, &tag);
    const uint8_t object = cursor_u8(&decoder);
    if (decoder.is_short || tag != TAG_DECODER_CONFIG)
        return ERR_INVALID;
    cursor_bytes(&decoder, 12); /* stream type, buffer size, bit rates */
    const struct bytes specific = descriptor_take(&decoder, &tag).rest;
    out->object = object;
    out->config = tag == TAG_DECODER_SPECIFIC ? specific : (struct bytes){0};
    return 0;
}
