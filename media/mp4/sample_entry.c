/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The sample entry of a track (ISO/IEC 14496-12 §8.5.2): what it holds for its
 * codec is read in codec_*.c. It goes into init segments, where only ISO's form
 * can stand, so that QuickTime's sound descriptions are written anew.
 */

#include "media/mp4/codec.h"

#include "core/err.h"
#include "media/track_record.h"

#include <stdlib.h>

#define VISUAL_ENTRY_SIZE 78 /* bytes of fields before the child boxes */
#define AUDIO_ENTRY_SIZE 28
#define AUDIO_ENTRY_SIZE_1 44 /* QuickTime's sound description, version 1 */
#define AUDIO_ENTRY_SIZE_2 64

#define BOX_HEADER_SIZE 8
#define ESDS BOX_TYPE('e', 's', 'd', 's')
#define MP3 BOX_TYPE('.', 'm', 'p', '3')
#define MP4A BOX_TYPE('m', 'p', '4', 'a')
#define WAVE BOX_TYPE('w', 'a', 'v', 'e')

static int
children_of(const struct mp4_parse *parse, const struct box *entry,
            size_t fields_size, struct bytes *out)
{
    if (entry->body.len < fields_size)
        return box_fail(parse, entry, ERR_TRUNCATED,
                        "sample entry is too small");
    *out =
        bytes_of(entry->body.ptr + fields_size, entry->body.len - fields_size);
    return 0;
}

/* ---- video ---- */

/* nclx, or QuickTime's nclc; there may be others, of profiles. */
static void
colr_parse(const struct box *colr, struct colour *out)
{
    struct cursor c = cursor_of(colr->body);
    const uint32_t type = cursor_be32(&c);
    struct colour colour = {.is_known = true};
    colour.primaries = cursor_be16(&c);
    colour.transfer = cursor_be16(&c);
    colour.matrix = cursor_be16(&c);
    if (type == BOX_TYPE('n', 'c', 'l', 'x'))
        colour.is_full_range = cursor_u8(&c) >> 7;
    else if (type != BOX_TYPE('n', 'c', 'l', 'c'))
        return;
    if (!c.is_short && !out->is_known && colour.primaries < 256
        && colour.transfer < 256 && colour.matrix < 256)
        *out = colour;
}

static int
colour_find(const struct mp4_parse *parse, const struct box *entry,
            struct bytes children, struct colour *out)
{
    for (;;) {
        struct box box;
        const int err = box_next(parse, entry, &children, &box);
        if (err != 0 || !box_is_there(&box))
            return err;
        if (box.type == BOX_TYPE('c', 'o', 'l', 'r'))
            colr_parse(&box, out);
    }
}

static enum video_range
range_of(const struct colour *colour)
{
    if (!colour->is_known || colour->transfer == COLOUR_UNSPECIFIED)
        return VIDEO_RANGE_UNKNOWN;
    return colour->transfer == 16   ? VIDEO_RANGE_PQ
           : colour->transfer == 18 ? VIDEO_RANGE_HLG
                                    : VIDEO_RANGE_SDR;
}

static int
visual_entry_parse(const struct mp4_parse *parse, const struct box *entry,
                   struct mp4_track *track)
{
    const uint32_t type = video_config_type(entry->type);
    if (type == 0)
        return box_fail(parse, entry, ERR_UNSUPPORTED,
                        "video codec is not H.264, HEVC, AV1 or VP9");
    struct bytes children;
    struct box config;
    struct colour colour = {0};
    const struct box_want want = {type, &config};
    int err;
    if ((err = children_of(parse, entry, VISUAL_ENTRY_SIZE, &children)) != 0
        || (err = boxes_collect(parse, entry, children, &want, 1)) != 0
        || (err = box_require(parse, entry, &config, type)) != 0
        || (err = colour_find(parse, entry, children, &colour)) != 0)
        return err;
    track->width = load_be16(entry->body.ptr + 24);
    track->height = load_be16(entry->body.ptr + 26);
    err = video_config_parse(parse, entry, &config, &colour, track);
    track->video_range = range_of(&colour);
    return err;
}

