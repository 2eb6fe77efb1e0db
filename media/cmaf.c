/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Init segments and segment headers of CMAF (ISO/IEC 23000-19, boxes of
 * 14496-12). One track, one fragment a segment.
 * Decoding starts at 0, or where a track comes in that starts later than the
 * others; an edit list makes presentation start there too, past
 * the delay of B-frames and the priming of AAC (brand cmfc, 23000-19 §7.5.13).
 * The other form, negative composition offsets without an edit list (cmf2), is
 * not written: FFmpeg moves all pictures of a fragmented file by the largest
 * of them, and sound no longer meets its picture.
 */

#include "media/box_write.h"
#include "media/fragment.h"
#include "media/segment_map.h"

#include <assert.h>

#define BOX(s)                                         \
    ((uint32_t) (s)[0] << 24 | (uint32_t) (s)[1] << 16 \
     | (uint32_t) (s)[2] << 8 | (uint32_t) (s)[3])

/* ---- init segment ---- */

#define TRACK_ID 1

static void
zeros(struct buffer *out, size_t len)
{
    static const uint8_t nothing[16];
    assert(len <= sizeof nothing);
    buffer_append(out, nothing, len);
}

static const uint32_t unity_matrix[9] = {0x10000, 0, 0, 0,         0x10000,
                                         0,       0, 0, 0x40000000};

static void
matrix_write(const uint32_t matrix[9], struct buffer *out)
{
    for (size_t i = 0; i < 9; i++)
        buffer_append_be32(out, matrix[i]);
}

static void
ftyp_write(struct buffer *out)
{
    const size_t box = box_begin(out, "ftyp");
    buffer_append_text(out, "cmfc");
    buffer_append_be32(out, 0);
    buffer_append_text(out, "iso6cmfcdash");
    box_end(out, box);
}

/* The movie runs in the track's ticks, so that its durations are exact. */
static void
mvhd_write(const struct track_info *info, struct buffer *out)
{
    const size_t box = full_box_begin(out, "mvhd", 0, 0);
    zeros(out, 8);
    buffer_append_be32(out, info->timescale);
    buffer_append_be32(out, 0);       /* duration: in the fragments */
    buffer_append_be32(out, 0x10000); /* rate 1 */
    buffer_append_be16(out, 0x100);   /* volume 1 */
    zeros(out, 10);
    matrix_write(unity_matrix, out);
    zeros(out, 12);
    zeros(out, 12);
    buffer_append_be32(out, TRACK_ID + 1);
    box_end(out, box);
}

static void
tkhd_write(const struct track_info *info, struct buffer *out)
{
    const bool is_audio = info->kind == TRACK_AUDIO;
    const size_t box = full_box_begin(out, "tkhd", 0, 7); /* enabled */
    zeros(out, 8);
    buffer_append_be32(out, TRACK_ID);
    zeros(out, 16); /* reserved, duration, reserved */
    buffer_append_be16(out, 0);
    buffer_append_be16(out, is_audio ? 1 : 0); /* alternate group */
    buffer_append_be16(out, is_audio ? 0x100 : 0);
    buffer_append_be16(out, 0);
    const bool is_turned = info->matrix[8] != 0;
    const bool is_on_its_side = track_is_on_its_side(info->matrix);
    matrix_write(is_turned ? info->matrix : unity_matrix, out);
    /* before they are turned */
    buffer_append_be32(out, (is_on_its_side ? info->height : info->width)
                                << 16);
    buffer_append_be32(out, (is_on_its_side ? info->width : info->height)
                                << 16);
    box_end(out, box);
}

/* Duration 0 stands for all that the fragments bring (14496-12 §8.6.6). */
static void
edts_write(const struct track_info *info, struct buffer *out)
{
    if (info->media_time == 0)
        return;
    const size_t edts = box_begin(out, "edts");
    const bool is_wide = info->media_time > INT32_MAX;
    const size_t elst = full_box_begin(out, "elst", is_wide, 0);
    buffer_append_be32(out, 1);
    if (is_wide) {
        buffer_append_be64(out, 0);
        buffer_append_be64(out, (uint64_t) info->media_time);
    } else {
        buffer_append_be32(out, 0);
        buffer_append_be32(out, (uint32_t) info->media_time);
    }
    buffer_append_be32(out, 0x10000);
    box_end(out, elst);
    box_end(out, edts);
}

