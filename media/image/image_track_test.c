/* SPDX-License-Identifier: Apache-2.0 */

#include "core/err.h"
#include "media/clip.h"
#include "media/image/image_track.h"
#include "media/testing/track.h"
#include "media/track_record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* Sheet n is 5 + n bytes long. */
static int
sheet_read(void *context, uint32_t number, struct buffer *out)
{
    unsigned *reads = context;
    assert_int_equal(number, (*reads)++);
    assert_int_equal(out->len, 0);
    buffer_append_be16(out, 0xffd8);
    for (uint32_t i = 0; i <= number; i++)
        buffer_append_u8(out, (uint8_t) number);
    buffer_append_be16(out, 0xffd9);
    return 0;
}

struct built {
    unsigned reads;
    struct buffer file, bytes;
    struct track_index index;
};

/* One each 1.5 s. */
static int
build_of(struct built *b, uint64_t duration_ms, uint32_t columns, uint32_t rows)
{
    const struct image_build build = {.sheet_read = sheet_read,
                                      .context = &b->reads,
                                      .sink = test_sink(&b->file),
                                      .width = 160,
                                      .height = 90,
                                      .columns = columns,
                                      .rows = rows,
                                      .interval_ms = 1500,
                                      .duration_ms = duration_ms,
                                      .name = "i0"};
    b->reads = 0;
    buffer_init(&b->file, 1 << 20);
    buffer_init(&b->bytes, INDEX_SIZE_MAX);
    const int err = image_track_build(&build, &b->bytes);
    if (err == 0)
        assert_int_equal(track_index_open(buffer_bytes(&b->bytes), &b->index),
                         0);
    return err;
}

/* 3 x 2 of them: a sheet is 9 s. */
static int
build(struct built *b, uint64_t duration_ms)
{
    return build_of(b, duration_ms, 3, 2);
}

static void
built_free(struct built *b)
{
    buffer_fini(&b->file);
    buffer_fini(&b->bytes);
}

