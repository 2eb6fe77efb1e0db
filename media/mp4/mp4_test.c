/* SPDX-License-Identifier: Apache-2.0 */
/* What is read of a film. */

#include "media/mp4/opened.h"

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

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_have_their_sizes_times_and_places),
        cmocka_unit_test(every_form_of_the_tables_reads_the_same),
        cmocka_unit_test(codecs_are_named_as_rfc_6381_wants),
        cmocka_unit_test(audio_configuration_beats_the_sample_entry),
        cmocka_unit_test(language_keeps_its_three_letters),
        cmocka_unit_test(an_extended_language_beats_the_short_one),
        cmocka_unit_test(a_turned_picture_has_the_size_that_is_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
