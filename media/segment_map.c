/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The map of a segment as a box: 'free', and in it a sealed body (sealed.h) of
 * numbers in 7-bit groups, low ones first.
 *
 *   sample count, subsample count + 1 (0: no subsamples)
 *   runs until all samples have a duration:            count, duration
 *   runs until all samples have a composition offset:  count, zigzag
 *   of each sample:                                    size << 1 | sync
 *   with subsamples, of each sample:                   count
 *   and of each subsample:                             clear, rest
 *
 * A film of 24 frames a second has about 3 bytes a frame. Zeros may follow in
 * the box.
 */

#include "media/segment_map.h"

#include "core/err.h"
#include "media/cursor.h"
#include "media/sealed.h"

#define MAP_MAGIC "VODSTmap"
#define MAP_VERSION 1
#define BOX_HEADER_SIZE 8

/* ---- numbers ---- */

static void
number_append(struct buffer *out, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        buffer_append_u8(out, (uint8_t) (v | 0x80));
    buffer_append_u8(out, (uint8_t) v);
}

/* More than `max` is as bad as the end of the bytes. */
static uint32_t
number_take(struct cursor *c, uint32_t max)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 35; shift += 7) {
        const uint8_t byte = cursor_u8(c);
        v |= (uint64_t) (byte & 0x7f) << shift;
        if (byte < 0x80) {
            c->is_short |= v > max;
            return (uint32_t) v;
        }
    }
    c->is_short = true;
    return 0;
}

/* Small ones of either sign become small ones. */
static uint32_t
zigzag(int32_t v)
{
    return (uint32_t) v << 1 ^ (v < 0 ? UINT32_MAX : 0);
}

static int32_t
zigzag_undo(uint32_t v)
{
    return (int32_t) (v >> 1 ^ (v & 1 ? UINT32_MAX : 0));
}

/* ---- encoding ---- */

static uint32_t
sample_duration(const struct sample *sample)
{
    return sample->duration;
}

static uint32_t
sample_offset(const struct sample *sample)
{
    return zigzag(sample->composition_offset);
}

static void
runs_encode(const struct segment_map *map,
            uint32_t (*value_of)(const struct sample *), struct buffer *out)
{
    uint32_t start = 0;
    for (uint32_t i = 1; i <= map->sample_count; i++) {
        const uint32_t value = value_of(&map->samples[start]);
        if (i < map->sample_count && value_of(&map->samples[i]) == value)
            continue;
        number_append(out, i - start);
        number_append(out, value);
        start = i;
    }
}

static uint32_t
subsamples_sum(const struct segment_map *map)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < map->sample_count; i++)
        sum += map->subsample_counts[i];
    return sum;
}

static void
subsamples_encode(const struct segment_map *map, uint32_t count,
                  struct buffer *out)
{
    for (uint32_t i = 0; i < map->sample_count; i++)
        number_append(out, map->subsample_counts[i]);
    for (uint32_t i = 0; i < count; i++) {
        number_append(out, map->subsamples[i].clear);
        number_append(out, map->subsamples[i].rest);
    }
}

void
segment_map_encode(const struct segment_map *map, struct buffer *out)
{
    const bool has_subsamples = map->subsample_counts != NULL;
    const uint32_t subsample_count = has_subsamples ? subsamples_sum(map) : 0;
    const size_t box = out->len;
    buffer_append_be32(out, 0);
    buffer_append_text(out, "free");
    const size_t body = sealed_begin(out, MAP_MAGIC, MAP_VERSION);
    number_append(out, map->sample_count);
    number_append(out, has_subsamples ? (uint64_t) subsample_count + 1 : 0);
    runs_encode(map, sample_duration, out);
    runs_encode(map, sample_offset, out);
    for (uint32_t i = 0; i < map->sample_count; i++)
        number_append(out, (uint64_t) map->samples[i].size << 1
                               | map->samples[i].is_sync);
    if (has_subsamples)
        subsamples_encode(map, subsample_count, out);
    if (out->err == 0 && out->len - box > SEGMENT_MAP_SIZE_MAX)
        out->err = ERR_LIMIT;
    if (out->err != 0)
        return;
    sealed_end(out, body);
    store_be32(out->ptr + box, (uint32_t) (out->len - box));
}

void
segment_map_pad(struct buffer *out, size_t box, size_t padding)
{
    static const uint8_t zeros[64];
    for (; padding > sizeof zeros; padding -= sizeof zeros)
        buffer_append(out, zeros, sizeof zeros);
    buffer_append(out, zeros, padding);
    if (out->err == 0)
        store_be32(out->ptr + box, (uint32_t) (out->len - box));
}

/* ---- decoding ---- */

struct counts {
    uint32_t samples, subsamples;
    bool has_subsamples;
};

/* The cursor is left behind the counts. Each sample and each subsample takes
 * bytes of its own, so what is allocated for them is in proportion. */
