/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HEVC (ISO/IEC 23008-2): as much of the parameter sets as it takes to read a
 * slice segment header to its end. Slice segments of the base layer are
 * encrypted. The screen content and multilayer extensions are refused: they
 * put more into the header.
 */
#include "media/crypt/nal.h"

#include "core/err.h"

#define SPS_MAX 16u
#define PPS_MAX 64u
#define RPS_MAX 64u
#define RPS_PICS_MAX 16u
#define LONG_TERM_MAX 32u

/* A short-term reference picture set: those before, nearest first, then those
 * after. */
struct rps {
    uint8_t before, count;
    int32_t poc[RPS_PICS_MAX]; /* relative */
    bool is_used[RPS_PICS_MAX];
};

struct sps {
    bool is_set;
    bool has_planes, has_sao, has_long_term, has_temporal_mvp;
    uint8_t chroma; /* ChromaArrayType */
    uint8_t poc_bits, rps_count, long_term_count;
    uint32_t ctb_count; /* PicSizeInCtbsY */
    bool long_term_used[LONG_TERM_MAX];
    struct rps rps[RPS_MAX + 1]; /* the last: a slice's own */
};

struct pps {
    bool is_set;
    bool has_dependent, has_output_flag, has_cabac_init, has_chroma_qp;
    bool has_weights, has_biweights, has_entry_points, is_filter_across;
    bool has_deblocking_override, is_deblocking_off, has_list_changes;
    bool has_extension, has_chroma_qp_list;
    uint8_t sps, extra_bits;
    uint8_t refs[2];
};

struct hevc_reader {
    struct nal_reader super;
    struct pps pps[PPS_MAX];
    struct sps sps[SPS_MAX];
};

/* ---- parameter sets ---- */

static void
profile_tier_level_skip(struct bits *b, unsigned sub_layers)
{
    bits_skip(b, 96);
    const uint32_t present =
        sub_layers > 0 ? bits_u(b, 16) : 0; /* two bits a layer */
    for (unsigned i = 0; i < sub_layers; i++) {
        bits_skip(b, present >> (15 - 2 * i) & 1 ? 88 : 0);
        bits_skip(b, present >> (14 - 2 * i) & 1 ? 8 : 0);
    }
}

static void
scaling_lists_skip(struct bits *b)
{
    for (unsigned size = 0; size < 4; size++) {
        for (unsigned i = 0; i < 6 && !b->is_short; i += size == 3 ? 3 : 1) {
            if (!bits_flag(b)) {
                (void) bits_ue(b);
                continue;
            }
            if (size > 1)
                (void) bits_se(b);
            for (unsigned n = size == 0 ? 16 : 64; n > 0; n--)
                (void) bits_se(b);
        }
    }
}

static void
rps_add(struct rps *rps, int64_t poc, bool is_used)
{
    if (rps->count < RPS_PICS_MAX) {
        rps->poc[rps->count] = (int32_t) poc;
        rps->is_used[rps->count++] = is_used;
    }
}

/* The pictures of `ref` and the one it belongs to, moved by `delta`; §7.4.8,
 * equations 7-61 and 7-62. `uses` is by their order there. */
static void
rps_derive(const struct rps *ref, int64_t delta, const bool *is_kept,
           const bool *is_used, struct rps *out)
{
    const unsigned n = ref->count, before = ref->before;
    for (unsigned i = n; i-- > before;)
        if (ref->poc[i] + delta < 0 && is_kept[i])
            rps_add(out, ref->poc[i] + delta, is_used[i]);
    if (delta < 0 && is_kept[n])
        rps_add(out, delta, is_used[n]);
    for (unsigned i = 0; i < before; i++)
        if (ref->poc[i] + delta < 0 && is_kept[i])
            rps_add(out, ref->poc[i] + delta, is_used[i]);
    out->before = out->count;
    for (unsigned i = before; i-- > 0;)
        if (ref->poc[i] + delta > 0 && is_kept[i])
            rps_add(out, ref->poc[i] + delta, is_used[i]);
    if (delta > 0 && is_kept[n])
        rps_add(out, delta, is_used[n]);
    for (unsigned i = before; i < n; i++)
        if (ref->poc[i] + delta > 0 && is_kept[i])
            rps_add(out, ref->poc[i] + delta, is_used[i]);
}

