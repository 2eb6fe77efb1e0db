/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The sample entry of a track and the codecs text of RFC 6381 made from its
 * decoder configuration (ISO/IEC 14496-15 for AVC and HEVC, 14496-1 and -3 for
 * AAC).
 */

#include "media/mp4/box.h"

#include "core/err.h"
#include "media/track_record.h"

#include <stdio.h>

#define VISUAL_ENTRY_SIZE 78 /* bytes of fields before the child boxes */
#define AUDIO_ENTRY_SIZE 28

#define TAG_ES 3
#define TAG_DECODER_CONFIG 4
#define TAG_DECODER_SPECIFIC 5
#define OBJECT_TYPE_AAC 0x40

/* "avc1.640028": profile, constraints, level as they stand in avcC. */
static int
avc_codecs(const struct mp4_parse *parse, const struct box *avcc,
           const char *type, struct mp4_track *track)
{
    struct cursor c = cursor_of(avcc->body);
    const uint8_t version = cursor_u8(&c);
    const struct bytes profile = cursor_bytes(&c, 3);
    if (c.is_short)
        return box_fail(parse, avcc, ERR_TRUNCATED, "box is too small");
    if (version != 1)
        return box_fail(parse, avcc, ERR_UNSUPPORTED, "unknown version");
    snprintf(track->codecs, sizeof track->codecs, "%s.%02x%02x%02x", type,
             profile.ptr[0], profile.ptr[1], profile.ptr[2]);
    return 0;
}

static uint32_t
bits_reverse(uint32_t v)
{
    uint32_t r = 0;
    for (int i = 0; i < 32; i++)
        r |= (v >> i & 1) << (31 - i);
    return r;
}

/* "hvc1.1.6.L93.B0" (ISO/IEC 14496-15 Annex E): profile space and profile,
 * compatibility flags with the bits reversed, tier and level, constraint bytes
 * without the zeros at the end. */
static int
hevc_codecs(const struct mp4_parse *parse, const struct box *hvcc,
            const char *type, struct mp4_track *track)
{
    static const char *const spaces[] = {"", "A", "B", "C"};
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
                       type, spaces[profile >> 6], profile & 0x1fu,
                       bits_reverse(compatibility), profile & 0x20 ? 'H' : 'L',
                       level);
    size_t used = constraints.len;
    while (used > 0 && constraints.ptr[used - 1] == 0)
        used--;
    for (size_t i = 0; i < used; i++)
        len +=
            snprintf(track->codecs + len, sizeof track->codecs - (size_t) len,
                     ".%X", constraints.ptr[i]);
    return 0;
}

/* ---- AAC ---- */

/* A descriptor of ISO/IEC 14496-1 §8.3.3: tag, length in groups of 7 bits. */
static struct cursor
descriptor_take(struct cursor *c, uint8_t *tag)
{
    *tag = cursor_u8(c);
    uint32_t len = 0;
    for (int i = 0; i < 4; i++) {
        const uint8_t byte = cursor_u8(c);
        len = len << 7 | (byte & 0x7f);
        if ((byte & 0x80) == 0)
            break;
    }
    struct cursor inner = cursor_of(cursor_bytes(c, len));
    inner.is_short = c->is_short;
    return inner;
}

struct bit_reader {
    struct bytes bytes;
    size_t position;
};

/* 0 past the end: what lacks then is seen by its value. */
static uint32_t
bits_take(struct bit_reader *r, unsigned count)
{
    uint32_t v = 0;
    for (; count > 0; count--, r->position++) {
        const size_t byte = r->position / 8;
        const uint32_t bit =
            byte < r->bytes.len
                ? r->bytes.ptr[byte] >> (7 - r->position % 8) & 1u
                : 0;
        v = v << 1 | bit;
    }
    return v;
}

static uint32_t
sample_rate_take(struct bit_reader *r)
{
    static const uint32_t rates[] = {96000, 88200, 64000, 48000, 44100,
                                     32000, 24000, 22050, 16000, 12000,
                                     11025, 8000,  7350};
    const uint32_t index = bits_take(r, 4);
    if (index == 15)
        return bits_take(r, 24);
    return index < sizeof rates / sizeof rates[0] ? rates[index] : 0;
}

/* AudioSpecificConfig, ISO/IEC 14496-3 §1.6.2.1. The sample entry's own
 * fields are known to be wrong for more than two channels. */
static uint32_t
audio_config_parse(struct bytes config, struct mp4_track *track)
{
    static const uint8_t channels[] = {0, 1, 2, 3, 4, 5, 6, 8};
    struct bit_reader r = {config, 0};
    uint32_t object_type = bits_take(&r, 5);
    if (object_type == 31)
        object_type = 32 + bits_take(&r, 6);
    uint32_t rate = sample_rate_take(&r);
    const uint32_t layout = bits_take(&r, 4);
    if (object_type == 5 || object_type == 29) /* SBR, PS: the rate heard */
        rate = sample_rate_take(&r);
    if (rate != 0)
        track->sample_rate = rate;
    if (layout > 0 && layout < sizeof channels)
        track->channels = object_type == 29 ? 2 : channels[layout];
    return object_type;
}

