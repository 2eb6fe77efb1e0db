/* SPDX-License-Identifier: Apache-2.0 */

#include "media/testing/box_dump.h"

#include "media/cursor.h"

struct dump {
    struct buffer *out;
    int depth;
};

static void dump_boxes(struct dump *d, struct bytes boxes);

/* name=value for the next field of 1, 2, 4 or 8 bytes */
static void
field(struct dump *d, struct cursor *c, const char *name, size_t size)
{
    uint64_t v = 0;
    for (size_t i = 0; i < size; i++)
        v = v << 8 | cursor_u8(c);
    buffer_printf(d->out, " %s=%llu", name, (unsigned long long) v);
}

static void
signed_field(struct dump *d, struct cursor *c, const char *name)
{
    buffer_printf(d->out, " %s=%d", name, (int) cursor_be32(c));
}

static void
fourcc(struct dump *d, struct cursor *c)
{
    const struct bytes b = cursor_bytes(c, 4);
    buffer_append_text(d->out, " ");
    for (size_t i = 0; i < b.len; i++)
        buffer_append_u8(d->out,
                         b.ptr[i] >= 0x20 && b.ptr[i] < 0x7f ? b.ptr[i] : '.');
}

static void
hex(struct dump *d, struct cursor *c)
{
    if (c->rest.len > 0)
        buffer_append_text(d->out, " ");
    for (size_t i = 0; i < c->rest.len; i++)
        buffer_printf(d->out, "%02x", c->rest.ptr[i]);
    c->rest.len = 0;
}

static uint32_t
version_and_flags(struct dump *d, struct cursor *c)
{
    const uint32_t word = cursor_be32(c);
    buffer_printf(d->out, " version=%u flags=%06x", word >> 24,
                  word & 0xffffff);
    return word & 0xffffff;
}

static void
brands(struct dump *d, struct cursor *c)
{
    fourcc(d, c);
    field(d, c, "minor", 4);
    while (c->rest.len >= 4)
        fourcc(d, c);
}

static void
mvhd(struct dump *d, struct cursor *c)
{
    version_and_flags(d, c);
    cursor_bytes(c, 8);
    field(d, c, "timescale", 4);
    field(d, c, "duration", 4);
    cursor_bytes(c, 72);
    cursor_bytes(c, 4);
    field(d, c, "next_track", 4);
}

static void
tkhd(struct dump *d, struct cursor *c)
{
    version_and_flags(d, c);
    cursor_bytes(c, 8);
    field(d, c, "track", 4);
    cursor_bytes(c, 4);
    field(d, c, "duration", 4);
    cursor_bytes(c, 8);
    field(d, c, "layer", 2);
    field(d, c, "group", 2);
    field(d, c, "volume", 2);
    cursor_bytes(c, 38);
    field(d, c, "width", 2);
    cursor_bytes(c, 2);
    field(d, c, "height", 2);
    cursor_bytes(c, 2);
}

static void
elst(struct dump *d, struct cursor *c)
{
    version_and_flags(d, c);
    field(d, c, "count", 4);
    field(d, c, "duration", 4);
    signed_field(d, c, "media_time");
    field(d, c, "rate", 2);
    cursor_bytes(c, 2);
}

static void
mdhd(struct dump *d, struct cursor *c)
{
    version_and_flags(d, c);
    cursor_bytes(c, 8);
    field(d, c, "timescale", 4);
    field(d, c, "duration", 4);
    const uint16_t l = cursor_be16(c);
    buffer_printf(d->out, " language=%c%c%c", 0x60 + (l >> 10 & 31),
                  0x60 + (l >> 5 & 31), 0x60 + (l & 31));
    cursor_bytes(c, 2);
}

static void
hdlr(struct dump *d, struct cursor *c)
{
    version_and_flags(d, c);
    cursor_bytes(c, 4);
    fourcc(d, c);
    cursor_bytes(c, c->rest.len);
}

static void
counted_boxes(struct dump *d, struct cursor *c)
{
    version_and_flags(d, c);
    field(d, c, "count", 4);
}

static void
stsz(struct dump *d, struct cursor *c)
{
    version_and_flags(d, c);
    field(d, c, "size", 4);
    field(d, c, "count", 4);
}

static void
mehd(struct dump *d, struct cursor *c)
{
    version_and_flags(d, c);
    field(d, c, "duration", 8);
}

static void
trex(struct dump *d, struct cursor *c)
{
    version_and_flags(d, c);
    field(d, c, "track", 4);
    field(d, c, "entry", 4);
    field(d, c, "duration", 4);
    field(d, c, "size", 4);
    field(d, c, "sample_flags", 4);
}

static void
mfhd(struct dump *d, struct cursor *c)
{
    version_and_flags(d, c);
    field(d, c, "sequence_number", 4);
}