/* mdhd knows ISO 639-2 only. */
static uint16_t
language_encode(const char *language)
{
    const char *l = language;
    for (int i = 0; i < 3; i++) {
        if (l[i] < 'a' || l[i] > 'z')
            return language_encode("und");
    }
    if (l[3] != 0 && l[3] != '-')
        return language_encode("und");
    return (uint16_t) ((l[0] - 0x60) << 10 | (l[1] - 0x60) << 5
                       | (l[2] - 0x60));
}

static void
mdhd_write(const struct track_info *info, struct buffer *out)
{
    const size_t box = full_box_begin(out, "mdhd", 0, 0);
    zeros(out, 8);
    buffer_append_be32(out, info->timescale);
    buffer_append_be32(out, 0);
    buffer_append_be16(out, language_encode(info->language));
    buffer_append_be16(out, 0);
    box_end(out, box);
}

/* What mdhd has no letters for: "en", "pt-BR" (14496-12 §8.4.6). */
static void
elng_write(const struct track_info *info, struct buffer *out)
{
    if (language_encode(info->language) != language_encode("und")
        && strlen(info->language) == 3)
        return;
    if (strcmp(info->language, "und") == 0)
        return;
    const size_t box = full_box_begin(out, "elng", 0, 0);
    buffer_append_text(out, info->language);
    zeros(out, 1);
    box_end(out, box);
}

static void
hdlr_write(const struct track_info *info, struct buffer *out)
{
    const bool is_video = info->kind == TRACK_VIDEO;
    const size_t box = full_box_begin(out, "hdlr", 0, 0);
    buffer_append_be32(out, 0);
    buffer_append_text(out, is_video ? "vide" : "soun");
    zeros(out, 12);
    buffer_append_text(out, is_video ? "video" : "audio");
    zeros(out, 1);
    box_end(out, box);
}

static void
media_header_write(const struct track_info *info, struct buffer *out)
{
    const bool is_video = info->kind == TRACK_VIDEO;
    const size_t box =
        full_box_begin(out, is_video ? "vmhd" : "smhd", 0, is_video);
    zeros(out, is_video ? 8 : 4);
    box_end(out, box);
}

static void
dinf_write(struct buffer *out)
{
    const size_t dinf = box_begin(out, "dinf");
    const size_t dref = full_box_begin(out, "dref", 0, 0);
    buffer_append_be32(out, 1);
    box_end(out, full_box_begin(out, "url ", 0, 1)); /* in this file */
    box_end(out, dref);
    box_end(out, dinf);
}

static void
stbl_write(const struct track_info *info, struct buffer *out)
{
    const size_t stbl = box_begin(out, "stbl");
    const size_t stsd = full_box_begin(out, "stsd", 0, 0);
    buffer_append_be32(out, 1);
    buffer_append_bytes(out, info->sample_entry);
    box_end(out, stsd);
    static const char empty[][5] = {"stts", "stsc", "stco"};
    for (size_t i = 0; i < sizeof empty / sizeof empty[0]; i++) {
        const size_t box = full_box_begin(out, empty[i], 0, 0);
        buffer_append_be32(out, 0);
        box_end(out, box);
    }
    const size_t stsz = full_box_begin(out, "stsz", 0, 0);
    zeros(out, 8);
    box_end(out, stsz);
    box_end(out, stbl);
}

static void
mdia_write(const struct track_info *info, struct buffer *out)
{
    const size_t mdia = box_begin(out, "mdia");
    mdhd_write(info, out);
    elng_write(info, out);
    hdlr_write(info, out);
    const size_t minf = box_begin(out, "minf");
    media_header_write(info, out);
    dinf_write(out);
    stbl_write(info, out);
    box_end(out, minf);
    box_end(out, mdia);
}

static void
mvex_write(const struct track_info *info, struct buffer *out)
{
    const size_t mvex = box_begin(out, "mvex");
    const size_t mehd = full_box_begin(out, "mehd", 1, 0);
    buffer_append_be64(out, info->duration);
    box_end(out, mehd);
    const size_t trex = full_box_begin(out, "trex", 0, 0);
    buffer_append_be32(out, TRACK_ID);
    buffer_append_be32(out, 1); /* the sample entry; the rest is in tfhd */
    zeros(out, 12);
    box_end(out, trex);
    box_end(out, mvex);
}

