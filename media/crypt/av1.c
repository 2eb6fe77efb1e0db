/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AV1 (the bitstream specification, §5.5 to §5.11) in ISO BMFF: frame headers
 * are read to their end, and of tile groups only the tiles are encrypted. A
 * frame header's length depends on the sequence header and on the sizes, the
 * order and the segmentation of the frames it refers to, which are kept.
 */
#include "media/crypt/subsample_codec.h"

#include "core/err.h"
#include "media/cursor.h"

#define REFS 8u
#define REFS_PER_FRAME 7u
#define SEGMENTS 8u
#define NO_PRIMARY_REF 7u
#define SELECT 2u /* of a tool: each frame says */
#define TILE_WIDTH_MAX 4096u
#define TILE_AREA_MAX (4096u * 2304u)
#define TILES_PER_SIDE_MAX 64u
#define OPERATING_POINTS_MAX 32u

enum obu_type {
    OBU_SEQUENCE_HEADER = 1,
    OBU_FRAME_HEADER = 3,
    OBU_TILE_GROUP = 4,
    OBU_FRAME = 6,
    OBU_TILE_LIST = 8
};

enum frame_type { FRAME_KEY, FRAME_INTER, FRAME_INTRA_ONLY, FRAME_SWITCH };

struct sequence {
    bool is_set;
    bool is_reduced; /* reduced_still_picture_header */
    bool has_decoder_model, has_equal_interval, has_frame_ids;
    bool has_superblocks_128, has_warped_motion, has_order_hint, has_ref_mvs;
    bool has_superres, has_cdef, has_restoration, has_film_grain;
    bool is_mono, has_subsampling_x, has_subsampling_y, has_uv_delta;
    uint8_t removal_time_bits, presentation_time_bits;
    uint8_t screen_content, integer_mv;
    uint8_t width_bits, height_bits, id_bits, delta_id_bits, order_bits;
    uint8_t point_count;
    bool point_has_model[OPERATING_POINTS_MAX];
    uint16_t points[OPERATING_POINTS_MAX]; /* operating_point_idc */
    uint32_t width, height;
};

/* What later frames need to know of one. */
struct ref {
    enum frame_type type;
    uint32_t upscaled_width, width, height, order;
    bool has_segment_q[SEGMENTS];
    int16_t segment_q[SEGMENTS];
};

struct tiles {
    uint32_t columns, rows;
    uint8_t column_bits, row_bits;
    uint8_t size_bytes;
};

struct av1_reader {
    struct subsample_reader super;
    struct sequence sequence;
    struct ref refs[REFS];
    bool has_frame; /* its header is read, tiles are to come */
    struct tiles tiles;
};

struct frame {
    struct ref self;
    bool is_shown, is_showable, is_resilient, is_intra, is_size_given;
    bool has_screen_content, has_integer_mv, has_precise_mv;
    bool has_intra_copy, has_reference_select;
    bool has_segmentation, is_lossless;
    uint8_t temporal_id, spatial_id;
    uint32_t primary_ref, refresh;
    uint32_t refs[REFS_PER_FRAME];
    uint32_t base_q;
    bool has_q_deltas; /* any of DeltaQ* */
};

/* ---- numbers (§4.10) ---- */

static int32_t
bits_su(struct bits *b, unsigned count)
{
    const uint32_t v = bits_u(b, count), sign = 1u << (count - 1);
    return v & sign ? (int32_t) v - (int32_t) (2 * sign) : (int32_t) v;
}

/* 0 to count - 1 */
static uint32_t
bits_ns(struct bits *b, uint32_t count)
{
    const unsigned width = bits_for((uint64_t) count + 1);
    const uint32_t short_count = (1u << width) - count;
    const uint32_t v = bits_u(b, width - 1);
    return v < short_count ? v : (v << 1) - short_count + bits_flag(b);
}

static void
bits_uvlc_skip(struct bits *b)
{
    unsigned zeros = 0;
    while (!b->is_short && !bits_flag(b))
        zeros++;
    bits_skip(b, zeros < 32 ? zeros : 0);
}

/* A list of so many, each behind a flag. */
static void
optional_skip(struct bits *b, unsigned count, unsigned size)
{
    for (unsigned i = 0; i < count; i++)
        bits_skip(b, bits_flag(b) ? size : 0);
}

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