/* ---- audio ---- */

/* Channels and rate, before the configuration says better, and where the child
 * boxes start. Version 1 of ISO (only in an stsd of version 1) is as version
 * 0. */
static int
audio_fields_parse(const struct mp4_parse *parse, const struct box *entry,
                   uint8_t stsd_version, size_t *fields_size,
                   struct mp4_track *track)
{
    const uint8_t *p = entry->body.ptr;
    if (entry->body.len < AUDIO_ENTRY_SIZE)
        return box_fail(parse, entry, ERR_TRUNCATED,
                        "sample entry is too small");
    const uint32_t version = stsd_version != 0 ? 0 : load_be16(p + 8);
    track->channels = load_be16(p + 16);
    track->sample_rate = load_be16(p + 24);
    *fields_size = version == 0   ? AUDIO_ENTRY_SIZE
                   : version == 1 ? AUDIO_ENTRY_SIZE_1
                                  : AUDIO_ENTRY_SIZE_2;
    if (version > 2)
        return box_fail(parse, entry, ERR_UNSUPPORTED,
                        "unknown version of a sound description");
    if (version < 2)
        return 0;
    if (entry->body.len < AUDIO_ENTRY_SIZE_2)
        return box_fail(parse, entry, ERR_TRUNCATED,
                        "sample entry is too small");
    const uint64_t bits = load_be64(p + 32);
    double rate;
    memcpy(&rate, &bits, sizeof rate);
    track->sample_rate = rate >= 1 && rate < 1e6 ? (uint32_t) rate : 0;
    track->channels = load_be32(p + 40);
    if (track->channels > 255)
        return box_fail(parse, entry, ERR_INVALID, "absurd channel count");
    return 0;
}

/* Beside the fields, or inside QuickTime's wave. */
static int
audio_config_find(const struct mp4_parse *parse, const struct box *entry,
                  struct bytes children, uint32_t type, struct box *out,
                  bool *is_in_wave)
{
    struct box wave;
    const struct box_want wants[] = {{type, out}, {WAVE, &wave}};
    int err = boxes_collect(parse, entry, children, wants, 2);
    *is_in_wave = err == 0 && !box_is_there(out) && box_is_there(&wave);
    if (*is_in_wave)
        err = boxes_collect(parse, &wave, wave.body, wants, 1);
    return err != 0 ? err : box_require(parse, entry, out, type);
}

/* ISO's form of version 0, with the configuration and nothing else. */
static int
audio_entry_write(const struct mp4_parse *parse, const struct box *entry,
                  uint32_t type, struct bytes config, struct mp4_track *track)
{
    const size_t size = BOX_HEADER_SIZE + AUDIO_ENTRY_SIZE + config.len;
    if (size > TRACK_SAMPLE_ENTRY_SIZE_MAX)
        return box_fail(parse, entry, ERR_LIMIT, "sample entry is too large");
    uint8_t *p = calloc(1, size);
    if (p == NULL)
        return box_fail(parse, entry, ERR_MEMORY, "out of memory");
    store_be32(p, (uint32_t) size);
    store_be32(p + 4, type);
    p[15] = 1; /* data reference */
    p[25] = (uint8_t) track->channels;
    p[27] = 16; /* bits a sample */
    if (track->sample_rate <= UINT16_MAX)
        store_be32(p + 32, track->sample_rate << 16);
    memcpy(p + BOX_HEADER_SIZE + AUDIO_ENTRY_SIZE, config.ptr, config.len);
    track->entry_memory = p;
    track->sample_entry = bytes_of(p, size);
    return 0;
}

/* QuickTime's .mp3 has no configuration; in MP4 it is mp4a with one that says
 * so. */
