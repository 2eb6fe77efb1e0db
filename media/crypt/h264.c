/* SPDX-License-Identifier: Apache-2.0 */
/*
 * H.264 (ISO/IEC 14496-10): as much of the parameter sets as it takes to read
 * a slice header to its end. Slices of NAL types 1 and 5 are encrypted;
 * partitioned, auxiliary and multiview ones stay in the clear.
 */
#include "media/crypt/nal.h"

#include "core/err.h"

#define SPS_MAX 32u
#define PPS_MAX 256u

struct sps {
    bool is_set;
    bool has_planes; /* separate_colour_plane_flag */
    bool is_frame_only;
    bool is_delta_zero; /* delta_pic_order_always_zero_flag */
    uint8_t chroma;     /* ChromaArrayType */
    uint8_t frame_num_bits, poc_type, poc_bits;
    uint64_t map_units; /* PicSizeInMapUnits */
};

struct pps {
    bool is_set;
    bool is_cabac, has_bottom_poc, has_weights, has_deblocking, has_redundant;
    uint8_t sps;
    uint8_t bipred;
    uint8_t refs[2];
    uint32_t group_rate; /* SliceGroupChangeRate; 0: no slice_group_change */
};

struct h264_reader {
    struct nal_reader super;
    struct sps sps[SPS_MAX];
    struct pps pps[PPS_MAX];
};

/* ---- parameter sets ---- */

static void
scaling_list_skip(struct bits *b, unsigned count)
{
    int32_t last = 8, next = 8;
    for (unsigned i = 0; i < count && !b->is_short; i++) {
        if (next != 0)
            next = (last + bits_se(b) % 256 + 256) % 256;
        last = next == 0 ? last : next;
    }
}

static bool
has_chroma_format(uint32_t profile)
{
    static const uint8_t profiles[] = {100, 110, 122, 244, 44,  83, 86,
                                       118, 128, 138, 139, 134, 135};
    return memchr(profiles, (int) profile, sizeof profiles) != NULL;
}

static void
sps_chroma_parse(struct bits *b, struct sps *sps)
{
    const uint32_t chroma = bits_ue(b);
    if (chroma == 3)
        sps->has_planes = bits_flag(b);
    sps->chroma = sps->has_planes ? 0 : (uint8_t) chroma;
    (void) bits_ue(b); /* bit depths */
    (void) bits_ue(b);
    (void) bits_flag(b);
    if (!bits_flag(b))
        return;
    for (unsigned i = 0; i < (chroma == 3 ? 12 : 8); i++)
        if (bits_flag(b))
            scaling_list_skip(b, i < 6 ? 16 : 64);
}

static void
sps_poc_parse(struct bits *b, struct sps *sps)
{
    const uint32_t type = bits_ue(b);
    sps->poc_type = (uint8_t) type;
    if (type == 0) {
        sps->poc_bits = (uint8_t) (bits_ue(b) + 4);
    } else if (type == 1) {
        sps->is_delta_zero = bits_flag(b);
        (void) bits_se(b);
        (void) bits_se(b);
        for (uint32_t i = bits_ue(b); i > 0 && !b->is_short; i--)
            (void) bits_se(b);
    }
    if (type > 2)
        b->is_short = true;
}

static int
sps_parse(struct h264_reader *reader, struct bits *b)
{
    struct sps sps = {.is_set = true, .chroma = 1};
    const uint32_t profile = bits_u(b, 8);
    (void) bits_u(b, 16);
    const uint32_t id = bits_ue(b);
    if (has_chroma_format(profile))
        sps_chroma_parse(b, &sps);
    const uint32_t frame_num_bits = bits_ue(b) + 4;
    sps.frame_num_bits = (uint8_t) frame_num_bits;
    sps_poc_parse(b, &sps);
    (void) bits_ue(b);
    (void) bits_flag(b);
    const uint64_t width = (uint64_t) bits_ue(b) + 1;
    const uint64_t height = (uint64_t) bits_ue(b) + 1;
    sps.map_units = width * height;
    sps.is_frame_only = bits_flag(b);
    if (b->is_short || id >= SPS_MAX || frame_num_bits > 16
        || sps.poc_bits > 16)
        return ERR_INVALID;
    reader->sps[id] = sps;
    return 0;
}

