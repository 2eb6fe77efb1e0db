/* SPDX-License-Identifier: Apache-2.0 */

/* Sample entries of every codec: what is made of them, and that none of their
 * bytes is believed. */

#include "core/err.h"
#include "media/mp4/codec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define ENTRY_SIZE_MAX 512

struct config {
    const char *entry, *box; /* types; box NULL: none */
    uint8_t size;
    uint8_t bytes[120];
};

/* stsd with one entry in memory of exactly its size, for the sanitizers. */
struct description {
    uint8_t *memory;
    struct box stsd;
    struct mp4_error error;
    struct mp4_track track;
    int err;
};

static size_t
box_put(uint8_t *p, const char *type, const void *body, size_t size)
{
    store_be32(p, (uint32_t) size + 8);
    memcpy(p + 4, type, 4);
    memcpy(p + 8, body, size);
    return size + 8;
}

/* The fields before the children: QuickTime's versions 1 and 2 have more. */
static size_t
fields_put(uint8_t *p, enum track_kind kind, int version)
{
    static const size_t sizes[] = {28, 44, 64};
    memset(p, 0, 78);
    p[7] = 1;
    if (kind == TRACK_VIDEO) {
        store_be32(p + 24, 640u << 16 | 360);
        return 78;
    }
    p[9] = (uint8_t) version;
    if (version == 2) {
        const double rate = 96000;
        uint64_t bits;
        memcpy(&bits, &rate, sizeof bits);
        store_be64(p + 32, bits);
        store_be32(p + 40, 6);
        return 64;
    }
    p[17] = 2;
    store_be32(p + 24, 44100u << 16);
    return sizes[version];
}

static void
description_parse(struct description *d, uint8_t *p, size_t size,
                  enum track_kind kind)
{
    *d = (struct description){.memory = malloc(size)};
    memcpy(d->memory, p, size);
    d->track.kind = kind;
    d->stsd = (struct box){.type = BOX_TYPE('s', 't', 's', 'd'),
                           .all = bytes_of(d->memory, size),
                           .body = bytes_of(d->memory, size)};
    const struct mp4_parse parse = {
        .memory = d->memory, .file_size = size, .error = &d->error};
    d->err = sample_entry_parse(&parse, &d->stsd, &d->track);
}

static void
description_fini(struct description *d)
{
    free(d->track.entry_memory);
    free(d->memory);
}

static size_t
stsd_end(uint8_t *stsd, const char *type, size_t size)
{
    memset(stsd, 0, 8);
    stsd[7] = 1;
    store_be32(stsd + 8, (uint32_t) size - 8);
    memcpy(stsd + 12, type, 4);
    return size;
}

/* stsd of the configuration, and of colr where there is a colour. */
static size_t
stsd_write(uint8_t *p, const struct config *config, enum track_kind kind,
           const uint8_t *colr, size_t colr_size)
{
    size_t at = 16 + fields_put(p + 16, kind, 0);
    if (config->box != NULL)
        at += box_put(p + at, config->box, config->bytes, config->size);
    if (colr != NULL)
        at += box_put(p + at, "colr", colr, colr_size);
    return stsd_end(p, config->entry, at);
}

/* ---- sound ---- */

#define ESDS(object, size, ...)                                               \
    {                                                                         \
        0, 0, 0, 0, 3, 20 + (size), 0, 1, 0, 4, 15 + (size), object, 0x15, 0, \
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, size, __VA_ARGS__                \
    }
#define FLAC_INFO(b10, b11, b12, b13)                                         \
    {                                                                         \
        0, 0, 0, 0, 0x80, 0, 0, 34, 16, 0, 16, 0, 0, 0, 0, 0, 0, 0, b10, b11, \
            b12, b13, 0, 0, 0, 0                                              \
    }