/* ---- sequence header (§5.5) ---- */

static void
operating_points_parse(struct bits *b, struct sequence *s)
{
    unsigned delay_bits = 0;
    if (bits_flag(b)) {
        bits_skip(b, 64);
        s->has_equal_interval = bits_flag(b);
        if (s->has_equal_interval)
            bits_uvlc_skip(b);
        s->has_decoder_model = bits_flag(b);
        if (s->has_decoder_model) {
            delay_bits = bits_u(b, 5) + 1;
            bits_skip(b, 32);
            s->removal_time_bits = (uint8_t) (bits_u(b, 5) + 1);
            s->presentation_time_bits = (uint8_t) (bits_u(b, 5) + 1);
        }
    }
    const bool has_delay = bits_flag(b);
    s->point_count = (uint8_t) (bits_u(b, 5) + 1);
    for (unsigned i = 0; i < s->point_count; i++) {
        s->points[i] = (uint16_t) bits_u(b, 12);
        if (bits_u(b, 5) > 7)
            (void) bits_flag(b);
        s->point_has_model[i] = s->has_decoder_model && bits_flag(b);
        if (s->point_has_model[i])
            bits_skip(b, 2 * delay_bits + 1);
        if (has_delay)
            optional_skip(b, 1, 4);
    }
}

static void
tools_parse(struct bits *b, struct sequence *s)
{
    bits_skip(b, 2);
    s->has_warped_motion = bits_flag(b);
    (void) bits_flag(b);
    s->has_order_hint = bits_flag(b);
    if (s->has_order_hint) {
        (void) bits_flag(b);
        s->has_ref_mvs = bits_flag(b);
    }
    s->screen_content = bits_flag(b) ? SELECT : (uint8_t) bits_flag(b);
    s->integer_mv = SELECT;
    if (s->screen_content > 0 && !bits_flag(b))
        s->integer_mv = (uint8_t) bits_flag(b);
    if (s->has_order_hint)
        s->order_bits = (uint8_t) (bits_u(b, 3) + 1);
}

static void
color_parse(struct bits *b, struct sequence *s, uint32_t profile)
{
    const bool is_deep = bits_flag(b);
    const bool is_twelve = profile == 2 && is_deep && bits_flag(b);
    uint32_t description = 0;
    s->is_mono = profile != 1 && bits_flag(b);
    if (bits_flag(b))
        description = bits_u(b, 24);
    s->has_subsampling_x = s->has_subsampling_y = s->is_mono;
    if (s->is_mono) {
        (void) bits_flag(b);
        return;
    }
    if (description != 0x010d00) { /* sRGB */
        (void) bits_flag(b);
        s->has_subsampling_x = profile != 1;
        s->has_subsampling_y = profile == 0;
        if (is_twelve) {
            s->has_subsampling_x = bits_flag(b);
            s->has_subsampling_y = s->has_subsampling_x && bits_flag(b);
        }
        if (s->has_subsampling_x && s->has_subsampling_y)
            bits_skip(b, 2);
    }
    s->has_uv_delta = bits_flag(b);
}

static int
sequence_parse(struct bits *b, struct sequence *out)
{
    struct sequence s = {.is_set = true, .screen_content = SELECT};
    const uint32_t profile = bits_u(b, 3);
    (void) bits_flag(b);
    s.is_reduced = bits_flag(b);
    s.integer_mv = SELECT;
    if (s.is_reduced)
        bits_skip(b, 5);
    else
        operating_points_parse(b, &s);
    s.width_bits = (uint8_t) (bits_u(b, 4) + 1);
    s.height_bits = (uint8_t) (bits_u(b, 4) + 1);
    s.width = bits_u(b, s.width_bits) + 1;
    s.height = bits_u(b, s.height_bits) + 1;
    s.has_frame_ids = !s.is_reduced && bits_flag(b);
    if (s.has_frame_ids) {
        s.delta_id_bits = (uint8_t) (bits_u(b, 4) + 2);
        s.id_bits = (uint8_t) (bits_u(b, 3) + 1 + s.delta_id_bits);
    }
    s.has_superblocks_128 = bits_flag(b);
    bits_skip(b, 2);
    if (!s.is_reduced)
        tools_parse(b, &s);
    s.has_superres = bits_flag(b);
    s.has_cdef = bits_flag(b);
    s.has_restoration = bits_flag(b);
    color_parse(b, &s, profile);
    s.has_film_grain = bits_flag(b);
    if (b->is_short || profile > 2)
        return ERR_INVALID;
    *out = s;
    return 0;
}