static void
rps_inter_parse(struct bits *b, struct sps *sps, unsigned number,
                struct rps *out)
{
    const uint32_t back =
        number == sps->rps_count ? bits_ue(b) + 1 : 1; /* RefRpsIdx */
    const bool is_negative = bits_flag(b);
    const int64_t size = (int64_t) bits_ue(b) + 1;
    if (back > number || size > 1 << 15) {
        b->is_short = true;
        return;
    }
    const struct rps *ref = &sps->rps[number - back];
    bool is_kept[RPS_PICS_MAX + 1], is_used[RPS_PICS_MAX + 1];
    for (unsigned i = 0; i <= ref->count; i++) {
        is_used[i] = bits_flag(b);
        is_kept[i] = is_used[i] || bits_flag(b);
    }
    rps_derive(ref, is_negative ? -size : size, is_kept, is_used, out);
}

static void
rps_parse(struct bits *b, struct sps *sps, unsigned number)
{
    struct rps rps = {.count = 0};
    if (number != 0 && bits_flag(b)) {
        rps_inter_parse(b, sps, number, &rps);
    } else {
        uint32_t counts[2];
        counts[0] = bits_ue(b);
        counts[1] = bits_ue(b);
        if (counts[0] > RPS_PICS_MAX || counts[1] > RPS_PICS_MAX - counts[0])
            b->is_short = true;
        for (int side = 0; side < 2 && !b->is_short; side++) {
            int64_t poc = 0;
            for (uint32_t i = 0; i < counts[side]; i++) {
                const int64_t step = (int64_t) (bits_ue(b) & 0xffff) + 1;
                poc += side == 0 ? -step : step;
                rps_add(&rps, poc, bits_flag(b));
            }
        }
        rps.before = (uint8_t) counts[0];
    }
    sps->rps[number] = rps;
}

static void
sps_size_parse(struct bits *b, uint32_t width, uint32_t height, struct sps *sps)
{
    const uint64_t size_log = (uint64_t) bits_ue(b) + 3 + bits_ue(b);
    if (size_log > 6 || width == 0 || height == 0) {
        b->is_short = true;
        return;
    }
    const uint64_t size = 1ull << size_log;
    const uint64_t count =
        ((width + size - 1) / size) * ((height + size - 1) / size);
    if (count > UINT32_MAX)
        b->is_short = true;
    sps->ctb_count = (uint32_t) count;
}

static void
sps_references_parse(struct bits *b, struct sps *sps)
{
    const uint32_t rps_count = bits_ue(b);
    if (rps_count > RPS_MAX) {
        b->is_short = true;
        return;
    }
    sps->rps_count = (uint8_t) rps_count;
    for (unsigned i = 0; i < rps_count && !b->is_short; i++)
        rps_parse(b, sps, i);
    sps->has_long_term = bits_flag(b);
    const uint32_t long_terms = sps->has_long_term ? bits_ue(b) : 0;
    if (long_terms > LONG_TERM_MAX) {
        b->is_short = true;
        return;
    }
    sps->long_term_count = (uint8_t) long_terms;
    for (unsigned i = 0; i < long_terms; i++) {
        (void) bits_u(b, sps->poc_bits);
        sps->long_term_used[i] = bits_flag(b);
    }
    sps->has_temporal_mvp = bits_flag(b);
}

static void
sps_tools_parse(struct bits *b, struct sps *sps)
{
    (void) bits_ue(b); /* transform sizes and depths */
    (void) bits_ue(b);
    (void) bits_ue(b);
    (void) bits_ue(b);
    if (bits_flag(b) && bits_flag(b))
        scaling_lists_skip(b);
    (void) bits_flag(b);
    sps->has_sao = bits_flag(b);
    if (bits_flag(b)) { /* pcm */
        (void) bits_u(b, 8);
        (void) bits_ue(b);
        (void) bits_ue(b);
        (void) bits_flag(b);
    }
}

static void
sps_fields_parse(struct bits *b, unsigned sub_layers, struct sps *sps)
{
    const uint32_t chroma = bits_ue(b);
    if (chroma == 3)
        sps->has_planes = bits_flag(b);
    sps->chroma = sps->has_planes ? 0 : (uint8_t) chroma;
    const uint32_t width = bits_ue(b), height = bits_ue(b);
    if (bits_flag(b)) /* conformance window */
        for (int i = 0; i < 4; i++)
            (void) bits_ue(b);
    (void) bits_ue(b); /* bit depths */
    (void) bits_ue(b);
    const uint32_t poc_bits = bits_ue(b) + 4;
    if (poc_bits > 16) {
        b->is_short = true;
        return;
    }
    sps->poc_bits = (uint8_t) poc_bits;
    for (unsigned i = bits_flag(b) ? 0 : sub_layers; i <= sub_layers; i++)
        for (int j = 0; j < 3; j++)
            (void) bits_ue(b);
    sps_size_parse(b, width, height, sps);
    sps_tools_parse(b, sps);
    sps_references_parse(b, sps);
}