void
cmaf_init_write(const struct track_info *info, struct buffer *out)
{
    ftyp_write(out);
    const size_t moov = box_begin(out, "moov");
    mvhd_write(info, out);
    const size_t trak = box_begin(out, "trak");
    tkhd_write(info, out);
    edts_write(info, out);
    mdia_write(info, out);
    box_end(out, trak);
    mvex_write(info, out);
    box_end(out, moov);
}

/* ---- segment header ---- */

#define STYP_SIZE 24
#define MFHD_SIZE 16
#define TFDT_SIZE 20

/* 14496-12 §8.8.3.1: sync, nothing it depends on; not sync, depends on
 * others. */
#define FLAGS_SYNC 0x02000000u
#define FLAGS_OTHER 0x01010000u

/* What differs between the samples and what does not, found in one pass; the
 * sizes of all boxes follow from it. */
struct shape {
    uint32_t tfhd_flags, trun_flags;
    uint32_t duration, size, first_flags, flags; /* defaults */
    uint32_t tfhd_size, trun_size, moof_size, mdat_header_size;
};

static uint32_t
sample_flags(const struct sample *s)
{
    return s->is_sync ? FLAGS_SYNC : FLAGS_OTHER;
}

/* The samples have offsets from the presentation; before the edit list they
 * are from the media. Unsigned, so that a strange file wraps and does no
 * harm. */
static uint32_t
composition_shift(const struct track_info *info)
{
    return info->kind == TRACK_VIDEO ? (uint32_t) info->media_time : 0;
}

/* Which fields the samples of the segment need each for itself. */
static uint32_t
shape_scan(const struct track_info *info, const struct segment_map *map,
           struct shape *shape)
{
    const struct sample *first = &map->samples[0];
    const struct sample *second = first + (map->sample_count > 1);
    shape->duration = first->duration;
    shape->size = first->size;
    shape->first_flags = sample_flags(first);
    shape->flags = sample_flags(second);
    const int32_t no_offset = (int32_t) -composition_shift(info);
    uint32_t trun =
        first->composition_offset != no_offset ? TRUN_COMPOSITION : 0;
    for (uint32_t i = 1; i < map->sample_count; i++) {
        const struct sample *s = &map->samples[i];
        trun |= s->duration != first->duration ? TRUN_DURATION : 0;
        trun |= s->size != first->size ? TRUN_SIZE : 0;
        trun |= s->is_sync != second->is_sync ? TRUN_FLAGS : 0;
        trun |= s->composition_offset != no_offset ? TRUN_COMPOSITION : 0;
    }
    if (!(trun & TRUN_FLAGS) && first->is_sync != second->is_sync)
        trun |= TRUN_FIRST_FLAGS;
    return trun | TRUN_DATA_OFFSET;
}

static uint32_t
bits_count(uint32_t v)
{
    return (uint32_t) __builtin_popcount(v);
}

static void
shape_of(const struct track_info *info, const struct segment *segment,
         const struct segment_map *map, struct shape *s)
{
    s->trun_flags = shape_scan(info, map, s);
    s->tfhd_flags = TFHD_BASE_IS_MOOF;
    if (!(s->trun_flags & TRUN_DURATION))
        s->tfhd_flags |= TFHD_DURATION;
    if (!(s->trun_flags & TRUN_SIZE))
        s->tfhd_flags |= TFHD_SIZE;
    if (!(s->trun_flags & TRUN_FLAGS))
        s->tfhd_flags |= TFHD_FLAGS;
    s->tfhd_size = 16 + 4 * bits_count(s->tfhd_flags & ~TFHD_BASE_IS_MOOF);
    s->trun_size = 16 + 4 * bits_count(s->trun_flags & 0xff)
                   + map->sample_count * 4 * bits_count(s->trun_flags & ~0xffu);
    s->moof_size = 8 + MFHD_SIZE + 8 + s->tfhd_size + TFDT_SIZE + s->trun_size;
    s->mdat_header_size = segment->size > UINT32_MAX - 8 ? 16 : 8;
}

static uint8_t *
put(uint8_t *p, uint32_t v)
{
    store_be32(p, v);
    return p + 4;
}

