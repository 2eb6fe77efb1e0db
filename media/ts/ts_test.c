/* SPDX-License-Identifier: Apache-2.0 */

#include "media/ts/ts.h"

#include "core/err.h"
#include "media/ts/ts_codec.h"
#include "media/ts/ts_schedule.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define OUT_SIZE_MAX (4u << 20)
#define SAMPLES_MAX 300

/* ---- tracks ---- */

static void
entry_write(struct buffer *out, const char *type, size_t fields,
            const char *child, const void *body, size_t body_len)
{
    const bool has_child = child != NULL;
    const size_t size = 8 + fields + (has_child ? 8 + body_len : 0);
    out->len = 0;
    buffer_append_be32(out, (uint32_t) size);
    buffer_append(out, type, 4);
    for (size_t i = 0; i < fields; i++)
        buffer_append_u8(out, 0);
    if (has_child) {
        buffer_append_be32(out, (uint32_t) (8 + body_len));
        buffer_append(out, child, 4);
        buffer_append(out, body, body_len);
    }
}

/* One SPS of three bytes, one PPS of two. */
static const uint8_t avcc[] = {1,    0x64, 0, 0x1f, 0xff, 0xe1, 0,    3,
                               0x67, 1,    2, 0x01, 0,    2,    0x68, 0x03};

/* VPS, SPS, PPS of three bytes each, and an SEI that is left out. */
static const uint8_t hvcc[] = {
    1,    1,    0x60, 0,  0,  0, 0x90, 0,    0,    0,    0, 0,  93, 0xf0,
    0,    0xfc, 0,    0,  0,  0, 0,    0x0f, 4,    32,   0, 1,  0,  3,
    0x40, 1,    7,    33, 0,  1, 0,    3,    0x42, 1,    8, 39, 0,  1,
    0,    2,    0x4e, 1,  34, 0, 1,    0,    3,    0x44, 1, 9};

/* ES descriptor with the object type and the configuration. */
static size_t
esds_write(uint8_t *out, uint8_t object, const uint8_t *config, size_t len)
{
    const uint8_t head[] = {0,
                            0,
                            0,
                            0,
                            3,
                            (uint8_t) (20 + len),
                            0,
                            1,
                            0,
                            4,
                            (uint8_t) (15 + len),
                            object,
                            0x15,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            5,
                            (uint8_t) len};
    memcpy(out, head, sizeof head);
    memcpy(out + sizeof head, config, len);
    return sizeof head + len;
}

static const uint8_t aac_lc[] = {0x12, 0x10};       /* 44.1 kHz, 2 channels */
static const uint8_t he_aac[] = {0x2b, 0x11, 0x88}; /* 24 kHz, heard as 48 */

struct film {
    struct track_info info;
    struct buffer entry;
    struct sample samples[SAMPLES_MAX];
    struct ts_source source;
    struct buffer bytes;
};

static void
film_init(struct film *f, enum track_kind kind, uint32_t timescale)
{
    memset(f, 0, sizeof *f);
    buffer_init(&f->entry, 1u << 16);
    buffer_init(&f->bytes, OUT_SIZE_MAX);
    f->info.kind = kind;
    f->info.timescale = timescale;
    memcpy(f->info.language, "kor", 4);
    f->source = (struct ts_source){.info = &f->info, .samples = f->samples};
}

static void
film_fini(struct film *f)
{
    buffer_fini(&f->entry);
    buffer_fini(&f->bytes);
}

static void
film_entry(struct film *f, const char *type, const char *child,
           const void *body, size_t len)
{
    entry_write(&f->entry, type, f->info.kind == TRACK_VIDEO ? 78 : 28, child,
                body, len);
    f->info.sample_entry = buffer_bytes(&f->entry);
}

static void
film_aac(struct film *f, const uint8_t *config, size_t len)
{
    uint8_t esds[64];
    film_init(f, TRACK_AUDIO, 44100);
    const size_t size = esds_write(esds, 0x40, config, len);
    film_entry(f, "mp4a", "esds", esds, size);
}

static void
film_avc(struct film *f, uint32_t timescale)
{
    film_init(f, TRACK_VIDEO, timescale);
    film_entry(f, "avc1", "avcC", avcc, sizeof avcc);
}

