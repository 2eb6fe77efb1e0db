/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_CRYPT_AV1_PRIVATE_H
#define MEDIA_CRYPT_AV1_PRIVATE_H

/*
 * The sequence and frame headers of AV1 (the bitstream specification, §5.5 and
 * §5.9), which are read to their end. A frame header's length depends on the
 * sequence header and on the sizes, the order and the segmentation of the
 * frames it refers to, which are kept. Internal to media/crypt/.
 */

#include "media/crypt/bits.h"

#define AV1_REFS 8u
#define AV1_REFS_PER_FRAME 7u
#define AV1_SEGMENTS 8u
#define AV1_NO_PRIMARY_REF 7u
#define AV1_SELECT 2u /* of a tool: each frame says */
#define AV1_OPERATING_POINTS_MAX 32u

enum av1_frame_type { AV1_KEY, AV1_INTER, AV1_INTRA_ONLY, AV1_SWITCH };

struct av1_sequence {
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
    bool point_has_model[AV1_OPERATING_POINTS_MAX];
    uint16_t points[AV1_OPERATING_POINTS_MAX]; /* operating_point_idc */
    uint32_t width, height;
};

/* What later frames need to know of one. */
struct av1_ref {
    enum av1_frame_type type;
    uint32_t upscaled_width, width, height, order;
    bool has_segment_q[AV1_SEGMENTS];
    int16_t segment_q[AV1_SEGMENTS];
};

struct av1_tiles {
    uint32_t columns, rows;
    uint8_t column_bits, row_bits;
    uint8_t size_bytes;
};

/* What is known when a frame header begins, and after it. */
struct av1_headers {
    struct av1_sequence sequence;
    struct av1_ref refs[AV1_REFS];
    bool has_frame; /* its header is read, tiles are to come */
    struct av1_tiles tiles;
};

struct av1_frame {
    struct av1_ref self;
    bool is_shown, is_showable, is_resilient, is_intra, is_size_given;
    bool has_screen_content, has_integer_mv, has_precise_mv;
    bool has_intra_copy, has_reference_select;
    bool has_segmentation, is_lossless;
    uint8_t temporal_id, spatial_id;
    uint32_t primary_ref, refresh;
    uint32_t refs[AV1_REFS_PER_FRAME];
    uint32_t base_q;
    bool has_q_deltas; /* any of DeltaQ* */
};

/* ---- numbers (§4.10) ---- */

/* 0 to count - 1 */
static inline uint32_t
av1_bits_ns(struct bits *b, uint32_t count)
{
    const unsigned width = bits_for((uint64_t) count + 1);
    const uint32_t short_count = (1u << width) - count;
    const uint32_t v = bits_u(b, width - 1);
    return v < short_count ? v : (v << 1) - short_count + bits_flag(b);
}

/* A list of so many, each behind a flag. */
static inline void
av1_optional_skip(struct bits *b, unsigned count, unsigned size)
{
    for (unsigned i = 0; i < count; i++)
        bits_skip(b, bits_flag(b) ? size : 0);
}

/* A distance of frames in playing order (§5.9.3's get_relative_dist). */
static inline int32_t
av1_order_distance(const struct av1_sequence *s, uint32_t a, uint32_t b)
{
    if (!s->has_order_hint)
        return 0;
    const int32_t diff = (int32_t) (a - b);
    const int32_t half = 1 << (s->order_bits - 1);
    return (diff & (half - 1)) - (diff & half);
}

/* ---- headers: `b` is behind the OBU's header ---- */

/* ERR_INVALID leaves *out as it was. */
int av1_sequence_parse(struct bits *b, struct av1_sequence *out);

/* The layers are of the OBU's extension. ERR_INVALID, ERR_TRUNCATED. */
int av1_frame_parse(struct av1_headers *headers, struct bits *b,
                    uint8_t temporal_id, uint8_t spatial_id);

/* What of a frame header lies behind its tiles' sizes: quantizers, filters,
 * motion, film grain. */
void av1_tools_parse(const struct av1_headers *headers, struct bits *b,
                     struct av1_frame *frame);

#endif
