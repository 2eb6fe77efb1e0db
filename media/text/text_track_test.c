/* SPDX-License-Identifier: Apache-2.0 */

#include "core/err.h"
#include "media/testing/track.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#define HEAD "STYLE\n::cue { color: red }\n\n"
#define FIRST "00:00:00.500 --> 00:00:02.000 line:0\nfirst\n\n"
#define LONG "00:00:01.000 --> 00:00:05.000\nlong\n\n"
#define LAST "00:00:04.000 --> 01:00:00.000\nlast\n\n"
#define LATE "00:00:06.000 --> 00:00:07.000\nlate\n\n"
#define SEGMENT "WEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:0\n\n" HEAD

/* 2 s, 2 s, 2 s, in ticks of a third of one; the last cut is behind the end */
static const uint64_t cuts[] = {0, 6, 12, 18};

static void
text_make(struct test_track *t, const char *webvtt)
{
    test_text_make(t,
                   (struct text_build){.cuts = cuts,
                                       .cut_count = 4,
                                       .timescale = 3,
                                       .duration = 18,
                                       .name = "s0",
                                       .label = "English",
                                       .language = "en"},
                   webvtt);
}

static void
range_expect(const struct test_track *t, const struct segment *s,
             const char *text)
{
    const struct bytes range =
        bytes_of(t->media.ptr + segment_start(s), segment_length(s));
    assert_true(segment_start(s) + segment_length(s) <= t->media.len);
    assert_int_equal(range.len, strlen(text));
    assert_memory_equal(range.ptr, text, range.len);
}

static void
a_cue_is_in_each_segment_that_it_is_seen_in(void **state)
{
    static const char *const expected[] = {
        SEGMENT FIRST LONG,
        SEGMENT LONG,
        SEGMENT LONG LAST,
    };
    struct test_track t;
    struct segment s;
    text_make(&t, "WEBVTT\n\n" HEAD LATE FIRST LONG LAST);
    assert_int_equal(t.index.info.segment_count, 3);
    assert_int_equal(t.index.info.sample_count, 5);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(track_index_segment(&t.index, i, &s), 0);
        assert_int_equal(s.duration, 6);
        assert_int_equal(s.decode_time, 6 * i);
        range_expect(&t, &s, expected[i]);
    }
    assert_int_equal(track_index_whole(&t.index, &s), 0);
    range_expect(&t, &s, "WEBVTT\n\n" HEAD FIRST LONG LAST);
    test_track_fini(&t);
}

static void
a_segment_without_cues_is_there(void **state)
{
    struct test_track t;
    struct segment s;
    text_make(&t, "WEBVTT\n\n00:00.000 --> 00:02.000\na\n");
    assert_int_equal(t.index.info.segment_count, 3);
    assert_int_equal(track_index_segment(&t.index, 1, &s), 0);
    range_expect(&t, &s,
                 "WEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:0\n\n");
    test_track_fini(&t);
}

/* A cue for each second, and one in all of them. */
static void
a_cue_that_lasts_for_the_film_costs_no_more_than_its_segments(void **state)
{
#define SECONDS 99999
    struct cues cues = {.count = SECONDS + 1};
    struct buffer file, index;
    uint64_t *starts = calloc(SECONDS, sizeof *starts);
    cues.list = calloc(cues.count, sizeof *cues.list);
    assert_non_null(starts);
    assert_non_null(cues.list);
    buffer_init(&cues.bytes, 1);
    buffer_append_text(&cues.bytes, "a");
    cues.list[0] = (struct cue){.end_ms = 1000ull * SECONDS, .text_size = 1};
    for (uint32_t i = 0; i < SECONDS; i++) {
        starts[i] = i;
        cues.list[i + 1] = (struct cue){
            .start_ms = 1000 * i, .end_ms = 1000 * i + 1000, .text_size = 1};
    }
    const struct text_build build = {.cues = &cues,
                                     .cuts = starts,
                                     .cut_count = SECONDS,
                                     .timescale = 1,
                                     .duration = SECONDS,
                                     .name = "s0",
                                     .language = "en"};
    buffer_init(&file, TEXT_TRACK_SIZE_MAX);
    buffer_init(&index, INDEX_SIZE_MAX);
    const clock_t start = clock();
    assert_int_equal(text_track_build(&build, &file, &index), 0);
    assert_true(clock() - start < 4 * CLOCKS_PER_SEC);
    struct track_index opened;
    assert_int_equal(track_index_open(buffer_bytes(&index), &opened), 0);
    assert_int_equal(opened.info.segment_count, SECONDS);
    assert_int_equal(opened.info.sample_count, 2 * SECONDS);
    buffer_fini(&index);
    buffer_fini(&file);
    cues_free(&cues);
    free(starts);
}

static void
the_playlist_names_segments_of_text(void **state)
{
    struct test_track t;
    struct buffer out;
    text_make(&t, "WEBVTT\n\n" LONG);
    buffer_init(&out, 4096);
    hls_media_playlist_write(&t.index, &out);
    buffer_append_u8(&out, 0);
    assert_string_equal((char *) out.ptr,
                        "#EXTM3U\n#EXT-X-VERSION:7\n"
                        "#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:0\n"
                        "#EXT-X-PLAYLIST-TYPE:VOD\n"
                        "#EXT-X-INDEPENDENT-SEGMENTS\n"
                        "#EXTINF:2.000000,\n0.vtt\n#EXTINF:2.000000,\n1.vtt\n"
                        "#EXTINF:2.000000,\n2.vtt\n#EXT-X-ENDLIST\n");
    buffer_fini(&out);
    test_track_fini(&t);
}

static void
what_cannot_stand_in_a_playlist_is_refused(void **state)
{
    struct cues cues = {0};
    struct text_build build = {.cues = &cues,
                               .cuts = cuts,
                               .cut_count = 4,
                               .timescale = 3,
                               .duration = 18,
                               .name = "s0",
                               .language = "en"};
    struct buffer file, index;
    buffer_init(&file, TEXT_TRACK_SIZE_MAX);
    buffer_init(&index, INDEX_SIZE_MAX);
    build.label = "\"";
    assert_int_equal(text_track_build(&build, &file, &index), ERR_INVALID);
    build.label = NULL;
    build.language = "e n";
    assert_int_equal(text_track_build(&build, &file, &index), ERR_INVALID);
    build.language = "en";
    build.duration = 0;
    assert_int_equal(text_track_build(&build, &file, &index), ERR_INVALID);
    build.duration = 18;
    build.cuts = cuts + 1;
    build.cut_count = 3;
    assert_int_equal(text_track_build(&build, &file, &index), ERR_INVALID);
    assert_int_equal(file.len + index.len, 0);
    buffer_fini(&file);
    buffer_fini(&index);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cue_is_in_each_segment_that_it_is_seen_in),
        cmocka_unit_test(a_segment_without_cues_is_there),
        cmocka_unit_test(
            a_cue_that_lasts_for_the_film_costs_no_more_than_its_segments),
        cmocka_unit_test(the_playlist_names_segments_of_text),
        cmocka_unit_test(what_cannot_stand_in_a_playlist_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
