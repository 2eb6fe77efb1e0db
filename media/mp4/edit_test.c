/* SPDX-License-Identifier: Apache-2.0 */
/* What of a film is presented, and when. */

#include "media/mp4/opened.h"

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

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_real_edit_says_what_is_presented),
        cmocka_unit_test(edits_that_are_one_stretch_of_the_media_are_played),
        cmocka_unit_test(edits_that_cannot_be_played_are_named),
        cmocka_unit_test(offsets_below_0_are_raised),
        cmocka_unit_test(sound_keeps_the_frames_before_what_is_heard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
