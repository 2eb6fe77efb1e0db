/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Configurations of sound: AAC and MP3 in esds (ISO/IEC 14496-1, 14496-3),
 * AC-3 and E-AC-3 (ETSI TS 102 366 Annex F), Opus ("Encapsulation of Opus in
 * ISO Base Media File Format"), FLAC ("Encapsulation of FLAC in ISO Base Media
 * File Format"). A sample entry's own fields are known to be wrong for more
 * than two channels and for rates over 65,535 Hz.
 */

#include "media/mp4/codec.h"

#include "core/err.h"
#include "media/esds.h"

#include <stdio.h>

#define AUDIO_MAIN 1
#define AUDIO_LC 2
#define AUDIO_LTP 4
#define AUDIO_SBR 5
#define AUDIO_PS 29

/* ---- AAC ---- */

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

static uint32_t
object_type_take(struct bit_reader *r)
{
    const uint32_t type = bits_take(r, 5);
    return type == 31 ? 32 + bits_take(r, 6) : type;
}

/* HE-AAC that a decoder of AAC-LC plays at half the rate: it is said behind
 * the configuration that this one reads (§1.6.6.1). */
static uint32_t
extension_take(struct bit_reader *r, uint32_t type, uint32_t *rate)
{
    bits_take(r, 1);          /* frame length */
    if (bits_take(r, 1) == 1) /* depends on a core coder */
        bits_take(r, 14);
    bits_take(r, 1);
    if (bits_take(r, 11) != 0x2b7 || object_type_take(r) != AUDIO_SBR
        || bits_take(r, 1) == 0)
        return type;
    const uint32_t extended = sample_rate_take(r);
    if (r->is_short)
        return type;
    if (extended != 0)
        *rate = extended;
    return bits_take(r, 11) == 0x548 && bits_take(r, 1) == 1 && !r->is_short
               ? AUDIO_PS
               : AUDIO_SBR;
}

/* AudioSpecificConfig, ISO/IEC 14496-3 §1.6.2.1. What only the samples tell,
 * that there is SBR in them, is not seen. */
static uint32_t
aac_config_parse(struct bytes config, struct mp4_track *track)
{
    static const uint8_t channels[] = {0, 1, 2, 3, 4, 5,  6, 8,
                                       0, 0, 0, 7, 8, 24, 8};
    struct bit_reader r = {.bytes = config};
    uint32_t type = object_type_take(&r);
    uint32_t rate = sample_rate_take(&r);
    const uint32_t layout = bits_take(&r, 4);
    if (type == AUDIO_SBR || type == AUDIO_PS) /* the rate heard */
        rate = sample_rate_take(&r);
    else if (type >= AUDIO_MAIN && type <= AUDIO_LTP && layout != 0)
        type = extension_take(&r, type, &rate);
    if (rate != 0)
        track->sample_rate = rate;
    if (layout < sizeof channels && channels[layout] != 0)
        track->channels = channels[layout];
    if (type == AUDIO_PS) /* one channel made two */
        track->channels = 2;
    return type;
}

static int
mp4a_parse(const struct mp4_parse *parse, const struct box *box,
           struct mp4_track *track)
{
    uint8_t version;
    uint32_t flags;
    struct esds esds;
    if (esds_parse(full_box_cursor(box, &version, &flags).rest, &esds) != 0)
        return box_fail(parse, box, ERR_INVALID,
                        "no decoder configuration descriptor");
    const uint8_t object = esds.object;
    if (object == ESDS_OBJECT_MP3 || object == ESDS_OBJECT_MPEG2_MP3)
        snprintf(track->codecs, sizeof track->codecs, "mp4a.40.34");
    else
        snprintf(track->codecs, sizeof track->codecs, "mp4a.%02X", object);
    if (object != ESDS_OBJECT_AAC
        && (object < ESDS_OBJECT_MPEG2_AAC_MAIN
            || object > ESDS_OBJECT_MPEG2_AAC_SSR))
        return 0;
    if (esds.config.len == 0)
        return box_fail(parse, box, ERR_INVALID,
                        "no audio configuration descriptor");
    const uint32_t type = aac_config_parse(esds.config, track);
    if (object == ESDS_OBJECT_AAC)
        snprintf(track->codecs, sizeof track->codecs, "mp4a.40.%u", type);
    return 0;
}

/* ---- AC-3 and E-AC-3 ---- */

/* Speakers as chanmap of TS 102 366 Table E.1.5 has them. */
#define MAP_PAIRS 0x0670u /* Lc/Rc, Lrs/Rrs, Lsd/Rsd, Lw/Rw, Lvh/Rvh */

static const uint32_t map_of_mode[] = {0xa000, 0x4000, 0xa000, 0xe000,
                                       0xa100, 0xe100, 0xb800, 0xf800};
/* of the bits of chan_loc, from the lowest on (§F.6.2.13) */
static const uint32_t map_of_location[] = {
    0x0400, 0x0200, 0x0100, 0x0080, 0x0040, 0x0020, 0x0010, 0x0008, 0x0002};

static int
dolby_set(const struct mp4_parse *parse, const struct box *box,
          const char *codecs, uint32_t rate_code, uint32_t map,
          struct mp4_track *track)
{
    static const uint32_t rates[] = {48000, 44100, 32000};
    if (rate_code >= sizeof rates / sizeof rates[0])
        return box_fail(parse, box, ERR_INVALID, "unknown sample rate");
    snprintf(track->codecs, sizeof track->codecs, "%s", codecs);
    track->sample_rate = rates[rate_code];
    track->channel_map = map;
    track->channels = (uint32_t) (__builtin_popcount(map)
                                  + __builtin_popcount(map & MAP_PAIRS));
    return 0;
}

static int
dac3_parse(const struct mp4_parse *parse, const struct box *dac3,
           struct mp4_track *track)
{
    struct bit_reader r = {.bytes = dac3->body};
    const uint32_t rate_code = bits_take(&r, 2);
    bits_take(&r, 5 + 3); /* bit stream identification and mode */
    uint32_t map = map_of_mode[bits_take(&r, 3)];
    map |= bits_take(&r, 1); /* LFE */
    bits_take(&r, 5 + 5);    /* bit rate, reserved */
    if (r.is_short)
        return box_fail(parse, dac3, ERR_TRUNCATED, "box is too small");
    return dolby_set(parse, dac3, "ac-3", rate_code, map, track);
}

struct substream {
    uint32_t rate_code, map;
};

static struct substream
substream_take(struct bit_reader *r)
{
    struct substream s;
    s.rate_code = bits_take(r, 2);
    bits_take(r, 5 + 1 + 1 + 3); /* identification, reserved, asvc, mode */
    s.map = map_of_mode[bits_take(r, 3)];
    s.map |= bits_take(r, 1); /* LFE */
    bits_take(r, 3);
    if (bits_take(r, 4) == 0) { /* no dependent ones */
        bits_take(r, 1);
        return s;
    }
    const uint32_t location = bits_take(r, 9);
    for (size_t i = 0; i < sizeof map_of_location / sizeof *map_of_location;
         i++)
        s.map |= location >> i & 1 ? map_of_location[i] : 0;
    return s;
}

/* The first independent substream is the programme. Behind them stands that
 * there are objects (Atmos) in it: TS 103 420 §C.3. */
static int
dec3_parse(const struct mp4_parse *parse, const struct box *dec3,
           struct mp4_track *track)
{
    struct bit_reader r = {.bytes = dec3->body};
    bits_take(&r, 13); /* data rate */
    const uint32_t more = bits_take(&r, 3);
    const struct substream first = substream_take(&r);
    for (uint32_t i = 0; i < more; i++)
        substream_take(&r);
    if (r.is_short)
        return box_fail(parse, dec3, ERR_TRUNCATED, "box is too small");
    bits_take(&r, 7);
    const bool has_objects = bits_take(&r, 1);
    const uint32_t complexity = bits_take(&r, 8);
    if (has_objects && !r.is_short)
        track->joc_complexity = complexity;
    return dolby_set(parse, dec3, "ec-3", first.rate_code, first.map, track);
}

/* ---- Opus and FLAC ---- */

static int
dops_parse(const struct mp4_parse *parse, const struct box *dops,
           struct mp4_track *track)
{
    struct cursor c = cursor_of(dops->body);
    const uint8_t version = cursor_u8(&c);
    const uint8_t channels = cursor_u8(&c);
    cursor_bytes(&c, 2 + 4 + 2); /* pre-skip, rate of the source, gain */
    if (cursor_u8(&c) != 0)      /* mapping family: a table */
        cursor_bytes(&c, 2 + (size_t) channels);
    if (c.is_short)
        return box_fail(parse, dops, ERR_TRUNCATED, "box is too small");
    if (version != 0)
        return box_fail(parse, dops, ERR_UNSUPPORTED, "unknown version");
    if (channels == 0)
        return box_fail(parse, dops, ERR_INVALID, "no channels");
    snprintf(track->codecs, sizeof track->codecs, "opus");
    track->channels = channels;
    track->sample_rate = 48000; /* whatever the source had */
    return 0;
}

/* The first metadata block is STREAMINFO (RFC 9639 §8.2). */
static int
dfla_parse(const struct mp4_parse *parse, const struct box *dfla,
           struct mp4_track *track)
{
    uint8_t version;
    uint32_t flags;
    struct cursor c = full_box_cursor(dfla, &version, &flags);
    const uint32_t block = cursor_be32(&c);
    cursor_bytes(&c, 10); /* sizes of blocks and frames */
    struct bit_reader r = {.bytes = cursor_bytes(&c, 8)};
    cursor_bytes(&c, 16); /* MD5 */
    const uint32_t rate = bits_take(&r, 20);
    const uint32_t channels = bits_take(&r, 3) + 1;
    if (c.is_short)
        return box_fail(parse, dfla, ERR_TRUNCATED, "box is too small");
    if (version != 0)
        return box_fail(parse, dfla, ERR_UNSUPPORTED, "unknown version");
    if ((block & 0x7fffffff) != 34 || rate == 0)
        return box_fail(parse, dfla, ERR_INVALID, "no stream information");
    snprintf(track->codecs, sizeof track->codecs, "fLaC");
    track->channels = channels;
    track->sample_rate = rate;
    return 0;
}

/* ---- by type ---- */

uint32_t
audio_config_type(uint32_t entry_type)
{
    switch (entry_type) {
    case BOX_TYPE('m', 'p', '4', 'a'):
        return BOX_TYPE('e', 's', 'd', 's');
    case BOX_TYPE('a', 'c', '-', '3'):
        return BOX_TYPE('d', 'a', 'c', '3');
    case BOX_TYPE('e', 'c', '-', '3'):
        return BOX_TYPE('d', 'e', 'c', '3');
    case BOX_TYPE('O', 'p', 'u', 's'):
        return BOX_TYPE('d', 'O', 'p', 's');
    case BOX_TYPE('f', 'L', 'a', 'C'):
        return BOX_TYPE('d', 'f', 'L', 'a');
    default:
        return 0;
    }
}

int
audio_config_parse(const struct mp4_parse *parse, const struct box *config,
                   struct mp4_track *track)
{
    switch (config->type) {
    case BOX_TYPE('e', 's', 'd', 's'):
        return mp4a_parse(parse, config, track);
    case BOX_TYPE('d', 'a', 'c', '3'):
        return dac3_parse(parse, config, track);
    case BOX_TYPE('d', 'e', 'c', '3'):
        return dec3_parse(parse, config, track);
    case BOX_TYPE('d', 'O', 'p', 's'):
        return dops_parse(parse, config, track);
    default:
        return dfla_parse(parse, config, track);
    }
}