static int
aac_codecs(const struct mp4_parse *parse, const struct box *esds,
           struct mp4_track *track)
{
    uint8_t version, tag;
    uint32_t box_flags;
    struct cursor c = full_box_cursor(esds, &version, &box_flags);
    struct cursor es = descriptor_take(&c, &tag);
    if (es.is_short || tag != TAG_ES)
        return box_fail(parse, esds, ERR_INVALID, "no ES descriptor");
    cursor_be16(&es); /* ES_ID */
    const uint8_t flags = cursor_u8(&es);
    if (flags & 0x80)
        cursor_be16(&es); /* dependsOn_ES_ID */
    if (flags & 0x40)
        cursor_bytes(&es, cursor_u8(&es)); /* URL */
    if (flags & 0x20)
        cursor_be16(&es); /* OCR_ES_ID */
    struct cursor decoder = descriptor_take(&es, &tag);
    const uint8_t object = cursor_u8(&decoder);
    if (decoder.is_short || tag != TAG_DECODER_CONFIG)
        return box_fail(parse, esds, ERR_INVALID,
                        "no decoder configuration descriptor");
    if (object != OBJECT_TYPE_AAC) {
        snprintf(track->codecs, sizeof track->codecs, "mp4a.%02x", object);
        return 0;
    }
    cursor_bytes(&decoder, 12); /* stream type, buffer size, bit rates */
    struct cursor specific = descriptor_take(&decoder, &tag);
    if (specific.is_short || tag != TAG_DECODER_SPECIFIC
        || specific.rest.len == 0)
        return box_fail(parse, esds, ERR_INVALID,
                        "no audio configuration descriptor");
    const uint32_t type = audio_config_parse(specific.rest, track);
    snprintf(track->codecs, sizeof track->codecs, "mp4a.40.%u", type);
    return 0;
}

/* ---- entries ---- */

static int
config_box_find(const struct mp4_parse *parse, const struct box *entry,
                size_t fields_size, uint32_t type, struct box *out)
{
    if (entry->body.len < fields_size)
        return box_fail(parse, entry, ERR_TRUNCATED,
                        "sample entry is too small");
    const struct box_want want = {type, out};
    const struct bytes children =
        bytes_of(entry->body.ptr + fields_size, entry->body.len - fields_size);
    const int err = boxes_collect(parse, entry, children, &want, 1);
    return err != 0 ? err : box_require(parse, entry, out, type);
}

static int
visual_entry_parse(const struct mp4_parse *parse, const struct box *entry,
                   bool is_avc, const char *type, struct mp4_track *track)
{
    struct box config;
    const int err = config_box_find(parse, entry, VISUAL_ENTRY_SIZE,
                                    is_avc ? BOX_TYPE('a', 'v', 'c', 'C')
                                           : BOX_TYPE('h', 'v', 'c', 'C'),
                                    &config);
    if (err != 0)
        return err;
    track->width = load_be16(entry->body.ptr + 24);
    track->height = load_be16(entry->body.ptr + 26);
    return is_avc ? avc_codecs(parse, &config, type, track)
                  : hevc_codecs(parse, &config, type, track);
}

static int
audio_entry_parse(const struct mp4_parse *parse, const struct box *entry,
                  struct mp4_track *track)
{
    if (entry->body.len >= AUDIO_ENTRY_SIZE
        && load_be16(entry->body.ptr + 8) != 0)
        return box_fail(parse, entry, ERR_UNSUPPORTED,
                        "sound description of QuickTime");
    struct box esds;
    const int err = config_box_find(parse, entry, AUDIO_ENTRY_SIZE,
                                    BOX_TYPE('e', 's', 'd', 's'), &esds);
    if (err != 0)
        return err;
    track->channels = load_be16(entry->body.ptr + 16);
    track->sample_rate = load_be16(entry->body.ptr + 24);
    return aac_codecs(parse, &esds, track);
}

static int
entry_parse(const struct mp4_parse *parse, const struct box *entry,
            struct mp4_track *track)
{
    if (track->kind == TRACK_AUDIO) {
        if (entry->type == BOX_TYPE('m', 'p', '4', 'a'))
            return audio_entry_parse(parse, entry, track);
        return box_fail(parse, entry, ERR_UNSUPPORTED,
                        "audio codec is not AAC");
    }
    switch (entry->type) {
    case BOX_TYPE('a', 'v', 'c', '1'):
        return visual_entry_parse(parse, entry, true, "avc1", track);
    case BOX_TYPE('a', 'v', 'c', '3'):
        return visual_entry_parse(parse, entry, true, "avc3", track);
    case BOX_TYPE('h', 'v', 'c', '1'):
        return visual_entry_parse(parse, entry, false, "hvc1", track);
    case BOX_TYPE('h', 'e', 'v', '1'):
        return visual_entry_parse(parse, entry, false, "hev1", track);
    default:
        return box_fail(parse, entry, ERR_UNSUPPORTED,
                        "video codec is not H.264 or HEVC");
    }
}

int
sample_entry_parse(const struct mp4_parse *parse, const struct box *stsd,
                   struct mp4_track *track)
{
    uint8_t version;
    uint32_t flags;
    struct cursor c = full_box_cursor(stsd, &version, &flags);
    const uint32_t count = cursor_be32(&c);
    if (c.is_short)
        return box_fail(parse, stsd, ERR_TRUNCATED, "box has no entry count");
    if (count != 1)
        return box_fail(parse, stsd, ERR_UNSUPPORTED,
                        "not exactly one sample entry");
    struct box entry;
    int err = box_next(parse, stsd, &c.rest, &entry);
    if (err != 0)
        return err;
    if (!box_is_there(&entry))
        return box_fail(parse, stsd, ERR_TRUNCATED, "sample entry is missing");
    if (entry.all.len > TRACK_SAMPLE_ENTRY_SIZE_MAX)
        return box_fail(parse, &entry, ERR_LIMIT, "sample entry is too large");
    /* it is copied into init segments, where only this form can stand */
    if (load_be32(entry.all.ptr) != entry.all.len)
        return box_fail(parse, &entry, ERR_UNSUPPORTED,
                        "sample entry with a long or open size");
    if ((err = entry_parse(parse, &entry, track)) != 0)
        return err;
    track->sample_entry = entry.all;
    return 0;
}