static void
tfhd(struct dump *d, struct cursor *c)
{
    const uint32_t flags = version_and_flags(d, c);
    field(d, c, "track", 4);
    if (flags & 0x8)
        field(d, c, "duration", 4);
    if (flags & 0x10)
        field(d, c, "size", 4);
    if (flags & 0x20)
        buffer_printf(d->out, " sample_flags=%08x", cursor_be32(c));
}

static void
tfdt(struct dump *d, struct cursor *c)
{
    version_and_flags(d, c);
    field(d, c, "decode_time", 8);
}

static void
trun(struct dump *d, struct cursor *c)
{
    const uint32_t flags = version_and_flags(d, c);
    const uint32_t count = cursor_be32(c);
    buffer_printf(d->out, " count=%u", count);
    if (flags & 0x1)
        field(d, c, "data_offset", 4);
    if (flags & 0x4)
        buffer_printf(d->out, " first_flags=%08x", cursor_be32(c));
    const bool has_records = (flags & 0xf00) != 0;
    for (uint32_t i = 0; has_records && i < count && !c->is_short; i++) {
        buffer_printf(d->out, "\n%*s%u:", 2 * d->depth, "", i);
        if (flags & 0x100)
            field(d, c, "duration", 4);
        if (flags & 0x200)
            field(d, c, "size", 4);
        if (flags & 0x400)
            buffer_printf(d->out, " flags=%08x", cursor_be32(c));
        if (flags & 0x800)
            signed_field(d, c, "composition");
    }
}

static void
children(struct dump *d, struct cursor *c)
{
}

/* bytes of fields, then boxes */
static void
visual_entry(struct dump *d, struct cursor *c)
{
    cursor_bytes(c, 24);
    field(d, c, "width", 2);
    field(d, c, "height", 2);
    cursor_bytes(c, 50);
}

static void
audio_entry(struct dump *d, struct cursor *c)
{
    cursor_bytes(c, 16);
    field(d, c, "channels", 2);
    cursor_bytes(c, 6);
    field(d, c, "sample_rate", 2);
    cursor_bytes(c, 2);
}

struct kind {
    const char *type;
    void (*fields)(struct dump *d, struct cursor *c);
    bool has_children; /* behind the fields */
};

/* clang-format off */
static const struct kind kinds[] = {
    {"ftyp", brands, false}, {"styp", brands, false},
    {"moov", children, true}, {"trak", children, true},
    {"edts", children, true}, {"mdia", children, true},
    {"minf", children, true}, {"dinf", children, true},
    {"stbl", children, true}, {"mvex", children, true},
    {"moof", children, true}, {"traf", children, true},
    {"dref", counted_boxes, true}, {"stsd", counted_boxes, true},
    {"mvhd", mvhd, false}, {"tkhd", tkhd, false}, {"elst", elst, false},
    {"mdhd", mdhd, false}, {"hdlr", hdlr, false}, {"stsz", stsz, false},
    {"mehd", mehd, false}, {"trex", trex, false}, {"mfhd", mfhd, false},
    {"tfhd", tfhd, false}, {"tfdt", tfdt, false}, {"trun", trun, false},
    {"avc1", visual_entry, true}, {"mp4a", audio_entry, true},
};
/* clang-format on */

static void
dump_body(struct dump *d, const uint8_t *type, struct cursor *c)
{
    const struct kind *kind = NULL;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (memcmp(kinds[i].type, type, 4) == 0)
            kind = &kinds[i];
    }
    d->depth++;
    if (kind != NULL)
        kind->fields(d, c);
    if (c->is_short)
        buffer_append_text(d->out, " broken");
    if (kind == NULL || !kind->has_children)
        hex(d, c);
    buffer_append_text(d->out, "\n");
    if (kind != NULL && kind->has_children)
        dump_boxes(d, c->rest);
    d->depth--;
}

/* A header of mdat stands alone at the end of a segment's header. */
static void
dump_boxes(struct dump *d, struct bytes boxes)
{
    struct cursor c = cursor_of(boxes);
    while (c.rest.len > 0) {
        const uint64_t size = cursor_be32(&c);
        const struct bytes type = cursor_bytes(&c, 4);
        buffer_printf(d->out, "%*s", 2 * d->depth, "");
        if (type.len == 0) {
            buffer_append_text(d->out, "broken\n");
            return;
        }
        buffer_append_bytes(d->out, type);
        buffer_printf(d->out, " size=%llu", (unsigned long long) size);
        if (memcmp(type.ptr, "mdat", 4) == 0) {
            hex(d, &c);
            buffer_append_text(d->out, "\n");
            return;
        }
        if (size < 8 || size - 8 > c.rest.len) {
            buffer_append_text(d->out, " broken\n");
            return;
        }
        struct cursor body = cursor_of(cursor_bytes(&c, (size_t) (size - 8)));
        dump_body(d, type.ptr, &body);
    }
}

void
box_dump(struct bytes boxes, struct buffer *out)
{
    struct dump d = {out, 0};
    dump_boxes(&d, boxes);
}
