/* SPDX-License-Identifier: Apache-2.0 */
#include "programs/vodst/ingest_encode.h"

#include "core/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct source
film(unsigned width, unsigned height)
{
    return (struct source){
        .path = "/films/a b.mp4",
        .has_video = true,
        .width = width,
        .height = height,
        .frame_rate_num = 25,
        .frame_rate_den = 1,
        .time_base_num = 1,
        .time_base_den = 12800,
        .is_constant_rate = true,
        .duration_s = 10,
        .video_duration_s = 10,
    };
}

static void
a_ladder_is_read_greatest_first(void **state)
{
    unsigned heights[LADDER_RUNGS_MAX], count = 0;
    assert_int_equal(ladder_parse("360,1080,720", heights, &count), 0);
    assert_int_equal(count, 3);
    assert_int_equal(heights[0], 1080);
    assert_int_equal(heights[1], 720);
    assert_int_equal(heights[2], 360);
}

static void
a_bad_ladder_is_refused(void **state)
{
    static const char *const cases[] = {
        "",         ",",
        "720,",     ",720",
        "720,,480", "720 480",
        "abc",      "-720",
        "63",       "4321",
        "99999",    "720,720",
        "0",        "100,200,300,400,500,600,700,800,900",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        unsigned heights[LADDER_RUNGS_MAX] = {7}, count = 7;
        if (ladder_parse(cases[i], heights, &count) != ERR_INVALID)
            fail_msg("'%s'", cases[i]);
        assert_int_equal(count, 7);
        assert_int_equal(heights[0], 7);
    }
}

