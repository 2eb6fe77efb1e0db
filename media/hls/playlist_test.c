/* SPDX-License-Identifier: Apache-2.0 */

#include "core/err.h"
#include "media/index_format.h"
#include "media/testing/track.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* Microseconds of all EXTINF, and the greatest of them. */
static uint64_t
extinf_sum(const char *playlist, uint64_t *greatest)
{
    uint64_t sum = 0;
    *greatest = 0;
    for (const char *p = playlist; p != NULL; p = strchr(p + 1, '\n')) {
        char *dot, *comma;
        if (strncmp(p, "\n#EXTINF:", 9) != 0)
            continue;
        uint64_t us = strtoull(p + 9, &dot, 10) * 1000000;
        us += strtoull(dot + 1, &comma, 10);
        assert_int_equal(*dot, '.');
        assert_int_equal(comma - dot, 7); /* six digits */
        assert_int_equal(*comma, ',');
        sum += us;
        if (us > *greatest)
            *greatest = us;
    }
    return sum;
}

static void
playlist_write(const struct test_movie *movie, struct buffer *out)
{
    struct test_track t;
    buffer_init(out, 1 << 24);
    test_index_make(&t, movie, 1);
    hls_media_playlist_write(&t.index, out);
    test_track_fini(&t);
}

/* Each GOP is 1/3 s or has some other value that no decimal ends on. */
static void
rounding_never_adds_up(void **state)
{
    static const struct test_movie movies[] = {
        {.timescale = 3, .sample_duration = 1, .sample_count = 30000},
        {.timescale = 24000,
         .sample_duration = 1001,
         .sample_count = 20000,
         .gop = 7},
        {.timescale = 11025, .sample_duration = 1024, .sample_count = 10000},
        {.timescale = 4294967295u,
         .sample_duration = 1000000007,
         .sample_count = 9000},
    };
    for (size_t i = 0; i < sizeof movies / sizeof movies[0]; i++) {
        struct buffer b;
        uint64_t greatest;
        struct test_movie movie = movies[i];
        movie.sample_size = 1;
        playlist_write(&movie, &b);
        const uint64_t sum = extinf_sum(test_text(&b), &greatest);
        const double exact =
            1e6 * movie.sample_count * movie.sample_duration / movie.timescale;
        assert_true((double) sum > exact - 1 && (double) sum < exact + 1);
        buffer_fini(&b);
    }
}

