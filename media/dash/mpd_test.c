/* SPDX-License-Identifier: Apache-2.0 */

#include "core/err.h"
#include "media/testing/track.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* `pathways` as pathways_parse reads them, or NULL. */
static void
assert_mpd(const struct asset *asset, const char *pathways,
           const char *expected)
{
    struct pathways steering;
    struct buffer b;
    buffer_init(&b, 1 << 20);
    if (pathways != NULL)
        assert_int_equal(pathways_parse(bytes_of_text(pathways), &steering), 0);
    dash_mpd_write(asset, pathways != NULL ? &steering : NULL, &b);
    assert_string_equal(test_text(&b), expected);
    buffer_fini(&b);
}

#define HEAD                                                   \
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"             \
    "<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\""             \
    " profiles=\"urn:mpeg:dash:profile:isoff-live:2011\""      \
    " type=\"static\" mediaPresentationDuration=\"PT6.000000S" \
    "\" maxSegmentDuration=\"PT2.000000S\""                    \
    " minBufferTime=\"PT2.000000S\">\n"
#define PERIOD "<Period id=\"0\" start=\"PT0S\">\n"
#define TAIL "</AdaptationSet>\n</Period>\n</MPD>\n"
#define VIDEO_SET                                                 \
    "<AdaptationSet contentType=\"video\" mimeType=\"video/mp4\"" \
    " segmentAlignment=\"true\">\n"
#define AUDIO_SET                                                 \
    "<AdaptationSet contentType=\"audio\" mimeType=\"audio/mp4\"" \
    " segmentAlignment=\"true\""
#define TEMPLATE(query)                                        \
    "<SegmentTemplate timescale=\"512\" startNumber=\"0\""     \
    " initialization=\"$RepresentationID$/init.mp4" query "\"" \
    " media=\"$RepresentationID$/$Number$.m4s" query "\">\n"   \
    "<SegmentTimeline>\n"
#define TEMPLATE_TAIL "</SegmentTimeline>\n</SegmentTemplate>\n"
#define SEGMENTS TEMPLATE("") "<S t=\"0\" d=\"1024\" r=\"2\"/>\n" TEMPLATE_TAIL
#define STEREO                                                      \
    "<AudioChannelConfiguration schemeIdUri=\"urn:mpeg:dash:23003:" \
    "3:audio_channel_configuration:2011\" value=\"2\"/>\n"
#define ROLE(role) \
    "<Role schemeIdUri=\"urn:mpeg:dash:role:2011\" value=\"" role "\"/>\n"
#define SIZE " width=\"640\" height=\"360\""

static void
renditions_are_one_set_and_each_sound_is_another(void **state)
{
    static struct asset a;
    a.track_count = 4;
    a.tracks[0] = test_info(TRACK_VIDEO, "v0", "avc1.64001e", "und", "360p");
    a.tracks[1] = test_info(TRACK_VIDEO, "v1", "avc1.64000d", "und", "180p");
    a.tracks[1].width = 0;
    a.tracks[1].frame_rate_num = 25;
    a.tracks[1].frame_rate_den = 1;
    a.tracks[2] = test_info(TRACK_AUDIO, "a0", "mp4a.40.2", "en", "R&D <1>");
    a.tracks[3] = test_info(TRACK_AUDIO, "a1", "mp4a.40.2", "und", "");
    a.tracks[3].channels = a.tracks[3].sample_rate = 0;
    assert_mpd(
        &a, NULL,
        HEAD PERIOD VIDEO_SET SEGMENTS
        "<Representation id=\"v0\" codecs=\"avc1.64001e\" "
        "bandwidth=\"1000\"" SIZE " frameRate=\"30000/1001\"/>\n"
        "<Representation id=\"v1\" codecs=\"avc1.64000d\" bandwidth=\"1000\""
        " frameRate=\"25\"/>\n"
        "</AdaptationSet>\n" AUDIO_SET " lang=\"en\">\n" STEREO
        "<Label>R&amp;D &lt;1&gt;</Label>\n" ROLE("main") SEGMENTS
        "<Representation id=\"a0\" codecs=\"mp4a.40.2\" bandwidth=\"1000\""
        " audioSamplingRate=\"48000\"/>\n"
        "</AdaptationSet>\n" AUDIO_SET ">\n" ROLE("alternate") SEGMENTS
        "<Representation id=\"a1\" codecs=\"mp4a.40.2\" bandwidth=\"1000\""
        "/>\n" TAIL);
}

#define REPRESENTATION(id, codecs)                   \
    "<Representation id=\"" id "\" codecs=\"" codecs \
    "\" bandwidth=\"1000\"" SIZE " frameRate=\"30000/1001\""