static void
pps_groups_parse(struct bits *b, uint32_t groups, struct pps *pps)
{
    const uint32_t type = bits_ue(b);
    if (type == 0) {
        for (uint32_t i = 0; i < groups; i++)
            (void) bits_ue(b);
    } else if (type == 2) {
        for (uint32_t i = 0; i < 2 * (groups - 1); i++)
            (void) bits_ue(b);
    } else if (type >= 3 && type <= 5) {
        (void) bits_flag(b);
        pps->group_rate = bits_ue(b) + 1;
    } else if (type == 6) {
        const uint64_t units = (uint64_t) bits_ue(b) + 1;
        bits_skip(b, units * bits_for(groups));
    }
}

static int
pps_parse(struct h264_reader *reader, struct bits *b)
{
    struct pps pps = {.is_set = true};
    const uint32_t id = bits_ue(b);
    const uint32_t sps = bits_ue(b);
    pps.is_cabac = bits_flag(b);
    pps.has_bottom_poc = bits_flag(b);
    const uint32_t groups = bits_ue(b) + 1;
    if (groups > 8)
        return ERR_INVALID;
    if (groups > 1)
        pps_groups_parse(b, groups, &pps);
    uint32_t refs[2];
    refs[0] = bits_ue(b) + 1;
    refs[1] = bits_ue(b) + 1;
    pps.has_weights = bits_flag(b);
    pps.bipred = (uint8_t) bits_u(b, 2);
    (void) bits_se(b);
    (void) bits_se(b);
    (void) bits_se(b);
    pps.has_deblocking = bits_flag(b);
    (void) bits_flag(b);
    pps.has_redundant = bits_flag(b);
    if (b->is_short || id >= PPS_MAX || sps >= SPS_MAX || refs[0] > 32
        || refs[1] > 32)
        return ERR_INVALID;
    pps.sps = (uint8_t) sps;
    pps.refs[0] = (uint8_t) refs[0];
    pps.refs[1] = (uint8_t) refs[1];
    reader->pps[id] = pps;
    return 0;
}

/* ---- slice header, §7.3.3 ---- */

enum slice_type { SLICE_P, SLICE_B, SLICE_I, SLICE_SP, SLICE_SI };

static void
list_modification_skip(struct bits *b)
{
    if (!bits_flag(b))
        return;
    while (!b->is_short && bits_ue(b) != 3)
        (void) bits_ue(b);
}

static void
weights_skip(struct bits *b, const struct sps *sps, uint32_t refs)
{
    for (uint32_t i = 0; i < refs && !b->is_short; i++) {
        if (bits_flag(b)) {
            (void) bits_se(b);
            (void) bits_se(b);
        }
        if (sps->chroma != 0 && bits_flag(b))
            for (int j = 0; j < 4; j++)
                (void) bits_se(b);
    }
}

static void
marking_skip(struct bits *b, bool is_idr)
{
    if (is_idr) {
        (void) bits_u(b, 2);
        return;
    }
    if (!bits_flag(b))
        return;
    for (;;) {
        const uint32_t operation = bits_ue(b);
        if (operation == 0 || b->is_short)
            return;
        if (operation != 5)
            (void) bits_ue(b);
        if (operation == 3)
            (void) bits_ue(b);
    }
}

static void
order_skip(struct bits *b, const struct sps *sps, const struct pps *pps,
           bool is_idr)
{
    bool is_field = false;
    (void) bits_u(b, sps->frame_num_bits);
    if (!sps->is_frame_only) {
        is_field = bits_flag(b);
        if (is_field)
            (void) bits_flag(b);
    }
    if (is_idr)
        (void) bits_ue(b);
    const bool has_bottom = pps->has_bottom_poc && !is_field;
    if (sps->poc_type == 0) {
        (void) bits_u(b, sps->poc_bits);
        if (has_bottom)
            (void) bits_se(b);
    } else if (sps->poc_type == 1 && !sps->is_delta_zero) {
        (void) bits_se(b);
        if (has_bottom)
            (void) bits_se(b);
    }
    if (pps->has_redundant)
        (void) bits_ue(b);
}