/* All up to the first record of trun; what it fills is small and known. */
static uint8_t *
fixed_write(const struct segment *segment, uint32_t sample_count,
            const struct shape *s, uint8_t *p)
{
    p = put(put(p, STYP_SIZE), BOX("styp"));
    p = put(put(p, BOX("msdh")), 0);
    p = put(put(p, BOX("msdh")), BOX("cmfs"));
    p = put(put(p, s->moof_size), BOX("moof"));
    p = put(put(p, MFHD_SIZE), BOX("mfhd"));
    p = put(put(p, 0), segment->number + 1);
    p = put(put(p, s->moof_size - 8 - MFHD_SIZE), BOX("traf"));
    p = put(put(p, s->tfhd_size), BOX("tfhd"));
    p = put(put(p, s->tfhd_flags), TRACK_ID);
    if (s->tfhd_flags & TFHD_DURATION)
        p = put(p, s->duration);
    if (s->tfhd_flags & TFHD_SIZE)
        p = put(p, s->size);
    if (s->tfhd_flags & TFHD_FLAGS)
        p = put(p, s->flags);
    p = put(put(p, TFDT_SIZE), BOX("tfdt"));
    p = put(p, 1u << 24);
    p = put(put(p, (uint32_t) (segment->decode_time >> 32)),
            (uint32_t) segment->decode_time);
    p = put(put(p, s->trun_size), BOX("trun"));
    p = put(put(p, 1u << 24 | s->trun_flags), sample_count);
    p = put(p, s->moof_size + s->mdat_header_size); /* data offset */
    if (s->trun_flags & TRUN_FIRST_FLAGS)
        p = put(p, s->first_flags);
    return p;
}

#define FIXED_SIZE_MAX 192
#define RECORDS_PER_APPEND 64

static void
records_write(const struct segment_map *map, uint32_t trun_flags,
              uint32_t shift, struct buffer *out)
{
    uint8_t block[RECORDS_PER_APPEND * 16];
    uint8_t *p = block;
    if ((trun_flags & ~0xffu) == 0)
        return;
    for (uint32_t i = 0; i < map->sample_count; i++) {
        const struct sample *s = &map->samples[i];
        if (trun_flags & TRUN_DURATION)
            p = put(p, s->duration);
        if (trun_flags & TRUN_SIZE)
            p = put(p, s->size);
        if (trun_flags & TRUN_FLAGS)
            p = put(p, sample_flags(s));
        if (trun_flags & TRUN_COMPOSITION)
            p = put(p, (uint32_t) s->composition_offset + shift);
        if (i % RECORDS_PER_APPEND == RECORDS_PER_APPEND - 1) {
            buffer_append(out, block, (size_t) (p - block));
            p = block;
        }
    }
    buffer_append(out, block, (size_t) (p - block));
}

uint32_t
cmaf_segment_header_size(const struct track_info *info,
                         const struct segment *segment,
                         const struct segment_map *map)
{
    struct shape shape;
    shape_of(info, segment, map, &shape);
    return STYP_SIZE + shape.moof_size + shape.mdat_header_size;
}

void
cmaf_segment_header_write(const struct track_info *info,
                          const struct segment *segment,
                          const struct segment_map *map, struct buffer *out)
{
    struct shape shape;
    uint8_t fixed[FIXED_SIZE_MAX];
    const size_t start = out->len;
    shape_of(info, segment, map, &shape);
    const uint8_t *end = fixed_write(segment, map->sample_count, &shape, fixed);
    assert(end <= fixed + sizeof fixed);
    buffer_append(out, fixed, (size_t) (end - fixed));
    records_write(map, shape.trun_flags, composition_shift(info), out);
    uint8_t *p = fixed;
    if (shape.mdat_header_size == 16) {
        p = put(put(p, 1), BOX("mdat"));
        p = put(put(p, (uint32_t) (((uint64_t) segment->size + 16) >> 32)),
                segment->size + 16);
    } else {
        p = put(put(p, segment->size + 8), BOX("mdat"));
    }
    buffer_append(out, fixed, (size_t) (p - fixed));
    assert(out->err != 0
           || out->len - start
                  == STYP_SIZE + (size_t) shape.moof_size
                         + shape.mdat_header_size);
}
