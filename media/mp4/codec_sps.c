/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What the VUI of a sequence parameter set says of colour (ITU-T H.264 §7.3.2.1
 * and Annex E, H.265 §7.3.2.2 and Annex E). It stands behind nearly all the
 * rest, which is read for nothing else but to get there; what is out of its
 * bounds ends that, and the colour stays unknown.
 */

#include "media/mp4/codec.h"

#define RBSP_SIZE_MAX 4096 /* bytes */

uint32_t
bits_take(struct bit_reader *r, unsigned count)
{
    uint32_t v = 0;
    for (; count > 0; count--, r->position++) {
        const size_t byte = r->position / 8;
        if (byte >= r->bytes.len) {
            r->is_short = true;
            v <<= 1;
            continue;
        }
        v = v << 1 | (r->bytes.ptr[byte] >> (7 - r->position % 8) & 1u);
    }
    return v;
}

uint32_t
bits_take_ue(struct bit_reader *r)
{
    unsigned zeros = 0;
    while (bits_take(r, 1) == 0) {
        if (r->is_short || ++zeros == 32) {
            r->is_short = true;
            return 0;
        }
    }
    return zeros == 0 ? 0 : (1u << zeros) - 1 + bits_take(r, zeros);
}

static void
ue_skip(struct bit_reader *r, uint32_t count)
{
    for (; count > 0 && !r->is_short; count--)
        bits_take_ue(r);
}

/* Without the bytes that keep start codes out (H.264 §7.4.1). */
static struct bytes
rbsp_of(struct bytes nal, size_t header, uint8_t out[RBSP_SIZE_MAX])
{
    size_t len = 0, zeros = 0;
    for (size_t i = header; i < nal.len && len < RBSP_SIZE_MAX; i++) {
        if (zeros >= 2 && nal.ptr[i] == 3) {
            zeros = 0;
            continue;
        }
        zeros = nal.ptr[i] == 0 ? zeros + 1 : 0;
        out[len++] = nal.ptr[i];
    }
    return bytes_of(out, len);
}

/* The first fields of both VUIs are the same. */
static void
vui_colour(struct bit_reader *r, struct colour *colour)
{
    struct colour c = {.is_known = true};
    if (bits_take(r, 1) == 1 && bits_take(r, 8) == 255) /* aspect ratio */
        bits_take(r, 32);
    if (bits_take(r, 1) == 1) /* overscan */
        bits_take(r, 1);
    if (bits_take(r, 1) == 0) /* video signal type */
        return;
    bits_take(r, 3);
    c.is_full_range = bits_take(r, 1);
    if (bits_take(r, 1) == 0) /* colour description */
        return;
    c.primaries = bits_take(r, 8);
    c.transfer = bits_take(r, 8);
    c.matrix = bits_take(r, 8);
    if (!r->is_short)
        *colour = c;
}

/* ---- H.264 ---- */

static void
avc_scaling_list_skip(struct bit_reader *r, uint32_t size)
{
    int32_t last = 8, next = 8;
    for (uint32_t i = 0; i < size && !r->is_short; i++) {
        if (next != 0) {
            const uint32_t code = bits_take_ue(r);
            const int32_t delta = code % 2 == 1 ? (int32_t) (code / 2 + 1)
                                                : -(int32_t) (code / 2);
            next = (int32_t) (((uint32_t) last + (uint32_t) delta) & 0xff);
        }
        last = next == 0 ? last : next;
    }
}

/* The fields that high profiles have more. */
static void
avc_chroma_skip(struct bit_reader *r)
{
    const uint32_t format = bits_take_ue(r);
    if (format == 3)
        bits_take(r, 1);
    ue_skip(r, 2);            /* bit depths */
    bits_take(r, 1);          /* lossless */
    if (bits_take(r, 1) == 0) /* scaling matrices */
        return;
    for (uint32_t i = 0; i < (format == 3 ? 12u : 8u); i++) {
        if (bits_take(r, 1) == 1)
            avc_scaling_list_skip(r, i < 6 ? 16 : 64);
    }
}

void
avc_sps_colour(struct bytes nal, struct colour *colour)
{
    uint8_t memory[RBSP_SIZE_MAX];
    struct bit_reader r = {.bytes = rbsp_of(nal, 1, memory)};
    const uint32_t profile = bits_take(&r, 8);
    bits_take(&r, 16); /* constraints, level */
    ue_skip(&r, 1);
    if (profile == 100 || profile == 110 || profile == 122 || profile == 244
        || profile == 44)
        avc_chroma_skip(&r);
    ue_skip(&r, 1); /* frame numbers */
    const uint32_t order_type = bits_take_ue(&r);
    if (order_type == 0) {
        ue_skip(&r, 1);
    } else if (order_type == 1) {
        bits_take(&r, 1);
        ue_skip(&r, 2);
        ue_skip(&r, bits_take_ue(&r));
    }
    ue_skip(&r, 1); /* reference frames */
    bits_take(&r, 1);
    ue_skip(&r, 2);            /* width, height */
    if (bits_take(&r, 1) == 0) /* frames only */
        bits_take(&r, 1);
    bits_take(&r, 1);
    if (bits_take(&r, 1) == 1) /* cropping */
        ue_skip(&r, 4);
    if (bits_take(&r, 1) == 1 && !r.is_short)
        vui_colour(&r, colour);
}