static int
box_open(struct bytes box, struct cursor *body, struct counts *out)
{
    if (box.len < BOX_HEADER_SIZE + SEALED_HEADER_SIZE)
        return ERR_TRUNCATED;
    if (box.len > SEGMENT_MAP_SIZE_MAX || load_be32(box.ptr) != box.len
        || memcmp(box.ptr + 4, "free", 4) != 0)
        return ERR_INVALID;
    struct bytes sealed =
        bytes_of(box.ptr + BOX_HEADER_SIZE, box.len - BOX_HEADER_SIZE);
    const uint64_t size = sealed_size(sealed);
    if (size < sealed.len)
        sealed.len = (size_t) size;
    struct bytes bytes;
    const int err = sealed_open(sealed, MAP_MAGIC, MAP_VERSION, &bytes);
    if (err != 0)
        return err;
    *body = cursor_of(bytes);
    out->samples = number_take(body, (uint32_t) bytes.len);
    out->subsamples = number_take(body, (uint32_t) bytes.len / 2);
    out->has_subsamples = out->subsamples > 0;
    out->subsamples -= out->has_subsamples;
    return body->is_short ? ERR_INVALID : 0;
}

int
segment_map_memory_size(struct bytes box, size_t *size)
{
    struct cursor body;
    struct counts counts;
    const int err = box_open(box, &body, &counts);
    if (err != 0)
        return err;
    *size = counts.samples * (sizeof(struct sample) + sizeof(uint16_t))
            + counts.subsamples * sizeof(struct subsample);
    return 0;
}

static void
duration_set(struct sample *sample, uint32_t value)
{
    sample->duration = value;
}

static void
offset_set(struct sample *sample, uint32_t value)
{
    sample->composition_offset = zigzag_undo(value);
}

static void
runs_decode(struct cursor *c, struct sample *samples, uint32_t count,
            void (*set)(struct sample *, uint32_t))
{
    for (uint32_t done = 0; done < count && !c->is_short;) {
        const uint32_t run = number_take(c, count - done);
        const uint32_t value = number_take(c, UINT32_MAX);
        if (run == 0)
            c->is_short = true;
        for (uint32_t i = 0; i < run && !c->is_short; i++)
            set(&samples[done++], value);
    }
}

/* The sum of what was read, which fits. */
static uint64_t
sizes_decode(struct cursor *c, struct sample *samples, uint32_t count)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t word = number_take(c, UINT32_MAX);
        samples[i].size = word >> 1;
        samples[i].is_sync = word & 1;
        sum += samples[i].size;
    }
    return sum;
}

static void
subsamples_decode(struct cursor *c, const struct counts *counts,
                  const struct sample *samples, struct subsample *subsamples,
                  uint16_t *per_sample)
{
    uint32_t left = counts->subsamples;
    for (uint32_t i = 0; i < counts->samples; i++) {
        const uint32_t max = left < UINT16_MAX ? left : UINT16_MAX;
        per_sample[i] = (uint16_t) number_take(c, max);
        if (c->is_short)
            return;
        left -= per_sample[i];
    }
    c->is_short |= left != 0;
    for (uint32_t i = 0; i < counts->samples && !c->is_short; i++) {
        uint64_t size = 0;
        for (uint32_t k = 0; k < per_sample[i]; k++, subsamples++) {
            subsamples->clear = number_take(c, UINT32_MAX);
            subsamples->rest = number_take(c, UINT32_MAX);
            size += (uint64_t) subsamples->clear + subsamples->rest;
        }
        c->is_short |= size != samples[i].size;
    }
}

int
segment_map_decode(struct bytes box, const struct segment *segment,
                   void *memory, struct segment_map *out)
{
    struct cursor body;
    struct counts counts;
    const int err = box_open(box, &body, &counts);
    if (err != 0)
        return err;
    if (counts.samples != segment->sample_count)
        return ERR_INVALID;
    struct sample *samples = memory;
    struct subsample *subsamples =
        (struct subsample *) (void *) (samples + counts.samples);
    uint16_t *per_sample =
        (uint16_t *) (void *) (subsamples + counts.subsamples);
    runs_decode(&body, samples, counts.samples, duration_set);
    runs_decode(&body, samples, counts.samples, offset_set);
    if (sizes_decode(&body, samples, counts.samples) != segment->size)
        return ERR_INVALID;
    if (counts.has_subsamples)
        subsamples_decode(&body, &counts, samples, subsamples, per_sample);
    if (body.is_short || body.rest.len != 0)
        return ERR_INVALID;
    *out = (struct segment_map){
        .samples = samples,
        .sample_count = counts.samples,
        .subsamples = counts.has_subsamples ? subsamples : NULL,
        .subsample_counts = counts.has_subsamples ? per_sample : NULL,
    };
    return 0;
}