/* ---- frame header: size and references (§5.9) ---- */

static void
superres_parse(const struct sequence *s, struct bits *b, struct ref *size)
{
    size->width = size->upscaled_width;
    if (s->has_superres && bits_flag(b)) {
        const uint32_t denominator = bits_u(b, 3) + 9;
        size->width =
            (size->upscaled_width * 8 + denominator / 2) / denominator;
    }
}

static void
frame_size_parse(const struct sequence *s, struct bits *b, struct frame *frame)
{
    struct ref *size = &frame->self;
    size->upscaled_width = s->width;
    size->height = s->height;
    if (frame->is_size_given) {
        size->upscaled_width = bits_u(b, s->width_bits) + 1;
        size->height = bits_u(b, s->height_bits) + 1;
    }
    superres_parse(s, b, size);
    optional_skip(b, 1, 32); /* render size */
}

static void
frame_size_refer(const struct av1_reader *reader, struct bits *b,
                 struct frame *frame)
{
    for (unsigned i = 0; i < REFS_PER_FRAME; i++) {
        const struct ref *ref = &reader->refs[frame->refs[i]];
        if (!bits_flag(b))
            continue;
        frame->self.upscaled_width = ref->upscaled_width;
        frame->self.height = ref->height;
        if (ref->height == 0) /* none is there */
            b->is_short = true;
        superres_parse(&reader->sequence, b, &frame->self);
        return;
    }
    frame_size_parse(&reader->sequence, b, frame);
}

static int32_t
order_distance(const struct sequence *s, uint32_t a, uint32_t b)
{
    if (!s->has_order_hint)
        return 0;
    const int32_t diff = (int32_t) (a - b);
    const int32_t half = 1 << (s->order_bits - 1);
    return (diff & (half - 1)) - (diff & half);
}

/* Of the refs that nothing refers to yet the last (or first) one that is on
 * the side of the frame that `is_after` says (§7.8). */
static int
ref_nearest(const struct av1_reader *reader, const struct frame *frame,
            uint32_t used, bool is_after, bool is_latest)
{
    int found = -1;
    int32_t best = 0;
    for (unsigned i = 0; i < REFS; i++) {
        const int32_t at = order_distance(
            &reader->sequence, reader->refs[i].order, frame->self.order);
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
references_derive(const struct av1_reader *reader, struct frame *frame,
                  uint32_t last, uint32_t gold)
{
    enum { LAST, LAST2, LAST3, GOLDEN, BWDREF, ALTREF2, ALTREF };
    static const uint8_t forward[] = {LAST2, LAST3, BWDREF, ALTREF2, ALTREF};
    bool is_set[REFS_PER_FRAME] = {[LAST] = true, [GOLDEN] = true};
    uint32_t used = 1u << last | 1u << gold;
    frame->refs[LAST] = last;
    frame->refs[GOLDEN] = gold;
    for (unsigned i = 0; i < 3; i++) {
        static const uint8_t backward[] = {ALTREF, BWDREF, ALTREF2};
        const int ref = ref_nearest(reader, frame, used, true, i == 0);
        if (ref >= 0) {
            frame->refs[backward[i]] = (uint32_t) ref;
            is_set[backward[i]] = true;
            used |= 1u << ref;
        }
    }
    for (unsigned i = 0; i < sizeof forward; i++) {
        const int ref = is_set[forward[i]]
                            ? -1
                            : ref_nearest(reader, frame, used, false, true);
        if (ref >= 0) {
            frame->refs[forward[i]] = (uint32_t) ref;
            is_set[forward[i]] = true;
            used |= 1u << ref;
        }
    }
    uint32_t first = 0; /* the earliest of all */
    for (unsigned i = 1; i < REFS; i++)
        if (order_distance(&reader->sequence, reader->refs[i].order,
                           reader->refs[first].order)
            < 0)
            first = i;
    for (unsigned i = 0; i < REFS_PER_FRAME; i++)
        if (!is_set[i])
            frame->refs[i] = first;
}

static void
references_parse(const struct av1_reader *reader, struct bits *b,
                 struct frame *frame)
{
    const struct sequence *s = &reader->sequence;
    const bool is_derived = s->has_order_hint && bits_flag(b);
    if (is_derived) {
        const uint32_t last = bits_u(b, 3);
        references_derive(reader, frame, last, bits_u(b, 3));
    }
    for (unsigned i = 0; i < REFS_PER_FRAME; i++) {
        if (!is_derived)
            frame->refs[i] = bits_u(b, 3);
        bits_skip(b, s->has_frame_ids ? s->delta_id_bits : 0);
    }
    if (frame->is_size_given && !frame->is_resilient)
        frame_size_refer(reader, b, frame);
    else
        frame_size_parse(s, b, frame);
    frame->has_precise_mv = !frame->has_integer_mv && bits_flag(b);
    if (!bits_flag(b))
        bits_skip(b, 2);
    (void) bits_flag(b);
    if (!frame->is_resilient && s->has_ref_mvs)
        (void) bits_flag(b);
}

/* ---- frame header: tiles (§5.9.15) ---- */

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
        const uint32_t size = bits_ns(b, least(length, size_max)) + 1;
        *widest = size > *widest ? size : *widest;
        length -= size;
        count++;
    }
    return count;
}

