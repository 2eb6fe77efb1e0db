/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frame header of AV1 (§5.9 of the bitstream specification): what frame it
 * is, its size, the frames it refers to and its tiles. The rest is in
 * av1_tools.c.
 */
#include "media/crypt/av1_private.h"

#include "core/err.h"

#define TILE_WIDTH_MAX 4096u
#define TILE_AREA_MAX (4096u * 2304u)
#define TILES_PER_SIDE_MAX 64u

static uint32_t
least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* The smallest k with size << k >= target. */
static uint8_t
tile_log2(uint32_t size, uint32_t target)
{
    uint8_t k = 0;
    while ((uint64_t) size << k < target)
        k++;
    return k;
}

/* ---- size and references (§5.9) ---- */

static void
superres_parse(const struct av1_sequence *s, struct bits *b,
               struct av1_ref *size)
{
    size->width = size->upscaled_width;
    if (s->has_superres && bits_flag(b)) {
        const uint32_t denominator = bits_u(b, 3) + 9;
        size->width =
            (size->upscaled_width * 8 + denominator / 2) / denominator;
    }
}

static void
frame_size_parse(const struct av1_sequence *s, struct bits *b,
                 struct av1_frame *frame)
{
    struct av1_ref *size = &frame->self;
    size->upscaled_width = s->width;
    size->height = s->height;
    if (frame->is_size_given) {
        size->upscaled_width = bits_u(b, s->width_bits) + 1;
        size->height = bits_u(b, s->height_bits) + 1;
    }
    superres_parse(s, b, size);
    av1_optional_skip(b, 1, 32); /* render size */
}

static void
frame_size_refer(const struct av1_headers *headers, struct bits *b,
                 struct av1_frame *frame)
{
    for (unsigned i = 0; i < AV1_REFS_PER_FRAME; i++) {
        const struct av1_ref *ref = &headers->refs[frame->refs[i]];
        if (!bits_flag(b))
            continue;
        frame->self.upscaled_width = ref->upscaled_width;
        frame->self.height = ref->height;
        if (ref->height == 0) /* none is there */
            b->is_short = true;
        superres_parse(&headers->sequence, b, &frame->self);
        return;
    }
    frame_size_parse(&headers->sequence, b, frame);
}
/* Of the refs that nothing refers to yet the last (or first) one that is on
 * the side of the frame that `is_after` says (§7.8). */
static int
ref_nearest(const struct av1_headers *headers, const struct av1_frame *frame,
            uint32_t used, bool is_after, bool is_latest)
{
    int found = -1;
    int32_t best = 0;
    for (unsigned i = 0; i < AV1_REFS; i++) {
        const int32_t at = av1_order_distance(
            &headers->sequence, headers->refs[i].order, frame->self.order);
        if (used >> i & 1 || (at >= 0) != is_after)
            continue;
        if (found < 0 || (is_latest ? at >= best : at < best)) {
            found = (int) i;
            best = at;
        }
    }
    return found;
}

/* frame_refs_short_signaling (§7.8): LAST and GOLDEN are given. */
static void
references_derive(const struct av1_headers *headers, struct av1_frame *frame,
                  uint32_t last, uint32_t gold)
{
    enum { LAST, LAST2, LAST3, GOLDEN, BWDREF, ALTREF2, ALTREF };
    static const uint8_t forward[] = {LAST2, LAST3, BWDREF, ALTREF2, ALTREF};
    bool is_set[AV1_REFS_PER_FRAME] = {[LAST] = true, [GOLDEN] = true};
    uint32_t used = 1u << last | 1u << gold;
    frame->refs[LAST] = last;
    frame->refs[GOLDEN] = gold;
    for (unsigned i = 0; i < 3; i++) {
        static const uint8_t backward[] = {ALTREF, BWDREF, ALTREF2};
        const int ref = ref_nearest(headers, frame, used, true, i == 0);
        if (ref >= 0) {
            frame->refs[backward[i]] = (uint32_t) ref;
            is_set[backward[i]] = true;
            used |= 1u << ref;
        }
    }
    for (unsigned i = 0; i < sizeof forward; i++) {
        const int ref = is_set[forward[i]]
                            ? -1
                            : ref_nearest(headers, frame, used, false, true);
        if (ref >= 0) {
            frame->refs[forward[i]] = (uint32_t) ref;
            is_set[forward[i]] = true;
            used |= 1u << ref;
        }
    }
    uint32_t first = 0; /* the earliest of all */
    for (unsigned i = 1; i < AV1_REFS; i++)
        if (av1_order_distance(&headers->sequence, headers->refs[i].order,
                               headers->refs[first].order)
            < 0)
            first = i;
    for (unsigned i = 0; i < AV1_REFS_PER_FRAME; i++)
        if (!is_set[i])
            frame->refs[i] = first;
}