/* It takes the pieces of a text for an expression. */
/* clang-format off */

/* With another timescale the same durations are others. */
static void
renditions_whose_segments_differ_say_so_themselves(void **state)
{
    static const uint8_t odd[] = {0, 4, 0, 0, 2, 0, 0, 0,
                                  44, 1, 0, 0, 1, 0, 0, 0};
    static struct asset a;
    a.track_count = 2;
    a.tracks[0] = test_info(TRACK_VIDEO, "v0", "avc1.64001e", "und", "");
    a.tracks[1] = test_info(TRACK_VIDEO, "v1", "avc1.64000d", "und", "");
    a.tracks[1].timeline = bytes_of(odd, sizeof odd);
    assert_mpd(&a, NULL,
               HEAD PERIOD VIDEO_SET
               REPRESENTATION("v0", "avc1.64001e") ">\n"
               SEGMENTS
               "</Representation>\n"
               REPRESENTATION("v1", "avc1.64000d") ">\n"
               TEMPLATE("")
               "<S t=\"0\" d=\"1024\" r=\"1\"/>\n<S d=\"300\"/>\n"
               TEMPLATE_TAIL
               "</Representation>\n"
               TAIL);
}

static void
pictures_of_another_codec_are_another_set(void **state)
{
    static struct asset a;
    a.track_count = 3;
    a.tracks[0] = test_info(TRACK_VIDEO, "v0", "hvc1.1.6.L93", "und", "");
    a.tracks[1] = test_info(TRACK_VIDEO, "v1", "avc1.64000d", "und", "");
    a.tracks[2] = test_info(TRACK_VIDEO, "v2", "hvc1.1.6.L90", "und", "");
    assert_mpd(&a, NULL,
               HEAD PERIOD VIDEO_SET SEGMENTS
               REPRESENTATION("v0", "hvc1.1.6.L93") "/>\n"
               REPRESENTATION("v2", "hvc1.1.6.L90") "/>\n"
               "</AdaptationSet>\n"
               VIDEO_SET SEGMENTS
               REPRESENTATION("v1", "avc1.64000d") "/>\n"
               TAIL);
}

#define STEERING(pathways, uri)                                        \
    pathways "<BaseURL serviceLocation=\"o1\">./</BaseURL>\n"          \
    "<ContentSteering defaultServiceLocation=\"o1\""                   \
    " queryBeforeStart=\"false\">" uri "</ContentSteering>\n"

/* dash.js reads no BaseURL behind a relative one. */
static void
pathways_are_base_urls_and_the_relative_one_comes_last(void **state)
{
    static struct asset a;
    a.track_count = 1;
    a.tracks[0] = test_info(TRACK_VIDEO, "v0", "avc1.64001e", "und", "");
    assert_mpd(&a,
               "http://r/s/t/film?a=o1,<x>&b='1' o1 . "
               "o2 http://o2/p/t/film/1/?hop=2&$ cdn http://cdn/p/t/film/1/",
               HEAD
               STEERING("<BaseURL serviceLocation=\"o2\">"
                        "http://o2/p/t/film/1/</BaseURL>\n"
                        "<BaseURL serviceLocation=\"cdn\">"
                        "http://cdn/p/t/film/1/</BaseURL>\n",
                        "http://r/s/t/film?a=o1,&lt;x&gt;&amp;b='1'")
               PERIOD VIDEO_SET
               TEMPLATE("?hop=2&amp;$$")
               "<S t=\"0\" d=\"1024\" r=\"2\"/>\n"
               TEMPLATE_TAIL
               REPRESENTATION("v0", "avc1.64001e") "/>\n"
               TAIL);
}

#define TEXT_SETS(query)                                               \
    "<AdaptationSet contentType=\"text\" mimeType=\"text/vtt\""        \
    " lang=\"de\">\n<Label>A &amp; B</Label>\n" ROLE("subtitle")       \
    "<Representation id=\"s0\" bandwidth=\"1000\">\n"                  \
    "<BaseURL>s0/all.vtt" query "</BaseURL>\n</Representation>\n"      \
    "</AdaptationSet>\n"                                               \
    "<AdaptationSet contentType=\"text\" mimeType=\"text/vtt\">\n"     \
    ROLE("forced-subtitle")                                            \
    "<Representation id=\"s1\" bandwidth=\"1000\">\n"                  \
    "<BaseURL>s1/all.vtt" query "</BaseURL>\n</Representation>\n"