static int
sps_parse(struct hevc_reader *reader, struct bits *b)
{
    (void) bits_u(b, 4);
    const unsigned sub_layers = bits_u(b, 3);
    (void) bits_flag(b);
    struct bits profile = *b;
    const uint32_t profile_idc = bits_u(&profile, 8) & 31;
    if (profile_idc == 9 || profile_idc == 11)
        return ERR_UNSUPPORTED; /* screen content */
    profile_tier_level_skip(b, sub_layers);
    const uint32_t id = bits_ue(b);
    if (b->is_short || id >= SPS_MAX)
        return ERR_INVALID;
    struct sps *sps = &reader->sps[id];
    *sps = (struct sps){.is_set = false};
    sps_fields_parse(b, sub_layers, sps);
    sps->is_set = !b->is_short;
    return b->is_short ? ERR_INVALID : 0;
}

static void
tiles_skip(struct bits *b)
{
    const uint32_t columns = bits_ue(b), rows = bits_ue(b);
    if (!bits_flag(b)) {
        for (uint32_t i = 0; i < columns && !b->is_short; i++)
            (void) bits_ue(b);
        for (uint32_t i = 0; i < rows && !b->is_short; i++)
            (void) bits_ue(b);
    }
    (void) bits_flag(b);
}

static void
pps_filters_parse(struct bits *b, struct pps *pps)
{
    pps->is_filter_across = bits_flag(b);
    if (bits_flag(b)) {
        pps->has_deblocking_override = bits_flag(b);
        pps->is_deblocking_off = bits_flag(b);
        if (!pps->is_deblocking_off) {
            (void) bits_se(b);
            (void) bits_se(b);
        }
    }
    if (bits_flag(b))
        scaling_lists_skip(b);
}

/* Behind the flag that says there is one. */
static int
pps_extension_parse(struct bits *b, bool has_transform_skip, struct pps *pps)
{
    const bool has_range = bits_flag(b);
    if (bits_u(b, 3) != 0)
        return ERR_UNSUPPORTED; /* multilayer, 3D, screen content */
    (void) bits_u(b, 4);
    if (has_range) {
        if (has_transform_skip)
            (void) bits_ue(b);
        (void) bits_flag(b);
        pps->has_chroma_qp_list = bits_flag(b);
    }
    return 0;
}

static int
pps_parse(struct hevc_reader *reader, struct bits *b)
{
    struct pps pps = {.is_set = true};
    const uint32_t id = bits_ue(b), sps = bits_ue(b);
    pps.has_dependent = bits_flag(b);
    pps.has_output_flag = bits_flag(b);
    pps.extra_bits = (uint8_t) bits_u(b, 3);
    (void) bits_flag(b);
    pps.has_cabac_init = bits_flag(b);
    uint32_t refs[2];
    refs[0] = bits_ue(b) + 1;
    refs[1] = bits_ue(b) + 1;
    (void) bits_se(b);
    (void) bits_flag(b);
    const bool has_transform_skip = bits_flag(b);
    if (bits_flag(b))
        (void) bits_ue(b);
    (void) bits_se(b);
    (void) bits_se(b);
    pps.has_chroma_qp = bits_flag(b);
    pps.has_weights = bits_flag(b);
    pps.has_biweights = bits_flag(b);
    (void) bits_flag(b);
    const bool has_tiles = bits_flag(b);
    pps.has_entry_points = bits_flag(b) || has_tiles;
    if (has_tiles)
        tiles_skip(b);
    pps_filters_parse(b, &pps);
    pps.has_list_changes = bits_flag(b);
    (void) bits_ue(b);
    pps.has_extension = bits_flag(b);
    if (bits_flag(b)) {
        const int err = pps_extension_parse(b, has_transform_skip, &pps);
        if (err != 0)
            return err;
    }
    if (b->is_short || id >= PPS_MAX || sps >= SPS_MAX || refs[0] > 16
        || refs[1] > 16)
        return ERR_INVALID;
    pps.sps = (uint8_t) sps;
    pps.refs[0] = (uint8_t) refs[0];
    pps.refs[1] = (uint8_t) refs[1];
    reader->pps[id] = pps;
    return 0;
}