/* A sample of one NAL unit of H.264, or of plain bytes. */
static void
film_sample(struct film *f, uint32_t size, uint32_t duration, bool is_sync)
{
    struct sample *s = &f->samples[f->source.sample_count++];
    *s =
        (struct sample){size, duration, -(int32_t) f->info.media_time, is_sync};
    if (f->info.kind == TRACK_VIDEO) {
        buffer_append_be32(&f->bytes, size - 4);
        buffer_append_u8(&f->bytes, is_sync ? 0x65 : 0x41);
        size -= 5;
    } else {
        s->composition_offset = 0;
    }
    for (uint32_t i = 0; i < size; i++)
        buffer_append_u8(&f->bytes, (uint8_t) (i * 7 + 3));
}

/* ---- running ---- */

struct pieces {
    size_t in, out;
};

static int
ts_make(const struct film *const *films, size_t count, uint32_t number,
        struct pieces pieces, struct buffer *out)
{
    struct ts_source sources[TS_SOURCES_MAX];
    struct transform *t;
    struct ts_inputs inputs;
    struct ts_range range = {0};
    for (size_t i = 0; i < count; i++)
        sources[i] = films[i]->source;
    int err = ts_transform_open(sources, count, number, &t);
    if (err != 0)
        return err;
    ts_inputs_begin(&inputs, sources, count);
    uint64_t size_in = 0;
    uint8_t *piece = malloc(pieces.out);
    for (;;) {
        if (range.size == 0)
            ts_inputs_next(&inputs, &range);
        const size_t len =
            (size_t) (range.size < pieces.in ? range.size : pieces.in);
        struct transform_io io = {films[range.source]->bytes.ptr + range.offset,
                                  len, piece, pieces.out};
        err = t->run(t, &io);
        const size_t taken = len - io.in_len, put = pieces.out - io.out_len;
        if (err != 0 || (taken == 0 && put == 0))
            break;
        assert_true(io.in_len == 0 || io.out_len == 0);
        range.offset += taken;
        range.size -= taken;
        size_in += taken;
        buffer_append(out, piece, put);
    }
    if (err == 0) {
        assert_int_equal(size_in, t->size_in);
        assert_int_equal(out->len, t->size_out);
    }
    free(piece);
    t->close(t);
    return err;
}

static const struct pieces whole = {1u << 20, 1u << 20};

static int
ts_one(const struct film *film, struct buffer *out)
{
    buffer_init(out, OUT_SIZE_MAX);
    return ts_make(&film, 1, 0, whole, out);
}

/* ---- reading it back ---- */

struct packet {
    uint32_t pid;
    bool is_start, is_random_access, has_pcr;
    uint8_t continuity;
    uint64_t pcr;
    struct bytes payload;
};

static void
packet_read(const uint8_t *p, struct packet *out)
{
    assert_int_equal(p[0], 0x47);
    size_t at = 4;
    *out = (struct packet){.pid = (uint32_t) (p[1] & 0x1f) << 8 | p[2],
                           .is_start = p[1] & 0x40,
                           .continuity = p[3] & 15};
    assert_true(p[3] & 0x10);
    if (p[3] & 0x20) {
        at += 1u + p[4];
        if (p[4] > 0) {
            out->is_random_access = p[5] & 0x40;
            out->has_pcr = p[5] & 0x10;
        }
        for (size_t i = out->has_pcr ? 12 : 6; i < at; i++)
            assert_int_equal(p[i], 0xff);
        if (out->has_pcr)
            out->pcr = (uint64_t) load_be32(p + 6) << 1 | p[10] >> 7;
    }
    assert_true(at < TS_PACKET_SIZE);
    out->payload = bytes_of(p + at, TS_PACKET_SIZE - at);
}

/* What a PID carries, PES headers included. */
static void
pid_collect(const struct buffer *ts, uint32_t pid, struct buffer *out)
{
    buffer_init(out, OUT_SIZE_MAX);
    for (size_t at = 0; at < ts->len; at += TS_PACKET_SIZE) {
        struct packet p;
        packet_read(ts->ptr + at, &p);
        if (p.pid == pid)
            buffer_append_bytes(out, p.payload);
    }
}

static uint64_t
time_read(const uint8_t *p)
{
    return (uint64_t) (p[0] & 0xe) << 29 | (uint64_t) p[1] << 22
           | (uint64_t) (p[2] & 0xfe) << 14 | (uint64_t) p[3] << 7 | p[4] >> 1;
}

/* The nth PES packet of a PID starts in this packet. */
static struct packet
pes_find(const struct buffer *ts, uint32_t pid, unsigned nth)
{
    struct packet p = {0};
    for (size_t at = 0; at < ts->len; at += TS_PACKET_SIZE) {
        packet_read(ts->ptr + at, &p);
        if (p.pid == pid && p.is_start && nth-- == 0)
            return p;
    }
    fail_msg("there is no such PES packet");
    return p;
}