static void
tiles_parse(const struct sequence *s, struct bits *b, const struct ref *size,
            struct tiles *out)
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

/* ---- frame header: quantizers and filters (§5.9.12 to §5.9.24) ---- */

static bool
delta_q_parse(struct bits *b)
{
    return bits_flag(b) && bits_su(b, 7) != 0;
}

static void
quantizers_parse(const struct sequence *s, struct bits *b, struct frame *frame)
{
    bool is_split = false;
    frame->base_q = bits_u(b, 8);
    frame->has_q_deltas = delta_q_parse(b);
    if (!s->is_mono) {
        is_split = s->has_uv_delta && bits_flag(b);
        for (int i = is_split ? 4 : 2; i > 0; i--)
            frame->has_q_deltas |= delta_q_parse(b);
    }
    if (bits_flag(b))
        bits_skip(b, s->has_uv_delta ? 12 : 8);
}

static void
segment_features_parse(struct bits *b, struct ref *self)
{
    static const uint8_t feature_bits[] = {9, 7, 7, 7, 7, 3, 0, 0};
    for (unsigned i = 0; i < SEGMENTS; i++) {
        self->has_segment_q[i] = bits_flag(b);
        self->segment_q[i] =
            self->has_segment_q[i] ? (int16_t) bits_su(b, feature_bits[0]) : 0;
        for (unsigned j = 1; j < sizeof feature_bits; j++)
            optional_skip(b, 1, feature_bits[j]);
    }
}

static void
segmentation_parse(const struct av1_reader *reader, struct bits *b,
                   struct frame *frame)
{
    struct ref *self = &frame->self;
    bool has_update = true;
    frame->has_segmentation = bits_flag(b);
    memset(self->has_segment_q, 0, sizeof self->has_segment_q);
    if (!frame->has_segmentation)
        return;
    if (frame->primary_ref != NO_PRIMARY_REF) {
        if (bits_flag(b))
            (void) bits_flag(b);
        has_update = bits_flag(b);
    }
    if (has_update) {
        segment_features_parse(b, self);
    } else {
        const struct ref *ref = &reader->refs[frame->refs[frame->primary_ref]];
        memcpy(self->has_segment_q, ref->has_segment_q,
               sizeof self->has_segment_q);
        memcpy(self->segment_q, ref->segment_q, sizeof self->segment_q);
    }
}

/* CodedLossless */
static bool
is_lossless(const struct frame *frame)
{
    if (frame->has_q_deltas)
        return false;
    for (unsigned i = 0; i < SEGMENTS; i++) {
        int32_t q = (int32_t) frame->base_q;
        if (frame->has_segmentation && frame->self.has_segment_q[i])
            q += frame->self.segment_q[i];
        if (q > 0)
            return false;
    }
    return true;
}

static void
deltas_skip(struct bits *b, const struct frame *frame)
{
    if (frame->base_q == 0 || !bits_flag(b))
        return;
    bits_skip(b, 2);
    if (!frame->has_intra_copy && bits_flag(b))
        bits_skip(b, 3);
}