/* ---- slice segment header, §7.3.6 ---- */

enum slice_type { SLICE_B, SLICE_P, SLICE_I };

struct slice {
    struct sps *sps;
    const struct pps *pps;
    enum slice_type type;
    bool is_idr, has_temporal_mvp;
    unsigned pics; /* NumPicTotalCurr */
};

static void
long_terms_parse(struct bits *b, struct slice *slice)
{
    const struct sps *sps = slice->sps;
    const uint32_t from_sps = sps->long_term_count > 0 ? bits_ue(b) : 0;
    const uint64_t count = (uint64_t) from_sps + bits_ue(b);
    if (count > LONG_TERM_MAX + 1) {
        b->is_short = true;
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (i < from_sps) {
            const uint32_t number = bits_u(b, bits_for(sps->long_term_count));
            slice->pics +=
                number < LONG_TERM_MAX && sps->long_term_used[number];
        } else {
            (void) bits_u(b, sps->poc_bits);
            slice->pics += bits_flag(b);
        }
        if (bits_flag(b))
            (void) bits_ue(b);
    }
}

static void
order_parse(struct bits *b, struct slice *slice)
{
    struct sps *sps = slice->sps;
    unsigned number = sps->rps_count;
    (void) bits_u(b, sps->poc_bits);
    if (!bits_flag(b))
        rps_parse(b, sps, number);
    else
        number = bits_u(b, bits_for(sps->rps_count));
    if (b->is_short || number > sps->rps_count) {
        b->is_short = true;
        return;
    }
    const struct rps *rps = &sps->rps[number];
    for (unsigned i = 0; i < rps->count; i++)
        slice->pics += rps->is_used[i];
    if (sps->has_long_term)
        long_terms_parse(b, slice);
    if (sps->has_temporal_mvp)
        slice->has_temporal_mvp = bits_flag(b);
}

static void
weights_skip(struct bits *b, bool has_chroma, uint32_t refs)
{
    const uint32_t luma = bits_u(b, refs);
    const uint32_t chroma = has_chroma ? bits_u(b, refs) : 0;
    for (uint32_t i = 0; i < refs && !b->is_short; i++) {
        const uint32_t bit = 1u << (refs - 1 - i);
        const int count = (luma & bit ? 2 : 0) + (chroma & bit ? 4 : 0);
        for (int j = 0; j < count; j++)
            (void) bits_se(b);
    }
}

static void
lists_skip(struct bits *b, unsigned pics, const uint32_t refs[2], bool is_b)
{
    for (int list = 0; list < (is_b ? 2 : 1); list++)
        if (bits_flag(b))
            bits_skip(b, (uint64_t) refs[list] * bits_for(pics));
}

static void
references_skip(struct bits *b, const struct slice *slice)
{
    const struct pps *pps = slice->pps;
    const bool is_b = slice->type == SLICE_B;
    uint32_t refs[2] = {pps->refs[0], pps->refs[1]};
    if (bits_flag(b)) {
        refs[0] = bits_ue(b) + 1;
        if (is_b)
            refs[1] = bits_ue(b) + 1;
    }
    if (refs[0] > 16 || refs[1] > 16) {
        b->is_short = true;
        return;
    }
    if (pps->has_list_changes && slice->pics > 1)
        lists_skip(b, slice->pics, refs, is_b);
    if (is_b)
        (void) bits_flag(b);
    if (pps->has_cabac_init)
        (void) bits_flag(b);
    if (slice->has_temporal_mvp) {
        const bool is_second = is_b && !bits_flag(b);
        if (refs[is_second] > 1)
            (void) bits_ue(b);
    }
    if (is_b ? pps->has_biweights : pps->has_weights) {
        const bool has_chroma = slice->sps->chroma != 0;
        (void) bits_ue(b);
        if (has_chroma)
            (void) bits_se(b);
        weights_skip(b, has_chroma, refs[0]);
        if (is_b)
            weights_skip(b, has_chroma, refs[1]);
    }
    (void) bits_ue(b);
}