/* ---- HEVC ---- */

static void
hevc_profile_skip(struct bit_reader *r, uint32_t sub_layers)
{
    bool has_profile[8] = {false}, has_level[8] = {false};
    bits_take(r, 32); /* 88 bits of profile, 8 of level */
    bits_take(r, 32);
    bits_take(r, 32);
    for (uint32_t i = 0; i < sub_layers; i++) {
        has_profile[i] = bits_take(r, 1);
        has_level[i] = bits_take(r, 1);
    }
    for (uint32_t i = sub_layers; i > 0 && i < 8; i++)
        bits_take(r, 2);
    for (uint32_t i = 0; i < sub_layers; i++) {
        for (int k = 0; has_profile[i] && k < 11; k++)
            bits_take(r, 8);
        if (has_level[i])
            bits_take(r, 8);
    }
}

static void
hevc_scaling_lists_skip(struct bit_reader *r)
{
    for (uint32_t size = 0; size < 4; size++) {
        for (uint32_t i = 0; i < 6; i += size == 3 ? 3 : 1) {
            if (bits_take(r, 1) == 0) {
                ue_skip(r, 1);
                continue;
            }
            const uint32_t count = size == 0 ? 16 : 64;
            ue_skip(r, count + (size > 1 ? 1 : 0));
        }
    }
}

/* One set of reference pictures; pictures[number] is how many it has. */
static void
hevc_reference_set_skip(struct bit_reader *r, uint32_t number,
                        uint32_t pictures[64])
{
    if (number > 0
        && bits_take(r, 1) == 1) { /* predicted from the one before */
        bits_take(r, 1);
        ue_skip(r, 1);
        pictures[number] = 0;
        for (uint32_t i = 0; i <= pictures[number - 1]; i++) {
            const bool is_used = bits_take(r, 1);
            pictures[number] += is_used || bits_take(r, 1);
        }
    } else {
        const uint32_t before = bits_take_ue(r), after = bits_take_ue(r);
        if (before > 16 || after > 16) {
            r->is_short = true;
            return;
        }
        pictures[number] = before + after;
        for (uint32_t i = 0; i < before + after; i++) {
            ue_skip(r, 1);
            bits_take(r, 1);
        }
    }
    if (pictures[number] > 16)
        r->is_short = true;
}

/* From the coding block sizes to the VUI; false: not that far. */
static bool
hevc_tools_skip(struct bit_reader *r, uint32_t order_bits)
{
    uint32_t pictures[64];
    ue_skip(r, 6);           /* sizes of blocks and transforms */
    if (bits_take(r, 1) == 1 /* scaling lists */
        && bits_take(r, 1) == 1)
        hevc_scaling_lists_skip(r);
    bits_take(r, 2);            /* asymmetric motion, sample offsets */
    if (bits_take(r, 1) == 1) { /* PCM */
        bits_take(r, 8);
        ue_skip(r, 2);
        bits_take(r, 1);
    }
    const uint32_t sets = bits_take_ue(r);
    if (sets > 64)
        return false;
    for (uint32_t i = 0; i < sets && !r->is_short; i++)
        hevc_reference_set_skip(r, i, pictures);
    if (bits_take(r, 1) == 1) { /* long-term pictures */
        const uint32_t count = bits_take_ue(r);
        for (uint32_t i = 0; i < count && i < 32; i++)
            bits_take(r, order_bits + 1);
    }
    bits_take(r, 2); /* motion vectors, smoothing */
    return !r->is_short;
}

void
hevc_sps_colour(struct bytes nal, struct colour *colour)
{
    uint8_t memory[RBSP_SIZE_MAX];
    struct bit_reader r = {.bytes = rbsp_of(nal, 2, memory)};
    bits_take(&r, 4);
    const uint32_t sub_layers = bits_take(&r, 3); /* less 1 */
    bits_take(&r, 1);
    hevc_profile_skip(&r, sub_layers);
    ue_skip(&r, 1);
    if (bits_take_ue(&r) == 3) /* chroma format */
        bits_take(&r, 1);
    ue_skip(&r, 2);            /* width, height */
    if (bits_take(&r, 1) == 1) /* window */
        ue_skip(&r, 4);
    ue_skip(&r, 2); /* bit depths */
    const uint32_t order_bits = bits_take_ue(&r) + 4;
    const bool has_each = bits_take(&r, 1);
    ue_skip(&r, 3 * (has_each ? sub_layers + 1 : 1));
    if (order_bits <= 16 && hevc_tools_skip(&r, order_bits)
        && bits_take(&r, 1) == 1)
        vui_colour(&r, colour);
}
