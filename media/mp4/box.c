/* SPDX-License-Identifier: Apache-2.0 */

#include "media/mp4/box.h"

#include "core/err.h"

int
mp4_fail(const struct mp4_parse *parse, uint32_t type, uint64_t offset, int err,
         const char *reason)
{
    struct mp4_error *error = parse->error;
    for (int i = 0; i < 4; i++) {
        const uint8_t c = (uint8_t) (type >> (24 - 8 * i));
        error->box[i] = c >= 0x20 && c < 0x7f ? (char) c : '?';
    }
    error->box[4] = 0;
    error->offset = offset;
    error->reason = reason;
    return err;
}

int
box_fail(const struct mp4_parse *parse, const struct box *box, int err,
         const char *reason)
{
    return mp4_fail(parse, box->type, box->offset, err, reason);
}

/* QuickTime ends some lists with four zero bytes. */
static bool
is_padding(struct bytes rest)
{
    if (rest.len >= 8)
        return false;
    for (size_t i = 0; i < rest.len; i++) {
        if (rest.ptr[i] != 0)
            return false;
    }
    return true;
}

int
box_next(const struct mp4_parse *parse, const struct box *parent,
         struct bytes *rest, struct box *out)
{
    if (is_padding(*rest)) {
        *out = (struct box){0};
        return 0;
    }
    struct cursor c = cursor_of(*rest);
    const uint32_t size_short = cursor_be32(&c);
    const uint32_t type = cursor_be32(&c);
    uint64_t size = size_short;
    if (size_short == 1)
        size = cursor_be64(&c);
    else if (size_short == 0)
        size = rest->len;
    if (c.is_short)
        return box_fail(parse, parent, ERR_TRUNCATED,
                        "ends inside the header of a box");
    const size_t header = rest->len - c.rest.len;
    const uint64_t offset =
        parse->offset + (uint64_t) (rest->ptr - parse->memory);
    if (size < header)
        return mp4_fail(parse, type, offset, ERR_INVALID,
                        "box is smaller than its header");
    if (size > rest->len)
        return mp4_fail(parse, type, offset, ERR_TRUNCATED,
                        "box is larger than the one around it");
    out->type = type;
    out->offset = offset;
    out->all = bytes_of(rest->ptr, (size_t) size);
    out->body = bytes_of(c.rest.ptr, (size_t) size - header);
    rest->ptr += size;
    rest->len -= (size_t) size;
    return 0;
}

int
boxes_collect(const struct mp4_parse *parse, const struct box *parent,
              struct bytes children, const struct box_want *wants, size_t count)
{
    for (size_t i = 0; i < count; i++)
        *wants[i].box = (struct box){0};
    for (;;) {
        struct box box;
        const int err = box_next(parse, parent, &children, &box);
        if (err != 0)
            return err;
        if (!box_is_there(&box))
            return 0;
        for (size_t i = 0; i < count; i++) {
            if (wants[i].type != box.type)
                continue;
            if (box_is_there(wants[i].box))
                return box_fail(parse, &box, ERR_INVALID, "box is there twice");
            *wants[i].box = box;
        }
    }
}

int
box_require(const struct mp4_parse *parse, const struct box *parent,
            const struct box *box, uint32_t type)
{
    if (box_is_there(box))
        return 0;
    return mp4_fail(parse, type, parent->offset, ERR_INVALID, "box is missing");
}

struct cursor
full_box_cursor(const struct box *box, uint8_t *version, uint32_t *flags)
{
    struct cursor c = cursor_of(box->body);
    const uint32_t word = cursor_be32(&c);
    *version = (uint8_t) (word >> 24);
    *flags = word & 0xffffff;
    return c;
}
