/* SPDX-License-Identifier: Apache-2.0 */
#include "programs/vodst/ingest_source.h"

#include "core/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define FORMAT(start)                                          \
    "\"format\":{\"format_name\":\"mov,mp4,m4a,3gp,3g2,mj2\"," \
    "\"start_time\":\"" start "\",\"duration\":\"10.5\",\"probe_score\":100}"

#define VIDEO                                                               \
    "{\"index\":0,\"codec_type\":\"video\",\"width\":720,\"height\":576,"   \
    "\"sample_aspect_ratio\":\"16:15\",\"r_frame_rate\":\"25/1\","          \
    "\"avg_frame_rate\":\"25/1\",\"time_base\":\"1/12800\","                \
    "\"start_time\":\"0.040\",\"duration\":\"10.0\",\"nb_frames\":\"250\"," \
    "\"field_order\":\"tt\"}"

#define AUDIO                                                                \
    "{\"index\":1,\"codec_type\":\"audio\",\"channels\":6,"                  \
    "\"sample_rate\":\"44100\",\"start_time\":\"0.0\",\"duration\":\"9.5\"," \
    "\"tags\":{\"language\":\"ger\",\"title\":\"Deutsch\"}}"

static int
parse(const char *json, struct source *out)
{
    const char *reason = NULL;
    memset(out, 0, sizeof *out);
    int err = source_parse(bytes_of_text(json), out, &reason);
    if (err != 0)
        assert_non_null(reason);
    return err;
}

static void
a_film_is_understood(void **state)
{
    static struct source s;
    assert_int_equal(
        parse("{\"streams\":[" VIDEO "," AUDIO "]," FORMAT("0.0") "}", &s), 0);
    assert_true(s.has_video && s.is_mp4 && s.is_interlaced && s.is_constant_rate
                && s.has_exact_duration);
    assert_int_equal(s.width, 768); /* 720 pixels of 16:15 */
    assert_int_equal(s.height, 576);
    assert_int_equal(s.frame_count, 250);
    assert_true(s.video_start_s > 0.039 && s.video_start_s < 0.041);
    assert_int_equal(s.audio_count, 1);
    assert_int_equal(s.audio[0].stream, 1);
    assert_int_equal(s.audio[0].channels, 6);
    assert_string_equal(s.audio[0].language, "de");
    assert_string_equal(s.audio[0].label, "Deutsch");
    assert_true(s.audio[0].end_s > 9.49 && s.audio[0].end_s < 9.51);
}

static void
text_is_no_part_of_the_length(void **state)
{
    static struct source s;
    assert_int_equal(parse("{\"streams\":[" VIDEO "," AUDIO ","
                           "{\"index\":2,\"codec_type\":\"subtitle\","
                           "\"codec_tag_string\":\"tx3g\"}]," FORMAT("0.0") "}",
                           &s),
                     0);
    assert_true(s.has_text);
    assert_true(s.duration_s > 10.039 && s.duration_s < 10.041);
    assert_true(s.zero_s > 0.039 && s.zero_s < 0.041);
    assert_int_equal(
        parse("{\"streams\":[" AUDIO "," VIDEO "]," FORMAT("-0.5") "}", &s), 0);
    assert_false(s.has_text);
    assert_true(s.duration_s > 10.499);
    assert_true(s.zero_s > 0.039 && s.zero_s < 0.041);
}

static void
a_turned_film_is_upright(void **state)
{
    static struct source s;
    assert_int_equal(
        parse("{\"streams\":[{\"index\":0,\"codec_type\":\"video\","
              "\"width\":1920,\"height\":1080,\"side_data_list\":["
              "{\"rotation\":-90}]}]," FORMAT("0.0") "}",
              &s),
        0);
    assert_int_equal(s.width, 1080);
    assert_int_equal(s.height, 1920);
}

static void
a_variable_rate_is_seen(void **state)
{
    static struct source s;
    assert_int_equal(
        parse(
            "{\"streams\":[{\"index\":0,\"codec_type\":\"video\","
            "\"width\":640,\"height\":360,\"r_frame_rate\":\"60/1\","
            "\"avg_frame_rate\":\"291/10\",\"time_base\":\"1/1000\"}]," FORMAT(
                "0.0") "}",
            &s),
        0);
    assert_false(s.is_constant_rate);
    assert_int_equal(s.frame_rate_num, 291);
    assert_int_equal(s.time_base_den, 1000);
}