static const struct {
    struct config config;
    const char *codecs;
    uint32_t channels, rate, map, joc;
} sounds[] = {
    {{"mp4a", "esds", 28, ESDS(0x40, 2, 0x12, 0x10)},
     "mp4a.40.2",
     2,
     44100,
     0,
     0},
    /* 5.1 where the entry says 2 */
    {{"mp4a", "esds", 28, ESDS(0x40, 2, 0x11, 0xb0)},
     "mp4a.40.2",
     6,
     48000,
     0,
     0},
    /* HE-AAC by its own type: 24 kHz doubled */
    {{"mp4a", "esds", 30, ESDS(0x40, 4, 0x2b, 0x11, 0x88, 0)},
     "mp4a.40.5",
     2,
     48000,
     0,
     0},
    {{"mp4a", "esds", 30, ESDS(0x40, 4, 0xeb, 0x09, 0x88, 0)},
     "mp4a.40.29",
     2,
     48000,
     0,
     0},
    /* and behind AAC-LC's: 0x2b7, SBR, 48 kHz, 0x548, PS */
    {{"mp4a", "esds", 31, ESDS(0x40, 5, 0x13, 0x10, 0x56, 0xe5, 0x98)},
     "mp4a.40.5",
     2,
     48000,
     0,
     0},
    {{"mp4a", "esds", 33,
      ESDS(0x40, 7, 0x13, 0x08, 0x56, 0xe5, 0x9d, 0x48, 0x80)},
     "mp4a.40.29",
     2,
     48000,
     0,
     0},
    /* there is none, it says */
    {{"mp4a", "esds", 31, ESDS(0x40, 5, 0x13, 0x10, 0x56, 0xe5, 0x00)},
     "mp4a.40.2",
     2,
     24000,
     0,
     0},
    /* xHE-AAC (42) */
    {{"mp4a", "esds", 30, ESDS(0x40, 4, 0xf9, 0x48, 0x40, 0)},
     "mp4a.40.42",
     2,
     44100,
     0,
     0},
    {{"mp4a", "esds", 28, ESDS(0x67, 2, 0x12, 0x10)},
     "mp4a.67",
     2,
     44100,
     0,
     0},
    {{"mp4a", "esds", 28, ESDS(0x6b, 2, 0, 0)}, "mp4a.40.34", 2, 44100, 0, 0},
    {{"mp4a", "esds", 28, ESDS(0x69, 2, 0, 0)}, "mp4a.40.34", 2, 44100, 0, 0},
    {{".mp3", NULL, 0, {0}}, "mp4a.40.34", 2, 44100, 0, 0},
    /* 3/2 and LFE; stereo; 2/1 */
    {{"ac-3", "dac3", 3, {0x10, 0x3d, 0xe0}}, "ac-3", 6, 48000, 0xf801, 0},
    {{"ac-3", "dac3", 3, {0x50, 0x11, 0x40}}, "ac-3", 2, 44100, 0xa000, 0},
    {{"ac-3", "dac3", 3, {0x10, 0x21, 0x40}}, "ac-3", 3, 48000, 0xa100, 0},
    {{"ec-3", "dec3", 5, {0x14, 0x00, 0x20, 0x0f, 0x00}},
     "ec-3",
     6,
     48000,
     0xf801,
     0},
    /* 7.1: one dependent substream with Lrs/Rrs */
    {{"ec-3", "dec3", 6, {0x14, 0x00, 0x20, 0x0f, 0x02, 0x02}},
     "ec-3",
     8,
     48000,
     0xfa01,
     0},
    /* Atmos of 16 objects */
    {{"ec-3", "dec3", 7, {0x18, 0x00, 0x20, 0x0f, 0x00, 0x01, 0x10}},
     "ec-3",
     6,
     48000,
     0xf801,
     16},
    {{"Opus", "dOps", 11, {0, 2, 1, 0x38, 0, 0, 0xbb, 0x80, 0, 0, 0}},
     "opus",
     2,
     48000,
     0,
     0},
    {{"Opus",
      "dOps",
      19,
      {0, 6, 1, 0x38, 0, 0, 0xac, 0x44, 0, 0, 1, 4, 2, 0, 4, 1, 2, 3, 5}},
     "opus",
     6,
     48000,
     0,
     0},
    {{"fLaC", "dfLa", 42, FLAC_INFO(0x0a, 0xc4, 0x42, 0xf0)},
     "fLaC",
     2,
     44100,
     0,
     0},
    {{"fLaC", "dfLa", 42, FLAC_INFO(0x17, 0x70, 0x0b, 0x70)},
     "fLaC",
     6,
     96000,
     0,
     0},
};
#define SOUNDS (sizeof sounds / sizeof sounds[0])

