/* SPDX-License-Identifier: Apache-2.0 */

#include "core/err.h"
#include "media/clip.h"
#include "media/hls/ts_playlist.h"
#include "media/testing/track.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void
times_are_read_from_among_other_arguments(void **state)
{
    static const struct {
        const char *query;
        uint64_t start_us, end_us;
    } cases[] = {
        {"start=12.5&end=60", 12500000, 60000000},
        {"end=60&start=0", 0, 60000000},
        {"hop=2&start=0.000001&x", 1, CLIP_TO_END},
        {"end=1.", 0, 0},
        {"restart=5&end=00001.100000&start2=7", 0, 1100000},
        {"start=1000000000", 1000000000000000, CLIP_TO_END},
        {"start=999999999.999999&end=1000000000&", 999999999999999,
         1000000000000000},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct clip clip;
        const int err = clip_parse(bytes_of_text(cases[i].query), &clip);
        if (cases[i].end_us == 0) { /* no digits behind the point */
            assert_int_equal(err, ERR_INVALID);
            continue;
        }
        assert_int_equal(err, 0);
        assert_int_equal(clip.start_us, cases[i].start_us);
        assert_int_equal(clip.end_us, cases[i].end_us);
    }
}

static void
what_is_no_time_is_refused(void **state)
{
    static const char *const wrong[] = {
        "start=",          "start=-1",        "start=+1",
        "start=1e3",       "start=1s",        "start=.5",
        "start=0x10",      "start=1.0000001", "start=1%2e5",
        "start= 1",        "start=1,5",       "start=1.5.5",
        "start=1&start=1", "end=0",           "start=5&end=5",
        "start=5&end=4",   "end=1000000001",  "end=18446744073709551617",
        "end=nan",         "start=1&end=",
    };
    static const char *const none[] = {
        "", "&", "start", "Start=1", "starts=1", "hop=1&x=start=4"};
    struct clip clip;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(clip_parse(bytes_of_text(wrong[i]), &clip),
                         ERR_INVALID);
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        assert_int_equal(clip_parse(bytes_of_text(none[i]), &clip),
                         ERR_NOT_FOUND);
}

/* 10 s at 24000/1001 in segments of 2.002 s, and sound beside it, whose borders
 * are elsewhere. */
struct film {
    struct test_track video, sound;
};

static void
film_make(struct film *film, uint32_t sound_frames, struct asset *asset)
{
    const struct test_movie video = {.sample_count = 240,
                                     .gop = 48,
                                     .has_b_frames = true,
                                     .has_edit = true,
                                     .media_time = 1001};
    const struct test_movie sound = {.kind = TRACK_AUDIO,
                                     .sample_count = sound_frames};
    test_track_make(&film->video, &video, "v0", 2000, NULL);
    test_track_make(&film->sound, &sound, "a0", 2000, &video);
    *asset = (struct asset){
        .tracks = {film->video.index.info, film->sound.index.info},
        .track_count = 2};
}

static void
film_free(struct film *film)
{
    test_track_fini(&film->video);
    test_track_fini(&film->sound);
}

static struct clip
clip_of(const char *query)
{
    struct clip clip;
    assert_int_equal(clip_parse(bytes_of_text(query), &clip), 0);
    return clip;
}

