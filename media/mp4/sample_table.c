/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The tables of stbl (ISO/IEC 14496-12 §8.6 to §8.7) made into one record a
 * sample. Each table is checked whole before it is used: its count against its
 * box, its sums against the number of samples.
 */

#include "media/mp4/box.h"

#include "core/err.h"

#include <stdlib.h>

/* A table of `count` entries of a fixed size. */
struct table {
    struct cursor entries;
    uint32_t count;
    uint8_t version;
};

static int
table_open(const struct mp4_parse *parse, const struct box *box,
           size_t entry_size, struct table *out)
{
    uint32_t flags;
    struct table t;
    t.entries = full_box_cursor(box, &t.version, &flags);
    t.count = cursor_be32(&t.entries);
    if (t.entries.is_short)
        return box_fail(parse, box, ERR_TRUNCATED, "box has no entry count");
    if (t.count > t.entries.rest.len / entry_size)
        return box_fail(parse, box, ERR_TRUNCATED,
                        "box is too small for its entry count");
    *out = t;
    return 0;
}

/* ---- sizes ---- */

/* stsz and stz2 in one: a field of 0 bits is the constant size. */
struct sizes {
    const struct box *box;
    uint32_t constant;
    uint32_t count;
    uint32_t field_bits;
    const uint8_t *fields;
};

static int
sizes_open(const struct mp4_parse *parse, const struct sample_boxes *boxes,
           struct sizes *out)
{
    const bool is_compact = box_is_there(&boxes->stz2);
    const struct box *box = is_compact ? &boxes->stz2 : &boxes->stsz;
    int err =
        box_require(parse, &boxes->stbl, box, BOX_TYPE('s', 't', 's', 'z'));
    if (err != 0)
        return err;
    uint8_t version;
    uint32_t flags;
    struct cursor c = full_box_cursor(box, &version, &flags);
    const uint32_t word = cursor_be32(&c);
    struct sizes s = {.box = box, .count = cursor_be32(&c)};
    if (c.is_short)
        return box_fail(parse, box, ERR_TRUNCATED, "box has no sample count");
    s.constant = is_compact ? 0 : word;
    s.field_bits = is_compact ? word & 0xff : s.constant == 0 ? 32 : 0;
    s.fields = c.rest.ptr;
    if (is_compact && s.field_bits != 4 && s.field_bits != 8
        && s.field_bits != 16)
        return box_fail(parse, box, ERR_INVALID, "field size is not 4, 8, 16");
    if (((uint64_t) s.count * s.field_bits + 7) / 8 > c.rest.len)
        return box_fail(parse, box, ERR_TRUNCATED,
                        "box is too small for its sample count");
    if ((uint64_t) s.count * s.constant > parse->file_size)
        return box_fail(parse, box, ERR_TRUNCATED,
                        "samples are larger than the file");
    *out = s;
    return 0;
}

static uint32_t
sizes_get(const struct sizes *s, uint32_t number)
{
    switch (s->field_bits) {
    case 4:
        return number % 2 == 0 ? s->fields[number / 2] >> 4
                               : s->fields[number / 2] & 0xf;
    case 8:
        return s->fields[number];
    case 16:
        return load_be16(s->fields + (size_t) number * 2);
    case 32:
        return load_be32(s->fields + (size_t) number * 4);
    default:
        return s->constant;
    }
}

/* ---- places ---- */

struct chunks {
    const struct box *box;
    uint32_t count;
    uint32_t field_size;
    const uint8_t *fields;
};

static int
chunks_open(const struct mp4_parse *parse, const struct sample_boxes *boxes,
            struct chunks *out)
{
    const bool is_wide = box_is_there(&boxes->co64);
    const struct box *box = is_wide ? &boxes->co64 : &boxes->stco;
    int err =
        box_require(parse, &boxes->stbl, box, BOX_TYPE('s', 't', 'c', 'o'));
    if (err != 0)
        return err;
    const uint32_t field_size = is_wide ? 8 : 4;
    struct table t;
    if ((err = table_open(parse, box, field_size, &t)) != 0)
        return err;
    *out = (struct chunks){box, t.count, field_size, t.entries.rest.ptr};
    return 0;
}

static uint64_t
chunks_get(const struct chunks *c, uint32_t number)
{
    const uint8_t *p = c->fields + (size_t) number * c->field_size;
    return c->field_size == 8 ? load_be64(p) : load_be32(p);
}

/* Lays out the samples of one chunk from sample `first`. */
static int
chunk_place(struct mp4_parse *parse, const struct chunks *chunks,
            uint32_t number, const struct sizes *sizes,
            struct mp4_sample *samples, uint32_t first, uint32_t count)
{
    const uint64_t start = chunks_get(chunks, number);
    uint64_t size = 0;
    for (uint32_t i = first; i < first + count; i++) {
        samples[i].offset = start + size; /* checked below */
        samples[i].size = sizes_get(sizes, i);
        size += samples[i].size;
    }
    return extent_add(parse, chunks->box, start, size);
}