static void
every_sound_is_named_and_measured(void **state)
{
    for (size_t i = 0; i < SOUNDS; i++) {
        uint8_t stsd[ENTRY_SIZE_MAX];
        struct description d;
        const size_t size =
            stsd_write(stsd, &sounds[i].config, TRACK_AUDIO, NULL, 0);
        description_parse(&d, stsd, size, TRACK_AUDIO);
        if (d.err != 0)
            fail_msg("sound %zu: %s: %s", i, d.error.box, d.error.reason);
        assert_string_equal(d.track.codecs, sounds[i].codecs);
        assert_int_equal(d.track.channels, sounds[i].channels);
        assert_int_equal(d.track.sample_rate, sounds[i].rate);
        assert_int_equal(d.track.channel_map, sounds[i].map);
        assert_int_equal(d.track.joc_complexity, sounds[i].joc);
        assert_int_equal(load_be32(d.track.sample_entry.ptr),
                         d.track.sample_entry.len);
        description_fini(&d);
    }
}

/* ---- pictures ---- */

static const uint8_t nclx_pq[] = {'n', 'c', 'l', 'x', 0, 9, 0, 16, 0, 9, 0};
static const uint8_t nclx_hlg[] = {'n', 'c', 'l', 'x', 0, 9, 0, 18, 0, 9, 0};
static const uint8_t nclx_709[] = {'n', 'c', 'l', 'x', 0, 1, 0, 1, 0, 1, 0};
static const uint8_t nclx_full[] = {'n', 'c', 'l', 'x', 0, 1, 0, 1, 0, 1, 0x80};
static const uint8_t nclc_601[] = {'n', 'c', 'l', 'c', 0, 6, 0, 1, 0, 6};
static const uint8_t profile[] = {'p', 'r', 'o', 'f', 1, 2, 3, 4};

#define AVC                                                         \
    {                                                               \
        "avc1", "avcC", 13,                                         \
        {                                                           \
            1, 0x64, 0, 0x1e, 0xff, 0xe1, 0, 1, 0x67, 1, 0, 1, 0x68 \
        }                                                           \
    }
#define HEVC_10                                                             \
    {                                                                       \
        1, 2, 0x20, 0, 0, 0, 0x90, 0, 0, 0, 0, 0, 153, 0xf0, 0, 0xfc, 0xfd, \
            0xfa, 0xfa, 0, 0, 0xf, 0                                        \
    }
#define AV1(b1, b2)     \
    {                   \
        0x81, b1, b2, 0 \
    }
#define VP9(profile, level, packed, p, t, m)              \
    {                                                     \
        1, 0, 0, 0, profile, level, packed, p, t, m, 0, 0 \
    }