static void
sheets_lie_one_behind_the_other(void **state)
{
    static const struct {
        uint64_t duration_ms;
        uint32_t sheets, thumbnails, last_ms, last_thumbnails;
    } cases[] = {
        {1, 1, 1, 1, 1},         {1500, 1, 1, 1500, 1}, {1501, 1, 2, 1501, 2},
        {9000, 1, 6, 9000, 6},   {9001, 2, 7, 1, 1},    {27000, 3, 18, 9000, 6},
        {28600, 4, 20, 1600, 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct built b;
        struct segment s;
        uint64_t end = 0;
        assert_int_equal(build(&b, cases[i].duration_ms), 0);
        const struct track_info *info = &b.index.info;
        assert_int_equal(info->segment_count, cases[i].sheets);
        assert_int_equal(b.reads, cases[i].sheets);
        assert_int_equal(info->sample_count, cases[i].thumbnails);
        assert_int_equal(info->duration, cases[i].duration_ms);
        assert_int_equal(info->media_size, b.file.len);
        for (uint32_t n = 0; track_index_segment(&b.index, n, &s) == 0; n++) {
            const bool is_last = n + 1 == cases[i].sheets;
            assert_int_equal(segment_start(&s), end);
            assert_int_equal(segment_length(&s), 5 + n);
            assert_int_equal(b.file.ptr[end + 2], n);
            assert_int_equal(s.decode_time, 9000 * n);
            assert_int_equal(s.duration, is_last ? cases[i].last_ms : 9000);
            assert_int_equal(s.sample_count,
                             is_last ? cases[i].last_thumbnails : 6);
            end += segment_length(&s);
        }
        assert_int_equal(track_index_whole(&b.index, &s), ERR_NOT_FOUND);
        built_free(&b);
    }
}

static int
bytes_give(void *context, uint32_t number, struct buffer *out)
{
    const struct bytes *bytes = context;
    buffer_append_bytes(out, *bytes);
    return number == 1 ? ERR_TIMEOUT : 0;
}

static void
what_is_no_jpeg_or_comes_not_leaves_no_index(void **state)
{
    static const uint8_t whole[] = {0xff, 0xd8, 1, 0xff, 0xd9};
    static const struct {
        struct bytes bytes;
        uint64_t duration_ms;
        uint32_t rows;
        int err;
    } cases[] = {
        {{whole, 5}, 1000, 1, 0},
        {{whole, 5}, 1001, 1, ERR_TIMEOUT}, /* of the second */
        {{whole, 4}, 1000, 1, ERR_INVALID},
        {{whole + 1, 4}, 1000, 1, ERR_INVALID},
        {{whole, 0}, 1000, 1, ERR_INVALID},
        {{whole, 5}, 0, 1, ERR_INVALID},
        {{whole, 5}, 1000, 0, ERR_INVALID},
        {{whole, 5}, 1000, 656, ERR_INVALID}, /* more than JPEG can be high */
        {{whole, 5}, 1000, 4294968, ERR_LIMIT},
        {{whole, 5}, 1000ull * 1000001, 1, ERR_LIMIT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bytes bytes = cases[i].bytes;
        struct buffer file, index;
        buffer_init(&file, 1 << 20);
        buffer_init(&index, 1 << 20);
        buffer_append_text(&index, "before");
        const struct image_build build = {.sheet_read = bytes_give,
                                          .context = &bytes,
                                          .sink = test_sink(&file),
                                          .width = 100,
                                          .height = 100,
                                          .columns = 1,
                                          .rows = cases[i].rows,
                                          .interval_ms = 1000,
                                          .duration_ms = cases[i].duration_ms,
                                          .name = "i0"};
        assert_int_equal(image_track_build(&build, &index), cases[i].err);
        assert_int_equal(index.len == 6, cases[i].err != 0);
        buffer_fini(&index);
        buffer_fini(&file);
    }
}

/* What a player divides by, and what says where a thumbnail is. */
static void
a_record_that_contradicts_itself_is_refused(void **state)
{
    struct built b;
    assert_int_equal(build(&b, 28600), 0);
#define REFUSED(change)                                         \
    do {                                                        \
        struct track_info info = b.index.info;                  \
        assert_int_equal(track_info_check(&info), 0);           \
        change;                                                 \
        assert_int_equal(track_info_check(&info), ERR_INVALID); \
    } while (0)
    REFUSED(info.columns = 0);
    REFUSED(info.rows = 0);
    REFUSED(info.rows = 3);
    REFUSED(info.columns = info.rows = 1 << 16);
    REFUSED(info.width = 0);
    REFUSED(info.height = 0);
    REFUSED(info.width = 21846);
    REFUSED(info.height = 32768);
    REFUSED(info.frame_rate_num = 1001);
    REFUSED(info.frame_rate_den = 0);
    REFUSED(info.frame_rate_den = 1400);
    REFUSED(info.sample_count++);
    REFUSED(info.kind = TRACK_IMAGE + 1);
    REFUSED(info.sample_entry = BYTES_LITERAL("\0\0\0\x08jpeg"));
    built_free(&b);
}

/* The same sheets, but the short one comes first. */
static void
a_sheet_before_the_last_that_is_not_full_is_refused(void **state)
{
    static const uint8_t runs[] = {0x28, 0x23, 0, 0, 3, 0, 0, 0,
                                   0x40, 0x06, 0, 0, 1, 0, 0, 0};
    struct built b;
    uint8_t turned[16];
    assert_int_equal(build(&b, 28600), 0);
    struct track_info info = b.index.info;
    assert_true(bytes_equal(info.timeline, bytes_of(runs, sizeof runs)));
    memcpy(turned, runs + 8, 8);
    memcpy(turned + 8, runs, 8);
    info.timeline = bytes_of(turned, sizeof turned);
    assert_int_equal(track_info_check(&info), ERR_INVALID);
    built_free(&b);
}

static const char *
text_of(struct buffer *b)
{
    buffer_append_u8(b, 0);
    assert_int_equal(b->err, 0);
    return (const char *) b->ptr;
}

static void
playlists_say_where_a_thumbnail_is(void **state)
{
    static struct asset asset;
    struct pathways steering;
    struct built b;
    struct buffer text;
    assert_int_equal(build(&b, 10600), 0);
    buffer_init(&text, 1 << 20);
    hls_media_playlist_write(&b.index, &text);
#define TILES "#EXT-X-TILES:RESOLUTION=160x90,LAYOUT=3x2,DURATION=1.500000\n"
    assert_string_equal(text_of(&text),
                        "#EXTM3U\n#EXT-X-VERSION:7\n"
                        "#EXT-X-TARGETDURATION:9\n#EXT-X-MEDIA-SEQUENCE:0\n"
                        "#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-IMAGES-ONLY\n"
                        "#EXTINF:9.000000,\n" TILES "0.jpg\n"
                        "#EXTINF:1.600000,\n" TILES "1.jpg\n"
                        "#EXT-X-ENDLIST\n");
    asset.track_count = 1;
    asset.tracks[0] = b.index.info;
#define IMAGES                                               \
    "#EXT-X-IMAGE-STREAM-INF:BANDWIDTH=9,RESOLUTION=160x90," \
    "CODECS=\"jpeg\",URI=\"i0/index.m3u8\"\n"
    text.len = 0;
    hls_multivariant_write(&asset, NULL, &text);
    assert_non_null(strstr(text_of(&text), IMAGES));
    assert_int_equal(pathways_parse(BYTES_LITERAL("http://r/ o1 . o2 "
                                                  "http://o2/?h=2&$"),
                                    &steering),
                     0);
    text.len = 0;
    hls_multivariant_write(&asset, &steering, &text);
    const char *found = strstr(text_of(&text), IMAGES);
    assert_non_null(found);
    assert_null(strstr(found + strlen(IMAGES), "IMAGE-STREAM"));
    text.len = 0;
    dash_mpd_write(&asset, &steering, &text);
    assert_non_null(
        strstr(text_of(&text),
               "<AdaptationSet contentType=\"image\" mimeType=\"image/jpeg\">\n"
               "<SegmentTemplate timescale=\"1000\" duration=\"9000\""
               " startNumber=\"0\""
               " media=\"$RepresentationID$/$Number$.jpg?h=2&amp;$$\"/>\n"
               "<Representation id=\"i0\" bandwidth=\"9\" width=\"480\""
               " height=\"180\">\n"
               "<EssentialProperty"
               " schemeIdUri=\"http://dashif.org/guidelines/thumbnail_tile\""
               " value=\"3x2\"/>\n</Representation>\n</AdaptationSet>\n"));
    buffer_fini(&text);
    built_free(&b);
}

#define SINGLE "#EXT-X-TILES:RESOLUTION=160x90,LAYOUT=1x1,DURATION=1.500000\n"

/* From 2 s to 6 s of 10.6, which is in the middle of the second picture and at
 * the end of the fourth; and other parts. */
static void
a_part_has_single_pictures_for_as_long_as_they_are_in_it(void **state)
{
    static const struct {
        const char *query, *playlist, *timeline;
    } cases[] = {
        {"start=2.000000&end=6.000000",
         "#EXT-X-MEDIA-SEQUENCE:1\n#EXT-X-PLAYLIST-TYPE:VOD\n"
         "#EXT-X-IMAGES-ONLY\n#EXTINF:1.000000,\n" SINGLE "1.jpg\n"
         "#EXTINF:1.500000,\n" SINGLE "2.jpg\n"
         "#EXTINF:1.500000,\n" SINGLE "3.jpg\n#EXT-X-ENDLIST\n",
         " startNumber=\"1\" presentationTimeOffset=\"2000\""
         " media=\"$RepresentationID$/$Number$.jpg\">\n<SegmentTimeline>\n"
         "<S t=\"2000\" d=\"1000\"/>\n<S d=\"1500\"/>\n"
         "<S d=\"1500\"/>\n</SegmentTimeline>\n"},
        {"start=8.000000",
         "#EXT-X-MEDIA-SEQUENCE:5\n#EXT-X-PLAYLIST-TYPE:VOD\n"
         "#EXT-X-IMAGES-ONLY\n#EXTINF:1.000000,\n" SINGLE "5.jpg\n"
         "#EXTINF:1.500000,\n" SINGLE "6.jpg\n"
         "#EXTINF:0.100000,\n" SINGLE "7.jpg\n#EXT-X-ENDLIST\n",
         " startNumber=\"5\" presentationTimeOffset=\"8000\""
         " media=\"$RepresentationID$/$Number$.jpg\">\n<SegmentTimeline>\n"
         "<S t=\"8000\" d=\"1000\"/>\n<S d=\"1500\"/>\n"
         "<S d=\"100\"/>\n</SegmentTimeline>\n"},
        {"start=1.600000&end=10.000000", "#EXTINF:1.400000,\n" SINGLE "1.jpg\n",
         "<S t=\"1600\" d=\"1400\"/>\n<S d=\"1500\" r=\"3\"/>\n"
         "<S d=\"1000\"/>\n</SegmentTimeline>\n"},
        {"start=0.000000&end=2.000000",
         "#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:VOD\n"
         "#EXT-X-IMAGES-ONLY\n#EXTINF:1.500000,\n" SINGLE "0.jpg\n"
         "#EXTINF:0.500000,\n" SINGLE "1.jpg\n#EXT-X-ENDLIST\n",
         " startNumber=\"0\""
         " media=\"$RepresentationID$/$Number$.jpg\">\n<SegmentTimeline>\n"
         "<S t=\"0\" d=\"1500\"/>\n<S d=\"500\"/>\n</SegmentTimeline>\n"},
        {"start=4.000000&end=4.200000",
         "#EXT-X-MEDIA-SEQUENCE:2\n#EXT-X-PLAYLIST-TYPE:VOD\n"
         "#EXT-X-IMAGES-ONLY\n#EXTINF:0.200000,\n" SINGLE "2.jpg\n"
         "#EXT-X-ENDLIST\n",
         "<S t=\"4000\" d=\"200\"/>\n</SegmentTimeline>\n"},
    };
    struct built b;
    assert_int_equal(build_of(&b, 10600, 1, 1), 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        static struct asset asset;
        struct track_index part = b.index;
        struct buffer text;
        struct clip clip;
        buffer_init(&text, 1 << 20);
        assert_int_equal(clip_parse(bytes_of_text(cases[i].query), &clip), 0);
        assert_int_equal(track_index_clip(&part, &clip), 0);
        hls_media_playlist_write(&part, &text);
        assert_non_null(strstr(text_of(&text), cases[i].playlist));
        asset = (struct asset){.tracks = {part.info}, .track_count = 1};
        snprintf(asset.query, sizeof asset.query, "%s", cases[i].query);
        text.len = 0;
        dash_mpd_write(&asset, NULL, &text);
        assert_non_null(strstr(text_of(&text), cases[i].timeline));
        buffer_fini(&text);
    }
    built_free(&b);
}

static void
a_part_has_no_sheets_and_a_film_no_single_pictures(void **state)
{
    const struct clip clip = {2000000, 6000000}, late = {10600000, CLIP_TO_END};
    static struct asset asset;
    struct built sheets, single;
    struct buffer text;
    buffer_init(&text, 1 << 20);
    assert_int_equal(build_of(&sheets, 10600, 3, 2), 0);
    assert_int_equal(build_of(&single, 10600, 1, 1), 0);
    single.index.info.name[1] = '1';
    struct track_index part = sheets.index;
    assert_int_equal(track_index_clip(&part, &clip), ERR_NOT_FOUND);
    part = single.index;
    assert_int_equal(track_index_clip(&part, &late), ERR_NOT_FOUND);
    const struct asset film = {
        .tracks = {test_info(TRACK_VIDEO, "v0", "avc1.64001e", "und", ""),
                   sheets.index.info, single.index.info},
        .track_count = 3};
    asset = film;
    hls_multivariant_write(&asset, NULL, &text);
    dash_mpd_write(&asset, NULL, &text);
    assert_non_null(strstr(text_of(&text), "URI=\"i0/index.m3u8\""));
    assert_non_null(strstr(text_of(&text), "<Representation id=\"i0\""));
    assert_null(strstr(text_of(&text), "i1"));
    text.len = 0;
    assert_int_equal(asset_clip(&asset, &clip), 0);
    assert_int_equal(asset.track_count, 2);
    hls_multivariant_write(&asset, NULL, &text);
    dash_mpd_write(&asset, NULL, &text);
    assert_non_null(strstr(text_of(&text), "URI=\"i1/index.m3u8?start=2.0"));
    assert_non_null(strstr(text_of(&text), "<Representation id=\"i1\""));
    assert_null(strstr(text_of(&text), "i0"));
    buffer_fini(&text);
    built_free(&single);
    built_free(&sheets);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sheets_lie_one_behind_the_other),
        cmocka_unit_test(what_is_no_jpeg_or_comes_not_leaves_no_index),
        cmocka_unit_test(a_record_that_contradicts_itself_is_refused),
        cmocka_unit_test(a_sheet_before_the_last_that_is_not_full_is_refused),
        cmocka_unit_test(playlists_say_where_a_thumbnail_is),
        cmocka_unit_test(
            a_part_has_single_pictures_for_as_long_as_they_are_in_it),
        cmocka_unit_test(a_part_has_no_sheets_and_a_film_no_single_pictures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