static int
places_fill(struct mp4_parse *parse, const struct sample_boxes *boxes,
            const struct sizes *sizes, bool is_text, struct mp4_sample *samples)
{
    const struct box *stsc = &boxes->stsc;
    int err =
        box_require(parse, &boxes->stbl, stsc, BOX_TYPE('s', 't', 's', 'c'));
    struct chunks chunks;
    struct table runs;
    if (err != 0 || (err = chunks_open(parse, boxes, &chunks)) != 0
        || (err = table_open(parse, stsc, 12, &runs)) != 0)
        return err;
    struct cursor *c = &runs.entries;
    uint32_t chunk = cursor_be32(c); /* from 1, as in the box */
    if (runs.count > 0 && chunk != 1)
        return box_fail(parse, stsc, ERR_INVALID,
                        "first run does not start at chunk 1");
    uint32_t placed = 0;
    for (uint32_t run = 0; run < runs.count; run++) {
        const uint32_t per_chunk = cursor_be32(c);
        const uint32_t description = cursor_be32(c);
        const bool is_last = run + 1 == runs.count;
        /* an entry may lie behind the last chunk: the samples decide */
        const uint32_t chunk_end = is_last ? UINT32_MAX : cursor_be32(c);
        if (description != 1 && !is_text) /* of text they differ in style */
            return box_fail(parse, stsc, ERR_UNSUPPORTED,
                            "samples of a second sample entry");
        if (per_chunk == 0 || chunk_end <= chunk)
            return box_fail(parse, stsc, ERR_INVALID, "empty run of chunks");
        for (; chunk < chunk_end && chunk <= chunks.count
               && placed < sizes->count;
             chunk++) {
            const uint32_t left = sizes->count - placed;
            const uint32_t count = per_chunk < left ? per_chunk : left;
            err = chunk_place(parse, &chunks, chunk - 1, sizes, samples, placed,
                              count);
            if (err != 0)
                return err;
            placed += count;
        }
        chunk = chunk_end;
    }
    if (placed < sizes->count)
        return box_fail(parse, chunks.box, ERR_INVALID,
                        "fewer samples in chunks than sample sizes");
    return 0;
}

/* ---- times ---- */

static int
decode_times_fill(const struct mp4_parse *parse,
                  const struct sample_boxes *boxes, struct mp4_sample *samples,
                  uint32_t sample_count)
{
    int err = box_require(parse, &boxes->stbl, &boxes->stts,
                          BOX_TYPE('s', 't', 't', 's'));
    struct table t;
    if (err != 0 || (err = table_open(parse, &boxes->stts, 8, &t)) != 0)
        return err;
    uint32_t filled = 0;
    uint64_t time = 0;
    for (uint32_t entry = 0; entry < t.count; entry++) {
        const uint32_t count = cursor_be32(&t.entries);
        const uint32_t delta = cursor_be32(&t.entries);
        for (uint32_t i = 0; i < count && filled < sample_count; i++) {
            samples[filled].decode_time = time;
            samples[filled++].duration = delta;
            time += delta;
        }
    }
    if (filled < sample_count)
        return box_fail(parse, &boxes->stts, ERR_INVALID,
                        "fewer sample durations than sample sizes");
    return 0;
}

/* Version 0 is unsigned, and yet written with negative offsets by many: what
 * is over INT32_MAX can only be meant so. */
static int
composition_offsets_fill(const struct mp4_parse *parse, const struct box *ctts,
                         struct mp4_sample *samples, uint32_t sample_count)
{
    if (!box_is_there(ctts))
        return 0;
    struct table t;
    const int err = table_open(parse, ctts, 8, &t);
    if (err != 0)
        return err;
    uint32_t filled = 0;
    for (uint32_t entry = 0; entry < t.count; entry++) {
        const uint32_t count = cursor_be32(&t.entries);
        const int32_t offset = (int32_t) cursor_be32(&t.entries);
        for (uint32_t i = 0; i < count && filled < sample_count; i++)
            samples[filled++].composition_offset = offset;
    }
    if (filled < sample_count)
        return box_fail(parse, ctts, ERR_INVALID,
                        "fewer composition offsets than sample sizes");
    return 0;
}

/* No stss: every sample is one. */
static int
sync_fill(const struct mp4_parse *parse, const struct box *stss,
          struct mp4_sample *samples, uint32_t sample_count)
{
    if (!box_is_there(stss)) {
        for (uint32_t i = 0; i < sample_count; i++)
            samples[i].is_sync = true;
        return 0;
    }
    struct table t;
    const int err = table_open(parse, stss, 4, &t);
    if (err != 0)
        return err;
    uint32_t last = 0;
    for (uint32_t entry = 0; entry < t.count; entry++) {
        const uint32_t number = cursor_be32(&t.entries); /* from 1 */
        if (number <= last || number > sample_count)
            return box_fail(parse, stss, ERR_INVALID,
                            "sync sample out of order or not there");
        samples[number - 1].is_sync = true;
        last = number;
    }
    return 0;
}

int
sample_table_parse(struct mp4_parse *parse, const struct sample_boxes *boxes,
                   struct mp4_track *track)
{
    struct sizes sizes = {0};
    int err = sizes_open(parse, boxes, &sizes);
    if (err != 0)
        return err;
    const bool is_text = track->kind == TRACK_TEXT;
    if (sizes.count == 0 && (parse->is_fragmented || is_text))
        return 0;
    if (sizes.count == 0)
        return box_fail(parse, sizes.box, ERR_INVALID, "track has no samples");
    if (sizes.count > parse->samples_left)
        return box_fail(parse, sizes.box, ERR_LIMIT, "too many samples");
    struct mp4_sample *samples = calloc(sizes.count, sizeof *samples);
    if (samples == NULL)
        return box_fail(parse, sizes.box, ERR_MEMORY, "out of memory");
    if ((err = places_fill(parse, boxes, &sizes, is_text, samples)) != 0
        || (err = decode_times_fill(parse, boxes, samples, sizes.count)) != 0
        || (err = composition_offsets_fill(parse, &boxes->ctts, samples,
                                           sizes.count))
               != 0
        || (err = sync_fill(parse, &boxes->stss, samples, sizes.count)) != 0) {
        free(samples);
        return err;
    }
    parse->samples_left -= sizes.count;
    track->samples = samples;
    track->sample_count = sizes.count;
    return 0;
}