static const struct {
    struct config config;
    const uint8_t *colr;
    size_t colr_size;
    const char *codecs;
    enum video_range range;
} pictures[] = {
    {AVC, NULL, 0, "avc1.64001e", VIDEO_RANGE_UNKNOWN},
    {AVC, nclx_709, 11, "avc1.64001e", VIDEO_RANGE_SDR},
    {AVC, nclc_601, 10, "avc1.64001e", VIDEO_RANGE_SDR},
    {AVC, profile, 8, "avc1.64001e", VIDEO_RANGE_UNKNOWN},
    {{"hvc1", "hvcC", 23, HEVC_10},
     nclx_pq,
     11,
     "hvc1.2.4.L153.90",
     VIDEO_RANGE_PQ},
    {{"hev1", "hvcC", 23, HEVC_10},
     nclx_hlg,
     11,
     "hev1.2.4.L153.90",
     VIDEO_RANGE_HLG},
    {{"av01", "av1C", 4, AV1(0x04, 0x0c)},
     NULL,
     0,
     "av01.0.04M.08",
     VIDEO_RANGE_UNKNOWN},
    {{"av01", "av1C", 4, AV1(0x04, 0x0c)},
     nclx_709,
     11,
     "av01.0.04M.08",
     VIDEO_RANGE_SDR},
    {{"av01", "av1C", 4, AV1(0x0d, 0xce)},
     nclx_pq,
     11,
     "av01.0.13H.10.0.112.09.16.09.0",
     VIDEO_RANGE_PQ},
    {{"av01", "av1C", 4, AV1(0x04, 0x1c)},
     NULL,
     0,
     "av01.0.04M.08.1.110.01.01.01.0",
     VIDEO_RANGE_UNKNOWN},
    {{"av01", "av1C", 4, AV1(0x48, 0x68)},
     nclx_full,
     11,
     "av01.2.08M.12.0.100.01.01.01.1",
     VIDEO_RANGE_SDR},
    {{"vp09", "vpcC", 12, VP9(0, 31, 0x82, 1, 1, 1)},
     NULL,
     0,
     "vp09.00.31.08",
     VIDEO_RANGE_SDR},
    {{"vp09", "vpcC", 12, VP9(0, 10, 0x82, 2, 2, 2)},
     NULL,
     0,
     "vp09.00.10.08",
     VIDEO_RANGE_UNKNOWN},
    {{"vp09", "vpcC", 12, VP9(2, 51, 0xa2, 9, 16, 9)},
     NULL,
     0,
     "vp09.02.51.10.01.09.16.09.00",
     VIDEO_RANGE_PQ},
    {{"vp09", "vpcC", 12, VP9(1, 40, 0x87, 1, 1, 1)},
     NULL,
     0,
     "vp09.01.40.08.03.01.01.01.01",
     VIDEO_RANGE_SDR},
};
#define PICTURES (sizeof pictures / sizeof pictures[0])

static void
every_picture_is_named_and_has_its_range(void **state)
{
    for (size_t i = 0; i < PICTURES; i++) {
        uint8_t stsd[ENTRY_SIZE_MAX];
        struct description d;
        const size_t size = stsd_write(stsd, &pictures[i].config, TRACK_VIDEO,
                                       pictures[i].colr, pictures[i].colr_size);
        description_parse(&d, stsd, size, TRACK_VIDEO);
        if (d.err != 0)
            fail_msg("picture %zu: %s: %s", i, d.error.box, d.error.reason);
        assert_string_equal(d.track.codecs, pictures[i].codecs);
        assert_int_equal(d.track.video_range, pictures[i].range);
        assert_int_equal(d.track.width, 640);
        assert_int_equal(d.track.height, 360);
        description_fini(&d);
    }
}

/* As x264 and x265 write them: BT.709, and BT.2020 with PQ. */
static const uint8_t avc_sps[] = {
    0x67, 0x42, 0xc0, 0x0a, 0xda, 0x7b, 0x01, 0x6a, 0x02, 0x02, 0x02, 0x80,
    0x00, 0x00, 0x03, 0x00, 0x80, 0x00, 0x00, 0x18, 0x07, 0x89, 0x13, 0x50};
static const uint8_t hevc_sps[] = {
    0x42, 0x01, 0x01, 0x02, 0x20, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00,
    0x00, 0x03, 0x00, 0x00, 0x03, 0x00, 0x1e, 0xa0, 0x88, 0x44, 0xd9,
    0x65, 0x66, 0xab, 0xca, 0xf0, 0x16, 0xa1, 0x22, 0x01, 0x20, 0x80,
    0x00, 0x00, 0x03, 0x00, 0x80, 0x00, 0x00, 0x0c, 0x04};

static void
colour_of_a_parameter_set_is_seen(void **state)
{
    struct colour colour = {0};
    avc_sps_colour(bytes_of(avc_sps, sizeof avc_sps), &colour);
    assert_true(colour.is_known);
    assert_int_equal(colour.primaries, 1);
    assert_int_equal(colour.transfer, 1);
    assert_int_equal(colour.matrix, 1);
    colour.is_known = false;
    hevc_sps_colour(bytes_of(hevc_sps, sizeof hevc_sps), &colour);
    assert_true(colour.is_known);
    assert_int_equal(colour.primaries, 9);
    assert_int_equal(colour.transfer, 16);
    assert_int_equal(colour.matrix, 9);
    for (size_t len = 2; len < 12; len++) {
        colour.is_known = false;
        avc_sps_colour(bytes_of(avc_sps, len - 1), &colour);
        hevc_sps_colour(bytes_of(hevc_sps, len), &colour);
        assert_false(colour.is_known);
    }
}

