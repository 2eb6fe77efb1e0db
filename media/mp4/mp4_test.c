/* SPDX-License-Identifier: Apache-2.0 */

#include "core/err.h"
#include "media/testing/movie.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* A file, where it may be patched, and what came of it. */
struct opened {
    struct buffer file;
    struct mp4_movie movie;
    struct mp4_error error;
    int err;
};

static void
opened_write(struct opened *o, const struct test_movie *movie)
{
    *o = (struct opened){0};
    buffer_init(&o->file, TEST_MOVIE_SIZE_MAX);
    test_movie_write(movie, &o->file);
    assert_int_equal(o->file.err, 0);
}

static void
opened_parse(struct opened *o)
{
    const struct bytes file = buffer_bytes(&o->file);
    memset(&o->error, 0, sizeof o->error);
    o->err = test_movie_open(&file, &o->movie, &o->error);
}

static void
opened_fini(struct opened *o)
{
    mp4_close(&o->movie);
    buffer_fini(&o->file);
}

/* The one track of a file that has to be good. */
static const struct mp4_track *
opened_track(struct opened *o, const struct test_movie *movie)
{
    opened_write(o, movie);
    opened_parse(o);
    if (o->err != 0)
        fail_msg("%s at %llu: %s", o->error.box,
                 (unsigned long long) o->error.offset, o->error.reason);
    assert_int_equal(o->movie.track_count, 1);
    return &o->movie.tracks[0];
}

static void
assert_samples_match_media(const struct opened *o,
                           const struct mp4_track *track)
{
    for (uint32_t i = 0; i < track->sample_count; i++) {
        const struct mp4_sample *s = &track->samples[i];
        for (uint32_t k = 0; k < s->size; k++)
            assert_int_equal(o->file.ptr[s->offset + k], i & 0xff);
    }
}

/* ---- what is read ---- */

static void
samples_have_their_sizes_times_and_places(void **state)
{
    struct opened o;
    const struct test_movie movie = {.sample_count = 30,
                                     .gop = 10,
                                     .has_b_frames = true,
                                     .samples_per_chunk = 4,
                                     .chunk_gap = 3};
    const struct mp4_track *t = opened_track(&o, &movie);
    assert_int_equal(t->sample_count, 30);
    assert_int_equal(t->kind, TRACK_VIDEO);
    assert_int_equal(t->timescale, 24000);
    assert_int_equal(t->width, 640);
    assert_int_equal(t->height, 360);
    assert_string_equal(t->codecs, "avc1.64001e");
    assert_string_equal(t->language, "und");
    assert_samples_match_media(&o, t);
    for (uint32_t i = 0; i < 30; i++) {
        assert_int_equal(t->samples[i].decode_time, i * 1001);
        assert_int_equal(t->samples[i].duration, 1001);
        assert_int_equal(t->samples[i].is_sync, i % 10 == 0);
    }
    static const int32_t offsets[] = {1001, 3003, 0, 0, 3003, 0, 0};
    for (int i = 0; i < 7; i++)
        assert_int_equal(t->samples[i].composition_offset, offsets[i]);
    opened_fini(&o);
}

static void
every_form_of_the_tables_reads_the_same(void **state)
{
    static const struct test_movie movies[] = {
        {.sample_count = 21, .is_moov_last = true},
        {.sample_count = 21, .is_wide = true, .samples_per_chunk = 5},
        {.sample_count = 21, .is_wide = true, .is_moov_last = true},
        {.sample_count = 21, .is_open_size = true},
        {.sample_count = 21, .compact_bits = 4},
        {.sample_count = 21, .compact_bits = 8, .samples_per_chunk = 1},
        {.sample_count = 21, .compact_bits = 16, .samples_per_chunk = 7},
        {.sample_count = 21, .sample_size = 33, .samples_per_chunk = 2},
        {.sample_count = 21, .has_text_track = true, .without = "dinf"},
        {.sample_count = 21, .kind = TRACK_AUDIO, .last_duration = 100},
    };
    for (size_t i = 0; i < sizeof movies / sizeof movies[0]; i++) {
        struct opened o;
        const struct mp4_track *t = opened_track(&o, &movies[i]);
        assert_int_equal(t->sample_count, 21);
        assert_true(t->samples[20].is_sync);
        assert_samples_match_media(&o, t);
        const struct mp4_sample *last = &t->samples[20];
        assert_int_equal(t->duration, last->decode_time + last->duration);
        opened_fini(&o);
    }
}