static void
references_parse(const struct av1_headers *headers, struct bits *b,
                 struct av1_frame *frame)
{
    const struct av1_sequence *s = &headers->sequence;
    const bool is_derived = s->has_order_hint && bits_flag(b);
    if (is_derived) {
        const uint32_t last = bits_u(b, 3);
        references_derive(headers, frame, last, bits_u(b, 3));
    }
    for (unsigned i = 0; i < AV1_REFS_PER_FRAME; i++) {
        if (!is_derived)
            frame->refs[i] = bits_u(b, 3);
        bits_skip(b, s->has_frame_ids ? s->delta_id_bits : 0);
    }
    if (frame->is_size_given && !frame->is_resilient)
        frame_size_refer(headers, b, frame);
    else
        frame_size_parse(s, b, frame);
    frame->has_precise_mv = !frame->has_integer_mv && bits_flag(b);
    if (!bits_flag(b))
        bits_skip(b, 2);
    (void) bits_flag(b);
    if (!frame->is_resilient && s->has_ref_mvs)
        (void) bits_flag(b);
}

/* ---- tiles (§5.9.15) ---- */

/* Tiles of one size: up to `most` halvings. Returns how many there are. */
static uint32_t
tiles_uniform_parse(struct bits *b, uint32_t length, uint8_t first,
                    uint8_t most, uint8_t *log2)
{
    *log2 = first;
    while (*log2 < most && bits_flag(b))
        ++*log2;
    const uint32_t size = (length + (1u << *log2) - 1) >> *log2;
    return (length + size - 1) / size;
}

static uint32_t
tiles_given_parse(struct bits *b, uint32_t length, uint32_t size_max,
                  uint32_t *widest)
{
    uint32_t count = 0;
    while (length > 0 && !b->is_short) {
        const uint32_t size = av1_bits_ns(b, least(length, size_max)) + 1;
        *widest = size > *widest ? size : *widest;
        length -= size;
        count++;
    }
    return count;
}

static void
tiles_parse(const struct av1_sequence *s, struct bits *b,
            const struct av1_ref *size, struct av1_tiles *out)
{
    const unsigned shift = s->has_superblocks_128 ? 7 : 6;
    const uint32_t round = (1u << shift) - 1;
    const uint32_t columns = (((size->width + 7) & ~7u) + round) >> shift;
    const uint32_t rows = (((size->height + 7) & ~7u) + round) >> shift;
    const uint32_t width_max = TILE_WIDTH_MAX >> shift;
    const uint8_t columns_least = tile_log2(width_max, columns);
    uint8_t all_least = tile_log2(TILE_AREA_MAX >> 2 * shift, rows * columns);
    if (all_least < columns_least)
        all_least = columns_least;
    if (bits_flag(b)) {
        out->columns = tiles_uniform_parse(
            b, columns, columns_least,
            tile_log2(1, least(columns, TILES_PER_SIDE_MAX)),
            &out->column_bits);
        out->rows = tiles_uniform_parse(
            b, rows,
            (uint8_t) (all_least > out->column_bits
                           ? all_least - out->column_bits
                           : 0),
            tile_log2(1, least(rows, TILES_PER_SIDE_MAX)), &out->row_bits);
    } else {
        uint32_t widest = 1, area = rows * columns, unused = 0;
        out->columns = tiles_given_parse(b, columns, width_max, &widest);
        out->column_bits = tile_log2(1, out->columns);
        if (all_least > 0)
            area >>= all_least + 1;
        out->rows = tiles_given_parse(
            b, rows, area / widest > 0 ? area / widest : 1, &unused);
        out->row_bits = tile_log2(1, out->rows);
    }
    if (out->columns > TILES_PER_SIDE_MAX || out->rows > TILES_PER_SIDE_MAX)
        b->is_short = true;
    if (out->column_bits > 0 || out->row_bits > 0) {
        bits_skip(b, out->column_bits + out->row_bits);
        out->size_bytes = (uint8_t) (bits_u(b, 2) + 1);
    }
}

/* ---- the whole ---- */

/* Of a frame that was there before. */
static void
shown_frame_parse(struct av1_headers *headers, struct bits *b)
{
    const struct av1_sequence *s = &headers->sequence;
    const struct av1_ref shown = headers->refs[bits_u(b, 3)];
    if (s->has_decoder_model && !s->has_equal_interval)
        bits_skip(b, s->presentation_time_bits);
    bits_skip(b, s->id_bits);
    if (shown.type == AV1_KEY)
        for (unsigned i = 0; i < AV1_REFS; i++)
            headers->refs[i] = shown;
}