/* ---- tests ---- */

static void
one_picture_is_aud_parameters_and_start_codes(void **state)
{
    static const uint8_t expected[] = {
        0,    0, 1, 0xe0, 0,    34,   0x84, 0x80, 5, 0x21, 0,    0x37, 0x77,
        0x41, /* PTS 900000 */
        0,    0, 0, 1,    0x09, 0xf0, 0,    0,    0, 1,    0x67, 1,    2,
        0,    0, 0, 1,    0x68, 0x03, 0,    0,    0, 1,    0x65, 3,    10};
    struct film f;
    struct buffer ts, pes;
    film_avc(&f, 24000);
    film_sample(&f, 7, 1001, true);
    assert_int_equal(ts_one(&f, &ts), 0);
    pid_collect(&ts, 0x100, &pes);
    assert_int_equal(pes.len, sizeof expected);
    assert_memory_equal(pes.ptr, expected, sizeof expected);
    buffer_fini(&pes);
    buffer_fini(&ts);
    film_fini(&f);
}

static void
a_picture_between_key_frames_has_an_aud_alone(void **state)
{
    static const uint8_t expected[] = {0, 0, 0, 1,    0x09, 0xf0, 0,
                                       0, 0, 1, 0x41, 3,    10};
    struct film f;
    struct buffer ts, pes;
    film_avc(&f, 24000);
    film_sample(&f, 7, 1001, true);
    film_sample(&f, 7, 1001, false);
    assert_int_equal(ts_one(&f, &ts), 0);
    pid_collect(&ts, 0x100, &pes);
    assert_memory_equal(pes.ptr + pes.len - sizeof expected, expected,
                        sizeof expected);
    buffer_fini(&pes);
    buffer_fini(&ts);
    film_fini(&f);
}

static void
an_aud_of_the_sample_stays_first_and_alone(void **state)
{
    static const uint8_t sample[] = {0, 0, 0, 2, 0x09, 0x10, 0,    0,
                                     0, 0, 0, 0, 0,    2,    0x65, 9};
    static const uint8_t expected[] = {
        0, 0, 0, 1, 0x09, 0x10, 0,    0, 0, 0, 0, 0, 0, 0, 0, 1,    0x67, 1,
        2, 0, 0, 0, 1,    0x68, 0x03, 0, 0, 0, 0, 0, 0, 0, 1, 0x65, 9};
    struct film f;
    struct buffer ts, pes;
    film_avc(&f, 24000);
    f.samples[0] = (struct sample){sizeof sample, 1001, 0, true};
    f.source.sample_count = 1;
    buffer_append(&f.bytes, sample, sizeof sample);
    assert_int_equal(ts_one(&f, &ts), 0);
    pid_collect(&ts, 0x100, &pes);
    assert_int_equal(pes.len, 14 + sizeof expected);
    assert_memory_equal(pes.ptr + 14, expected, sizeof expected);
    buffer_fini(&pes);
    buffer_fini(&ts);
    film_fini(&f);
}

static void
lengths_of_three_bytes_become_start_codes_of_three(void **state)
{
    static const uint8_t sample[] = {0, 0, 2, 0x65, 9, 0, 0, 1, 0x66};
    static const uint8_t expected[] = {0, 0, 1, 0x65, 9, 0, 0, 1, 0x66};
    struct film f;
    struct buffer ts, pes;
    uint8_t config[sizeof avcc];
    memcpy(config, avcc, sizeof avcc);
    film_avc(&f, 24000);
    for (uint8_t size = 1; size < 3; size++) {
        config[4] = (uint8_t) (0xfc | (size - 1));
        film_entry(&f, "avc1", "avcC", config, sizeof config);
        assert_int_equal(ts_track_check(&f.info), ERR_UNSUPPORTED);
    }
    config[4] = 0xfe;
    film_entry(&f, "avc1", "avcC", config, sizeof config);
    f.samples[0] = (struct sample){sizeof sample, 1001, 0, true};
    f.source.sample_count = 1;
    buffer_append(&f.bytes, sample, sizeof sample);
    assert_int_equal(ts_one(&f, &ts), 0);
    pid_collect(&ts, 0x100, &pes);
    assert_memory_equal(pes.ptr + pes.len - sizeof expected, expected,
                        sizeof expected);
    buffer_fini(&pes);
    buffer_fini(&ts);
    film_fini(&f);
}