/* ---- QuickTime ---- */

static void
quicktime_s_sound_descriptions_become_iso_s(void **state)
{
    static const uint8_t esds[] = ESDS(0x40, 2, 0x12, 0x10);
    for (int version = 0; version < 3; version++) {
        for (int is_in_wave = 0; is_in_wave < 2; is_in_wave++) {
            uint8_t stsd[ENTRY_SIZE_MAX], wave[128];
            struct description d;
            size_t at = 16 + fields_put(stsd + 16, TRACK_AUDIO, version);
            if (is_in_wave) {
                size_t len = box_put(wave, "frma", "mp4a", 4);
                len += box_put(wave + len, "mp4a", "\0\0\0", 4);
                len += box_put(wave + len, "esds", esds, sizeof esds);
                memset(wave + len, 0, 8); /* its end: a box of type 0 */
                wave[len + 3] = 8;
                at += box_put(stsd + at, "wave", wave, len + 8);
                memset(stsd + at, 0, 4);
                at += 4;
            } else {
                at += box_put(stsd + at, "esds", esds, sizeof esds);
            }
            description_parse(&d, stsd, stsd_end(stsd, "mp4a", at),
                              TRACK_AUDIO);
            if (d.err != 0)
                fail_msg("version %d: %s: %s", version, d.error.box,
                         d.error.reason);
            assert_string_equal(d.track.codecs, "mp4a.40.2");
            assert_int_equal(d.track.sample_rate, 44100);
            assert_int_equal(d.track.channels, 2);
            const struct bytes entry = d.track.sample_entry;
            assert_int_equal(entry.len, 36 + 8 + sizeof esds);
            assert_int_equal(load_be32(entry.ptr), entry.len);
            assert_memory_equal(entry.ptr + 4, "mp4a", 4);
            assert_int_equal(load_be16(entry.ptr + 16), 0); /* version */
            assert_int_equal(load_be16(entry.ptr + 24), 2);
            assert_int_equal(load_be16(entry.ptr + 32), 44100);
            assert_memory_equal(entry.ptr + 44, esds, sizeof esds);
            description_fini(&d);
        }
    }
}

static void
an_mp3_of_quicktime_becomes_mp4_s(void **state)
{
    static const struct config mp3 = {".mp3", NULL, 0, {0}};
    uint8_t stsd[ENTRY_SIZE_MAX];
    struct description d, again;
    description_parse(&d, stsd, stsd_write(stsd, &mp3, TRACK_AUDIO, NULL, 0),
                      TRACK_AUDIO);
    assert_int_equal(d.err, 0);
    assert_memory_equal(d.track.sample_entry.ptr + 4, "mp4a", 4);
    /* what was written reads the same */
    memcpy(stsd + 8, d.track.sample_entry.ptr, d.track.sample_entry.len);
    description_parse(&again, stsd, 8 + d.track.sample_entry.len, TRACK_AUDIO);
    assert_int_equal(again.err, 0);
    assert_string_equal(again.track.codecs, "mp4a.40.34");
    description_fini(&again);
    description_fini(&d);
}

/* ---- what is refused ---- */