static void
a_high_dynamic_range_is_seen(void **state)
{
    static const struct {
        const char *transfer;
        enum video_range range;
    } cases[] = {{"smpte2084", VIDEO_RANGE_PQ},
                 {"arib-std-b67", VIDEO_RANGE_HLG},
                 {"bt709", VIDEO_RANGE_UNKNOWN}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        static struct source s;
        char json[1024];
        snprintf(json, sizeof json,
                 "{\"streams\":[{\"index\":0,\"codec_type\":\"video\","
                 "\"width\":640,\"height\":360,\"color_transfer\":\"%s\"}],"
                 "%s}",
                 cases[i].transfer, FORMAT("0.0"));
        assert_int_equal(parse(json, &s), 0);
        assert_int_equal(s.video_range, cases[i].range);
    }
}

static void
a_cover_is_not_a_film(void **state)
{
    static struct source s;
    static const char cover[] =
        "{\"index\":0,\"codec_type\":\"video\",\"width\":600,\"height\":600,"
        "\"disposition\":{\"attached_pic\":1}}";
    char json[2048];
    snprintf(json, sizeof json, "{\"streams\":[%s,%s],%s}", cover, AUDIO,
             FORMAT("0.0"));
    assert_int_equal(parse(json, &s), 0);
    assert_false(s.has_video);
    assert_int_equal(s.audio_count, 1);
    snprintf(json, sizeof json, "{\"streams\":[%s],%s}", cover, FORMAT("0.0"));
    assert_int_equal(parse(json, &s), ERR_INVALID);
}

static void
what_is_no_film_is_refused(void **state)
{
    static const char *const cases[] = {
        "",
        "{",
        "[]",
        "null",
        "{}",
        "{\"streams\":{}}",
        "{\"streams\":[1,null,[]]," FORMAT("0.0") "}",
        "{\"streams\":[{\"codec_type\":\"subtitle\"}]," FORMAT("0.0") "}",
        "{\"streams\":[{\"codec_type\":\"video\",\"width\":0,\"height\":0}]"
        "," FORMAT("0.0") "}",
        "{\"streams\":[{\"codec_type\":\"video\",\"width\":1e9,"
        "\"height\":20}]," FORMAT("0.0") "}",
        "{\"streams\":[{\"codec_type\":\"audio\",\"channels\":0}]," FORMAT(
            "0.0") "}",
        /* FFmpeg is only guessing */
        "{\"streams\":[" AUDIO "],\"format\":{\"probe_score\":1}}",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        static struct source s;
        if (parse(cases[i], &s) != ERR_INVALID)
            fail_msg("%s", cases[i]);
    }
}

static void
languages_become_bcp_47(void **state)
{
    static const char *const cases[][2] = {
        {"eng", "en"},  {"ger", "de"},   {"deu", "de"},
        {"JPN", "ja"},  {"und", "und"},  {"en-GB", "en-GB"},
        {"tlh", "tlh"}, {"", "und"},     {"x", "und"},
        {"a b", "und"}, {"\"\\", "und"}, {"much-too-long-for-a-tag", "und"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[TRACK_LANGUAGE_LEN_MAX + 1];
        language_normalise(cases[i][0], out);
        assert_string_equal(out, cases[i][1]);
    }
    char out[TRACK_LANGUAGE_LEN_MAX + 1];
    language_normalise(NULL, out);
    assert_string_equal(out, "und");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_film_is_understood),
        cmocka_unit_test(text_is_no_part_of_the_length),
        cmocka_unit_test(a_turned_film_is_upright),
        cmocka_unit_test(a_variable_rate_is_seen),
        cmocka_unit_test(a_high_dynamic_range_is_seen),
        cmocka_unit_test(a_cover_is_not_a_film),
        cmocka_unit_test(what_is_no_film_is_refused),
        cmocka_unit_test(languages_become_bcp_47),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