static void
hevc_has_its_own_aud_and_three_parameter_sets(void **state)
{
    static const uint8_t expected[] = {
        0, 0,    0, 1, 0x46, 0x01, 0x50, 0, 0,    0, 1, 0x40, 1, 7, 0, 0,    0,
        1, 0x42, 1, 8, 0,    0,    0,    1, 0x44, 1, 9, 0,    0, 0, 1, 0x26, 1};
    static const uint8_t sample[] = {0, 0, 0, 2, 0x26, 1};
    struct film f;
    struct buffer ts, pes;
    film_init(&f, TRACK_VIDEO, 24000);
    film_entry(&f, "hvc1", "hvcC", hvcc, sizeof hvcc);
    f.samples[0] = (struct sample){sizeof sample, 1001, 0, true};
    f.source.sample_count = 1;
    buffer_append(&f.bytes, sample, sizeof sample);
    assert_int_equal(ts_one(&f, &ts), 0);
    pid_collect(&ts, 0x100, &pes);
    assert_int_equal(pes.len, 14 + sizeof expected);
    assert_memory_equal(pes.ptr + 14, expected, sizeof expected);
    assert_int_equal(ts.ptr[TS_PACKET_SIZE + 17], 0x24);
    buffer_fini(&pes);
    buffer_fini(&ts);
    film_fini(&f);
}

static void
frames_of_aac_have_adts_headers_and_share_pes_packets(void **state)
{
    static const uint8_t header[] = {0xff, 0xf1, 0x50, 0x80,
                                     0x02, 0x7f, 0xfc}; /* of 19 bytes */
    struct film f;
    struct buffer ts, pes;
    film_aac(&f, aac_lc, sizeof aac_lc);
    for (int i = 0; i < 6; i++)
        film_sample(&f, 12, 1024, true);
    assert_int_equal(ts_one(&f, &ts), 0);
    pid_collect(&ts, 0x100, &pes);
    assert_int_equal(pes.len, 2 * 14 + 6 * 19);
    for (size_t i = 0; i < 4; i++) { /* 93 ms */
        assert_memory_equal(pes.ptr + 14 + i * 19, header, sizeof header);
        assert_memory_equal(pes.ptr + 14 + i * 19 + 7, f.bytes.ptr + i * 12,
                            12);
    }
    assert_memory_equal(pes.ptr + 14 + 4 * 19, "\0\0\1\xc0", 4);
    assert_int_equal(time_read(pes.ptr + 14 + 4 * 19 + 9), 900000 + 8359);
    buffer_fini(&pes);
    buffer_fini(&ts);
    film_fini(&f);
}

static void
he_aac_says_the_rate_of_its_core(void **state)
{
    struct film f;
    struct ts_codec codec;
    struct buffer none;
    buffer_init(&none, 100);
    film_aac(&f, he_aac, sizeof he_aac);
    assert_int_equal(ts_codec_open(&f.info, &codec, &none), 0);
    assert_int_equal(codec.adts[2] >> 6, 1);      /* AAC LC */
    assert_int_equal(codec.adts[2] >> 2 & 15, 6); /* 24 kHz */
    assert_int_equal(codec.adts[3] >> 6, 2);
    film_fini(&f);
}

