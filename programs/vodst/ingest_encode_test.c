/* SPDX-License-Identifier: Apache-2.0 */
#include "programs/vodst/ingest_encode.h"

#include "core/err.h"
#include "programs/vodst/ingest_loudness.h"

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

/* 24000/1001 in ms, as Matroska has them: cut at the encoder's own ticks, the
 * first at or after 120 s and 240 s. */
static void
a_piece_is_cut_by_the_ticks_of_the_encoder(void **state)
{
    struct source source = film(640, 360);
    source.frame_rate_num = 24000;
    source.frame_rate_den = 1001;
    source.time_base_num = 1;
    source.time_base_den = 1000;
    source.is_constant_rate = true;
    source.video_start_ticks = 83;
    static const unsigned heights[] = {360};
    struct encode_plan plan = {.segment_ms = 4000,
                               .preset = "veryfast",
                               .is_piece = true,
                               .piece_ms = 120000,
                               .piece = {120000, 240000}};
    ladder_fit(heights, 1, &source, &plan);
    struct buffer text;
    buffer_init(&text, ARGUMENTS_SIZE_MAX);
    const char *argv[ENCODE_ARGUMENTS_MAX];
    assert_int_equal(encode_arguments(&source, &plan, &text, argv), 0);
    assert_true(has(argv, "-filter_complex",
                    "[0:0]setpts=PTS-83,settb=1001/24000,"
                    "trim=start_pts=2878:end_pts=5755,split=1[s0]"
                    ";[s0]scale=640:360:flags=bicubic,setsar=1,"
                    "format=yuv420p[v0]"));
    assert_true(has(argv, "-copyts", NULL) && has(argv, "-ss", "118.000"));
    for (size_t i = 0; argv[i] != NULL; i++)
        if (strcmp(argv[i], "-force_key_frames") == 0) {
            const char *start = "120.036583,122.038583,";
            assert_memory_equal(argv[i + 1], start, strlen(start));
        }
    buffer_fini(&text);
}

static void
each_codec_has_its_encoder_and_its_range(void **state)
{
    static const struct {
        enum video_codec codec;
        const char *encoder, *crf, *format;
    } cases[] = {
        {CODEC_H264, "libx264", "23", "format=yuv420p[v0]"},
        {CODEC_HEVC, "libx265", "26", "format=yuv420p10le[v0]"},
        {CODEC_AV1, "libsvtav1", "35", "format=yuv420p10le[v0]"},
    };
    static const unsigned heights[] = {360};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct source source = film(640, 360);
        source.video_range = VIDEO_RANGE_PQ;
        struct encode_plan plan = {.segment_ms = 4000,
                                   .preset = "veryfast",
                                   .codec = cases[i].codec,
                                   .crf = codec_crf(cases[i].codec)};
        ladder_fit(heights, 1, &source, &plan);
        struct buffer text;
        buffer_init(&text, ARGUMENTS_SIZE_MAX);
        const char *argv[ENCODE_ARGUMENTS_MAX], *graph = "";
        assert_int_equal(encode_arguments(&source, &plan, &text, argv), 0);
        assert_true(has(argv, "-c:v", cases[i].encoder));
        assert_true(has(argv, "-crf", cases[i].crf));
        for (size_t n = 0; argv[n] != NULL; n++)
            if (strcmp(argv[n], "-filter_complex") == 0)
                graph = argv[n + 1];
        assert_non_null(strstr(graph, cases[i].format));
        const bool is_mapped = strstr(graph, "tonemap") != NULL;
        assert_int_equal(is_mapped, cases[i].codec == CODEC_H264);
        assert_int_equal(has(argv, "-color_trc", "smpte2084"), !is_mapped);
        buffer_fini(&text);
    }
}

static void
loudness_is_read_from_what_the_filter_says(void **state)
{
    struct loudness found;
    assert_true(loudness_parse(
        "[Parsed_loudnorm_1 @ 0x5]\n{\n\t\"input_i\" : \"-27.61\",\n"
        "\t\"input_tp\" : \"-4.47\",\n\t\"input_lra\" : \"18.06\",\n"
        "\t\"input_thresh\" : \"-39.20\",\n\t\"target_offset\" : \"0.36\"\n"
        "}\nmore",
        &found));
    assert_true(found.is_known && found.integrated == -27.61
                && found.peak == -4.47 && found.range == 18.06
                && found.threshold == -39.20 && found.offset == 0.36);
    /* silence */
    assert_true(loudness_parse(
        "{\"input_i\":\"-inf\",\"input_tp\":\"-inf\",\"input_lra\":\"0.00\","
        "\"input_thresh\":\"-70.00\",\"target_offset\":\"inf\"}",
        &found));
    assert_false(found.is_known);
    assert_true(loudness_parse("{}", &found));
    assert_false(found.is_known);
    assert_false(loudness_parse("", &found));
    assert_false(loudness_parse("{\"input_i\" :", &found));
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
        cmocka_unit_test(a_piece_is_cut_by_the_ticks_of_the_encoder),
        cmocka_unit_test(each_codec_has_its_encoder_and_its_range),
        cmocka_unit_test(loudness_is_read_from_what_the_filter_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