static void
a_part_goes_from_the_border_before_to_the_one_behind(void **state)
{
    static const struct {
        const char *query;
        uint32_t first, count;
        const char *said;
    } cases[] = {
        {"start=0", 0, 5, "start=0.000000"},
        {"start=2.001", 1, 4, "start=2.002000"}, /* to a ms */
        {"start=2.0009", 0, 5, "start=0.000000"},
        {"start=2.002&end=4.004", 1, 1, "start=2.002000&end=4.004000"},
        {"start=2.002&end=4.005", 1, 1, "start=2.002000&end=4.004000"},
        {"start=2.002&end=4.006", 1, 2, "start=2.002000&end=6.006000"},
        {"start=3&end=3.1", 1, 1, "start=2.002000&end=4.004000"},
        {"start=2.0015&end=2.0016", 1, 1, "start=2.002000&end=4.004000"},
        {"end=0.000001", 0, 1, "start=0.000000&end=2.002000"},
        {"start=5&end=9", 2, 3, "start=4.004000"},
        {"start=5&end=1000000000", 2, 3, "start=4.004000"},
        {"start=10.008", 4, 1, "start=8.008000"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        static struct asset asset;
        struct film film;
        const struct clip clip = clip_of(cases[i].query);
        film_make(&film, 432, &asset);
        assert_int_equal(asset_clip(&asset, &clip), 0);
        assert_string_equal(asset.query, cases[i].said);
        assert_int_equal(asset.track_count, 2);
        const struct clip said = clip_of(asset.query);
        for (size_t t = 0; t < 2; t++) {
            struct track_index part =
                t == 0 ? film.video.index : film.sound.index;
            const struct track_info *track = &asset.tracks[t];
            assert_int_equal(track->part.first_segment, cases[i].first);
            assert_int_equal(track->segment_count, cases[i].count);
            assert_int_equal(track_index_clip(&part, &said), 0);
            assert_int_equal(part.info.part.first_segment, cases[i].first);
            assert_int_equal(part.info.segment_count, cases[i].count);
        }
        film_free(&film);
    }
}

static void
what_is_over_before_a_part_is_not_in_it(void **state)
{
    static struct asset asset;
    struct film film;
    struct clip clip = clip_of("start=10.01");
    film_make(&film, 100, &asset); /* 2.3 s of sound */
    assert_int_equal(asset_clip(&asset, &clip), ERR_NOT_FOUND);
    assert_int_equal(track_index_clip(&film.sound.index, &clip), ERR_NOT_FOUND);
    clip = clip_of("start=4.1");
    asset.tracks[0] = film.video.index.info;
    assert_int_equal(asset_clip(&asset, &clip), 0);
    assert_int_equal(asset.track_count, 1);
    assert_string_equal(asset.tracks[0].name, "v0");
    film_free(&film);
}

static void
playlists_of_a_part_name_the_same_segments(void **state)
{
    static struct asset asset;
    const struct clip clip = clip_of("start=4.004&end=8.008");
    struct film film;
    struct buffer text;
    film_make(&film, 432, &asset);
    buffer_init(&text, 1u << 20);
    assert_int_equal(track_index_clip(&film.video.index, &clip), 0);
    hls_media_playlist_write(&film.video.index, &text);
    assert_string_equal(test_text(&text),
                        "#EXTM3U\n#EXT-X-VERSION:7\n"
                        "#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:2\n"
                        "#EXT-X-PLAYLIST-TYPE:VOD\n"
                        "#EXT-X-INDEPENDENT-SEGMENTS\n"
                        "#EXT-X-MAP:URI=\"init.mp4\"\n"
                        "#EXTINF:2.002000,\n2.m4s\n"
                        "#EXTINF:2.002000,\n3.m4s\n#EXT-X-ENDLIST\n");
    text.len = 0;
    hls_iframe_playlist_write(&film.video.index, &text);
    assert_non_null(strstr(test_text(&text), "@0\n2.m4s\n#EXTINF"));
    assert_non_null(strstr(test_text(&text), "@0\n3.m4s\n#EXT-X-ENDLIST"));
    text.len = 0;
    ts_media_playlist_write(&film.video.index.info, NULL, &text);
    assert_non_null(strstr(test_text(&text), "#EXT-X-MEDIA-SEQUENCE:2\n"));
    assert_non_null(strstr(test_text(&text),
                           "SEGMENTS\n#EXTINF:2.002000,\n2.ts\n"
                           "#EXTINF:2.002000,\n3.ts\n#EXT-X-ENDLIST"));
    film_free(&film);
    buffer_fini(&text);
}

static void
manifests_of_a_part_ask_for_playlists_of_it(void **state)
{
    static struct asset asset;
    const struct clip clip = clip_of("start=4.004&end=8.008");
    struct pathways steering;
    struct film film;
    struct buffer text;
    film_make(&film, 432, &asset);
    buffer_init(&text, 1u << 20);
    assert_int_equal(pathways_parse(BYTES_LITERAL("http://r/ o1 . o2 "
                                                  "http://o2/?h=2"),
                                    &steering),
                     0);
    assert_int_equal(asset_clip(&asset, &clip), 0);
    hls_multivariant_write(&asset, &steering, &text);
#define PART "start=4.004000&end=8.008000"
    assert_non_null(strstr(test_text(&text), "\nv0/index.m3u8?" PART "\n"));
    assert_non_null(
        strstr(test_text(&text), "\nhttp://o2/v0/index.m3u8?h=2&" PART "\n"));
    assert_non_null(
        strstr(test_text(&text), "URI=\"v0/iframes.m3u8?" PART "\""));
    assert_non_null(strstr(test_text(&text), "URI=\"a0/index.m3u8?" PART "\""));
    text.len = 0;
    ts_multivariant_write(&asset, &steering, &text);
    assert_non_null(strstr(test_text(&text), "\nv0~a0/index.m3u8?" PART "\n"));
    assert_non_null(strstr(test_text(&text),
                           "\nhttp://o2/v0~a0/index.m3u8?h=2&" PART "\n"));
    text.len = 0;
    dash_mpd_write(&asset, NULL, &text);
    const char *mpd = test_text(&text);
    assert_non_null(strstr(mpd, " mediaPresentationDuration=\"PT4.0"));
    const char *video = strstr(mpd, "<SegmentTemplate");
    static const char of_video[] =
        "<SegmentTemplate timescale=\"24000\" startNumber=\"2\""
        " presentationTimeOffset=\"96096\""
        " initialization=\"$RepresentationID$/init.mp4\""
        " media=\"$RepresentationID$/$Number$.m4s\">\n<SegmentTimeline>\n"
        "<S t=\"96096\" d=\"48048\" r=\"1\"/>\n</SegmentTimeline>\n";
    assert_non_null(video);
    assert_memory_equal(video, of_video, sizeof of_video - 1);
    /* the same moment, wherever its own segment starts */
    const char *sound = strstr(mpd, "timescale=\"44100\"");
    assert_non_null(sound);
    assert_non_null(strstr(sound, " presentationTimeOffset=\"176576\""));
    film_free(&film);
    buffer_fini(&text);
}

static void
subtitles_of_a_part_are_a_file_of_their_own_unless_it_starts_with_the_film(
    void **state)
{
    static const struct {
        const char *query, *file;
    } cases[] = {
        {"start=2", "<BaseURL>s0/1-2.vtt?h=2</BaseURL>"},
        {"start=2&end=3", "<BaseURL>s0/1-1.vtt?h=2</BaseURL>"},
        {"end=4", "<BaseURL>s0/all.vtt?h=2</BaseURL>"},
    };
    static const struct pathways steering = {
        .server_uri = BYTES_LITERAL("http://r/"),
        .list = {{.name = BYTES_LITERAL("o1"), .query = BYTES_LITERAL("?h=2")}},
        .count = 1};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        static struct asset asset;
        const struct clip clip = clip_of(cases[i].query);
        struct buffer text;
        buffer_init(&text, 1u << 20);
        asset = (struct asset){
            .tracks = {test_info(TRACK_VIDEO, "v0", "avc1.64001e", "und", ""),
                       test_info(TRACK_TEXT, "s0", "wvtt", "en", "")},
            .track_count = 2};
        assert_int_equal(asset_clip(&asset, &clip), 0);
        assert_int_equal(asset.track_count, 2);
        hls_multivariant_write(&asset, NULL, &text);
        assert_non_null(strstr(test_text(&text), "URI=\"s0/index.m3u8?start="));
        text.len = 0;
        dash_mpd_write(&asset, &steering, &text);
        assert_non_null(strstr(test_text(&text), cases[i].file));
        buffer_fini(&text);
    }
}