static void
each_codec_has_its_stream_type_or_is_refused(void **state)
{
    static const struct {
        enum track_kind kind;
        const char *type, *child;
        uint8_t object;
        uint32_t rate;
        int err;
        uint8_t stream_type, stream_id;
    } cases[] = {
        {TRACK_AUDIO, "ac-3", NULL, 0, 48000, 0, 0x81, 0xbd},
        {TRACK_AUDIO, "ec-3", NULL, 0, 48000, 0, 0x87, 0xbd},
        {TRACK_AUDIO, "mp4a", "esds", 0x6b, 44100, 0, 0x03, 0xc0},
        {TRACK_AUDIO, "mp4a", "esds", 0x69, 22050, 0, 0x04, 0xc0},
        {TRACK_AUDIO, ".mp3", NULL, 0, 44100, 0, 0x03, 0xc0},
        {TRACK_AUDIO, "mp4a", "esds", 0xa9, 48000, ERR_UNSUPPORTED, 0, 0},
        {TRACK_AUDIO, "mp4a", NULL, 0, 48000, ERR_INVALID, 0, 0},
        {TRACK_AUDIO, "Opus", "dOps", 0, 48000, ERR_UNSUPPORTED, 0, 0},
        {TRACK_AUDIO, "fLaC", "dfLa", 0, 48000, ERR_UNSUPPORTED, 0, 0},
        {TRACK_VIDEO, "av01", "av1C", 0, 0, ERR_UNSUPPORTED, 0, 0},
        {TRACK_VIDEO, "vp09", "vpcC", 0, 0, ERR_UNSUPPORTED, 0, 0},
        {TRACK_VIDEO, "avc1", "free", 0, 0, ERR_INVALID, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct film f;
        struct ts_codec codec;
        struct buffer none;
        uint8_t esds[64];
        buffer_init(&none, 100);
        film_init(&f, cases[i].kind, 48000);
        f.info.sample_rate = cases[i].rate;
        const size_t len =
            esds_write(esds, cases[i].object, aac_lc, sizeof aac_lc);
        film_entry(&f, cases[i].type, cases[i].child, esds, len);
        assert_int_equal(ts_codec_open(&f.info, &codec, &none), cases[i].err);
        assert_int_equal(ts_track_check(&f.info), cases[i].err);
        if (cases[i].err == 0) {
            assert_int_equal(codec.stream_type, cases[i].stream_type);
            assert_int_equal(codec.stream_id, cases[i].stream_id);
        }
        film_fini(&f);
    }
}

static void
an_audio_configuration_that_adts_cannot_say_is_refused(void **state)
{
    static const struct {
        uint8_t bytes[6];
        size_t len;
        int err;
    } configs[] = {
        {{0xf9, 0x48}, 2, ERR_UNSUPPORTED}, /* object type 31 and more: xHE */
        {{0x17, 0x90}, 2, ERR_UNSUPPORTED}, /* a rate of its own */
        {{0x12, 0x00}, 2, ERR_UNSUPPORTED}, /* a layout of its own */
        {{0x12, 0x40}, 2, ERR_UNSUPPORTED}, /* layout 8 */
        {{0x11, 0x94}, 2, ERR_UNSUPPORTED}, /* frames of 960 samples */
        /* of 960, too, behind the SBR, with its rate in the table and not */
        {{0x2b, 0x11, 0x8a}, 3, ERR_UNSUPPORTED},
        {{0x2b, 0x17, 0x80, 0x5d, 0xc0, 0x0a}, 6, ERR_UNSUPPORTED},
        {{0x2b, 0x17, 0x80, 0x5d, 0xc0, 0x08}, 6, 0},
        {{0x2b, 0x11, 0xc4}, 3, ERR_UNSUPPORTED}, /* a core of type 17 */
        {{0x12}, 1, ERR_TRUNCATED},
        {{0x2b, 0x11}, 2, ERR_TRUNCATED},
    };
    for (size_t i = 0; i < sizeof configs / sizeof configs[0]; i++) {
        struct film f;
        film_aac(&f, configs[i].bytes, configs[i].len);
        const int err = ts_track_check(&f.info);
        if (err != configs[i].err)
            fail_msg("case %zu: %s", i, err_text(err));
        film_fini(&f);
    }
}

static void
times_are_rounded_each_from_zero(void **state)
{
    assert_int_equal(ts_time(0, 44100), 900000);
    assert_int_equal(ts_time(1024, 44100), 900000 + 2090);
    assert_int_equal(ts_time(-1024, 44100), 900000 - 2090);
    /* an hour of frames, 2089.795918 each */
    for (int64_t i = 0; i < 155000; i++)
        assert_int_equal(ts_time(i * 1024, 44100),
                         900000 + (i * 1024 * 90000 * 2 + 44100) / 88200);
    assert_int_equal(ts_time(-20 * 44100 - 1, 44100), -900000 - 2);
    assert_int_equal(ts_time(INT64_C(1) << 46, 90000),
                     (INT64_C(1) << 46) + 900000);
    assert_int_equal(ts_time(-(INT64_C(1) << 46), 90000),
                     -(INT64_C(1) << 46) + 900000);
}

static void
pictures_carry_both_times_and_the_clock(void **state)
{
    struct film f;
    struct buffer ts;
    film_avc(&f, 24000);
    f.info.media_time = 2002;
    film_sample(&f, 500, 1001, true);
    f.samples[0].composition_offset = 0; /* shown at its decoding + 2002 */
    film_sample(&f, 500, 1001, false);   /* shown when decoded */
    assert_int_equal(ts_one(&f, &ts), 0);
    struct packet p = pes_find(&ts, 0x100, 0);
    assert_int_equal(p.payload.ptr[7], 0xc0);
    assert_int_equal(time_read(p.payload.ptr + 9), 900000);
    assert_int_equal(time_read(p.payload.ptr + 14), 900000 - 7507);
    assert_true(p.is_random_access && p.has_pcr);
    assert_int_equal(p.pcr, 900000 - 7507 - 45000);
    p = pes_find(&ts, 0x100, 1);
    assert_int_equal(p.payload.ptr[7], 0x80);
    assert_int_equal(time_read(p.payload.ptr + 9), 900000 - 3754);
    assert_true(!p.is_random_access && p.has_pcr);
    buffer_fini(&ts);
    film_fini(&f);
}

static void
a_picture_too_large_for_the_size_field_says_none(void **state)
{
    /* behind the field: 8 of the header, 19 of AUD and parameter sets */
    static const uint32_t sizes[] = {UINT16_MAX - 27, UINT16_MAX - 20};
    for (size_t i = 0; i < 2; i++) {
        struct film f;
        struct buffer ts;
        film_avc(&f, 24000);
        film_sample(&f, sizes[i], 1001, true);
        assert_int_equal(ts_one(&f, &ts), 0);
        struct packet p = pes_find(&ts, 0x100, 0);
        assert_memory_equal(p.payload.ptr + 4, i == 0 ? "\xff\xff" : "\0\0", 2);
        buffer_fini(&ts);
        film_fini(&f);
    }
}

static void
the_tables_stand_first_with_their_checksums(void **state)
{
    /* as FFmpeg writes it for the same program */
    static const uint8_t expected[] = {
        0x47, 0x40, 0x00, 0x13, 0x00, 0x00, 0xb0, 0x0d, 0x00, 0x01, 0xc1,
        0x00, 0x00, 0x00, 0x01, 0xf0, 0x00, 0x2a, 0xb1, 0x04, 0xb2, 0xff};
    struct film f;
    const struct film *films[] = {&f};
    struct buffer ts;
    film_avc(&f, 24000);
    film_sample(&f, 7, 1001, true);
    buffer_init(&ts, OUT_SIZE_MAX);
    assert_int_equal(ts_make(films, 1, 3, whole, &ts), 0);
    assert_memory_equal(ts.ptr, expected, sizeof expected);
    assert_memory_equal(ts.ptr + TS_PACKET_SIZE, "\x47\x50\x00\x13\x00\x02", 6);
    buffer_fini(&ts);
    film_fini(&f);
}

static void
the_stream_wraps_at_33_bits(void **state)
{
    struct film f;
    struct buffer ts;
    film_avc(&f, 90000);
    film_sample(&f, 500, 3000, true);
    f.source.decode_time = (UINT64_C(1) << 33) - 900000 + 5;
    assert_int_equal(ts_one(&f, &ts), 0);
    struct packet p = pes_find(&ts, 0x100, 0);
    assert_int_equal(time_read(p.payload.ptr + 9), 5);
    assert_int_equal(p.pcr, (UINT64_C(1) << 33) - 45000 + 5);
    buffer_fini(&ts);
    film_fini(&f);
}

/* Of every track a multiple of 16 from 0 on; of the tables the number. */
static void
continuity_check(const struct buffer *ts, uint32_t number)
{
    uint32_t counts[0x1001] = {0};
    for (size_t at = 0; at < ts->len; at += TS_PACKET_SIZE) {
        struct packet p;
        packet_read(ts->ptr + at, &p);
        const bool is_table = p.pid == 0 || p.pid == 0x1000;
        assert_int_equal(p.continuity,
                         is_table ? number & 15 : counts[p.pid] & 15);
        counts[p.pid]++;
    }
    assert_int_equal(counts[0], 1);
    assert_int_equal(counts[0x1000], 1);
    assert_int_equal(counts[0x100] % 16, 0);
    assert_int_equal(counts[0x101] % 16, 0);
}

static void
films_make(struct film *video, struct film *audio, uint32_t seed)
{
    film_avc(video, 24000);
    film_aac(audio, aac_lc, sizeof aac_lc);
    audio->info.media_time = 1024;
    for (uint32_t i = 0; i < 48; i++) {
        seed = seed * 1664525 + 1013904223;
        film_sample(video, 20 + seed % (i % 24 == 0 ? 60000 : 3000), 1001,
                    i % 24 == 0);
    }
    for (uint32_t i = 0; i < 87; i++) {
        seed = seed * 1664525 + 1013904223;
        film_sample(audio, 6 + seed % 700, 1024, true);
    }
}

static void
counters_start_at_zero_and_end_at_fifteen(void **state)
{
    for (uint32_t n = 0; n < 40; n++) {
        struct film video, audio;
        const struct film *films[] = {&video, &audio};
        struct buffer ts;
        films_make(&video, &audio, n);
        for (size_t count = 1; count <= 2; count++) {
            buffer_init(&ts, OUT_SIZE_MAX);
            assert_int_equal(ts_make(films, count, n, whole, &ts), 0);
            continuity_check(&ts, n);
            buffer_fini(&ts);
        }
        film_fini(&video);
        film_fini(&audio);
    }
}

static void
the_smallest_samples_have_bytes_for_sixteen_packets(void **state)
{
    struct film f;
    struct buffer ts;
    film_init(&f, TRACK_AUDIO, 48000);
    film_entry(&f, "ac-3", NULL, NULL, 0);
    film_sample(&f, 2, 1536, true);
    assert_int_equal(ts_one(&f, &ts), 0);
    assert_int_equal(ts.len, (2 + 16) * TS_PACKET_SIZE);
    continuity_check(&ts, 0);
    buffer_fini(&ts);
    f.samples[0].size = 1;
    assert_int_equal(ts_one(&f, &ts), ERR_INVALID);
    film_fini(&f);
}

static void
pieces_of_any_size_give_the_same_bytes(void **state)
{
    static const struct pieces pieces[] = {
        {1, 1},     {1, 1000},  {1000, 1},    {3, 5},
        {183, 187}, {184, 188}, {4096, 4096}, {1u << 20, 33}};
    struct film video, audio;
    const struct film *films[] = {&video, &audio};
    struct buffer expected;
    films_make(&video, &audio, 1);
    buffer_init(&expected, OUT_SIZE_MAX);
    assert_int_equal(ts_make(films, 2, 3, whole, &expected), 0);
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        struct buffer ts;
        buffer_init(&ts, OUT_SIZE_MAX);
        assert_int_equal(ts_make(films, 2, 3, pieces[i], &ts), 0);
        assert_true(bytes_equal(buffer_bytes(&ts), buffer_bytes(&expected)));
        buffer_fini(&ts);
    }
    buffer_fini(&expected);
    film_fini(&video);
    film_fini(&audio);
}

