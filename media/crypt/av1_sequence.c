/* SPDX-License-Identifier: Apache-2.0 */
/* The sequence header of AV1 (§5.5 of the bitstream specification). */
#include "media/crypt/av1_private.h"

#include "core/err.h"

static void
bits_uvlc_skip(struct bits *b)
{
    unsigned zeros = 0;
    while (!b->is_short && !bits_flag(b))
        zeros++;
    bits_skip(b, zeros < 32 ? zeros : 0);
}

static void
operating_points_parse(struct bits *b, struct av1_sequence *s)
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
            av1_optional_skip(b, 1, 4);
    }
}

static void
tools_parse(struct bits *b, struct av1_sequence *s)
{
    bits_skip(b, 2);
    s->has_warped_motion = bits_flag(b);
    (void) bits_flag(b);
    s->has_order_hint = bits_flag(b);
    if (s->has_order_hint) {
        (void) bits_flag(b);
        s->has_ref_mvs = bits_flag(b);
    }
    s->screen_content = bits_flag(b) ? AV1_SELECT : (uint8_t) bits_flag(b);
    s->integer_mv = AV1_SELECT;
    if (s->screen_content > 0 && !bits_flag(b))
        s->integer_mv = (uint8_t) bits_flag(b);
    if (s->has_order_hint)
        s->order_bits = (uint8_t) (bits_u(b, 3) + 1);
}

static void
color_parse(struct bits *b, struct av1_sequence *s, uint32_t profile)
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

int
av1_sequence_parse(struct bits *b, struct av1_sequence *out)
{
    struct av1_sequence s = {.is_set = true, .screen_content = AV1_SELECT};
    const uint32_t profile = bits_u(b, 3);
    (void) bits_flag(b);
    s.is_reduced = bits_flag(b);
    s.integer_mv = AV1_SELECT;
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