static void
what_cannot_be_read_is_named(void **state)
{
    static const struct {
        struct config config;
        enum track_kind kind;
        int err;
        const char *box;
    } cases[] = {
        {{"dvh1", "hvcC", 23, HEVC_10}, TRACK_VIDEO, ERR_UNSUPPORTED, "dvh1"},
        {{"encv", NULL, 0, {0}}, TRACK_VIDEO, ERR_UNSUPPORTED, "encv"},
        {{"enca", NULL, 0, {0}}, TRACK_AUDIO, ERR_UNSUPPORTED, "enca"},
        {{"sowt", NULL, 0, {0}}, TRACK_AUDIO, ERR_UNSUPPORTED, "sowt"},
        {{"av01", "av1C", 4, {0x82, 4, 0, 0}},
         TRACK_VIDEO,
         ERR_UNSUPPORTED,
         "av1C"},
        {{"av01", "av1C", 3, {0x81, 4, 0}}, TRACK_VIDEO, ERR_TRUNCATED, "av1C"},
        {{"vp09", "vpcC", 12, {0}}, TRACK_VIDEO, ERR_UNSUPPORTED, "vpcC"},
        {{"vp09", "vpcC", 9, {1}}, TRACK_VIDEO, ERR_TRUNCATED, "vpcC"},
        {{"ac-3", "dac3", 3, {0xd0, 0, 0}}, TRACK_AUDIO, ERR_INVALID, "dac3"},
        {{"ac-3", "dac3", 2, {0}}, TRACK_AUDIO, ERR_TRUNCATED, "dac3"},
        {{"ec-3", "dec3", 4, {0}}, TRACK_AUDIO, ERR_TRUNCATED, "dec3"},
        {{"ec-3", "dec3", 5, {0, 7}}, TRACK_AUDIO, ERR_TRUNCATED, "dec3"},
        {{"Opus", "dOps", 11, {1, 2}}, TRACK_AUDIO, ERR_UNSUPPORTED, "dOps"},
        {{"Opus", "dOps", 11, {0, 0}}, TRACK_AUDIO, ERR_INVALID, "dOps"},
        {{"Opus", "dOps", 12, {0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 1}},
         TRACK_AUDIO,
         ERR_TRUNCATED,
         "dOps"},
        {{"fLaC", "dfLa", 42, {0, 0, 0, 0, 0x84, 0, 0, 34}},
         TRACK_AUDIO,
         ERR_INVALID,
         "dfLa"},
        {{"fLaC", "dfLa", 41, {0}}, TRACK_AUDIO, ERR_TRUNCATED, "dfLa"},
        {{"mp4a", "dac3", 3, {0}}, TRACK_AUDIO, ERR_INVALID, "esds"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t stsd[ENTRY_SIZE_MAX];
        struct description d;
        const size_t size =
            stsd_write(stsd, &cases[i].config, cases[i].kind, NULL, 0);
        description_parse(&d, stsd, size, cases[i].kind);
        if (d.err != cases[i].err || strcmp(d.error.box, cases[i].box) != 0)
            fail_msg("case %zu: %s: %s: %s", i, err_name(d.err), d.error.box,
                     d.error.reason);
        description_fini(&d);
    }
}

/* Under the sanitizers this is a small fuzzer that always runs. */
static void
no_changed_or_missing_byte_breaks_a_description(void **state)
{
    static const uint8_t values[] = {0, 1, 0x7f, 0x80, 0xff};
    for (size_t i = 0; i < SOUNDS + PICTURES; i++) {
        uint8_t stsd[ENTRY_SIZE_MAX];
        struct description d;
        const enum track_kind kind = i < SOUNDS ? TRACK_AUDIO : TRACK_VIDEO;
        const size_t size =
            i < SOUNDS ? stsd_write(stsd, &sounds[i].config, kind, NULL, 0)
                       : stsd_write(stsd, &pictures[i - SOUNDS].config, kind,
                                    pictures[i - SOUNDS].colr,
                                    pictures[i - SOUNDS].colr_size);
        for (size_t at = 8; at < size; at++) {
            const uint8_t good = stsd[at];
            for (size_t v = 0; v < sizeof values; v++) {
                stsd[at] = values[v];
                description_parse(&d, stsd, size, kind);
                description_fini(&d);
            }
            stsd[at] = good;
        }
        for (size_t left = 0; left < size; left++) {
            if (left >= 16)
                store_be32(stsd + 8, (uint32_t) left - 8);
            description_parse(&d, stsd, left, kind);
            description_fini(&d);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_sound_is_named_and_measured),
        cmocka_unit_test(every_picture_is_named_and_has_its_range),
        cmocka_unit_test(colour_of_a_parameter_set_is_seen),
        cmocka_unit_test(quicktime_s_sound_descriptions_become_iso_s),
        cmocka_unit_test(an_mp3_of_quicktime_becomes_mp4_s),
        cmocka_unit_test(what_cannot_be_read_is_named),
        cmocka_unit_test(no_changed_or_missing_byte_breaks_a_description),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