static void
kind_parse(const struct av1_sequence *s, struct bits *b,
           struct av1_frame *frame)
{
    frame->self.type = (enum av1_frame_type) bits_u(b, 2);
    frame->is_shown = bits_flag(b);
    if (frame->is_shown && s->has_decoder_model && !s->has_equal_interval)
        bits_skip(b, s->presentation_time_bits);
    frame->is_showable =
        frame->is_shown ? frame->self.type != AV1_KEY : bits_flag(b);
    frame->is_resilient = frame->self.type == AV1_SWITCH
                          || (frame->self.type == AV1_KEY && frame->is_shown)
                          || bits_flag(b);
}

static void
removal_times_skip(const struct av1_sequence *s, struct bits *b,
                   const struct av1_frame *frame)
{
    if (!s->has_decoder_model || !bits_flag(b))
        return;
    for (unsigned i = 0; i < s->point_count; i++) {
        const uint32_t point = s->points[i];
        const bool is_in = point == 0
                           || (point >> frame->temporal_id & 1
                               && point >> (frame->spatial_id + 8) & 1);
        if (s->point_has_model[i] && is_in)
            bits_skip(b, s->removal_time_bits);
    }
}

static void
order_parse(struct av1_headers *headers, struct bits *b,
            struct av1_frame *frame)
{
    const struct av1_sequence *s = &headers->sequence;
    const bool is_start = frame->self.type == AV1_KEY && frame->is_shown;
    frame->is_size_given =
        frame->self.type == AV1_SWITCH || (!s->is_reduced && bits_flag(b));
    frame->self.order = bits_u(b, s->order_bits);
    frame->primary_ref = AV1_NO_PRIMARY_REF;
    if (!frame->is_intra && !frame->is_resilient)
        frame->primary_ref = bits_u(b, 3);
    removal_times_skip(s, b, frame);
    frame->refresh =
        frame->self.type == AV1_SWITCH || is_start ? 0xff : bits_u(b, 8);
    if ((!frame->is_intra || frame->refresh != 0xff) && frame->is_resilient
        && s->has_order_hint)
        for (unsigned i = 0; i < AV1_REFS; i++)
            headers->refs[i].order = bits_u(b, s->order_bits);
}

static void
tools_choose(const struct av1_sequence *s, struct bits *b,
             struct av1_frame *frame)
{
    frame->has_screen_content =
        s->screen_content == AV1_SELECT ? bits_flag(b) : s->screen_content != 0;
    if (frame->has_screen_content)
        frame->has_integer_mv =
            s->integer_mv == AV1_SELECT ? bits_flag(b) : s->integer_mv != 0;
}

static void
frame_begin_parse(struct av1_headers *headers, struct bits *b,
                  struct av1_frame *frame)
{
    const struct av1_sequence *s = &headers->sequence;
    frame->is_shown = frame->is_resilient = true;
    if (!s->is_reduced)
        kind_parse(s, b, frame);
    frame->is_intra =
        frame->self.type == AV1_KEY || frame->self.type == AV1_INTRA_ONLY;
    if (frame->self.type == AV1_KEY && frame->is_shown)
        memset(headers->refs, 0, sizeof headers->refs);
    const bool is_update_off = bits_flag(b);
    tools_choose(s, b, frame);
    bits_skip(b, s->id_bits);
    order_parse(headers, b, frame);
    if (frame->is_intra) {
        frame_size_parse(s, b, frame);
        frame->has_intra_copy =
            frame->has_screen_content
            && frame->self.upscaled_width == frame->self.width && bits_flag(b);
    } else {
        references_parse(headers, b, frame);
    }
    if (!s->is_reduced && !is_update_off)
        (void) bits_flag(b);
}

int
av1_frame_parse(struct av1_headers *headers, struct bits *b,
                uint8_t temporal_id, uint8_t spatial_id)
{
    struct av1_frame frame = {.temporal_id = temporal_id,
                              .spatial_id = spatial_id};
    if (!headers->sequence.is_set)
        return ERR_INVALID;
    if (!headers->sequence.is_reduced && bits_flag(b)) {
        shown_frame_parse(headers, b);
        return b->is_short ? ERR_TRUNCATED : 0;
    }
    frame_begin_parse(headers, b, &frame);
    if (b->is_short)
        return ERR_TRUNCATED;
    headers->tiles = (struct av1_tiles){0};
    tiles_parse(&headers->sequence, b, &frame.self, &headers->tiles);
    av1_tools_parse(headers, b, &frame);
    if (b->is_short)
        return ERR_TRUNCATED;
    for (unsigned i = 0; i < AV1_REFS; i++)
        if (frame.refresh >> i & 1)
            headers->refs[i] = frame.self;
    headers->has_frame = true;
    return 0;
}