static void
loop_filter_skip(const struct sequence *s, struct bits *b)
{
    const uint32_t levels = bits_u(b, 12);
    if (!s->is_mono && levels != 0)
        bits_skip(b, 12);
    bits_skip(b, 3);
    if (bits_flag(b) && bits_flag(b))
        optional_skip(b, 10, 7);
}

static void
cdef_skip(const struct sequence *s, struct bits *b)
{
    bits_skip(b, 2);
    const uint32_t strengths = 1u << bits_u(b, 2);
    bits_skip(b, strengths * (s->is_mono ? 6 : 12));
}

static void
restoration_skip(const struct sequence *s, struct bits *b)
{
    const uint32_t luma = bits_u(b, 2);
    const uint32_t chroma = s->is_mono ? 0 : bits_u(b, 4);
    if (luma == 0 && chroma == 0)
        return;
    if (bits_flag(b) && !s->has_superblocks_128)
        (void) bits_flag(b);
    if (chroma != 0 && s->has_subsampling_x && s->has_subsampling_y)
        (void) bits_flag(b);
}

static void
filters_skip(const struct sequence *s, struct bits *b,
             const struct frame *frame)
{
    const bool is_all_lossless =
        frame->is_lossless && frame->self.width == frame->self.upscaled_width;
    if (!frame->is_lossless && !frame->has_intra_copy) {
        loop_filter_skip(s, b);
        if (s->has_cdef)
            cdef_skip(s, b);
    }
    if (!is_all_lossless && !frame->has_intra_copy && s->has_restoration)
        restoration_skip(s, b);
}

/* ---- frame header: motion and grain (§5.9.22 to §5.9.30) ---- */

/* Is skip_mode_present there? */
static bool
has_skip_mode(const struct av1_reader *reader, const struct frame *frame)
{
    const struct sequence *s = &reader->sequence;
    int before = -1, after = -1;
    uint32_t latest = 0;
    if (frame->is_intra || !frame->has_reference_select || !s->has_order_hint)
        return false;
    for (int i = 0; i < (int) REFS_PER_FRAME; i++) {
        const uint32_t order = reader->refs[frame->refs[i]].order;
        const int32_t at = order_distance(s, order, frame->self.order);
        if (at < 0 && (before < 0 || order_distance(s, order, latest) > 0)) {
            before = i;
            latest = order;
        }
        if (at > 0)
            after = i;
    }
    if (before < 0 || after >= 0)
        return before >= 0;
    for (unsigned i = 0; i < REFS_PER_FRAME; i++)
        if (order_distance(s, reader->refs[frame->refs[i]].order, latest) < 0)
            return true;
    return false;
}

static void
motion_parameter_skip(struct bits *b, unsigned range_bits)
{
    const uint32_t count = (2u << range_bits) + 1;
    uint32_t start = 0;
    for (unsigned i = 0;; i++) {
        const unsigned width = i == 0 ? 3 : 2 + i;
        if (count <= start + 3 * (1u << width)) {
            (void) bits_ns(b, count - start);
            return;
        }
        if (!bits_flag(b)) {
            bits_skip(b, width);
            return;
        }
        start += 1u << width;
    }
}

static void
global_motion_skip(struct bits *b, const struct frame *frame)
{
    for (unsigned i = 0; i < REFS_PER_FRAME; i++) {
        if (!bits_flag(b))
            continue;
        const bool is_rotation = bits_flag(b);
        const bool is_translation = !is_rotation && bits_flag(b);
        unsigned bits = 12;
        if (!is_translation)
            for (int n = is_rotation ? 2 : 4; n > 0; n--)
                motion_parameter_skip(b, 12);
        else
            bits = frame->has_precise_mv ? 9 : 8;
        motion_parameter_skip(b, bits);
        motion_parameter_skip(b, bits);
    }
}