static void
sound_stands_between_its_pictures(void **state)
{
    struct film video, audio;
    struct ts_source sources[2];
    struct ts_inputs inputs;
    struct ts_element e;
    struct ts_range range;
    int64_t picture = 0;
    uint64_t sizes[2] = {0};
    unsigned ranges = 0;
    films_make(&video, &audio, 1);
    sources[0] = video.source;
    sources[1] = audio.source;
    ts_inputs_begin(&inputs, sources, 2);
    for (unsigned i = 0; ts_element_next(&inputs, &e); i++) {
        const int64_t time =
            ts_time(e.ticks, sources[e.source].info->timescale);
        if (i == 0)
            assert_int_equal(e.source, 0);
        if (e.source == 0)
            picture = time;
        else /* the next picture is not there yet, nor the last frame */
            assert_in_range(time - picture + 20000, 3000, 20000 + 3754);
    }
    ts_inputs_begin(&inputs, sources, 2);
    while (ts_inputs_next(&inputs, &range)) {
        assert_int_equal(range.offset, sizes[range.source]);
        sizes[range.source] += range.size;
        ranges++;
    }
    assert_int_equal(sizes[0], video.bytes.len);
    assert_int_equal(sizes[1], audio.bytes.len);
    assert_in_range(ranges, 40, 50); /* of 2 s */
    film_fini(&video);
    film_fini(&audio);
}