static void
target_duration_is_no_less_than_any_rounded_segment(void **state)
{
    static const struct {
        uint32_t ms;
        const char *target;
    } cases[] = {{4000, "4\n"}, {4499, "4\n"}, {4500, "5\n"}, {4501, "5\n"},
                 {100, "1\n"},  {499, "1\n"},  {1500, "2\n"}, {9999, "10\n"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buffer b;
        const struct test_movie movie = {.timescale = 1000,
                                         .sample_duration = cases[i].ms,
                                         .sample_count = 3};
        playlist_write(&movie, &b);
        const char *target = strstr(test_text(&b), "#EXT-X-TARGETDURATION:");
        assert_non_null(target);
        assert_memory_equal(target + 22, cases[i].target,
                            strlen(cases[i].target));
        buffer_fini(&b);
    }
}

/* Whatever the pictures are like: every segment has a length, none is longer
 * than is said, each starts with a key frame that can be shown alone, and
 * together they are the film. */
static void
no_hard_film_makes_a_bad_playlist(void **state)
{
#define FILM_25(...)                                       \
    {                                                      \
        .timescale = 25, .sample_duration = 1, __VA_ARGS__ \
    }
    static const struct {
        struct test_movie movie;
        uint32_t target_ms, segments;
        const char *target;
    } cases[] = {
        /* key frames every 4.33 s for segments of 6 s */
        {{.timescale = 24,
          .sample_duration = 1,
          .sample_count = 1040,
          .gop = 104,
          .has_b_frames = true,
          .has_edit = true,
          .media_time = 1},
         6000,
         7,
         "9"},
        /* nothing new for 4 s, in the middle and right before a cut */
        {TEST_FILM(.sample_count = 500, .gop = 50, .gap_sample = 110,
                   .gap_duration = 4000),
         2000, 10, "6"},
        {TEST_FILM(.sample_count = 500, .gop = 50, .gap_sample = 99,
                   .gap_duration = 4040),
         2000, 10, "6"},
        {TEST_FILM(.sample_count = 1), 4000, 1, "1"},
        {TEST_FILM(.last_duration = 9000), 4000, 1, "9"},
        /* ten hours */
        {FILM_25(.sample_count = 900000, .gop = 100, .sample_size = 1), 4000,
         9000, "4"},
        /* 100,000 key frames, each a segment, and as it is played */
        {FILM_25(.sample_count = 100000, .sample_size = 1), 1, 100000, "1"},
        {FILM_25(.sample_count = 100000, .sample_size = 1), 4000, 1000, "4"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct test_track t;
        struct buffer b;
        struct segment s;
        uint64_t greatest;
        buffer_init(&b, 1 << 24);
        test_index_make(&t, &cases[i].movie, cases[i].target_ms);
        const struct track_info *info = &t.index.info;
        assert_int_equal(info->segment_count, cases[i].segments);
        hls_media_playlist_write(&t.index, &b);
        const char *text = test_text(&b);
        const uint64_t sum = extinf_sum(text, &greatest);
        assert_int_equal(sum, info->duration * 1000000 / info->timescale);
        const char *target = strstr(text, "#EXT-X-TARGETDURATION:") + 22;
        assert_memory_equal(target, cases[i].target, strlen(cases[i].target));
        assert_true((greatest + 500000) / 1000000
                    <= strtoull(target, NULL, 10));
        for (uint32_t n = 0; track_index_segment(&t.index, n, &s) == 0; n++) {
            assert_true(s.duration > 0);
            assert_true(s.key_size > 0);
        }
        b.len = 0;
        hls_iframe_playlist_write(&t.index, &b);
        assert_int_equal(extinf_sum(test_text(&b), &greatest), sum);
        buffer_fini(&b);
        test_track_fini(&t);
    }
}

/* As that of a film that starts with another picture. */
static void
key_frame_remove(struct test_track *t, uint32_t number)
{
    const size_t at = (size_t) (t->index.segments - t->file.ptr)
                      + (size_t) number * INDEX_SEGMENT_SIZE;
    struct segment s;
    assert_int_equal(track_index_segment(&t->index, number, &s), 0);
    store_le32(t->file.ptr + at + 28, 0);
    assert_true(s.key_size > 0);
    assert_int_equal(track_index_segment(&t->index, number, &s), 0);
    assert_int_equal(s.key_size, 0);
}

static void
a_segment_without_a_key_frame_is_a_gap_of_its_length(void **state)
{
    static const char head[] = "#EXTM3U\n#EXT-X-VERSION:7\n"
                               "#EXT-X-TARGETDURATION:4\n"
                               "#EXT-X-MEDIA-SEQUENCE:0\n"
                               "#EXT-X-PLAYLIST-TYPE:VOD\n";
    static const struct test_movie movie =
        TEST_FILM(.sample_count = 250, .gop = 100);
    struct test_track t;
    struct buffer b, expected;
    struct segment s;
    test_index_make(&t, &movie, 4000);
    buffer_init(&b, 4096);
    buffer_init(&expected, 4096);
    hls_media_playlist_write(&t.index, &b);
    assert_non_null(strstr(test_text(&b), "#EXT-X-INDEPENDENT-SEGMENTS\n"));
    key_frame_remove(&t, 0);
    b.len = 0;
    hls_media_playlist_write(&t.index, &b);
    assert_null(strstr(test_text(&b), "#EXT-X-INDEPENDENT-SEGMENTS\n"));
    b.len = 0;
    hls_iframe_playlist_write(&t.index, &b);
    buffer_printf(&expected,
                  "%s#EXT-X-I-FRAMES-ONLY\n#EXT-X-MAP:URI=\"init.mp4\"\n"
                  "#EXTINF:4.000000,\n#EXT-X-GAP\n0.m4s\n",
                  head);
    for (uint32_t i = 1; track_index_segment(&t.index, i, &s) == 0; i++)
        buffer_printf(&expected,
                      "#EXTINF:%s.000000,\n#EXT-X-BYTERANGE:%llu@0\n"
                      "%u.m4s\n",
                      i == 1 ? "4" : "2",
                      (unsigned long long) segment_key_length(&s), i);
    buffer_append_text(&expected, "#EXT-X-ENDLIST\n");
    assert_string_equal(test_text(&b), test_text(&expected));
    buffer_fini(&expected);
    buffer_fini(&b);
    test_track_fini(&t);
}

/* `pathways` as pathways_parse reads them, or NULL. */
static void
assert_multivariant(const struct asset *asset, const char *pathways,
                    const char *expected)
{
    struct pathways steering;
    struct buffer b;
    buffer_init(&b, 1 << 20);
    if (pathways != NULL)
        assert_int_equal(pathways_parse(bytes_of_text(pathways), &steering), 0);
    hls_multivariant_write(asset, pathways != NULL ? &steering : NULL, &b);
    assert_string_equal(test_text(&b), expected);
    buffer_fini(&b);
}

#define HEAD "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-INDEPENDENT-SEGMENTS\n"

static void
picture_alone_needs_no_group(void **state)
{
    static struct asset a;
    a.track_count = 2;
    a.tracks[0] = test_info(TRACK_VIDEO, "v0", "avc1.64001e", "und", "");
    a.tracks[1] = test_info(TRACK_VIDEO, "v1", "avc1.64000d", "und", "");
    a.tracks[1].frame_rate_num = 25;
    a.tracks[1].frame_rate_den = 1;
    a.tracks[1].width = 0;
    assert_multivariant(
        &a, NULL,
        HEAD "#EXT-X-STREAM-INF:BANDWIDTH=1000,AVERAGE-BANDWIDTH=600,"
             "CODECS=\"avc1.64001e\",RESOLUTION=640x360,FRAME-RATE=29.970\n"
             "v0/index.m3u8\n"
             "#EXT-X-STREAM-INF:BANDWIDTH=1000,AVERAGE-BANDWIDTH=600,"
             "CODECS=\"avc1.64000d\",FRAME-RATE=25.000\n"
             "v1/index.m3u8\n");
}

static void
key_frames_are_variants_of_their_own(void **state)
{
    static struct asset a;
    a.track_count = 1;
    a.tracks[0] = test_info(TRACK_VIDEO, "v0", "hvc1.2.4.L90", "und", "");
    a.tracks[0].video_range = VIDEO_RANGE_PQ;
    a.tracks[0].key_bandwidth_peak = 90;
    a.tracks[0].key_bandwidth_average = 50;
    assert_multivariant(
        &a, NULL,
        HEAD "#EXT-X-STREAM-INF:BANDWIDTH=1000,AVERAGE-BANDWIDTH=600,"
             "CODECS=\"hvc1.2.4.L90\",RESOLUTION=640x360,"
             "FRAME-RATE=29.970,VIDEO-RANGE=PQ\nv0/index.m3u8\n"
             "#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=90,AVERAGE-BANDWIDTH=50,"
             "CODECS=\"hvc1.2.4.L90\",RESOLUTION=640x360,"
             "VIDEO-RANGE=PQ,URI=\"v0/iframes.m3u8\"\n");
}

static void
sound_alone_is_a_variant_of_its_own(void **state)
{
    static struct asset a;
    a.track_count = 1;
    a.tracks[0] = test_info(TRACK_AUDIO, "a0", "mp4a.40.2", "jpn", "");
    assert_multivariant(
        &a, NULL,
        HEAD "#EXT-X-STREAM-INF:BANDWIDTH=1000,AVERAGE-BANDWIDTH=600,"
             "CODECS=\"mp4a.40.2\"\na0/index.m3u8\n");
    a.track_count = 2;
    a.tracks[1] = test_info(TRACK_AUDIO, "a1", "mp4a.40.2", "eng", "English");
    a.tracks[1].bandwidth_peak = 1500;
    assert_multivariant(
        &a, NULL,
        HEAD "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"jpn\","
             "LANGUAGE=\"jpn\",DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"2\","
             "URI=\"a0/index.m3u8\"\n"
             "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"English\","
             "LANGUAGE=\"eng\",DEFAULT=NO,AUTOSELECT=YES,CHANNELS=\"2\","
             "URI=\"a1/index.m3u8\"\n"
             "#EXT-X-STREAM-INF:BANDWIDTH=1500,AVERAGE-BANDWIDTH=600,"
             "CODECS=\"mp4a.40.2\",AUDIO=\"audio\"\na0/index.m3u8\n");
}

static void
each_codec_of_sound_is_a_group_and_names_are_unique_in_it(void **state)
{
    static struct asset a;
    a.track_count = 4;
    a.tracks[0] = test_info(TRACK_VIDEO, "v0", "avc1.64001e", "und", "");
    a.tracks[1] = test_info(TRACK_AUDIO, "a0", "mp4a.40.2", "en", "English");
    a.tracks[2] = test_info(TRACK_AUDIO, "a1", "mp4a.40.5", "en", "English");
    a.tracks[3] = test_info(TRACK_AUDIO, "a2", "mp4a.40.2", "en", "English");
    a.tracks[3].bandwidth_peak = 5000;
    a.tracks[3].channels = 0;
    assert_multivariant(
        &a, NULL,
        HEAD "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"English\","
             "LANGUAGE=\"en\",DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"2\","
             "URI=\"a0/index.m3u8\"\n"
             "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\","
             "NAME=\"English (a2)\",LANGUAGE=\"en\",DEFAULT=NO,"
             "AUTOSELECT=NO,URI=\"a2/index.m3u8\"\n"
             "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio1\",NAME=\"English\","
             "LANGUAGE=\"en\",DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"2\","
             "URI=\"a1/index.m3u8\"\n"
             "#EXT-X-STREAM-INF:BANDWIDTH=6000,AVERAGE-BANDWIDTH=1200,"
             "CODECS=\"avc1.64001e,mp4a.40.2\",RESOLUTION=640x360,"
             "FRAME-RATE=29.970,AUDIO=\"audio\"\nv0/index.m3u8\n"
             "#EXT-X-STREAM-INF:BANDWIDTH=2000,AVERAGE-BANDWIDTH=1200,"
             "CODECS=\"avc1.64001e,mp4a.40.5\",RESOLUTION=640x360,"
             "FRAME-RATE=29.970,AUDIO=\"audio1\"\nv0/index.m3u8\n");
}

static void
a_player_may_choose_one_sound_of_each_language(void **state)
{
    static const struct {
        const char *language, *choice;
    } sounds[] = {{"en", "DEFAULT=YES,AUTOSELECT=YES"},
                  {"und", "DEFAULT=NO,AUTOSELECT=YES"},
                  {"en", "DEFAULT=NO,AUTOSELECT=NO"},
                  {"de", "DEFAULT=NO,AUTOSELECT=YES"},
                  {"und", "DEFAULT=NO,AUTOSELECT=NO"}};
    static struct asset a;
    struct buffer b;
    char name[8];
    a.track_count = sizeof sounds / sizeof sounds[0];
    for (uint32_t i = 0; i < a.track_count; i++) {
        snprintf(name, sizeof name, "a%u", i);
        a.tracks[i] =
            test_info(TRACK_AUDIO, name, "mp4a.40.2", sounds[i].language, "");
    }
    buffer_init(&b, 1 << 16);
    hls_multivariant_write(&a, NULL, &b);
    const char *text = test_text(&b);
    for (uint32_t i = 0; i < a.track_count; i++) {
        text = strstr(text, "DEFAULT=");
        assert_non_null(text);
        assert_memory_equal(text, sounds[i].choice, strlen(sounds[i].choice));
        text++;
    }
    buffer_fini(&b);
}

/* Two of the same name, and nobody knows the language of the second. */
static void
each_variant_has_the_subtitles_and_each_pathway_its_own(void **state)
{
    static struct asset a;
    a.track_count = 3;
    a.tracks[0] = test_info(TRACK_VIDEO, "v0", "avc1.64001e", "und", "");
    a.tracks[1] = test_info(TRACK_TEXT, "s0", "wvtt", "de", "Deutsch");
    a.tracks[2] = test_info(TRACK_TEXT, "s1", "wvtt", "und", "Deutsch");
#define SUBTITLES(group, base, query)                                          \
    "#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"" group                            \
    "\",NAME=\"Deutsch\",LANGUAGE=\"de\",DEFAULT=NO,AUTOSELECT=YES,"           \
    "FORCED=NO,URI=\"" base "s0/index.m3u8" query "\"\n"                       \
    "#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"" group                            \
    "\",NAME=\"Deutsch (s1)\",DEFAULT=NO,AUTOSELECT=YES,FORCED=NO,URI=\"" base \
    "s1/index.m3u8" query "\"\n"
#define VARIANT                                                    \
    "#EXT-X-STREAM-INF:BANDWIDTH=1000,AVERAGE-BANDWIDTH=600,"      \
    "CODECS=\"avc1.64001e\",RESOLUTION=640x360,FRAME-RATE=29.970," \
    "SUBTITLES="
    assert_multivariant(&a, NULL,
                        HEAD SUBTITLES("subs", "", "") VARIANT
                        "\"subs\"\n"
                        "v0/index.m3u8\n");
    assert_multivariant(
        &a, "http://r/s/ o1 . cdn http://cdn/p/?h=2",
        HEAD "#EXT-X-CONTENT-STEERING:SERVER-URI=\"http://r/s/\","
             "PATHWAY-ID=\"o1\"\n" SUBTITLES("subs/o1", "", "") VARIANT
        "\"subs/o1\",PATHWAY-ID=\"o1\"\nv0/index.m3u8\n" SUBTITLES(
            "subs/cdn", "http://cdn/p/", "?h=2") VARIANT
        "\"subs/cdn\",PATHWAY-ID=\"cdn\"\n"
        "http://cdn/p/v0/index.m3u8?h=2\n");
}

/* Apart from that it is forced, or from its language, no player can tell. */
static void
a_player_may_choose_one_of_each_sort_of_subtitles(void **state)
{
    static struct asset a;
    a.track_count = 4;
    a.tracks[0] = test_info(TRACK_VIDEO, "v0", "avc1.64001e", "und", "");
    a.tracks[1] = test_info(TRACK_TEXT, "s0", "wvtt", "de", "Deutsch");
    a.tracks[2] = test_info(TRACK_TEXT, "s1", "wvtt", "de", "Schilder");
    a.tracks[2].is_forced = true;
    a.tracks[3] = test_info(TRACK_TEXT, "s2", "wvtt", "de", "Kommentar");
#define RENDITION(label, choice, name)                            \
    "#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"subs\",NAME=\"" label \
    "\",LANGUAGE=\"de\",DEFAULT=NO," choice ",URI=\"" name "/index.m3u8\"\n"
    assert_multivariant(
        &a, NULL,
        HEAD RENDITION("Deutsch", "AUTOSELECT=YES,FORCED=NO", "s0")
            RENDITION("Schilder", "AUTOSELECT=YES,FORCED=YES", "s1")
                RENDITION("Kommentar", "AUTOSELECT=NO,FORCED=NO", "s2") VARIANT
        "\"subs\"\nv0/index.m3u8\n");
}

static void
each_pathway_has_the_same_variants_in_its_own_groups(void **state)
{
    static struct asset a;
    a.track_count = 2;
    a.tracks[0] = test_info(TRACK_VIDEO, "v0", "avc1.64001e", "und", "");
    a.tracks[1] = test_info(TRACK_AUDIO, "a0", "mp4a.40.2", "en", "English");
    assert_multivariant(
        &a,
        "http://r/s/t/film?pathways=o1,cdn o1 . cdn "
        "http://cdn/p/t/film/1/?hop=2",
        HEAD "#EXT-X-CONTENT-STEERING:"
             "SERVER-URI=\"http://r/s/t/film?pathways=o1,cdn\","
             "PATHWAY-ID=\"o1\"\n"
             "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio/o1\",NAME=\"English\","
             "LANGUAGE=\"en\",DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"2\","
             "URI=\"a0/index.m3u8\"\n"
             "#EXT-X-STREAM-INF:BANDWIDTH=2000,AVERAGE-BANDWIDTH=1200,"
             "CODECS=\"avc1.64001e,mp4a.40.2\",RESOLUTION=640x360,"
             "FRAME-RATE=29.970,AUDIO=\"audio/o1\",PATHWAY-ID=\"o1\"\n"
             "v0/index.m3u8\n"
             "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio/cdn\","
             "NAME=\"English\","
             "LANGUAGE=\"en\",DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"2\","
             "URI=\"http://cdn/p/t/film/1/a0/index.m3u8?hop=2\"\n"
             "#EXT-X-STREAM-INF:BANDWIDTH=2000,AVERAGE-BANDWIDTH=1200,"
             "CODECS=\"avc1.64001e,mp4a.40.2\",RESOLUTION=640x360,"
             "FRAME-RATE=29.970,AUDIO=\"audio/cdn\",PATHWAY-ID=\"cdn\"\n"
             "http://cdn/p/t/film/1/v0/index.m3u8?hop=2\n");
}

static void
pathways_that_would_break_a_playlist_are_refused(void **state)
{
    static const struct {
        const char *text;
        int err;
    } cases[] = {
        {"", ERR_INVALID},
        {"http://r", ERR_INVALID},
        {"http://r a .", ERR_INVALID},
        {"http://r a . b", ERR_INVALID},
        {"http://r a . b http://b", ERR_INVALID},
        {"http://r a . b  http://b/", ERR_INVALID},
        {"http://r a . b ?hop=2", ERR_INVALID},
        {"http://r\" a . b http://b/", ERR_INVALID},
        {"http://r a . b http://b\n/", ERR_INVALID},
        {"r 1 . 2 / 3 / 4 / 5 / 6 / 7 / 8 / 9 /", ERR_LIMIT},
        {"r 1 . 2 / 3 / 4 / 5 / 6 / 7 / 8 /", 0},
    };
    struct pathways steering;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(
            pathways_parse(bytes_of_text(cases[i].text), &steering),
            cases[i].err);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rounding_never_adds_up),
        cmocka_unit_test(target_duration_is_no_less_than_any_rounded_segment),
        cmocka_unit_test(no_hard_film_makes_a_bad_playlist),
        cmocka_unit_test(a_segment_without_a_key_frame_is_a_gap_of_its_length),
        cmocka_unit_test(picture_alone_needs_no_group),
        cmocka_unit_test(key_frames_are_variants_of_their_own),
        cmocka_unit_test(sound_alone_is_a_variant_of_its_own),
        cmocka_unit_test(
            each_codec_of_sound_is_a_group_and_names_are_unique_in_it),
        cmocka_unit_test(a_player_may_choose_one_sound_of_each_language),
        cmocka_unit_test(
            each_variant_has_the_subtitles_and_each_pathway_its_own),
        cmocka_unit_test(a_player_may_choose_one_of_each_sort_of_subtitles),
        cmocka_unit_test(each_pathway_has_the_same_variants_in_its_own_groups),
        cmocka_unit_test(pathways_that_would_break_a_playlist_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