static int
mp3_entry_write(const struct mp4_parse *parse, const struct box *entry,
                struct mp4_track *track)
{
    uint8_t esds[12 + 5 + 15 + 3] = {
        0, 0,  0,    sizeof esds, 'e', 's', 'd', 's', 0, 0, 0, 0, /* */
        3, 21, 0,    1,           0,                              /* ES */
        4, 13, 0x6b, 0x15,        0,   0,   0,   0,   0, 0, 0, 0,
        0, 0,  0, /* decoder */
        6, 1,  2};
    if (track->sample_rate < 32000) /* MPEG-2's lower rates */
        esds[19] = 0x69;
    memcpy(track->codecs, "mp4a.40.34", sizeof "mp4a.40.34");
    return audio_entry_write(parse, entry, MP4A, bytes_of(esds, sizeof esds),
                             track);
}

static int
audio_entry_parse(const struct mp4_parse *parse, const struct box *entry,
                  uint8_t stsd_version, struct mp4_track *track)
{
    const uint32_t type = audio_config_type(entry->type);
    if (type == 0 && entry->type != MP3)
        return box_fail(parse, entry, ERR_UNSUPPORTED,
                        "audio codec is not AAC, MP3, AC-3, E-AC-3, Opus or "
                        "FLAC");
    struct bytes children;
    struct box config;
    size_t fields_size = 0;
    bool is_in_wave;
    int err =
        audio_fields_parse(parse, entry, stsd_version, &fields_size, track);
    if (err != 0)
        return err;
    if (entry->type == MP3)
        return mp3_entry_write(parse, entry, track);
    if ((err = children_of(parse, entry, fields_size, &children)) != 0
        || (err = audio_config_find(parse, entry, children, type, &config,
                                    &is_in_wave))
               != 0
        || (err = audio_config_parse(parse, &config, track)) != 0)
        return err;
    if (load_be16(entry->body.ptr + 8) == 0 && !is_in_wave)
        return 0;
    return audio_entry_write(parse, entry, entry->type, config.all, track);
}

/* ---- text ---- */

#define TX3G_FIELDS_SIZE 38         /* bytes */
#define TX3G_ALL_FORCED 0x80000000u /* as QuickTime has it */

static int
text_entry_parse(const struct mp4_parse *parse, const struct box *entry,
                 struct mp4_track *track)
{
    struct bytes children;
    struct box config;
    const uint32_t type = BOX_TYPE('v', 't', 't', 'C');
    const struct box_want want = {type, &config};
    int err;
    track->entry_offset = entry->offset;
    if (entry->type == TEXT_TX3G) {
        if ((err = children_of(parse, entry, TX3G_FIELDS_SIZE, &children)) != 0)
            return err;
        const uint32_t flags = load_be32(entry->body.ptr + TEXT_ENTRY_SIZE);
        track->is_forced = flags & TX3G_ALL_FORCED;
        memcpy(track->codecs, "tx3g", sizeof "tx3g");
        return 0;
    }
    memcpy(track->codecs, "wvtt", sizeof "wvtt");
    if ((err = children_of(parse, entry, TEXT_ENTRY_SIZE, &children)) != 0
        || (err = boxes_collect(parse, entry, children, &want, 1)) != 0)
        return err;
    return box_require(parse, entry, &config, type);
}

/* ---- either ---- */

static int
entry_parse(const struct mp4_parse *parse, const struct box *entry,
            uint8_t stsd_version, struct mp4_track *track)
{
    if (entry->type == BOX_TYPE('e', 'n', 'c', 'v')
        || entry->type == BOX_TYPE('e', 'n', 'c', 'a'))
        return box_fail(parse, entry, ERR_UNSUPPORTED, "track is encrypted");
    /* it is copied into init segments, where only this form can stand */
    if (load_be32(entry->all.ptr) != entry->all.len)
        return box_fail(parse, entry, ERR_UNSUPPORTED,
                        "sample entry with a long or open size");
    track->sample_entry = entry->all;
    if (track->kind == TRACK_TEXT)
        return text_entry_parse(parse, entry, track);
    return track->kind == TRACK_AUDIO
               ? audio_entry_parse(parse, entry, stsd_version, track)
               : visual_entry_parse(parse, entry, track);
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
    if (count != 1 && (track->kind != TRACK_TEXT || count == 0))
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
    return entry_parse(parse, &entry, version, track);
}