static void
sound_that_is_over_is_still_in_the_program(void **state)
{
    struct film video, audio;
    const struct film *films[] = {&video, &audio};
    struct buffer ts;
    films_make(&video, &audio, 1);
    audio.source.sample_count = 0;
    buffer_init(&ts, OUT_SIZE_MAX);
    assert_int_equal(ts_make(films, 2, 9, whole, &ts), 0);
    continuity_check(&ts, 9);
    const uint8_t *map = ts.ptr + TS_PACKET_SIZE + 17;
    assert_memory_equal(map,
                        "\x1b\xe1\x00\xf0\x00\x0f\xe1\x01\xf0\x06\x0a\x04"
                        "kor",
                        15);
    buffer_fini(&ts);
    film_fini(&video);
    film_fini(&audio);
}

static void
samples_that_contradict_themselves_are_an_error(void **state)
{
    static const struct {
        uint8_t bytes[12];
    } cases[] = {
        {{0, 0, 0, 9, 0x65}},                   /* one too long */
        {{0xff, 0xff, 0xff, 0xff, 0x65}},       /* far too long */
        {{0, 0, 0, 0, 0, 0, 0, 4, 0x65}},       /* nothing at first */
        {{0, 0, 0, 5, 0x65, 0, 0, 0, 0, 0, 0}}, /* half a length */
        {{0, 0, 0, 3, 0x65, 0, 0, 0, 0, 0, 2}}, /* one too long, later */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct film f;
        struct buffer ts;
        film_avc(&f, 24000);
        f.samples[0] = (struct sample){12, 1001, 0, true};
        f.source.sample_count = 1;
        buffer_append(&f.bytes, cases[i].bytes, 12);
        assert_int_equal(ts_one(&f, &ts), ERR_INVALID);
        buffer_fini(&ts);
        film_fini(&f);
    }
}