static void
references_skip(struct bits *b, const struct sps *sps, const struct pps *pps,
                enum slice_type type)
{
    const bool is_b = type == SLICE_B;
    uint32_t refs[2] = {pps->refs[0], pps->refs[1]};
    if (is_b)
        (void) bits_flag(b);
    if (bits_flag(b)) {
        refs[0] = bits_ue(b) + 1;
        if (is_b)
            refs[1] = bits_ue(b) + 1;
    }
    if (refs[0] > 32 || refs[1] > 32) {
        b->is_short = true;
        return;
    }
    list_modification_skip(b);
    if (is_b)
        list_modification_skip(b);
    if (is_b ? pps->bipred != 1 : !pps->has_weights)
        return;
    (void) bits_ue(b);
    if (sps->chroma != 0)
        (void) bits_ue(b);
    weights_skip(b, sps, refs[0]);
    if (is_b)
        weights_skip(b, sps, refs[1]);
}

static void
filter_skip(struct bits *b, const struct sps *sps, const struct pps *pps)
{
    if (pps->has_deblocking && bits_ue(b) != 1) {
        (void) bits_se(b);
        (void) bits_se(b);
    }
    if (pps->group_rate != 0) {
        const uint64_t rate = pps->group_rate;
        (void) bits_u(b, bits_for((sps->map_units + rate - 1) / rate + 1));
    }
}

/* `b` is behind the NAL unit's header. */
static int
slice_header_skip(const struct h264_reader *reader, struct bits *b,
                  uint8_t nal_header)
{
    const bool is_idr = (nal_header & 31) == 5;
    (void) bits_ue(b);
    const uint32_t type_code = bits_ue(b);
    const uint32_t id = bits_ue(b);
    if (type_code > 9 || id >= PPS_MAX || !reader->pps[id].is_set
        || !reader->sps[reader->pps[id].sps].is_set)
        return ERR_INVALID;
    const struct pps *pps = &reader->pps[id];
    const struct sps *sps = &reader->sps[pps->sps];
    const enum slice_type type = (enum slice_type)(type_code % 5);
    const bool is_intra = type == SLICE_I || type == SLICE_SI;
    if (sps->has_planes)
        (void) bits_u(b, 2);
    order_skip(b, sps, pps, is_idr);
    if (!is_intra)
        references_skip(b, sps, pps, type);
    if (nal_header >> 5 & 3)
        marking_skip(b, is_idr);
    if (pps->is_cabac && !is_intra)
        (void) bits_ue(b);
    (void) bits_se(b);
    if (type == SLICE_SP)
        (void) bits_flag(b);
    if (type == SLICE_SP || type == SLICE_SI)
        (void) bits_se(b);
    filter_skip(b, sps, pps);
    return b->is_short ? ERR_TRUNCATED : 0;
}

/* ---- samples ---- */

static int
nal_read(struct nal_reader *self, struct bytes nal, size_t *clear)
{
    struct h264_reader *reader = (struct h264_reader *) self;
    if (nal.len == 0)
        return 0;
    struct bits b = bits_of(nal, true);
    const uint8_t header = (uint8_t) bits_u(&b, 8);
    int err;
    switch (header & 31) {
    case 1:
    case 5:
        err = slice_header_skip(reader, &b, header);
        if (err == 0)
            *clear = b.used;
        return err;
    case 7:
        return sps_parse(reader, &b);
    case 8:
        return pps_parse(reader, &b);
    default:
        return 0;
    }
}

/* avcC, ISO/IEC 14496-15 §5.3.3.1 */
static int
config_read(struct nal_reader *reader, struct bytes config)
{
    struct cursor c = cursor_of(config);
    (void) cursor_bytes(&c, 4);
    reader->length_size = (cursor_u8(&c) & 3u) + 1;
    int err = nal_sets_read(reader, &c, cursor_u8(&c) & 31u);
    if (err == 0)
        err = nal_sets_read(reader, &c, cursor_u8(&c));
    return err == 0 && c.is_short ? ERR_TRUNCATED : err;
}

int
h264_reader_new(struct bytes config, struct subsample_reader **out)
{
    struct h264_reader *reader = calloc(1, sizeof *reader);
    if (reader == NULL)
        return ERR_MEMORY;
    reader->super.super.next = nal_next;
    reader->super.read = nal_read;
    const int err = config_read(&reader->super, config);
    if (err != 0) {
        free(reader);
        return err;
    }
    *out = &reader->super.super;
    return 0;
}