static void
subtitles_are_one_file_each(void **state)
{
    static struct asset a;
    a.track_count = 2;
    a.tracks[0] = test_info(TRACK_TEXT, "s0", "wvtt", "de", "A & B");
    a.tracks[1] = test_info(TRACK_TEXT, "s1", "wvtt", "und", "");
    a.tracks[1].is_forced = true;
    assert_mpd(&a, NULL, HEAD PERIOD TEXT_SETS("") TAIL);
    assert_mpd(&a, "http://r/s/ o1 . o2 http://o2/?h=2&$",
               HEAD
               STEERING("<BaseURL serviceLocation=\"o2\">"
                        "http://o2/</BaseURL>\n",
                        "http://r/s/")
               PERIOD TEXT_SETS("?h=2&amp;$") TAIL);
}

/* clang-format on */

/* Walks the S elements; each segment is where the index has it. */
static void
assert_times(const char *timeline, const struct track_index *index)
{
    const char *const stop = strstr(timeline, "</SegmentTimeline>");
    uint64_t time = 0;
    uint32_t number = 0;
    for (const char *s = strstr(timeline, "<S "); s != NULL && s < stop;
         s = strstr(s + 1, "<S ")) {
        const char *end = strchr(s, '>');
        const char *d = strstr(s, " d=\""), *r = strstr(s, " r=\"");
        const uint64_t duration = strtoull(d + 4, NULL, 10);
        uint64_t count = r != NULL && r < end ? strtoull(r + 4, NULL, 10) : 0;
        for (count++; count > 0; count--) {
            struct segment segment;
            assert_int_equal(track_index_segment(index, number++, &segment), 0);
            assert_int_equal(segment.duration, duration);
            time += duration;
        }
    }
    assert_int_equal(number, index->info.segment_count);
    assert_int_equal(time, index->info.duration);
}

static void
each_segment_has_its_exact_time_and_all_of_them_are_inside(void **state)
{
    static const struct test_movie movies[] = {
        {.timescale = 3, .sample_duration = 1, .sample_count = 3000},
        {.timescale = 24000,
         .sample_duration = 1001,
         .sample_count = 2000,
         .gop = 7},
        {.kind = TRACK_AUDIO,
         .sample_count = 1000,
         .has_edit = true,
         .media_time = 1024,
         .last_duration = 7},
        {.timescale = 4294967295u,
         .sample_duration = 1000000007,
         .sample_count = 900},
    };
    for (size_t i = 0; i < sizeof movies / sizeof movies[0]; i++) {
        static struct asset a;
        struct test_movie movie = movies[i];
        struct test_track t;
        struct buffer b;
        movie.sample_size = 1;
        buffer_init(&b, 1 << 24);
        test_index_make(&t, &movie, 400);
        const struct track_info *info = &t.index.info;
        a.track_count = 1;
        a.tracks[0] = *info;
        a.has_trick_play = true;
        dash_mpd_write(&a, NULL, &b);
        const char *mpd = test_text(&b);
        for (const char *one = strstr(mpd, "<SegmentTimeline>"); one != NULL;
             one = strstr(one + 1, "<SegmentTimeline>"))
            assert_times(one, &t.index);
        const char *said = strstr(mpd, "mediaPresentationDuration=\"PT");
        char *dot;
        uint64_t us = strtoull(said + 29, &dot, 10) * 1000000;
        us += strtoull(dot + 1, NULL, 10);
        const uint64_t scale = info->timescale;
        const unsigned __int128 exact =
            (unsigned __int128) info->duration * 1000000;
        assert_true((unsigned __int128) us * scale >= exact);
        assert_true((unsigned __int128) (us - 1) * scale < exact);
        buffer_fini(&b);
        test_track_fini(&t);
    }
}

static void
an_mpd_that_is_too_large_is_an_error(void **state)
{
    static struct asset a;
    struct buffer b;
    a.track_count = 1;
    a.tracks[0] = test_info(TRACK_VIDEO, "v0", "avc1.64001e", "und", "");
    buffer_init(&b, 500);
    dash_mpd_write(&a, NULL, &b);
    assert_int_equal(b.err, ERR_LIMIT);
    buffer_fini(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(renditions_are_one_set_and_each_sound_is_another),
        cmocka_unit_test(renditions_whose_segments_differ_say_so_themselves),
        cmocka_unit_test(pictures_of_another_codec_are_another_set),
        cmocka_unit_test(
            pathways_are_base_urls_and_the_relative_one_comes_last),
        cmocka_unit_test(subtitles_are_one_file_each),
        cmocka_unit_test(
            each_segment_has_its_exact_time_and_all_of_them_are_inside),
        cmocka_unit_test(an_mpd_that_is_too_large_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