static void
filters_skip(struct bits *b, const struct pps *pps, bool has_sao)
{
    bool is_off = pps->is_deblocking_off;
    (void) bits_se(b);
    if (pps->has_chroma_qp) {
        (void) bits_se(b);
        (void) bits_se(b);
    }
    if (pps->has_chroma_qp_list)
        (void) bits_flag(b);
    if (pps->has_deblocking_override && bits_flag(b)) {
        is_off = bits_flag(b);
        if (!is_off) {
            (void) bits_se(b);
            (void) bits_se(b);
        }
    }
    if (pps->is_filter_across && (has_sao || !is_off))
        (void) bits_flag(b);
}

static void
independent_skip(struct bits *b, struct slice *slice)
{
    const struct sps *sps = slice->sps;
    const struct pps *pps = slice->pps;
    bits_skip(b, pps->extra_bits);
    const uint32_t type = bits_ue(b);
    if (type > SLICE_I) {
        b->is_short = true;
        return;
    }
    slice->type = (enum slice_type) type;
    if (pps->has_output_flag)
        (void) bits_flag(b);
    if (sps->has_planes)
        (void) bits_u(b, 2);
    if (!slice->is_idr)
        order_parse(b, slice);
    bool has_sao = false;
    if (sps->has_sao) {
        has_sao = bits_flag(b);
        if (sps->chroma != 0 && bits_flag(b))
            has_sao = true;
    }
    if (slice->type != SLICE_I)
        references_skip(b, slice);
    filters_skip(b, pps, has_sao);
}

static void
header_end_skip(struct bits *b, const struct pps *pps)
{
    if (pps->has_entry_points) {
        const uint32_t count = bits_ue(b);
        if (count > 0) {
            const uint64_t bits = (uint64_t) bits_ue(b) + 1;
            bits_skip(b, bits > 32 ? UINT64_MAX : count * bits);
        }
    }
    if (pps->has_extension)
        bits_skip(b, 8 * (uint64_t) bits_ue(b));
    (void) bits_flag(b); /* the one and the zeros up to the next byte */
}

/* `b` is behind the NAL unit's header. */
static int
slice_header_skip(struct hevc_reader *reader, struct bits *b, unsigned type)
{
    const bool is_first = bits_flag(b);
    if (type >= 16 && type <= 23)
        (void) bits_flag(b);
    const uint32_t id = bits_ue(b);
    if (id >= PPS_MAX || !reader->pps[id].is_set
        || !reader->sps[reader->pps[id].sps].is_set)
        return ERR_INVALID;
    struct slice slice = {
        .pps = &reader->pps[id],
        .sps = &reader->sps[reader->pps[id].sps],
        .is_idr = type == 19 || type == 20,
    };
    bool is_dependent = false;
    if (!is_first) {
        is_dependent = slice.pps->has_dependent && bits_flag(b);
        (void) bits_u(b, bits_for(slice.sps->ctb_count));
    }
    if (!is_dependent)
        independent_skip(b, &slice);
    header_end_skip(b, slice.pps);
    return b->is_short ? ERR_TRUNCATED : 0;
}

/* ---- samples ---- */

static int
nal_read(struct nal_reader *self, struct bytes nal, size_t *clear)
{
    struct hevc_reader *reader = (struct hevc_reader *) self;
    if (nal.len < 2)
        return 0;
    struct bits b = bits_of(nal, true);
    const uint32_t header = bits_u(&b, 16);
    const unsigned type = header >> 9 & 63, layer = header >> 3 & 63;
    if (layer != 0)
        return 0;
    if (type <= 9 || (type >= 16 && type <= 21)) {
        const int err = slice_header_skip(reader, &b, type);
        if (err == 0)
            *clear = b.used;
        return err;
    }
    if (type == 33)
        return sps_parse(reader, &b);
    return type == 34 ? pps_parse(reader, &b) : 0;
}

/* hvcC, ISO/IEC 14496-15 §8.3.3.1 */
static int
config_read(struct nal_reader *reader, struct bytes config)
{
    struct cursor c = cursor_of(config);
    (void) cursor_bytes(&c, 21);
    reader->length_size = (cursor_u8(&c) & 3u) + 1;
    for (unsigned arrays = cursor_u8(&c); arrays > 0; arrays--) {
        (void) cursor_u8(&c);
        const int err = nal_sets_read(reader, &c, cursor_be16(&c));
        if (err != 0)
            return err;
    }
    return c.is_short ? ERR_TRUNCATED : 0;
}

int
hevc_reader_new(struct bytes config, struct subsample_reader **out)
{
    struct hevc_reader *reader = calloc(1, sizeof *reader);
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