static void
maps_that_no_stream_can_have_are_refused(void **state)
{
    struct film f;
    struct buffer ts;
    film_avc(&f, 24000);
    assert_int_equal(ts_one(&f, &ts), ERR_INVALID); /* no samples */
    film_sample(&f, 100, 1001, true);
    f.samples[0].size = 4;
    assert_int_equal(ts_one(&f, &ts), ERR_INVALID);
    f.samples[0].size = 100;
    f.samples[0].composition_offset = -1;
    assert_int_equal(ts_one(&f, &ts), ERR_UNSUPPORTED);
    f.samples[0].composition_offset = 0;
    f.info.media_time = INT64_MAX;
    assert_int_equal(ts_one(&f, &ts), ERR_LIMIT);
    f.info.media_time = 0;
    f.source.decode_time = UINT64_MAX;
    assert_int_equal(ts_one(&f, &ts), ERR_LIMIT);
    f.source.decode_time = 0;
    f.info.timescale = 0;
    assert_int_equal(ts_one(&f, &ts), ERR_INVALID);
    film_fini(&f);
    film_aac(&f, aac_lc, sizeof aac_lc);
    film_sample(&f, 8184, 1024, true);
    assert_int_equal(ts_one(&f, &ts), 0);
    buffer_fini(&ts);
    f.samples[0].size++;
    assert_int_equal(ts_one(&f, &ts), ERR_LIMIT);
    const struct film *twice[] = {&f, &f};
    assert_int_equal(ts_make(twice, 2, 0, whole, &ts), ERR_INVALID);
    assert_int_equal(ts_make(twice, 0, 0, whole, &ts), ERR_INVALID);
    film_fini(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_picture_is_aud_parameters_and_start_codes),
        cmocka_unit_test(a_picture_between_key_frames_has_an_aud_alone),
        cmocka_unit_test(an_aud_of_the_sample_stays_first_and_alone),
        cmocka_unit_test(lengths_of_three_bytes_become_start_codes_of_three),
        cmocka_unit_test(hevc_has_its_own_aud_and_three_parameter_sets),
        cmocka_unit_test(frames_of_aac_have_adts_headers_and_share_pes_packets),
        cmocka_unit_test(he_aac_says_the_rate_of_its_core),
        cmocka_unit_test(each_codec_has_its_stream_type_or_is_refused),
        cmocka_unit_test(
            an_audio_configuration_that_adts_cannot_say_is_refused),
        cmocka_unit_test(times_are_rounded_each_from_zero),
        cmocka_unit_test(pictures_carry_both_times_and_the_clock),
        cmocka_unit_test(a_picture_too_large_for_the_size_field_says_none),
        cmocka_unit_test(the_tables_stand_first_with_their_checksums),
        cmocka_unit_test(the_stream_wraps_at_33_bits),
        cmocka_unit_test(counters_start_at_zero_and_end_at_fifteen),
        cmocka_unit_test(the_smallest_samples_have_bytes_for_sixteen_packets),
        cmocka_unit_test(pieces_of_any_size_give_the_same_bytes),
        cmocka_unit_test(sound_stands_between_its_pictures),
        cmocka_unit_test(sound_that_is_over_is_still_in_the_program),
        cmocka_unit_test(samples_that_contradict_themselves_are_an_error),
        cmocka_unit_test(maps_that_no_stream_can_have_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