static uint64_t
rate_of(uint64_t bytes, uint64_t ticks, uint32_t timescale)
{
    return (bytes * 8 * timescale + ticks - 1) / ticks;
}

/* All bits over all seconds, and of the largest segment, as all are alike. */
static void
rates_expect(const struct track_info *track, const struct track_index *index)
{
    uint64_t all = 0, keys = 0, ticks = 0, peak = 0, key_peak = 0;
    for (uint32_t i = 0; i < track->segment_count; i++) {
        struct segment s;
        assert_int_equal(
            track_index_segment(index, track->part.first_segment + i, &s), 0);
        const uint64_t rate =
            rate_of(segment_length(&s), s.duration, track->timescale);
        const uint64_t key_rate =
            rate_of(segment_key_length(&s), s.duration, track->timescale);
        all += segment_length(&s);
        keys += segment_key_length(&s);
        ticks += s.duration;
        peak = rate > peak ? rate : peak;
        key_peak = key_rate > key_peak ? key_rate : key_peak;
    }
    assert_int_equal(track->bandwidth_peak, peak);
    assert_int_equal(track->bandwidth_average,
                     rate_of(all, ticks, track->timescale));
    if (track->kind != TRACK_VIDEO)
        return;
    assert_int_equal(track->key_bandwidth_peak, key_peak);
    assert_int_equal(track->key_bandwidth_average,
                     rate_of(keys, ticks, track->timescale));
}