static void
film_grain_skip(const struct sequence *s, struct bits *b,
                const struct frame *frame)
{
    if (!bits_flag(b))
        return;
    bits_skip(b, 16);
    if (frame->self.type == FRAME_INTER && !bits_flag(b)) {
        bits_skip(b, 3);
        return;
    }
    const uint32_t luma = bits_u(b, 4);
    bits_skip(b, 16 * luma);
    const bool is_from_luma = !s->is_mono && bits_flag(b);
    uint32_t points[2] = {0, 0};
    if (!s->is_mono && !is_from_luma
        && !(s->has_subsampling_x && s->has_subsampling_y && luma == 0))
        for (int i = 0; i < 2; i++) {
            points[i] = bits_u(b, 4);
            bits_skip(b, 16 * points[i]);
        }
    bits_skip(b, 2);
    const uint32_t lag = bits_u(b, 2), around = 2 * lag * (lag + 1);
    if (luma > 0)
        bits_skip(b, 8 * around);
    for (int i = 0; i < 2; i++)
        if (is_from_luma || points[i] > 0)
            bits_skip(b, 8 * (around + (luma > 0)));
    bits_skip(b, 4);
    for (int i = 0; i < 2; i++)
        bits_skip(b, points[i] > 0 ? 25 : 0);
    bits_skip(b, 2);
}

/* ---- frame header ---- */

/* Of a frame that was there before. */
static void
shown_frame_parse(struct av1_reader *reader, struct bits *b)
{
    const struct sequence *s = &reader->sequence;
    const struct ref shown = reader->refs[bits_u(b, 3)];
    if (s->has_decoder_model && !s->has_equal_interval)
        bits_skip(b, s->presentation_time_bits);
    bits_skip(b, s->id_bits);
    if (shown.type == FRAME_KEY)
        for (unsigned i = 0; i < REFS; i++)
            reader->refs[i] = shown;
}

static void
kind_parse(const struct sequence *s, struct bits *b, struct frame *frame)
{
    frame->self.type = (enum frame_type) bits_u(b, 2);
    frame->is_shown = bits_flag(b);
    if (frame->is_shown && s->has_decoder_model && !s->has_equal_interval)
        bits_skip(b, s->presentation_time_bits);
    frame->is_showable =
        frame->is_shown ? frame->self.type != FRAME_KEY : bits_flag(b);
    frame->is_resilient = frame->self.type == FRAME_SWITCH
                          || (frame->self.type == FRAME_KEY && frame->is_shown)
                          || bits_flag(b);
}

static void
removal_times_skip(const struct sequence *s, struct bits *b,
                   const struct frame *frame)
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
order_parse(struct av1_reader *reader, struct bits *b, struct frame *frame)
{
    const struct sequence *s = &reader->sequence;
    const bool is_start = frame->self.type == FRAME_KEY && frame->is_shown;
    frame->is_size_given =
        frame->self.type == FRAME_SWITCH || (!s->is_reduced && bits_flag(b));
    frame->self.order = bits_u(b, s->order_bits);
    frame->primary_ref = NO_PRIMARY_REF;
    if (!frame->is_intra && !frame->is_resilient)
        frame->primary_ref = bits_u(b, 3);
    removal_times_skip(s, b, frame);
    frame->refresh =
        frame->self.type == FRAME_SWITCH || is_start ? 0xff : bits_u(b, 8);
    if ((!frame->is_intra || frame->refresh != 0xff) && frame->is_resilient
        && s->has_order_hint)
        for (unsigned i = 0; i < REFS; i++)
            reader->refs[i].order = bits_u(b, s->order_bits);
}

static void
tools_choose(const struct sequence *s, struct bits *b, struct frame *frame)
{
    frame->has_screen_content =
        s->screen_content == SELECT ? bits_flag(b) : s->screen_content != 0;
    if (frame->has_screen_content)
        frame->has_integer_mv =
            s->integer_mv == SELECT ? bits_flag(b) : s->integer_mv != 0;
}

static void
frame_begin_parse(struct av1_reader *reader, struct bits *b,
                  struct frame *frame)
{
    const struct sequence *s = &reader->sequence;
    frame->is_shown = frame->is_resilient = true;
    if (!s->is_reduced)
        kind_parse(s, b, frame);
    frame->is_intra =
        frame->self.type == FRAME_KEY || frame->self.type == FRAME_INTRA_ONLY;
    if (frame->self.type == FRAME_KEY && frame->is_shown)
        memset(reader->refs, 0, sizeof reader->refs);
    const bool is_update_off = bits_flag(b);
    tools_choose(s, b, frame);
    bits_skip(b, s->id_bits);
    order_parse(reader, b, frame);
    if (frame->is_intra) {
        frame_size_parse(s, b, frame);
        frame->has_intra_copy =
            frame->has_screen_content
            && frame->self.upscaled_width == frame->self.width && bits_flag(b);
    } else {
        references_parse(reader, b, frame);
    }
    if (!s->is_reduced && !is_update_off)
        (void) bits_flag(b);
}