static void
codecs_are_named_as_rfc_6381_wants(void **state)
{
    static const struct {
        enum track_kind kind;
        const char *type, *codecs;
    } cases[] = {
        {TRACK_VIDEO, "avc1", "avc1.64001e"},
        {TRACK_VIDEO, "avc3", "avc3.64001e"},
        {TRACK_VIDEO, "hvc1", "hvc1.1.6.L93.B0"},
        {TRACK_VIDEO, "hev1", "hev1.1.6.L93.B0"},
        {TRACK_AUDIO, "mp4a", "mp4a.40.2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct opened o;
        const struct test_movie movie = {.kind = cases[i].kind,
                                         .codec = cases[i].type};
        const struct mp4_track *t = opened_track(&o, &movie);
        assert_string_equal(t->codecs, cases[i].codecs);
        assert_memory_equal(t->sample_entry.ptr + 4, cases[i].type, 4);
        assert_int_equal(load_be32(t->sample_entry.ptr), t->sample_entry.len);
        opened_fini(&o);
    }
}

static void
audio_configuration_beats_the_sample_entry(void **state)
{
    struct opened o;
    const struct test_movie movie = {.kind = TRACK_AUDIO};
    opened_write(&o, &movie);
    const size_t esds = test_movie_find(buffer_bytes(&o.file), "esds", 0);
    /* HE-AAC with PS, 22.05 kHz doubled to 44.1, one channel made two */
    static const uint8_t config[] = {0x1d << 3 | 3, 0x80 | 1 << 3 | 2};
    memcpy(o.file.ptr + esds + 12 + 31, config, 2);
    opened_parse(&o);
    assert_int_equal(o.err, 0);
    assert_string_equal(o.movie.tracks[0].codecs, "mp4a.40.29");
    assert_int_equal(o.movie.tracks[0].channels, 2);
    assert_int_equal(o.movie.tracks[0].sample_rate, 44100);
    opened_fini(&o);
}

static void
language_keeps_its_three_letters(void **state)
{
    static const char *const cases[][2] = {
        {"jpn", "jpn"}, {"eng", "eng"}, {"```", "und"}, {"a~b", "und"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct opened o;
        const struct test_movie movie = {.language = cases[i][0]};
        const struct mp4_track *t = opened_track(&o, &movie);
        assert_string_equal(t->language, cases[i][1]);
        opened_fini(&o);
    }
}

static void
first_real_edit_says_what_is_presented(void **state)
{
    static const struct {
        struct test_movie movie;
        int64_t media_time;
        uint64_t duration;
    } cases[] = {
        /* 48 samples of 1001/24000 s are 2002 ms */
        {{.sample_count = 48}, 0, 48048},
        {{.sample_count = 48,
          .has_b_frames = true,
          .has_edit = true,
          .media_time = 1001,
          .edit_duration = 2002},
         1001,
         48048},
        /* rounded to 1 ms: the samples know better */
        {{.sample_count = 47, .has_edit = true, .edit_duration = 1960},
         0,
         47047},
        {{.sample_count = 48, .has_edit = true, .edit_duration = 1000},
         0,
         24000},
        {{.sample_count = 48, .has_edit = true, .edit_duration = 9999},
         0,
         48048},
        {{.sample_count = 48,
          .has_edit = true,
          .edit_duration = 0,
          .media_time = 2002},
         0, /* what is not shown is not there */
         46046},
        {{.sample_count = 48,
          .has_edit = true,
          .has_empty_edit = true,
          .edit_duration = 2002,
          .is_wide = true},
         0,
         60048}, /* 500 ms late */
        {{.sample_count = 48, .has_empty_edit = true}, 0, 60048},
        {{.kind = TRACK_AUDIO,
          .sample_count = 10,
          .has_edit = true,
          .media_time = 1024,
          .last_duration = 336},
         1024,
         9 * 1024 + 336 - 1024},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct opened o;
        const struct mp4_track *t = opened_track(&o, &cases[i].movie);
        assert_int_equal(t->media_time, cases[i].media_time);
        assert_int_equal(t->duration, cases[i].duration);
        opened_fini(&o);
    }
}

/* ---- what is refused ---- */

struct patch {
    struct test_movie movie;
    const char *box; /* the nth of this type ... */
    unsigned nth;
    uint32_t offset; /* ... has at this place behind its header ... */
    uint32_t value;  /* ... this big-endian word */
    int err;
    const char *error_box;
};

static void
a_broken_box_is_named_with_its_offset(void **state)
{
    static const struct test_movie plain = {.sample_count = 12,
                                            .gop = 4,
                                            .has_b_frames = true,
                                            .has_edit = true,
                                            .media_time = 1001};
    const struct patch cases[] = {
        {plain, "stsz", 0, 8, 13, ERR_TRUNCATED, "stsz"},
        {plain, "stsz", 0, 8, 0xffffffff, ERR_TRUNCATED, "stsz"},
        {plain, "stsz", 0, 8, 0, ERR_INVALID, "stsz"},
        {plain, "stsz", 0, 4, 0x7fffffff, ERR_TRUNCATED, "stsz"},
        {plain, "stsz", 0, 12, 0x00ffffff, ERR_TRUNCATED, "stco"},
        {plain, "stts", 0, 4, 2, ERR_TRUNCATED, "stts"},
        {plain, "stts", 0, 8, 11, ERR_INVALID, "stts"},
        {{.sample_count = 3}, "stts", 0, 12, 0, ERR_INVALID, "mdhd"},
        {plain, "ctts", 0, 4, 13, ERR_TRUNCATED, "ctts"},
        {plain, "ctts", 0, 4, 11, ERR_INVALID, "ctts"},
        {plain, "stsc", 0, 4, 2, ERR_TRUNCATED, "stsc"},
        {plain, "stsc", 0, 8, 2, ERR_INVALID, "stsc"},
        {plain, "stsc", 0, 12, 0, ERR_INVALID, "stsc"},
        {plain, "stsc", 0, 12, 11, ERR_INVALID, "stco"},
        {plain, "stsc", 0, 16, 2, ERR_UNSUPPORTED, "stsc"},
        {plain, "stco", 0, 4, 2, ERR_TRUNCATED, "stco"},
        {plain, "stco", 0, 4, 0, ERR_INVALID, "stco"},
        {plain, "stco", 0, 8, 0xfffffff0, ERR_TRUNCATED, "stco"},
        {plain, "stss", 0, 4, 9, ERR_TRUNCATED, "stss"},
        {plain, "stss", 0, 8, 0, ERR_INVALID, "stss"},
        {plain, "stss", 0, 8, 5, ERR_INVALID, "stss"},
        {plain, "stss", 0, 16, 13, ERR_INVALID, "stss"},
        {plain, "stsd", 0, 4, 2, ERR_UNSUPPORTED, "stsd"},
        {plain, "stsd", 0, 8, 1, ERR_INVALID, "avc1"},
        {plain, "stsd", 0, 12, 0x7a7a7a7a, ERR_UNSUPPORTED, "zzzz"},
        {plain, "avcC", 0, 0, 0x02640000, ERR_UNSUPPORTED, "avcC"},
        {plain, "avcC", 0, -4u, 0x7a7a7a7a, ERR_INVALID, "avcC"},
        {plain, "avc1", 0, -8u, 60, ERR_TRUNCATED, "avc1"},
        {plain, "mdhd", 0, 12, 0, ERR_INVALID, "mdhd"},
        {plain, "mdhd", 0, 0, 0x02000000, ERR_UNSUPPORTED, "mdhd"},
        {plain, "mvhd", 0, 12, 0, 0, NULL},
        {plain, "elst", 0, 4, 2, ERR_TRUNCATED, "elst"},
        {plain, "elst", 0, 12, -2u, ERR_INVALID, "elst"},
        {plain, "elst", 0, 12, 99999999, ERR_INVALID, "elst"},
        {plain, "elst", 0, 0, 0x02000000, ERR_UNSUPPORTED, "elst"},
        {plain, "url ", 0, 0, 0, ERR_UNSUPPORTED, "url "},
        {plain, "dref", 0, -8u, 16, ERR_TRUNCATED, "dref"},
        {plain, "trak", 0, -8u, 0x7fffffff, ERR_TRUNCATED, "trak"},
        {plain, "trak", 0, -8u, 7, ERR_INVALID, "trak"},
        {plain, "moov", 0, -8u, 0x7fffffff, ERR_TRUNCATED, "moov"},
        {plain, "moov", 0, -4u, 0x6d6f6f78, ERR_INVALID, "moov"},
        {plain, "ftyp", 0, -8u, 4, ERR_INVALID, "ftyp"},
        {plain, "hdlr", 0, 8, 0x74657874, ERR_INVALID, "moov"},
        {{.kind = TRACK_AUDIO}, "esds", 0, 4, 0, ERR_INVALID, "esds"},
        {{.kind = TRACK_AUDIO}, "esds", 0, 4, 0x03ffffff, ERR_INVALID, "esds"},
        {{.kind = TRACK_AUDIO}, "mp4a", 0, 8, 0x30000, ERR_UNSUPPORTED, "mp4a"},
        {{.kind = TRACK_AUDIO},
         "stsd",
         0,
         12,
         0x616c6163,
         ERR_UNSUPPORTED,
         "alac"},
        {{.codec = "hvc1"}, "hvcC", 0, 0, 0, ERR_UNSUPPORTED, "hvcC"},
        {{.sample_count = 3, .compact_bits = 8},
         "stz2",
         0,
         4,
         7,
         ERR_INVALID,
         "stz2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct patch *p = &cases[i];
        struct opened o;
        opened_write(&o, &p->movie);
        const size_t box =
            test_movie_find(buffer_bytes(&o.file), p->box, p->nth);
        store_be32(o.file.ptr + box + (8 + p->offset), p->value);
        opened_parse(&o);
        if (o.err != p->err)
            fail_msg("case %zu: %s, in %s: %s", i, err_name(o.err), o.error.box,
                     o.error.reason);
        if (p->error_box != NULL) {
            assert_string_equal(o.error.box, p->error_box);
            assert_non_null(o.error.reason);
            /* a box that is missing has no place of its own */
            if (strcmp(p->box, p->error_box) == 0 && p->offset != -4u)
                assert_int_equal(o.error.offset, box);
        }
        opened_fini(&o);
    }
}

static void
a_missing_box_is_named(void **state)
{
    static const char *const boxes[] = {"mvhd", "tkhd", "mdia", "mdhd", "hdlr",
                                        "minf", "stbl", "stsd", "avcC", "stts",
                                        "stsc", "stsz", "stco", "moov"};
    for (size_t i = 0; i < sizeof boxes / sizeof boxes[0]; i++) {
        struct opened o;
        const struct test_movie movie = {.sample_count = 3,
                                         .without = boxes[i]};
        opened_write(&o, &movie);
        opened_parse(&o);
        assert_int_equal(o.err, ERR_INVALID);
        assert_string_equal(o.error.box, boxes[i]);
        opened_fini(&o);
    }
}

/* ---- edits ---- */

#define EDITS(count, ...)                                           \
    .edit_count = (count), .edits = (const struct test_edit[count]) \
    {                                                               \
        __VA_ARGS__                                                 \
    }

/* 48 frames of 1001/24000 s, a key frame every 12. */
static void
edits_that_are_one_stretch_of_the_media_are_played(void **state)
{
    const struct {
        struct test_movie movie;
        uint32_t sample_count;
        int64_t media_time;
        uint64_t duration, first_decode_time;
    } cases[] = {
        /* one after the other in the media, in ms and in ticks */
        {{EDITS(2, {1000, 0, 0}, {1002, 24000, 0})}, 48, 0, 48048, 0},
        {{.movie_timescale = 24000, EDITS(2, {24024, 0, 0}, {12012, 24024, 0})},
         36,
         0,
         36036,
         0},
        {{EDITS(2, {1000, 0, 0}, {0, 24000, 0})}, 48, 0, 48048, 0},
        /* a pause at the end is none */
        {{EDITS(2, {1001, 0, 0}, {500, -1, 0})}, 24, 0, 24024, 0},
        /* the end is cut off, but not what a shown picture needs */
        {{.has_b_frames = true, EDITS(1, {209, 1001, 0})}, 7, 1001, 5016, 0},
        /* from the second key frame on, and a ms off */
        {{EDITS(1, {0, 12012, 0})}, 36, 0, 36036, 0},
        {{EDITS(1, {0, 12030, 0})}, 36, 0, 36036, 0},
        {{.has_b_frames = true, EDITS(1, {0, 13013, 0})}, 36, 1001, 36036, 0},
        /* late, as others may be in other files */
        {{EDITS(3, {500, -1, 0}, {250, -1, 0}, {2002, 0, 0})},
         48,
         0,
         66048,
         18000},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct opened o;
        struct test_movie movie = cases[i].movie;
        movie.sample_count = 48;
        movie.gop = 12;
        const struct mp4_track *t = opened_track(&o, &movie);
        assert_int_equal(t->sample_count, cases[i].sample_count);
        assert_int_equal(t->media_time, cases[i].media_time);
        assert_int_equal(t->duration, cases[i].duration);
        assert_int_equal(t->samples[0].decode_time, cases[i].first_decode_time);
        assert_true(t->samples[0].is_sync);
        opened_fini(&o);
    }
}

static void
edits_that_cannot_be_played_are_named(void **state)
{
    const struct {
        struct test_movie movie;
        const char *reason;
        int err;
    } cases[] = {
        {{EDITS(1, {1000, 0, 0x20000})}, "speed", ERR_UNSUPPORTED},
        {{EDITS(1, {1000, 0, 0xffff})}, "speed", ERR_UNSUPPORTED},
        {{EDITS(3, {500, 0, 0}, {500, -1, 0}, {500, 12000, 0})},
         "between two others",
         ERR_UNSUPPORTED},
        {{EDITS(2, {500, 0, 0}, {500, 24000, 0})},
         "leave out",
         ERR_UNSUPPORTED},
        {{EDITS(2, {500, 0, 0}, {500, 0, 0})},
         "leave out or repeat",
         ERR_UNSUPPORTED},
        {{EDITS(2, {0, 0, 0}, {500, 0, 0})},
         "leave out or repeat",
         ERR_UNSUPPORTED},
        {{EDITS(1, {1000, 1001, 0})},
         "between two key frames",
         ERR_UNSUPPORTED},
        {{.is_wide = true, EDITS(1, {1000, INT64_MAX, 0})},
         "behind the last",
         ERR_INVALID},
        {{.is_wide = true, EDITS(2, {UINT64_MAX, -1, 0}, {1, 0, 0})},
         "too long",
         ERR_LIMIT},
        {{.is_wide = true,
          EDITS(3, {UINT64_MAX, -1, 0}, {UINT64_MAX, -1, 0}, {1, 0, 0})},
         "too long",
         ERR_LIMIT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct opened o;
        struct test_movie movie = cases[i].movie;
        movie.sample_count = 48;
        movie.gop = 12;
        opened_write(&o, &movie);
        opened_parse(&o);
        assert_int_equal(o.err, cases[i].err);
        assert_string_equal(o.error.box, "elst");
        assert_int_equal(o.error.offset,
                         test_movie_find(buffer_bytes(&o.file), "elst", 0));
        if (strstr(o.error.reason, cases[i].reason) == NULL)
            fail_msg("case %zu: %s", i, o.error.reason);
        opened_fini(&o);
    }
}

static void
offsets_below_0_are_raised(void **state)
{
    struct opened o;
    const struct test_movie movie = {.sample_count = 24,
                                     .gop = 12,
                                     .has_b_frames = true,
                                     .composition_shift = -1001};
    const struct mp4_track *t = opened_track(&o, &movie);
    assert_int_equal(t->media_time, 1001);
    assert_int_equal(t->duration, 24 * 1001);
    for (uint32_t i = 0; i < 24; i++)
        assert_true(t->samples[i].composition_offset >= 0);
    assert_int_equal(t->samples[0].composition_offset, 1001);
    opened_fini(&o);
}

static void
sound_keeps_the_frames_before_what_is_heard(void **state)
{
    struct opened o;
    const struct test_movie movie = {
        .kind = TRACK_AUDIO, .sample_count = 200, EDITS(1, {1000, 102400, 0})};
    const struct mp4_track *t = opened_track(&o, &movie);
    assert_int_equal(t->duration, 44100);
    /* 9 frames are 209 ms, then 43.07 */
    assert_int_equal(t->media_time, 9 * 1024);
    assert_int_equal(t->sample_count, 9 + 44);
    assert_int_equal(t->samples[0].decode_time, 0);
    opened_fini(&o);
}

/* ---- what a track says of itself ---- */

static void
a_turned_picture_has_the_size_that_is_seen(void **state)
{
    static const uint32_t turned[9] = {0, 0x10000,    0, -0x10000u, 0,
                                       0, 640u << 16, 0, 0x40000000};
    static const uint32_t upside_down[9] = {
        -0x10000u, 0, 0, 0, -0x10000u, 0, 0, 0, 0x40000000};
    static const uint32_t plain[9] = {0x10000, 0, 0, 0,         0x10000,
                                      0,       0, 0, 0x40000000};
    struct opened o;
    struct test_movie movie = {.matrix = turned};
    const struct mp4_track *t = opened_track(&o, &movie);
    assert_int_equal(t->width, 360);
    assert_int_equal(t->height, 640);
    assert_memory_equal(t->matrix, turned, sizeof turned);
    opened_fini(&o);
    movie.matrix = upside_down;
    t = opened_track(&o, &movie);
    assert_int_equal(t->width, 640);
    assert_memory_equal(t->matrix, upside_down, sizeof upside_down);
    opened_fini(&o);
    movie.matrix = plain;
    t = opened_track(&o, &movie);
    assert_int_equal(t->width, 640);
    assert_int_equal(t->matrix[0], 0);
    opened_fini(&o);
}

static void
an_extended_language_beats_the_short_one(void **state)
{
    static const char *const cases[][2] = {{"pt-BR", "pt-BR"},
                                           {"zh-Hans-CN", "zh-Hans-CN"},
                                           {"", "eng"},
                                           {"e\"n", "eng"},
                                           {"abcdefghijklmnop", "eng"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct opened o;
        const struct test_movie movie = {.language = "eng",
                                         .extended_language = cases[i][0]};
        const struct mp4_track *t = opened_track(&o, &movie);
        assert_string_equal(t->language, cases[i][1]);
        opened_fini(&o);
    }
}

/* ---- fragments ---- */

static void
fragments_read_as_the_plain_film_does(void **state)
{
    const struct test_movie plain = {.sample_count = 30,
                                     .gop = 10,
                                     .has_b_frames = true,
                                     .last_duration = 77};
    static const struct test_movie forms[] = {
        {.samples_per_chunk = 10},
        {.samples_per_chunk = 4},
        {.samples_per_chunk = 1},
        {.samples_per_chunk = 10, .fragment_base = TEST_BASE_OFFSET},
        {.samples_per_chunk = 10, .fragment_base = TEST_BASE_IMPLIED},
        {.samples_per_chunk = 10, .has_text_fragments = true},
        {.samples_per_chunk = 10,
         .has_text_fragments = true,
         .fragment_base = TEST_BASE_IMPLIED},
        {.samples_per_chunk = 10, .is_hybrid = true},
        {.samples_per_chunk = 10, .is_wide = true, .is_hybrid = true},
        {.samples_per_chunk = 10, .is_without_decode_times = true},
        {.samples_per_chunk = 10, .fragment_time = 90000},
        {.samples_per_chunk = 10,
         .fragment_time = (uint64_t) 1 << 40,
         .is_wide = true},
    };
    struct opened p;
    const struct mp4_track *t = opened_track(&p, &plain);
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        struct opened o;
        struct test_movie movie = forms[i];
        movie.sample_count = plain.sample_count;
        movie.gop = plain.gop;
        movie.has_b_frames = true;
        movie.last_duration = plain.last_duration;
        movie.is_fragmented = true;
        const struct mp4_track *f = opened_track(&o, &movie);
        assert_int_equal(f->sample_count, t->sample_count);
        assert_int_equal(f->duration, t->duration);
        assert_int_equal(f->media_time, t->media_time);
        assert_samples_match_media(&o, f);
        for (uint32_t k = 0; k < t->sample_count; k++) {
            const struct mp4_sample *a = &f->samples[k], *b = &t->samples[k];
            assert_int_equal(a->decode_time, b->decode_time);
            assert_int_equal(a->duration, b->duration);
            assert_int_equal(a->size, b->size);
            assert_int_equal(a->composition_offset, b->composition_offset);
            assert_int_equal(a->is_sync, b->is_sync);
        }
        opened_fini(&o);
    }
    opened_fini(&p);
}

static void
a_gap_between_fragments_is_the_length_of_the_sample_before(void **state)
{
    struct opened o;
    const struct test_movie movie = {.sample_count = 6,
                                     .gop = 3,
                                     .samples_per_chunk = 3,
                                     .is_fragmented = true,
                                     .fragment_gap = 5000};
    const struct mp4_track *t = opened_track(&o, &movie);
    assert_int_equal(t->samples[2].duration, 6001);
    assert_int_equal(t->samples[3].decode_time, 3 * 1001 + 5000);
    assert_int_equal(t->duration, 6 * 1001 + 5000);
    opened_fini(&o);
}

static void
a_broken_fragment_is_named_with_its_offset(void **state)
{
    static const struct test_movie plain = {.sample_count = 12,
                                            .gop = 4,
                                            .samples_per_chunk = 4,
                                            .has_b_frames = true,
                                            .is_fragmented = true};
    static const struct test_movie sized = {.sample_count = 12,
                                            .samples_per_chunk = 4,
                                            .sample_size = 20,
                                            .is_fragmented = true};
    static const struct test_movie based = {.sample_count = 4,
                                            .is_fragmented = true,
                                            .fragment_base = TEST_BASE_OFFSET};
    const struct patch cases[] = {
        {plain, "trun", 1, 4, 5, ERR_TRUNCATED, "trun"},
        {plain, "trun", 1, 4, 0xffffffff, ERR_TRUNCATED, "trun"},
        {plain, "trun", 1, 8, 0x7fffffff, ERR_TRUNCATED, "trun"},
        {plain, "trun", 0, 8, 0x80000000, ERR_INVALID, "trun"},
        {plain, "trun", 1, 0, 0x1, ERR_INVALID, "trun"}, /* no sizes */
        {plain, "trun", 2, 8, -9u, ERR_INVALID, "trun"}, /* overlaps */
        {plain, "trun", 2, 16, 0xffffff, ERR_TRUNCATED, "trun"},
        {sized, "trun", 1, 4, 0x10000000, ERR_TRUNCATED, "trun"},
        {plain, "tfdt", 1, 4, 0, ERR_INVALID, "tfdt"},
        {plain, "tfdt", 2, 4, 7007, ERR_INVALID, "tfdt"},
        {plain, "tfdt", 1, 0, 0x01000000, ERR_TRUNCATED, "tfdt"},
        {plain, "tfhd", 1, 0, 0x020002, ERR_TRUNCATED, "tfhd"},
        {plain, "tfhd", 0, 4, 99, 0, NULL}, /* a track that is not there */
        {plain, "traf", 0, -8u, 0x7fffffff, ERR_TRUNCATED, "traf"},
        {plain, "traf", 0, -8u, 7, ERR_INVALID, "traf"},
        {plain, "moof", 1, -8u, 0x7fffffff, ERR_TRUNCATED, "moof"},
        {plain, "trex", 0, 8, 2, ERR_UNSUPPORTED, "trex"},
        {plain, "trex", 0, -8u, 12, ERR_TRUNCATED, "trex"},
        {based, "tfhd", 0, 8, 1, ERR_TRUNCATED, "tfhd"},
        {plain, "moof", 0, -4u, 0x66726565, 0, NULL}, /* the first is free */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct patch *p = &cases[i];
        struct opened o;
        opened_write(&o, &p->movie);
        const size_t box =
            test_movie_find(buffer_bytes(&o.file), p->box, p->nth);
        store_be32(o.file.ptr + box + (8 + p->offset), p->value);
        opened_parse(&o);
        if (o.err != p->err)
            fail_msg("case %zu: %s, in %s: %s", i, err_name(o.err), o.error.box,
                     o.error.reason);
        if (p->error_box != NULL) {
            if (strcmp(o.error.box, p->error_box) != 0)
                fail_msg("case %zu: %s: %s", i, o.error.box, o.error.reason);
            assert_int_equal(o.error.offset, box);
        }
        opened_fini(&o);
    }
}

static void
a_fragmented_file_without_fragments_has_no_samples(void **state)
{
    struct opened o;
    const struct test_movie movie = {
        .sample_count = 4, .is_fragmented = true, .without = "moof"};
    opened_write(&o, &movie);
    opened_parse(&o);
    assert_int_equal(o.err, ERR_INVALID);
    assert_string_equal(o.error.box, "mdhd");
    opened_fini(&o);
}

/* A recording that counts from 90000 and lasts no tick. */
static void
fragments_of_no_length_are_no_film(void **state)
{
    struct opened o;
    const struct test_movie movie = {
        .sample_count = 1, .is_fragmented = true, .fragment_time = 90000};
    opened_write(&o, &movie);
    const size_t trun = test_movie_find(buffer_bytes(&o.file), "trun", 0);
    store_be32(o.file.ptr + trun + 20, 0); /* the sample's duration */
    opened_parse(&o);
    assert_int_equal(o.err, ERR_INVALID);
    assert_string_equal(o.error.reason, "track has no duration");
    opened_fini(&o);
}

/* What is cut off between two boxes of the file is not missed, as no box says
 * how many fragments there are. */
static void
a_fragmented_file_cut_inside_a_box_is_an_error(void **state)
{
    struct opened o;
    const struct test_movie movie = {.sample_count = 9,
                                     .gop = 3,
                                     .samples_per_chunk = 3,
                                     .is_fragmented = true};
    opened_write(&o, &movie);
    const size_t size = o.file.len;
    size_t good = 0;
    for (size_t len = 0; len < size; len++) {
        uint8_t *exact = malloc(len + 1);
        memcpy(exact, o.file.ptr, len);
        const struct bytes file = {exact, len};
        o.err = test_movie_open(&file, &o.movie, &o.error);
        good += o.err == 0;
        if (o.err != 0)
            assert_non_null(o.error.reason);
        mp4_close(&o.movie);
        free(exact);
    }
    /* before and behind the second and the third sidx */
    assert_int_equal(good, 4);
    opened_fini(&o);
}

/* ---- places ---- */

static void
samples_that_overlap_are_refused(void **state)
{
    struct opened o;
    const struct test_movie movie = {.sample_count = 12,
                                     .samples_per_chunk = 4};
    opened_write(&o, &movie);
    const size_t stco = test_movie_find(buffer_bytes(&o.file), "stco", 0);
    uint8_t *second = o.file.ptr + stco + 20;
    store_be32(second, load_be32(second) - 1);
    opened_parse(&o);
    assert_int_equal(o.err, ERR_INVALID);
    assert_string_equal(o.error.box, "stco");
    assert_int_equal(o.error.offset, stco);
    assert_string_equal(o.error.reason, "samples overlap");
    opened_fini(&o);
}

static void
a_box_that_is_there_twice_is_refused(void **state)
{
    struct opened o;
    const struct test_movie movie = {.sample_count = 4, .gop = 2};
    opened_write(&o, &movie);
    const size_t stss = test_movie_find(buffer_bytes(&o.file), "stss", 0);
    memcpy(o.file.ptr + stss + 4, "stts", 4);
    opened_parse(&o);
    assert_int_equal(o.err, ERR_INVALID);
    assert_string_equal(o.error.box, "stts");
    assert_int_equal(o.error.offset, stss);
    opened_fini(&o);
}

/* Whatever is cut off, the answer is an error and never a movie. */
static void
a_file_cut_anywhere_is_an_error(void **state)
{
    static const struct test_movie movies[] = {
        {.sample_count = 9, .gop = 3, .has_b_frames = true},
        {.sample_count = 9, .is_moov_last = true, .kind = TRACK_AUDIO},
        {.sample_count = 9, .is_open_size = true},
    };
    for (size_t m = 0; m < sizeof movies / sizeof movies[0]; m++) {
        struct opened o;
        opened_write(&o, &movies[m]);
        for (size_t len = 0; len < o.file.len; len++) {
            uint8_t *exact = malloc(len + 1);
            memcpy(exact, o.file.ptr, len);
            const struct bytes file = {exact, len};
            o.err = test_movie_open(&file, &o.movie, &o.error);
            assert_int_not_equal(o.err, 0);
            assert_non_null(o.error.reason);
            free(exact);
        }
        opened_fini(&o);
    }
}

static void
a_film_that_ends_early_says_so(void **state)
{
    struct opened o;
    const struct test_movie movie = {.sample_count = 9, .is_open_size = true};
    opened_write(&o, &movie);
    o.file.len -= 1;
    opened_parse(&o);
    assert_int_equal(o.err, ERR_TRUNCATED);
    assert_string_equal(o.error.box, "stco");
    assert_non_null(strstr(o.error.reason, "truncated file"));
    opened_fini(&o);
}

/* Under the sanitizers this is a small fuzzer that always runs. */
static void
no_changed_byte_breaks_the_parser(void **state)
{
    static const struct test_movie movies[] = {
        {.sample_count = 12,
         .gop = 4,
         .has_b_frames = true,
         .has_edit = true,
         .media_time = 1001,
         .samples_per_chunk = 5},
        {.sample_count = 5, .kind = TRACK_AUDIO, .is_wide = true},
        {.sample_count = 5, .codec = "hvc1", .compact_bits = 4},
        {.sample_count = 6,
         .gop = 3,
         .samples_per_chunk = 3,
         .is_fragmented = true,
         .has_text_fragments = true},
    };
    for (size_t m = 0; m < sizeof movies / sizeof movies[0]; m++) {
        static const uint8_t values[] = {0, 1, 0x7f, 0x80, 0xff};
        struct opened o;
        opened_write(&o, &movies[m]);
        for (size_t i = 0; i < o.file.len; i++) {
            const uint8_t good = o.file.ptr[i];
            for (size_t v = 0; v < sizeof values; v++) {
                o.file.ptr[i] = values[v];
                opened_parse(&o);
                mp4_close(&o.movie);
            }
            o.file.ptr[i] = good;
        }
        opened_fini(&o);
    }
}

static int
failing_read(void *context, uint64_t offset, void *out, size_t len)
{
    return ERR_IO;
}

static void
an_error_of_the_source_is_passed_on(void **state)
{
    const struct mp4_source source = {failing_read, NULL, 1000};
    struct mp4_movie movie;
    struct mp4_error error;
    assert_int_equal(mp4_open(&source, &movie, &error), ERR_IO);
    assert_string_equal(error.reason, "file cannot be read");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_have_their_sizes_times_and_places),
        cmocka_unit_test(every_form_of_the_tables_reads_the_same),
        cmocka_unit_test(codecs_are_named_as_rfc_6381_wants),
        cmocka_unit_test(audio_configuration_beats_the_sample_entry),
        cmocka_unit_test(language_keeps_its_three_letters),
        cmocka_unit_test(first_real_edit_says_what_is_presented),
        cmocka_unit_test(a_broken_box_is_named_with_its_offset),
        cmocka_unit_test(a_missing_box_is_named),
        cmocka_unit_test(edits_that_are_one_stretch_of_the_media_are_played),
        cmocka_unit_test(edits_that_cannot_be_played_are_named),
        cmocka_unit_test(offsets_below_0_are_raised),
        cmocka_unit_test(sound_keeps_the_frames_before_what_is_heard),
        cmocka_unit_test(a_turned_picture_has_the_size_that_is_seen),
        cmocka_unit_test(an_extended_language_beats_the_short_one),
        cmocka_unit_test(fragments_read_as_the_plain_film_does),
        cmocka_unit_test(
            a_gap_between_fragments_is_the_length_of_the_sample_before),
        cmocka_unit_test(a_broken_fragment_is_named_with_its_offset),
        cmocka_unit_test(a_fragmented_file_without_fragments_has_no_samples),
        cmocka_unit_test(fragments_of_no_length_are_no_film),
        cmocka_unit_test(a_fragmented_file_cut_inside_a_box_is_an_error),
        cmocka_unit_test(samples_that_overlap_are_refused),
        cmocka_unit_test(a_box_that_is_there_twice_is_refused),
        cmocka_unit_test(a_file_cut_anywhere_is_an_error),
        cmocka_unit_test(a_film_that_ends_early_says_so),
        cmocka_unit_test(no_changed_byte_breaks_the_parser),
        cmocka_unit_test(an_error_of_the_source_is_passed_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
