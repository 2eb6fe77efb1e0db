/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Reads what a transport stream needs out of a sample entry (ISO/IEC 14496-15
 * for H.264 and HEVC, 14496-1 and -3 for AAC). The stream types are those of
 * ISO/IEC 13818-1 and, for AC-3 and E-AC-3, of ATSC A/53 and HLS.
 */

#include "media/ts/ts_codec.h"

#include "core/err.h"
#include "media/cursor.h"
#include "media/esds.h"

#define TYPE(a, b, c, d)                                               \
    ((uint32_t) (a) << 24 | (uint32_t) (b) << 16 | (uint32_t) (c) << 8 \
     | (uint32_t) (d))

#define VISUAL_ENTRY_SIZE 78 /* bytes of fields before the child boxes */
#define AUDIO_ENTRY_SIZE 28

#define STREAM_ID_VIDEO 0xe0
#define STREAM_ID_AUDIO 0xc0
#define STREAM_ID_PRIVATE 0xbd

/* An audio PES packet says its size in 16 bits. */
#define AUDIO_SAMPLE_SIZE_MAX 60000u
#define ADTS_FRAME_SIZE_MAX 0x1fffu

/* The body of the first child of that type. */
static int
child_find(struct bytes children, uint32_t type, struct bytes *out)
{
    struct cursor c = cursor_of(children);
    while (c.rest.len > 0) {
        const uint32_t size = cursor_be32(&c);
        const uint32_t found = cursor_be32(&c);
        if (c.is_short || size < 8)
            return ERR_TRUNCATED;
        const struct bytes body = cursor_bytes(&c, size - 8);
        if (c.is_short)
            return ERR_TRUNCATED;
        if (found == type) {
            *out = body;
            return 0;
        }
    }
    return ERR_INVALID;
}

/* ---- H.264 and HEVC ---- */

static void
parameter_append(struct buffer *out, struct bytes unit)
{
    buffer_append_be32(out, 1);
    buffer_append_bytes(out, unit);
}

/* `count` times a 16-bit size and a NAL unit; those not `wanted` are passed
 * over. */
static void
units_take(struct cursor *c, unsigned count, bool is_wanted, struct buffer *out)
{
    for (; count > 0; count--) {
        const struct bytes unit = cursor_bytes(c, cursor_be16(c));
        if (is_wanted && !c->is_short && unit.len > 0)
            parameter_append(out, unit);
    }
}

static int
length_size_set(struct ts_codec *codec, unsigned size)
{
    if (size < 3)
        return ERR_UNSUPPORTED; /* a start code has no room in it */
    codec->length_size = (uint8_t) size;
    codec->sample_size_min = size + 1;
    return 0;
}

static int
avc_open(struct bytes children, struct ts_codec *out, struct buffer *parameters)
{
    static const uint8_t aud[] = {0, 0, 0, 1, 0x09, 0xf0};
    struct bytes avcc;
    int err = child_find(children, TYPE('a', 'v', 'c', 'C'), &avcc);
    if (err != 0)
        return err;
    struct cursor c = cursor_of(avcc);
    cursor_bytes(&c, 4); /* version, profile, constraints, level */
    const unsigned length_size = (cursor_u8(&c) & 3u) + 1;
    units_take(&c, cursor_u8(&c) & 0x1fu, true, parameters); /* SPS */
    units_take(&c, cursor_u8(&c), true, parameters);         /* PPS */
    if (c.is_short)
        return ERR_TRUNCATED;
    out->stream_type = 0x1b;
    out->aud_type = 9;
    out->type_mask = 0x1f;
    out->aud_size = sizeof aud;
    memcpy(out->aud, aud, sizeof aud);
    return length_size_set(out, length_size);
}

static int
hevc_open(struct bytes children, struct ts_codec *out,
          struct buffer *parameters)
{
    static const uint8_t aud[] = {0, 0, 0, 1, 0x46, 0x01, 0x50};
    struct bytes hvcc;
    int err = child_find(children, TYPE('h', 'v', 'c', 'C'), &hvcc);
    if (err != 0)
        return err;
    struct cursor c = cursor_of(hvcc);
    cursor_bytes(&c, 21); /* profile, tier, level and the like */
    const unsigned length_size = (cursor_u8(&c) & 3u) + 1;
    for (unsigned arrays = cursor_u8(&c); arrays > 0; arrays--) {
        const unsigned type = cursor_u8(&c) & 0x3fu;
        const bool is_parameter = type >= 32 && type <= 34; /* VPS SPS PPS */
        units_take(&c, cursor_be16(&c), is_parameter, parameters);
        if (c.is_short)
            return ERR_TRUNCATED;
    }
    if (c.is_short)
        return ERR_TRUNCATED;
    out->stream_type = 0x24;
    out->registration = "HEVC";
    out->aud_type = 35;
    out->type_shift = 1;
    out->type_mask = 0x3f;
    out->aud_size = sizeof aud;
    memcpy(out->aud, aud, sizeof aud);
    return length_size_set(out, length_size);
}

static int
video_open(uint32_t type, struct bytes children, struct ts_codec *out,
           struct buffer *parameters)
{
    out->stream_id = STREAM_ID_VIDEO;
    out->sample_size_max = UINT32_MAX;
    switch (type) {
    case TYPE('a', 'v', 'c', '1'):
    case TYPE('a', 'v', 'c', '3'):
        return avc_open(children, out, parameters);
    case TYPE('h', 'v', 'c', '1'):
    case TYPE('h', 'e', 'v', '1'):
        return hevc_open(children, out, parameters);
    default:
        return ERR_UNSUPPORTED;
    }
}