static void
frame_end_parse(struct av1_reader *reader, struct bits *b, struct frame *frame)
{
    const struct sequence *s = &reader->sequence;
    quantizers_parse(s, b, frame);
    segmentation_parse(reader, b, frame);
    deltas_skip(b, frame);
    frame->is_lossless = is_lossless(frame);
    filters_skip(s, b, frame);
    if (!frame->is_lossless)
        (void) bits_flag(b);
    frame->has_reference_select = !frame->is_intra && bits_flag(b);
    if (has_skip_mode(reader, frame))
        (void) bits_flag(b);
    if (!frame->is_intra && !frame->is_resilient && s->has_warped_motion)
        (void) bits_flag(b);
    (void) bits_flag(b);
    if (!frame->is_intra)
        global_motion_skip(b, frame);
    if (s->has_film_grain && (frame->is_shown || frame->is_showable))
        film_grain_skip(s, b, frame);
}

/* `b` is behind the OBU's header. */
static int
frame_header_parse(struct av1_reader *reader, struct bits *b,
                   struct frame *frame)
{
    if (!reader->sequence.is_set)
        return ERR_INVALID;
    if (!reader->sequence.is_reduced && bits_flag(b)) {
        shown_frame_parse(reader, b);
        return b->is_short ? ERR_TRUNCATED : 0;
    }
    frame_begin_parse(reader, b, frame);
    if (b->is_short)
        return ERR_TRUNCATED;
    reader->tiles = (struct tiles){0};
    tiles_parse(&reader->sequence, b, &frame->self, &reader->tiles);
    frame_end_parse(reader, b, frame);
    if (b->is_short)
        return ERR_TRUNCATED;
    for (unsigned i = 0; i < REFS; i++)
        if (frame->refresh >> i & 1)
            reader->refs[i] = frame->self;
    reader->has_frame = true;
    return 0;
}

/* ---- tiles (§5.11.1) ---- */

/* `head`: bytes of the OBU in front of the group. */
static int
tile_group_read(struct av1_reader *reader, size_t head, struct bytes group,
                struct subsample_list *out)
{
    const struct tiles *tiles = &reader->tiles;
    const uint32_t count = tiles->columns * tiles->rows;
    struct bits b = bits_of(group, false);
    uint32_t first = 0, last = count - 1;
    if (!reader->has_frame || count == 0)
        return ERR_INVALID;
    if (count > 1 && bits_flag(&b)) {
        first = bits_u(&b, tiles->column_bits + tiles->row_bits);
        last = bits_u(&b, tiles->column_bits + tiles->row_bits);
    }
    if (b.is_short || first > last || last >= count)
        return ERR_INVALID;
    reader->has_frame = last + 1 < count;
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
obu_read(struct av1_reader *reader, const struct obu *obu,
         struct subsample_list *out)
{
    const struct bytes body =
        bytes_of(obu->bytes.ptr + obu->head, obu->bytes.len - obu->head);
    struct frame frame = {.temporal_id = obu->temporal_id,
                          .spatial_id = obu->spatial_id};
    struct bits b = bits_of(body, false);
    int err = 0;
    switch (obu->type) {
    case OBU_SEQUENCE_HEADER:
        err = sequence_parse(&b, &reader->sequence);
        break;
    case OBU_FRAME_HEADER:
        if (!reader->has_frame) /* else a copy */
            err = frame_header_parse(reader, &b, &frame);
        break;
    case OBU_FRAME:
        reader->has_frame = false;
        err = frame_header_parse(reader, &b, &frame);
        return err != 0
                   ? err
                   : tile_group_read(
                       reader, obu->head + b.used,
                       bytes_of(body.ptr + b.used, body.len - b.used), out);
    case OBU_TILE_GROUP:
        return tile_group_read(reader, obu->head, body, out);
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
    reader->has_frame = false;
    while (sample.len > 0) {
        struct obu obu;
        int err = obu_take(&sample, &obu);
        if (err == 0)
            err = obu_read(reader, &obu, out);
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
            err = sequence_parse(&b, &reader->sequence);
        }
        if (err != 0) {
            free(reader);
            return err;
        }
    }
    *out = &reader->super;
    return 0;
}
