/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of AV1's frame header (§5.9 of the bitstream specification): of all
 * of it only the length matters, and the segments' quantizers to later frames.
 */
#include "media/crypt/av1_private.h"

static int32_t
bits_su(struct bits *b, unsigned count)
{
    const uint32_t v = bits_u(b, count), sign = 1u << (count - 1);
    return v & sign ? (int32_t) v - (int32_t) (2 * sign) : (int32_t) v;
}

/* ---- quantizers and filters (§5.9.12 to §5.9.24) ---- */

static bool
delta_q_parse(struct bits *b)
{
    return bits_flag(b) && bits_su(b, 7) != 0;
}

static void
quantizers_parse(const struct av1_sequence *s, struct bits *b,
                 struct av1_frame *frame)
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
segment_features_parse(struct bits *b, struct av1_ref *self)
{
    static const uint8_t feature_bits[] = {9, 7, 7, 7, 7, 3, 0, 0};
    for (unsigned i = 0; i < AV1_SEGMENTS; i++) {
        self->has_segment_q[i] = bits_flag(b);
        self->segment_q[i] =
            self->has_segment_q[i] ? (int16_t) bits_su(b, feature_bits[0]) : 0;
        for (unsigned j = 1; j < sizeof feature_bits; j++)
            av1_optional_skip(b, 1, feature_bits[j]);
    }
}

static void
segmentation_parse(const struct av1_headers *headers, struct bits *b,
                   struct av1_frame *frame)
{
    struct av1_ref *self = &frame->self;
    bool has_update = true;
    frame->has_segmentation = bits_flag(b);
    memset(self->has_segment_q, 0, sizeof self->has_segment_q);
    if (!frame->has_segmentation)
        return;
    if (frame->primary_ref != AV1_NO_PRIMARY_REF) {
        if (bits_flag(b))
            (void) bits_flag(b);
        has_update = bits_flag(b);
    }
    if (has_update) {
        segment_features_parse(b, self);
    } else {
        const struct av1_ref *ref =
            &headers->refs[frame->refs[frame->primary_ref]];
        memcpy(self->has_segment_q, ref->has_segment_q,
               sizeof self->has_segment_q);
        memcpy(self->segment_q, ref->segment_q, sizeof self->segment_q);
    }
}

/* CodedLossless */
static bool
is_lossless(const struct av1_frame *frame)
{
    if (frame->has_q_deltas)
        return false;
    for (unsigned i = 0; i < AV1_SEGMENTS; i++) {
        int32_t q = (int32_t) frame->base_q;
        if (frame->has_segmentation && frame->self.has_segment_q[i])
            q += frame->self.segment_q[i];
        if (q > 0)
            return false;
    }
    return true;
}

static void
deltas_skip(struct bits *b, const struct av1_frame *frame)
{
    if (frame->base_q == 0 || !bits_flag(b))
        return;
    bits_skip(b, 2);
    if (!frame->has_intra_copy && bits_flag(b))
        bits_skip(b, 3);
}

static void
loop_filter_skip(const struct av1_sequence *s, struct bits *b)
{
    const uint32_t levels = bits_u(b, 12);
    if (!s->is_mono && levels != 0)
        bits_skip(b, 12);
    bits_skip(b, 3);
    if (bits_flag(b) && bits_flag(b))
        av1_optional_skip(b, 10, 7);
}

static void
cdef_skip(const struct av1_sequence *s, struct bits *b)
{
    bits_skip(b, 2);
    const uint32_t strengths = 1u << bits_u(b, 2);
    bits_skip(b, strengths * (s->is_mono ? 6 : 12));
}

static void
restoration_skip(const struct av1_sequence *s, struct bits *b)
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
filters_skip(const struct av1_sequence *s, struct bits *b,
             const struct av1_frame *frame)
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

/* ---- motion and grain (§5.9.22 to §5.9.30) ---- */

/* Is skip_mode_present there? */
static bool
has_skip_mode(const struct av1_headers *headers, const struct av1_frame *frame)
{
    const struct av1_sequence *s = &headers->sequence;
    int before = -1, after = -1;
    uint32_t latest = 0;
    if (frame->is_intra || !frame->has_reference_select || !s->has_order_hint)
        return false;
    for (int i = 0; i < (int) AV1_REFS_PER_FRAME; i++) {
        const uint32_t order = headers->refs[frame->refs[i]].order;
        const int32_t at = av1_order_distance(s, order, frame->self.order);
        if (at < 0
            && (before < 0 || av1_order_distance(s, order, latest) > 0)) {
            before = i;
            latest = order;
        }
        if (at > 0)
            after = i;
    }
    if (before < 0 || after >= 0)
        return before >= 0;
    for (unsigned i = 0; i < AV1_REFS_PER_FRAME; i++)
        if (av1_order_distance(s, headers->refs[frame->refs[i]].order, latest)
            < 0)
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
            (void) av1_bits_ns(b, count - start);
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
global_motion_skip(struct bits *b, const struct av1_frame *frame)
{
    for (unsigned i = 0; i < AV1_REFS_PER_FRAME; i++) {
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
film_grain_skip(const struct av1_sequence *s, struct bits *b,
                const struct av1_frame *frame)
{
    if (!bits_flag(b))
        return;
    bits_skip(b, 16);
    if (frame->self.type == AV1_INTER && !bits_flag(b)) {
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

/* ---- the whole ---- */

void
av1_tools_parse(const struct av1_headers *headers, struct bits *b,
                struct av1_frame *frame)
{
    const struct av1_sequence *s = &headers->sequence;
    quantizers_parse(s, b, frame);
    segmentation_parse(headers, b, frame);
    deltas_skip(b, frame);
    frame->is_lossless = is_lossless(frame);
    filters_skip(s, b, frame);
    if (!frame->is_lossless)
        (void) bits_flag(b);
    frame->has_reference_select = !frame->is_intra && bits_flag(b);
    if (has_skip_mode(headers, frame))
        (void) bits_flag(b);
    if (!frame->is_intra && !frame->is_resilient && s->has_warped_motion)
        (void) bits_flag(b);
    (void) bits_flag(b);
    if (!frame->is_intra)
        global_motion_skip(b, frame);
    if (s->has_film_grain && (frame->is_shown || frame->is_showable))
        film_grain_skip(s, b, frame);
}
