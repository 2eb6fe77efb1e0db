/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Configurations of video: AVC and HEVC (ISO/IEC 14496-15), AV1 ("AV1 Codec ISO
 * Media File Format Binding"), VP9 ("VP Codec ISO Media File Format Binding").
 */

#include "media/mp4/codec.h"

#include "core/err.h"

#include <stdio.h>

#define NAL_AVC_SPS 7
#define NAL_HEVC_SPS 33

static const struct colour colour_default = {true, 1, 1, 1, false};

static const char *
type_text(const struct box *box, char out[5])
{
    store_be32(out, box->type);
    out[4] = 0;
    return out;
}

/* ---- AVC ---- */

/* "avc1.640028": profile, constraints, level as they stand in avcC. */
static int
avc_parse(const struct mp4_parse *parse, const struct box *entry,
          const struct box *avcc, struct colour *colour,
          struct mp4_track *track)
{
    char type[5];
    struct cursor c = cursor_of(avcc->body);
    const uint8_t version = cursor_u8(&c);
    const struct bytes profile = cursor_bytes(&c, 3);
    if (c.is_short)
        return box_fail(parse, avcc, ERR_TRUNCATED, "box is too small");
    if (version != 1)
        return box_fail(parse, avcc, ERR_UNSUPPORTED, "unknown version");
    snprintf(track->codecs, sizeof track->codecs, "%s.%02x%02x%02x",
             type_text(entry, type), profile.ptr[0], profile.ptr[1],
             profile.ptr[2]);
    cursor_u8(&c); /* length size */
    const uint32_t count = cursor_u8(&c) & 0x1f;
    const struct bytes sps = cursor_bytes(&c, cursor_be16(&c));
    if (!colour->is_known && count > 0 && sps.len > 0
        && (sps.ptr[0] & 0x1f) == NAL_AVC_SPS)
        avc_sps_colour(sps, colour);
    return 0;
}

/* ---- HEVC ---- */

static uint32_t
bits_reverse(uint32_t v)
{
    uint32_t r = 0;
    for (int i = 0; i < 32; i++)
        r |= (v >> i & 1) << (31 - i);
    return r;
}

/* The arrays of parameter sets behind the fields of hvcC. */
static struct bytes
hevc_sps_find(struct cursor c)
{
    cursor_bytes(&c, 9); /* parallelism, formats, depths, rates, length size */
    for (uint32_t arrays = cursor_u8(&c); arrays > 0 && !c.is_short; arrays--) {
        const uint8_t type = cursor_u8(&c) & 0x3f;
        const uint32_t count = cursor_be16(&c);
        for (uint32_t i = 0; i < count && !c.is_short; i++) {
            const struct bytes nal = cursor_bytes(&c, cursor_be16(&c));
            if (type == NAL_HEVC_SPS && nal.len > 0)
                return nal;
        }
    }
    return bytes_of(NULL, 0);
}

/* "hvc1.1.6.L93.B0" (ISO/IEC 14496-15 Annex E): profile space and profile,
 * compatibility flags with the bits reversed, tier and level, constraint bytes
 * without the zeros at the end. */
static int
hevc_parse(const struct mp4_parse *parse, const struct box *entry,
           const struct box *hvcc, struct colour *colour,
           struct mp4_track *track)
{
    static const char *const spaces[] = {"", "A", "B", "C"};
    char type[5];
    struct cursor c = cursor_of(hvcc->body);
    const uint8_t version = cursor_u8(&c);
    const uint8_t profile = cursor_u8(&c);
    const uint32_t compatibility = cursor_be32(&c);
    const struct bytes constraints = cursor_bytes(&c, 6);
    const uint8_t level = cursor_u8(&c);
    if (c.is_short)
        return box_fail(parse, hvcc, ERR_TRUNCATED, "box is too small");
    if (version != 1)
        return box_fail(parse, hvcc, ERR_UNSUPPORTED, "unknown version");
    int len = snprintf(track->codecs, sizeof track->codecs, "%s.%s%u.%X.%c%u",
                       type_text(entry, type), spaces[profile >> 6],
                       profile & 0x1fu, bits_reverse(compatibility),
                       profile & 0x20 ? 'H' : 'L', level);
    size_t used = constraints.len;
    while (used > 0 && constraints.ptr[used - 1] == 0)
        used--;
    for (size_t i = 0; i < used; i++)
        len +=
            snprintf(track->codecs + len, sizeof track->codecs - (size_t) len,
                     ".%X", constraints.ptr[i]);
    const struct bytes sps = hevc_sps_find(c);
    if (!colour->is_known && sps.len > 0)
        hevc_sps_colour(sps, colour);
    return 0;
}

/* ---- AV1 and VP9 ---- */

/* The optional fields are there all or not at all: only where one of them is
 * not what a player would take it for. */
static bool
colour_is_default(const struct colour *c)
{
    return !c->is_known
           || ((c->primaries == colour_default.primaries
                || c->primaries == COLOUR_UNSPECIFIED)
               && (c->transfer == colour_default.transfer
                   || c->transfer == COLOUR_UNSPECIFIED)
               && (c->matrix == colour_default.matrix
                   || c->matrix == COLOUR_UNSPECIFIED)
               && !c->is_full_range);
}

/* "av01.0.04M.08", "av01.0.13M.10.0.110.09.16.09.0". */
static int
av1_parse(const struct mp4_parse *parse, const struct box *av1c,
          const struct colour *known, struct mp4_track *track)
{
    struct bit_reader r = {.bytes = av1c->body};
    const uint32_t marker_version = bits_take(&r, 8);
    const uint32_t profile = bits_take(&r, 3);
    const uint32_t level = bits_take(&r, 5);
    const bool is_high_tier = bits_take(&r, 1);
    const bool is_high_depth = bits_take(&r, 1);
    const bool is_twelve_bit = bits_take(&r, 1);
    const uint32_t monochrome = bits_take(&r, 1);
    const uint32_t subsampling_x = bits_take(&r, 1);
    const uint32_t subsampling_y = bits_take(&r, 1);
    const uint32_t position = bits_take(&r, 2);
    bits_take(&r, 8); /* presentation delay */
    if (r.is_short)
        return box_fail(parse, av1c, ERR_TRUNCATED, "box is too small");
    if (marker_version != 0x81)
        return box_fail(parse, av1c, ERR_UNSUPPORTED, "unknown version");
    const uint32_t depth = !is_high_depth ? 8 : is_twelve_bit ? 12 : 10;
    const int len =
        snprintf(track->codecs, sizeof track->codecs, "av01.%u.%02u%c.%02u",
                 profile, level, is_high_tier ? 'H' : 'M', depth);
    const bool is_420 = subsampling_x == 1 && subsampling_y == 1;
    const struct colour c = known->is_known ? *known : colour_default;
    if (colour_is_default(&c) && monochrome == 0 && is_420)
        return 0;
    snprintf(track->codecs + len, sizeof track->codecs - (size_t) len,
             ".%u.%u%u%u.%02u.%02u.%02u.%u", monochrome, subsampling_x,
             subsampling_y, is_420 ? position : 0, c.primaries, c.transfer,
             c.matrix, c.is_full_range);
    return 0;
}

/* "vp09.00.31.08", "vp09.02.51.10.01.09.16.09.00". */
static int
vp9_parse(const struct mp4_parse *parse, const struct box *vpcc,
          struct colour *colour, struct mp4_track *track)
{
    uint8_t version;
    uint32_t flags;
    struct cursor c = full_box_cursor(vpcc, &version, &flags);
    const uint8_t profile = cursor_u8(&c);
    const uint8_t level = cursor_u8(&c);
    const uint8_t packed = cursor_u8(&c);
    struct colour said = {.is_known = true};
    said.primaries = cursor_u8(&c);
    said.transfer = cursor_u8(&c);
    said.matrix = cursor_u8(&c);
    said.is_full_range = packed & 1;
    if (c.is_short)
        return box_fail(parse, vpcc, ERR_TRUNCATED, "box is too small");
    if (version != 1)
        return box_fail(parse, vpcc, ERR_UNSUPPORTED, "unknown version");
    if (!colour->is_known)
        *colour = said;
    const uint32_t chroma = packed >> 1 & 7;
    const int len =
        snprintf(track->codecs, sizeof track->codecs, "vp09.%02u.%02u.%02u",
                 profile, level, packed >> 4);
    if (!colour_is_default(&said) || chroma > 1)
        snprintf(track->codecs + len, sizeof track->codecs - (size_t) len,
                 ".%02u.%02u.%02u.%02u.%02u", chroma, said.primaries,
                 said.transfer, said.matrix, said.is_full_range);
    return 0;
}

/* ---- by type ---- */

uint32_t
video_config_type(uint32_t entry_type)
{
    switch (entry_type) {
    case BOX_TYPE('a', 'v', 'c', '1'):
    case BOX_TYPE('a', 'v', 'c', '3'):
        return BOX_TYPE('a', 'v', 'c', 'C');
    case BOX_TYPE('h', 'v', 'c', '1'):
    case BOX_TYPE('h', 'e', 'v', '1'):
        return BOX_TYPE('h', 'v', 'c', 'C');
    case BOX_TYPE('a', 'v', '0', '1'):
        return BOX_TYPE('a', 'v', '1', 'C');
    case BOX_TYPE('v', 'p', '0', '9'):
        return BOX_TYPE('v', 'p', 'c', 'C');
    default:
        return 0;
    }
}

int
video_config_parse(const struct mp4_parse *parse, const struct box *entry,
                   const struct box *config, struct colour *colour,
                   struct mp4_track *track)
{
    switch (config->type) {
    case BOX_TYPE('a', 'v', 'c', 'C'):
        return avc_parse(parse, entry, config, colour, track);
    case BOX_TYPE('h', 'v', 'c', 'C'):
        return hevc_parse(parse, entry, config, colour, track);
    case BOX_TYPE('a', 'v', '1', 'C'):
        return av1_parse(parse, config, colour, track);
    default:
        return vp9_parse(parse, config, colour, track);
    }
}