/* ---- AAC ---- */

/* 0 behind the end. */
static uint32_t
config_bits(struct bytes config, size_t at, unsigned count)
{
    uint32_t bits = 0;
    for (size_t i = at; i < at + count; i++) {
        const uint32_t byte = i / 8 < config.len ? config.ptr[i / 8] : 0;
        bits = bits << 1 | (byte >> (7 - i % 8) & 1);
    }
    return bits;
}

/* The frame's fixed fields from AudioSpecificConfig (ISO/IEC 14496-3 §1.6.2.1).
 * With SBR signalled first (HE-AAC) that says the rate of the core, which is
 * what ADTS says, too; a decoder finds the SBR in the frames. */
static int
adts_open(struct bytes config, struct ts_codec *out)
{
    uint32_t object_type = config_bits(config, 0, 5);
    const uint32_t rate_index = config_bits(config, 5, 4);
    const uint32_t channels = config_bits(config, 9, 4);
    size_t at = 13;
    if (object_type == 5 || object_type == 29) {
        at += config_bits(config, at, 4) == 15 ? 4 + 24 : 4; /* rate heard */
        object_type = config_bits(config, at, 5);
        at += 5;
    }
    if (at >= config.len * 8)
        return ERR_TRUNCATED;
    const bool has_short_frames = config_bits(config, at, 1) == 1; /* of 960 */
    /* without one of the rates and layouts of the table a frame would have to
     * say more than its header can */
    if (object_type < 1 || object_type > 4 || rate_index > 12 || channels < 1
        || channels > 7 || has_short_frames)
        return ERR_UNSUPPORTED;
    out->adts[0] = 0xff;
    out->adts[1] = 0xf1; /* MPEG-4, no checksum */
    out->adts[2] =
        (uint8_t) ((object_type - 1) << 6 | rate_index << 2 | channels >> 2);
    out->adts[3] = (uint8_t) (channels << 6);
    out->adts[5] = 0x1f; /* fullness: a variable rate */
    out->adts[6] = 0xfc;
    out->frame_header_size = TS_ADTS_SIZE;
    out->sample_size_max = ADTS_FRAME_SIZE_MAX - TS_ADTS_SIZE;
    out->stream_type = 0x0f;
    return 0;
}

void
ts_adts_write(const struct ts_codec *codec, uint32_t size,
              uint8_t out[TS_ADTS_SIZE])
{
    const uint32_t len = size + TS_ADTS_SIZE;
    memcpy(out, codec->adts, TS_ADTS_SIZE);
    out[3] |= (uint8_t) (len >> 11);
    out[4] = (uint8_t) (len >> 3);
    out[5] |= (uint8_t) (len << 5);
}

static void
mpeg_audio_set(const struct track_info *info, struct ts_codec *out)
{
    /* MPEG-2 is the one with half the rates */
    out->stream_type = info->sample_rate < 32000 ? 0x04 : 0x03;
}

static int
mpeg4_audio_open(const struct track_info *info, struct bytes children,
                 struct ts_codec *out)
{
    struct bytes box;
    struct esds esds;
    int err = child_find(children, TYPE('e', 's', 'd', 's'), &box);
    if (err != 0)
        return err;
    struct cursor c = cursor_of(box);
    cursor_be32(&c); /* version, flags */
    if ((err = esds_parse(c.rest, &esds)) != 0)
        return err;
    switch (esds.object) {
    case ESDS_OBJECT_MPEG2_MP3:
    case ESDS_OBJECT_MP3:
        mpeg_audio_set(info, out);
        return 0;
    case ESDS_OBJECT_AAC:
        return adts_open(esds.config, out);
    default:
        return ERR_UNSUPPORTED;
    }
}

static int
audio_open(const struct track_info *info, uint32_t type, struct bytes children,
           struct ts_codec *out)
{
    out->sample_size_min = 2;
    out->sample_size_max = AUDIO_SAMPLE_SIZE_MAX;
    out->stream_id = STREAM_ID_AUDIO;
    switch (type) {
    case TYPE('m', 'p', '4', 'a'):
        return mpeg4_audio_open(info, children, out);
    case TYPE('.', 'm', 'p', '3'):
        mpeg_audio_set(info, out);
        return 0;
    case TYPE('a', 'c', '-', '3'):
        out->stream_type = 0x81;
        out->stream_id = STREAM_ID_PRIVATE;
        out->registration = "AC-3";
        return 0;
    case TYPE('e', 'c', '-', '3'):
        out->stream_type = 0x87;
        out->stream_id = STREAM_ID_PRIVATE;
        out->registration = "EAC3";
        return 0;
    default:
        return ERR_UNSUPPORTED;
    }
}

int
ts_codec_open(const struct track_info *info, struct ts_codec *out,
              struct buffer *parameters)
{
    const bool is_video = info->kind == TRACK_VIDEO;
    struct ts_codec codec = {0};
    struct cursor c = cursor_of(info->sample_entry);
    cursor_be32(&c); /* size: that of the bytes */
    const uint32_t type = cursor_be32(&c);
    cursor_bytes(&c, is_video ? VISUAL_ENTRY_SIZE : AUDIO_ENTRY_SIZE);
    if (c.is_short)
        return ERR_TRUNCATED;
    int err = is_video ? video_open(type, c.rest, &codec, parameters)
                       : audio_open(info, type, c.rest, &codec);
    if (err == 0)
        err = parameters->err;
    if (err == 0)
        *out = codec;
    return err;
}