static void
bandwidths_of_a_part_are_those_of_its_segments(void **state)
{
    static const char *const queries[] = {"start=4.004&end=8.008", "end=2",
                                          "start=6"};
    for (size_t i = 0; i < sizeof queries / sizeof queries[0]; i++) {
        static struct asset asset;
        static struct clip_rates rates;
        const struct clip clip = clip_of(queries[i]);
        struct film film;
        film_make(&film, 432, &asset);
        const struct track_info whole = asset.tracks[0];
        assert_int_equal(asset_clip(&asset, &clip), 0);
        assert_int_equal(clip_rates_init(&rates, &asset), 0);
        assert_int_equal(rates.count, 2);
        /* not known yet: the film's stay */
        asset_rates_set(&asset, &rates);
        assert_int_equal(asset.tracks[0].bandwidth_average,
                         whole.bandwidth_average);
        clip_rates_find(&rates, 0, &film.video.index);
        clip_rates_find(&rates, 1, &film.sound.index);
        asset_rates_set(&asset, &rates);
        rates_expect(&asset.tracks[0], &film.video.index);
        rates_expect(&asset.tracks[1], &film.sound.index);
        assert_int_not_equal(asset.tracks[0].bandwidth_average,
                             whole.bandwidth_average);
        assert_int_not_equal(asset.tracks[0].key_bandwidth_average,
                             whole.key_bandwidth_average);
        film_free(&film);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_read_from_among_other_arguments),
        cmocka_unit_test(what_is_no_time_is_refused),
        cmocka_unit_test(a_part_goes_from_the_border_before_to_the_one_behind),
        cmocka_unit_test(what_is_over_before_a_part_is_not_in_it),
        cmocka_unit_test(playlists_of_a_part_name_the_same_segments),
        cmocka_unit_test(manifests_of_a_part_ask_for_playlists_of_it),
        cmocka_unit_test(
            subtitles_of_a_part_are_a_file_of_their_own_unless_it_starts_with_the_film),
        cmocka_unit_test(bandwidths_of_a_part_are_those_of_its_segments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
