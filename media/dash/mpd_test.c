/* SPDX-License-Identifier: Apache-2.0 */

#include "core/err.h"
#include "media/testing/movie.h"
#include "media/timeline.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* Timelines of the tracks below. */
static const uint8_t even[] = {0, 4, 0, 0, 3, 0, 0, 0};
static const uint8_t odd[] = {0, 4, 0, 0, 2, 0, 0, 0, 44, 1, 0, 0, 1, 0, 0, 0};

static struct track_info
track_of(enum track_kind kind, const char *name, const char *codecs,
         const char *language, const char *label)
{
    struct track_info t = {.kind = kind,
                           .timescale = 512,
                           .duration = 3072,
                           .segment_count = 3,
                           .segment_duration_max = 1024,
                           .bandwidth_peak = 1000,
                           .bandwidth_average = 600,
                           .timeline = {even, sizeof even}};
    if (kind == TRACK_VIDEO) {
        t.width = 640;
        t.height = 360;
        t.frame_rate_num = 30000;
        t.frame_rate_den = 1001;
    } else {
        t.channels = 2;
        t.sample_rate = 48000;
    }
    snprintf(t.name, sizeof t.name, "%s", name);
    snprintf(t.codecs, sizeof t.codecs, "%s", codecs);
    snprintf(t.language, sizeof t.language, "%s", language);
    snprintf(t.label, sizeof t.label, "%s", label);
    return t;
}

static const char *
text_of(struct buffer *b)
{
    buffer_append_u8(b, 0);
    assert_int_equal(b->err, 0);
    return (const char *) b->ptr;
}

