/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AV1 in ISO BMFF: of a sample's OBUs all but the tiles of tile groups stay in
 * the clear (the bitstream specification, §5.3 and §5.11).
 */
#include "media/crypt/av1_private.h"
#include "media/crypt/subsample_codec.h"

#include "core/err.h"
#include "media/cursor.h"

enum obu_type {
    OBU_SEQUENCE_HEADER = 1,
    OBU_FRAME_HEADER = 3,
    OBU_TILE_GROUP = 4,
    OBU_FRAME = 6,
    OBU_TILE_LIST = 8
};

struct av1_reader {
    struct subsample_reader super;
    struct av1_headers headers;
};

/* ---- tiles (§5.11.1) ---- */

/* `head`: bytes of the OBU in front of the group. */
static int
tile_group_read(struct av1_headers *headers, size_t head, struct bytes group,
                struct subsample_list *out)
{
    const struct av1_tiles *tiles = &headers->tiles;
    const uint32_t count = tiles->columns * tiles->rows;
    struct bits b = bits_of(group, false);
    uint32_t first = 0, last = count - 1;
    if (!headers->has_frame || count == 0)
        return ERR_INVALID;
    if (count > 1 && bits_flag(&b)) {
        first = bits_u(&b, tiles->column_bits + tiles->row_bits);
        last = bits_u(&b, tiles->column_bits + tiles->row_bits);
    }
    if (b.is_short || first > last || last >= count)
        return ERR_INVALID;
    headers->has_frame = last + 1 < count;
    group = bytes_of(group.ptr + b.used, group.len - b.used);
    head += b.used;
    for (uint32_t i = first; i <= last; i++) {
        uint64_t size = group.len;
        if (i < last) {
            if (group.len < tiles->size_bytes)
                return ERR_TRUNCATED;
            size = 1;
            for (unsigned j = 0; j < tiles->size_bytes; j++)
                size += (uint64_t) group.ptr[j] << 8 * j;
            head += tiles->size_bytes;
            group = bytes_of(group.ptr + tiles->size_bytes,
                             group.len - tiles->size_bytes);
        }
        if (size > group.len)
            return ERR_TRUNCATED;
        subsample_list_add(out, head, (size_t) size);
        group = bytes_of(group.ptr + size, group.len - (size_t) size);
        head = 0;
    }
    return 0;
}

/* ---- samples ---- */

struct obu {
    struct bytes bytes; /* all of it */
    size_t head;        /* bytes of its header */
    unsigned type;
    uint8_t temporal_id, spatial_id;
};

/* Takes the next one off the front of *sample (§5.3); the last may have no
 * size. */
static int
obu_take(struct bytes *sample, struct obu *out)
{
    struct cursor c = cursor_of(*sample);
    const uint8_t header = cursor_u8(&c);
    *out = (struct obu){.type = header >> 3 & 15};
    if (header & 4) {
        const uint8_t extension = cursor_u8(&c);
        out->temporal_id = extension >> 5;
        out->spatial_id = extension >> 3 & 3;
    }
    uint64_t size = c.rest.len;
    if (header & 2) {
        size = 0;
        for (unsigned i = 0, byte = 0x80; i < 8 && byte & 0x80; i++) {
            byte = cursor_u8(&c);
            size |= (uint64_t) (byte & 0x7f) << 7 * i;
        }
    }
    if (c.is_short || size > c.rest.len)
        return ERR_TRUNCATED;
    out->head = sample->len - c.rest.len;
    out->bytes = bytes_of(sample->ptr, out->head + (size_t) size);
    *sample =
        bytes_of(sample->ptr + out->bytes.len, sample->len - out->bytes.len);
    return 0;
}

static int
obu_read(struct av1_headers *headers, const struct obu *obu,
         struct subsample_list *out)
{
    const struct bytes body =
        bytes_of(obu->bytes.ptr + obu->head, obu->bytes.len - obu->head);
    struct bits b = bits_of(body, false);
    int err = 0;
    switch (obu->type) {
    case OBU_SEQUENCE_HEADER:
        err = av1_sequence_parse(&b, &headers->sequence);
        break;
    case OBU_FRAME_HEADER:
        if (!headers->has_frame) /* else a copy */
            err =
                av1_frame_parse(headers, &b, obu->temporal_id, obu->spatial_id);
        break;
    case OBU_FRAME:
        headers->has_frame = false;
        err = av1_frame_parse(headers, &b, obu->temporal_id, obu->spatial_id);
        return err != 0
                   ? err
                   : tile_group_read(
                       headers, obu->head + b.used,
                       bytes_of(body.ptr + b.used, body.len - b.used), out);
    case OBU_TILE_GROUP:
        return tile_group_read(headers, obu->head, body, out);
    case OBU_TILE_LIST:
        return ERR_UNSUPPORTED;
    default:
        break;
    }
    subsample_list_add(out, obu->bytes.len, 0);
    return err;
}

static int
av1_next(struct subsample_reader *self, struct bytes sample,
         struct subsample_list *out)
{
    struct av1_reader *reader = (struct av1_reader *) self;
    reader->headers.has_frame = false;
    while (sample.len > 0) {
        struct obu obu;
        int err = obu_take(&sample, &obu);
        if (err == 0)
            err = obu_read(&reader->headers, &obu, out);
        if (err != 0)
            return err;
    }
    return 0;
}

/* av1C (§2.3 of the binding): four bytes, then OBUs. */
int
av1_reader_new(struct bytes config, struct subsample_reader **out)
{
    struct av1_reader *reader = calloc(1, sizeof *reader);
    if (reader == NULL)
        return ERR_MEMORY;
    reader->super.next = av1_next;
    struct bytes obus = bytes_of(config.ptr, 0);
    if (config.len > 4)
        obus = bytes_of(config.ptr + 4, config.len - 4);
    while (obus.len > 0) {
        struct obu obu;
        int err = obu_take(&obus, &obu);
        if (err == 0 && obu.type == OBU_SEQUENCE_HEADER) {
            struct bits b = bits_of(
                bytes_of(obu.bytes.ptr + obu.head, obu.bytes.len - obu.head),
                false);
            err = av1_sequence_parse(&b, &reader->headers.sequence);
        }
        if (err != 0) {
            free(reader);
            return err;
        }
    }
    *out = &reader->super;
    return 0;
}