static void
no_rung_is_above_the_source(void **state)
{
    static const unsigned heights[] = {1080, 720, 360};
    static const struct {
        unsigned width, height, count, widths[3], heights[3];
    } cases[] = {
        {1920, 1080, 3, {1920, 1280, 640}, {1080, 720, 360}},
        {1280, 720, 2, {1280, 640}, {720, 360}},
        {1920, 800, 2, {1728, 864}, {720, 360}},
        {720, 1280, 2, {720, 360}, {1280, 640}}, /* upright */
        {640, 359, 1, {640}, {360}},             /* its own size, even */
        {160, 120, 1, {160}, {120}},
        {2, 2, 1, {2}, {2}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct source source = film(cases[i].width, cases[i].height);
        struct encode_plan plan = {0};
        ladder_fit(heights, 3, &source, &plan);
        assert_int_equal(plan.rung_count, cases[i].count);
        for (unsigned r = 0; r < plan.rung_count; r++) {
            assert_int_equal(plan.rungs[r].width, cases[i].widths[r]);
            assert_int_equal(plan.rungs[r].height, cases[i].heights[r]);
            assert_true(plan.rungs[r].bitrate_kbps_max >= 100);
        }
    }
}

static void
sound_alone_has_no_rungs(void **state)
{
    static const unsigned heights[] = {720};
    const struct source source = {.audio_count = 1};
    struct encode_plan plan = {0};
    ladder_fit(heights, 1, &source, &plan);
    assert_int_equal(plan.rung_count, 0);
}

static bool
has(const char *const *argv, const char *name, const char *value)
{
    for (; *argv != NULL; argv++)
        if (strcmp(*argv, name) == 0
            && (value == NULL || (argv[1] != NULL && !strcmp(argv[1], value))))
            return true;
    return false;
}

static void
arguments_name_source_filters_and_files(void **state)
{
    struct source source = film(1280, 720);
    static const unsigned heights[] = {720, 360};
    struct encode_plan plan = {
        .segment_ms = 4000, .crf = 23, .preset = "veryfast", .audio_count = 1};
    source.audio_count = 1;
    source.audio[0] = (struct source_audio){
        .stream = 1, .channels = 6, .sample_rate = 44100, .end_s = 9};
    ladder_fit(heights, 2, &source, &plan);
    struct buffer text;
    buffer_init(&text, 1 << 16);
    const char *argv[ENCODE_ARGUMENTS_MAX];
    assert_int_equal(encode_arguments(&source, &plan, &text, argv), 0);
    assert_string_equal(argv[0], "ffmpeg");
    assert_true(has(argv, "-i", "file:/films/a b.mp4"));
    assert_true(has(argv, "-filter_complex",
                    "[0:0]setpts=PTS-STARTPTS,split=2[s0][s1]"
                    ";[s0]scale=1280:720:flags=bicubic,setsar=1,"
                    "format=yuv420p[v0]"
                    ";[s1]scale=640:360:flags=bicubic,setsar=1,"
                    "format=yuv420p[v1]"
                    ";[0:1]aresample=44100:async=1:first_pts=0,"
                    "aformat=channel_layouts=stereo,"
                    "apad=whole_dur=10.000000[a0]"));
    assert_true(has(argv, "-force_key_frames", "expr:gte(t,n_forced*2.000)"));
    assert_true(has(argv, "-enc_time_base", "1/12800"));
    assert_true(has(argv, "-movie_timescale", "12800"));
    assert_true(has(argv, "v0.mp4", NULL) && has(argv, "v1.mp4", NULL)
                && has(argv, "a0.mp4", NULL) && !has(argv, "v2.mp4", NULL));
    buffer_fini(&text);
}

static void
thumbnails_are_no_larger_than_the_film(void **state)
{
    static const struct {
        unsigned width, height, size, widths, heights;
    } cases[] = {
        {1920, 1080, 320, 320, 180}, {1080, 1920, 320, 180, 320},
        {200, 100, 320, 200, 100},   {1998, 1080, 320, 320, 172},
        {4000, 2, 320, 320, 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct source source = film(cases[i].width, cases[i].height);
        struct encode_plan plan = {0};
        thumbnails_fit(cases[i].size, 10000, &source, &plan);
        assert_int_equal(plan.thumbnails.width, cases[i].widths);
        assert_int_equal(plan.thumbnails.height, cases[i].heights);
        assert_int_equal(plan.thumbnails.interval_ms, 10000);
    }
    const struct source sound = {.audio_count = 1};
    struct encode_plan plan = {.thumbnails = {1, 2, 3}};
    thumbnails_fit(320, 10000, &sound, &plan);
    assert_int_equal(plan.thumbnails.interval_ms, 0);
}

/* Behind all else: FFmpeg counts the frames of the first that is written. */
static void
thumbnails_are_made_of_the_same_pictures(void **state)
{
    const struct source source = film(640, 360);
    static const unsigned heights[] = {360};
    struct encode_plan plan = {.segment_ms = 4000, .preset = "veryfast"};
    ladder_fit(heights, 1, &source, &plan);
    thumbnails_fit(160, 2500, &source, &plan);
    struct buffer text;
    buffer_init(&text, 1 << 16);
    const char *argv[ENCODE_ARGUMENTS_MAX];
    assert_int_equal(encode_arguments(&source, &plan, &text, argv), 0);
    assert_true(
        has(argv, "-filter_complex",
            "[0:0]setpts=PTS-STARTPTS,split=2[s0][si]"
            ";[s0]scale=640:360:flags=bicubic,setsar=1,"
            "format=yuv420p[v0]"
            ";[si]fps=1000/2500:start_time=0:round=up,"
            "scale=160:90:flags=area:out_color_matrix=bt601,setsar=1,"
            "format=yuvj420p,split=2[st][sp];[st]tile=5x5[sheets]"
            ";[sp]settb=1/"
            "1000,setpts=N[i1];color=s=800x450,trim=end_frame=1,setsar=1,"
            "format=yuvj420p[empty];[empty][sheets]concat,"
            "settb=1/1000,setpts=N[i0]"));
    size_t count = 0;
    while (argv[count] != NULL)
        count++;
    assert_string_equal(argv[count - 1], "i1.%d.jpg");
    assert_true(has(argv, "-map", "[i0]") && has(argv, "0", "i0.%d.jpg"));
    buffer_fini(&text);
}

/* At the times that the film has. */
static void
thumbnails_can_be_all_that_is_made(void **state)
{
    const struct source source = film(640, 360);
    struct encode_plan plan = {.segment_ms = 4000};
    thumbnails_fit(160, 2500, &source, &plan);
    struct buffer text;
    buffer_init(&text, 1 << 16);
    const char *argv[ENCODE_ARGUMENTS_MAX];
    assert_int_equal(encode_arguments(&source, &plan, &text, argv), 0);
    const char *graph = NULL;
    for (size_t i = 0; argv[i] != NULL; i++) {
        assert_string_not_equal(argv[i], "libx264");
        if (strcmp(argv[i], "-filter_complex") == 0)
            graph = argv[i + 1];
    }
    assert_non_null(graph);
    const char *start = "[0:0]setpts=PTS,split=1[si];[si]fps=1000/2500:";
    assert_memory_equal(graph, start, strlen(start));
    assert_true(has(argv, "-map", "[i0]") && has(argv, "-map", "[i1]"));
    buffer_fini(&text);
}

static void
frame_times_are_exact_or_the_files_own(void **state)
{
    static const struct {
        unsigned rate_num, rate_den, base_num, base_den;
        bool is_constant;
        const char *enc_time_base;
    } cases[] = {
        {25, 1, 1, 12800, true, "1/12800"},          /* MP4 */
        {24000, 1001, 1, 24000, true, "1/24000"},    /* MP4 */
        {24000, 1001, 1, 1000, true, "1001/24000"},  /* Matroska */
        {30000, 1001, 1, 90000, true, "1/90000"},    /* MPEG-TS, exact */
        {24000, 1001, 1, 90000, true, "1001/24000"}, /* MPEG-TS */
        {30, 1, 1, 1000, false, "1/1000"},           /* variable */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct source source = film(640, 360);
        source.frame_rate_num = cases[i].rate_num;
        source.frame_rate_den = cases[i].rate_den;
        source.time_base_num = cases[i].base_num;
        source.time_base_den = cases[i].base_den;
        source.is_constant_rate = cases[i].is_constant;
        static const unsigned heights[] = {360};
        struct encode_plan plan = {.segment_ms = 4000, .preset = "veryfast"};
        ladder_fit(heights, 1, &source, &plan);
        struct buffer text;
        buffer_init(&text, 1 << 16);
        const char *argv[ENCODE_ARGUMENTS_MAX];
        assert_int_equal(encode_arguments(&source, &plan, &text, argv), 0);
        if (!has(argv, "-enc_time_base", cases[i].enc_time_base))
            fail_msg("case %zu", i);
        buffer_fini(&text);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_ladder_is_read_greatest_first),
        cmocka_unit_test(a_bad_ladder_is_refused),
        cmocka_unit_test(no_rung_is_above_the_source),
        cmocka_unit_test(sound_alone_has_no_rungs),
        cmocka_unit_test(arguments_name_source_filters_and_files),
        cmocka_unit_test(thumbnails_are_no_larger_than_the_film),
        cmocka_unit_test(thumbnails_are_made_of_the_same_pictures),
        cmocka_unit_test(thumbnails_can_be_all_that_is_made),
        cmocka_unit_test(frame_times_are_exact_or_the_files_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