static void
assert_mpd(const struct asset *asset, const struct pathways *steering,
           const char *expected)
{
    struct buffer b;
    buffer_init(&b, 1 << 20);
    dash_mpd_write(asset, steering, &b);
    assert_string_equal(text_of(&b), expected);
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
    a.tracks[0] = track_of(TRACK_VIDEO, "v0", "avc1.64001e", "und", "360p");
    a.tracks[1] = track_of(TRACK_VIDEO, "v1", "avc1.64000d", "und", "180p");
    a.tracks[1].width = 0;
    a.tracks[1].frame_rate_num = 25;
    a.tracks[1].frame_rate_den = 1;
    a.tracks[2] = track_of(TRACK_AUDIO, "a0", "mp4a.40.2", "en", "R&D <1>");
    a.tracks[3] = track_of(TRACK_AUDIO, "a1", "mp4a.40.2", "und", "");
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

/* With another timescale the same durations are others. */
static void
renditions_whose_segments_differ_say_so_themselves(void **state)
{
    static struct asset a;
    a.track_count = 2;
    a.tracks[0] = track_of(TRACK_VIDEO, "v0", "avc1.64001e", "und", "");
    a.tracks[1] = track_of(TRACK_VIDEO, "v1", "avc1.64000d", "und", "");
    a.tracks[1].timeline = bytes_of(odd, sizeof odd);
#define REPRESENTATION(id, codecs)                   \
    "<Representation id=\"" id "\" codecs=\"" codecs \
    "\" bandwidth=\"1000\"" SIZE " frameRate=\"30000/1001\""
    assert_mpd(
        &a, NULL,
        HEAD PERIOD VIDEO_SET REPRESENTATION(
            "v0",
            "avc1.64001e") ">\n" SEGMENTS
                           "</Representation>\n" REPRESENTATION(
                               "v1",
                               "avc1.64000d") ">\n" TEMPLATE("") "<S t=\"0\" "
                                                                 "d=\"1024\" "
                                                                 "r=\"1\"/"
                                                                 ">\n<S "
                                                                 "d=\"300\"/"
                                                                 ">"
                                                                 "\n" TEMPLATE_TAIL
                                                                 "</"
                                                                 "Representatio"
                                                                 "n>\n" TAIL);
}

static void
pictures_of_another_codec_are_another_set(void **state)
{
    static struct asset a;
    a.track_count = 3;
    a.tracks[0] = track_of(TRACK_VIDEO, "v0", "hvc1.1.6.L93", "und", "");
    a.tracks[1] = track_of(TRACK_VIDEO, "v1", "avc1.64000d", "und", "");
    a.tracks[2] = track_of(TRACK_VIDEO, "v2", "hvc1.1.6.L90", "und", "");
    assert_mpd(
        &a, NULL,
        HEAD PERIOD VIDEO_SET SEGMENTS
            REPRESENTATION("v0", "hvc1.1.6.L93") "/>\n" REPRESENTATION(
                "v2", "hvc1.1.6.L90") "/>\n"
                                      "</AdaptationSet>\n" VIDEO_SET SEGMENTS
                                          REPRESENTATION(
                                              "v1", "avc1.64000d") "/>\n" TAIL);
}

/* dash.js reads no BaseURL behind a relative one. */
static void
pathways_are_base_urls_and_the_relative_one_comes_last(void **state)
{
    static struct asset a;
    struct pathways steering;
    a.track_count = 1;
    a.tracks[0] = track_of(TRACK_VIDEO, "v0", "avc1.64001e", "und", "");
    assert_int_equal(
        pathways_parse(BYTES_LITERAL("http://r/s/t/film?a=o1,<x>&b='1' o1 . "
                                     "o2 http://o2/p/t/film/1/?hop=2&$ "
                                     "cdn http://cdn/p/t/film/1/"),
                       &steering),
        0);
    assert_mpd(
        &a, &steering,
        HEAD
        "<BaseURL serviceLocation=\"o2\">http://o2/p/t/film/1/"
        "</BaseURL>\n"
        "<BaseURL serviceLocation=\"cdn\">http://cdn/p/t/film/1/"
        "</BaseURL>\n"
        "<BaseURL serviceLocation=\"o1\">./</BaseURL>\n"
        "<ContentSteering defaultServiceLocation=\"o1\""
        " queryBeforeStart=\"false\">http://r/s/t/film?"
        "a=o1,&lt;x&gt;&amp;b='1'</ContentSteering>\n" PERIOD VIDEO_SET
            TEMPLATE(
                "?hop=2&amp;$$") "<S t=\"0\" d=\"1024\" "
                                 "r=\"2\"/>\n" TEMPLATE_TAIL REPRESENTATION(
                                     "v0", "avc1.64001e") "/>\n" TAIL);
}

static void
subtitles_are_one_file_each(void **state)
{
    static struct asset a;
    struct pathways steering;
    struct buffer b;
    a.track_count = 2;
    a.tracks[0] = track_of(TRACK_TEXT, "s0", "wvtt", "de", "A & B");
    a.tracks[1] = track_of(TRACK_TEXT, "s1", "wvtt", "und", "");
#define TEXT_SET "<AdaptationSet contentType=\"text\" mimeType=\"text/vtt\""
    assert_mpd(
        &a, NULL,
        HEAD PERIOD TEXT_SET " lang=\"de\">\n<Label>A &amp; B</Label>\n" ROLE(
            "subtitle") "<Representation id=\"s0\" bandwidth=\"1000\">\n"
                        "<BaseURL>s0/all.vtt</BaseURL>\n</Representation>\n"
                        "</AdaptationSet>\n" TEXT_SET ">\n" ROLE(
                            "subtitle") "<Representation id=\"s1\" "
                                        "bandwidth=\"1000\">\n"
                                        "<BaseURL>s1/all.vtt</BaseURL>\n</"
                                        "Representation>\n" TAIL);
    assert_int_equal(
        pathways_parse(BYTES_LITERAL("http://r/s/ o1 . o2 http://o2/?h=2&$"),
                       &steering),
        0);
    buffer_init(&b, 1 << 20);
    dash_mpd_write(&a, &steering, &b);
    assert_non_null(
        strstr(text_of(&b), "<BaseURL>s1/all.vtt?h=2&amp;$</BaseURL>"));
    buffer_fini(&b);
}

/* Walks the S elements; each segment is where the index has it. */
static void
assert_times(const char *mpd, const struct track_index *index)
{
    uint64_t time = 0;
    uint32_t number = 0;
    for (const char *s = strstr(mpd, "<S "); s != NULL;
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
        struct track_index index;
        struct buffer file, b;
        movie.sample_size = 1;
        buffer_init(&file, INDEX_SIZE_MAX);
        buffer_init(&b, 1 << 24);
        test_track_build(&movie, "v0", 400, NULL, NULL, &file);
        assert_int_equal(track_index_open(buffer_bytes(&file), &index), 0);
        a.track_count = 1;
        a.tracks[0] = index.info;
        dash_mpd_write(&a, NULL, &b);
        const char *mpd = text_of(&b);
        assert_times(mpd, &index);
        const char *said = strstr(mpd, "mediaPresentationDuration=\"PT");
        char *dot;
        uint64_t us = strtoull(said + 29, &dot, 10) * 1000000;
        us += strtoull(dot + 1, NULL, 10);
        const uint64_t scale = index.info.timescale;
        const unsigned __int128 exact =
            (unsigned __int128) index.info.duration * 1000000;
        assert_true((unsigned __int128) us * scale >= exact);
        assert_true((unsigned __int128) (us - 1) * scale < exact);
        buffer_fini(&b);
        buffer_fini(&file);
    }
}

static void
an_mpd_that_is_too_large_is_an_error(void **state)
{
    static struct asset a;
    struct buffer b;
    a.track_count = 1;
    a.tracks[0] = track_of(TRACK_VIDEO, "v0", "avc1.64001e", "und", "");
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
