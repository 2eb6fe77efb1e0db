/* SPDX-License-Identifier: Apache-2.0 */

#include "media/hls/ts_playlist.h"

#include "core/err.h"
#include "media/testing/track.h"
#include "media/timeline.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* Sample entries: of H.264 without parameter sets, of AC-3, and of one that
 * no transport stream carries. */
static const uint8_t avc1[86 + 15] = {
    [3] = 86 + 15, 'a', 'v', 'c', '1', [89] = 15, 'a',  'v',
    'c',           'C', 1,   0,   0,   0,         0xff, [99] = 0};
static const uint8_t ac3[36] = {[3] = 36, 'a', 'c', '-', '3'};
static const uint8_t opus[36] = {[3] = 36, 'O', 'p', 'u', 's'};

static struct track_info
track(enum track_kind kind, const char *name, const char *codecs,
      const char *language)
{
    struct track_info t = test_info(kind, name, codecs, language, "");
    t.timescale = kind == TRACK_VIDEO ? 24000 : 48000;
    t.duration = 40u * t.timescale;
    t.segment_count = 10;
    if (kind == TRACK_VIDEO) {
        t.bandwidth_peak = 2000000;
        t.bandwidth_average = 1000000;
        t.frame_rate_num = 24000;
        t.width = 1280;
        t.height = 720;
        t.sample_entry = bytes_of(avc1, sizeof avc1);
    } else {
        t.bandwidth_peak = t.bandwidth_average = 192000;
        t.sample_entry = bytes_of(ac3, sizeof ac3);
    }
    return t;
}

static void
text_is(struct buffer *b, const char *expected)
{
    assert_string_equal(test_text(b), expected);
    buffer_fini(b);
}

/* ---- media playlist ---- */

static void
durations_are_exact_and_never_add_up(void **state)
{
    static const uint32_t durations[] = {96096, 96096, 13};
    struct buffer timeline, out;
    struct track_info t = track(TRACK_VIDEO, "v0", "avc1.640028", "und");
    buffer_init(&timeline, 100);
    buffer_init(&out, 4096);
    for (size_t i = 0; i < 3; i++)
        timeline_add(&timeline, durations[i]);
    t.timeline = buffer_bytes(&timeline);
    ts_media_playlist_write(&t, NULL, &out);
    text_is(&out, "#EXTM3U\n"
                  "#EXT-X-VERSION:4\n"
                  "#EXT-X-TARGETDURATION:4\n"
                  "#EXT-X-MEDIA-SEQUENCE:0\n"
                  "#EXT-X-PLAYLIST-TYPE:VOD\n"
                  "#EXT-X-INDEPENDENT-SEGMENTS\n"
                  "#EXTINF:4.004000,\n0.ts\n"
                  "#EXTINF:4.004000,\n1.ts\n"
                  "#EXTINF:0.000542,\n2.ts\n"
                  "#EXT-X-ENDLIST\n");
    buffer_fini(&timeline);
}

static void
a_key_stands_before_the_first_segment(void **state)
{
    static const char *const expected[] = {
        "#EXT-X-KEY:METHOD=AES-128,URI=\"https://keys/1\"\n#EXTINF:",
        "#EXT-X-KEY:METHOD=AES-128,URI=\"https://keys/1\","
        "IV=0x000102030405060708090a0b0c0d0eff\n#EXTINF:"};
    struct hls_key key = {.uri = BYTES_LITERAL("https://keys/1")};
    const struct hls_keys keys = {.list = &key, .count = 1};
    struct track_info t = track(TRACK_VIDEO, "v0", "avc1.640028", "und");
    struct buffer timeline, out;
    buffer_init(&timeline, 100);
    timeline_add(&timeline, 96096);
    t.timeline = buffer_bytes(&timeline);
    for (uint8_t i = 0; i < 16; i++)
        key.iv[i] = i < 15 ? i : 0xff;
    for (int has_iv = 0; has_iv < 2; has_iv++) {
        key.has_iv = has_iv;
        buffer_init(&out, 4096);
        ts_media_playlist_write(&t, &keys, &out);
        assert_non_null(strstr(test_text(&out), expected[has_iv]));
        buffer_fini(&out);
    }
    buffer_fini(&timeline);
}

/* Tags and segments of a playlist with these keys, in order. */
static void
keys_are(const struct hls_keys *keys, const char *expected)
{
    static const struct timeline_run run = {96096, 7};
    struct track_info t = track(TRACK_VIDEO, "v0", "avc1.640028", "und");
    struct buffer timeline, out, found;
    char *line, *rest = NULL;
    buffer_init(&timeline, 100);
    buffer_init(&out, 4096);
    buffer_init(&found, 4096);
    timeline_append(&timeline, &run);
    t.timeline = buffer_bytes(&timeline);
    ts_media_playlist_write(&t, keys, &out);
    buffer_append_u8(&out, 0);
    for (line = strtok_r((char *) out.ptr, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest))
        if (line[0] != '#')
            buffer_printf(&found, "%c ", line[0]);
        else if (strncmp(line, "#EXT-X-KEY:METHOD=", 18) == 0)
            buffer_printf(&found, "%s ", line + 18);
    text_is(&found, expected);
    buffer_fini(&out);
    buffer_fini(&timeline);
}

static void
a_key_stands_before_each_period_with_another(void **state)
{
    const struct hls_key list[] = {{.uri = BYTES_LITERAL("a")},
                                   {.uri = BYTES_LITERAL("a")},
                                   {.uri = BYTES_LITERAL("b")}};
    struct hls_keys keys = {.list = list, .count = 3, .period_segments = 2};
    keys_are(&keys, "AES-128,URI=\"a\" 0 1 2 3 AES-128,URI=\"b\" 4 5 6 ");
    keys.list = list + 1;
    keys.count = 2; /* fewer than the film has periods: the last goes on */
    keys_are(&keys, "AES-128,URI=\"a\" 0 1 AES-128,URI=\"b\" 2 3 4 5 6 ");
}

static void
a_clear_lead_has_no_key(void **state)
{
    const struct hls_key list[] = {{.uri = BYTES_LITERAL("a")},
                                   {.uri = BYTES_LITERAL("b")},
                                   {.uri = BYTES_LITERAL("c")}};
    struct hls_keys keys = {
        .list = list, .count = 3, .period_segments = 3, .clear_segments = 4};
    keys_are(&keys, "NONE 0 1 2 3 AES-128,URI=\"b\" 4 5 "
                    "AES-128,URI=\"c\" 6 ");
    keys.clear_segments = 9;
    keys_are(&keys, "NONE 0 1 2 3 4 5 6 ");
}

static void
segments_of_text_are_webvtt(void **state)
{
    static const struct timeline_run run = {96096, 1};
    struct track_info t = track(TRACK_VIDEO, "s0", "", "en");
    struct buffer timeline, out;
    buffer_init(&timeline, 100);
    buffer_init(&out, 4096);
    timeline_append(&timeline, &run);
    t.kind = TRACK_TEXT;
    t.timeline = buffer_bytes(&timeline);
    ts_media_playlist_write(&t, NULL, &out);
    buffer_append_u8(&out, 0);
    assert_non_null(
        strstr((const char *) out.ptr, "#EXTINF:4.004000,\n0.vtt\n"));
    buffer_fini(&out);
    buffer_fini(&timeline);
}

/* ---- multivariant playlist ---- */

static void
one_sound_is_muxed_into_each_variant(void **state)
{
    struct asset asset = {.track_count = 2};
    struct buffer out;
    buffer_init(&out, 4096);
    asset.tracks[0] = track(TRACK_VIDEO, "v0", "avc1.640028", "und");
    asset.tracks[1] = track(TRACK_AUDIO, "a0", "ac-3", "kor");
    ts_multivariant_write(&asset, NULL, &out);
    assert_int_equal(out.err, 0);
    text_is(&out,
            "#EXTM3U\n#EXT-X-VERSION:4\n#EXT-X-INDEPENDENT-SEGMENTS\n"
            "#EXT-X-STREAM-INF:BANDWIDTH=2334000,AVERAGE-BANDWIDTH=1309000,"
            "CODECS=\"avc1.640028,ac-3\",RESOLUTION=1280x720,"
            "FRAME-RATE=23.976\n"
            "v0~a0/index.m3u8\n");
}

static void
further_sounds_of_a_codec_are_renditions(void **state)
{
    struct asset asset = {.track_count = 4};
    struct buffer out;
    buffer_init(&out, 4096);
    asset.tracks[0] = track(TRACK_VIDEO, "v0", "avc1.640028", "und");
    asset.tracks[1] = track(TRACK_AUDIO, "a0", "ac-3", "kor");
    asset.tracks[2] = track(TRACK_AUDIO, "a1", "ac-3", "eng");
    asset.tracks[3] = track(TRACK_AUDIO, "a2", "ac-3", "eng");
    ts_multivariant_write(&asset, NULL, &out);
    text_is(&out,
            "#EXTM3U\n#EXT-X-VERSION:4\n#EXT-X-INDEPENDENT-SEGMENTS\n"
            "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"kor\","
            "LANGUAGE=\"kor\",DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"2\"\n"
            "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"eng\","
            "LANGUAGE=\"eng\",DEFAULT=NO,AUTOSELECT=YES,CHANNELS=\"2\","
            "URI=\"a1/index.m3u8\"\n"
            "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"eng (a2)\","
            "LANGUAGE=\"eng\",DEFAULT=NO,AUTOSELECT=NO,CHANNELS=\"2\","
            "URI=\"a2/index.m3u8\"\n"
            "#EXT-X-STREAM-INF:BANDWIDTH=2334000,AVERAGE-BANDWIDTH=1309000,"
            "CODECS=\"avc1.640028,ac-3\",RESOLUTION=1280x720,"
            "FRAME-RATE=23.976,AUDIO=\"audio\"\n"
            "v0~a0/index.m3u8\n");
}

static void
subtitles_are_renditions(void **state)
{
    struct asset asset = {.track_count = 3};
    struct buffer out;
    buffer_init(&out, 4096);
    asset.tracks[0] = track(TRACK_VIDEO, "v0", "avc1.640028", "und");
    for (size_t i = 1; i < 3; i++) {
        asset.tracks[i] = track(TRACK_TEXT, i == 1 ? "s0" : "s1", "", "en");
        asset.tracks[i].sample_entry.len = 0;
        asset.tracks[i].is_forced = i == 2;
    }
    ts_multivariant_write(&asset, NULL, &out);
    text_is(&out,
            "#EXTM3U\n#EXT-X-VERSION:4\n#EXT-X-INDEPENDENT-SEGMENTS\n"
            "#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"subs\",NAME=\"en\","
            "LANGUAGE=\"en\",DEFAULT=NO,AUTOSELECT=YES,FORCED=NO,"
            "URI=\"s0/index.m3u8\"\n"
            "#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"subs\",NAME=\"en (s1)\","
            "LANGUAGE=\"en\",DEFAULT=NO,AUTOSELECT=YES,FORCED=YES,"
            "URI=\"s1/index.m3u8\"\n"
            "#EXT-X-STREAM-INF:BANDWIDTH=2100960,AVERAGE-BANDWIDTH=1075960,"
            "CODECS=\"avc1.640028\",RESOLUTION=1280x720,"
            "FRAME-RATE=23.976,SUBTITLES=\"subs\"\n"
            "v0/index.m3u8\n");
}

static void
each_codec_of_sound_has_variants_of_its_own(void **state)
{
    struct asset asset = {.track_count = 5};
    struct buffer out;
    buffer_init(&out, 4096);
    asset.tracks[0] = track(TRACK_VIDEO, "v0", "avc1.640028", "und");
    asset.tracks[1] = track(TRACK_AUDIO, "a0", "ac-3", "kor");
    asset.tracks[2] = track(TRACK_AUDIO, "a1", "ec-3", "kor");
    asset.tracks[3] = track(TRACK_AUDIO, "a2", "ac-3", "eng");
    asset.tracks[4] = track(TRACK_VIDEO, "v1", "avc1.64001f", "und");
    ts_multivariant_write(&asset, NULL, &out);
    const char *text = test_text(&out);
    static const char *const order[] = {
        "NAME=\"kor\"",         "URI=\"a2/index",       "\nv0~a0/index.m3u8\n",
        "\nv1~a0/index.m3u8\n", "\nv0~a1/index.m3u8\n", "\nv1~a1/index.m3u8\n"};
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        text = strstr(text, order[i]);
        assert_non_null(text);
    }
    assert_null(strstr((const char *) out.ptr, "audio1"));
    buffer_fini(&out);
}

static void
sound_alone_and_pictures_alone_are_variants(void **state)
{
    struct asset asset = {.track_count = 1};
    struct buffer out;
    asset.tracks[0] = track(TRACK_AUDIO, "a0", "ac-3", "kor");
    buffer_init(&out, 4096);
    ts_multivariant_write(&asset, NULL, &out);
    assert_non_null(
        strstr(test_text(&out), "CODECS=\"ac-3\"\na0/index.m3u8\n"));
    buffer_fini(&out);
    asset.tracks[0] = track(TRACK_VIDEO, "v0", "avc1.640028", "und");
    buffer_init(&out, 4096);
    ts_multivariant_write(&asset, NULL, &out);
    assert_non_null(strstr(test_text(&out), "\nv0/index.m3u8\n"));
    buffer_fini(&out);
}

static void
what_no_stream_carries_is_left_out(void **state)
{
    struct asset asset = {.track_count = 2};
    struct buffer out;
    asset.tracks[0] = track(TRACK_VIDEO, "v0", "avc1.640028", "und");
    asset.tracks[1] = track(TRACK_AUDIO, "a0", "opus", "kor");
    asset.tracks[1].sample_entry = bytes_of(opus, sizeof opus);
    buffer_init(&out, 4096);
    ts_multivariant_write(&asset, NULL, &out);
    const char *text = test_text(&out);
    assert_null(strstr(text, "opus"));
    assert_non_null(strstr(text, "\nv0/index.m3u8\n"));
    buffer_fini(&out);
    asset.tracks[0] = asset.tracks[1];
    buffer_init(&out, 4096);
    ts_multivariant_write(&asset, NULL, &out);
    assert_int_equal(out.err, ERR_NOT_FOUND);
    buffer_fini(&out);
}

static void
each_pathway_has_variants_and_groups(void **state)
{
    struct asset asset = {.track_count = 3};
    struct pathways steering;
    struct buffer out;
    asset.tracks[0] = track(TRACK_VIDEO, "v0", "avc1.640028", "und");
    asset.tracks[1] = track(TRACK_AUDIO, "a0", "ac-3", "kor");
    asset.tracks[2] = track(TRACK_AUDIO, "a1", "ac-3", "eng");
    assert_int_equal(
        pathways_parse(BYTES_LITERAL("//s/x one . two //two/f/?hop=2"),
                       &steering),
        0);
    buffer_init(&out, 4096);
    ts_multivariant_write(&asset, &steering, &out);
    const char *text = test_text(&out);
    static const char *const order[] = {
        "#EXT-X-CONTENT-STEERING:SERVER-URI=\"//s/x\",PATHWAY-ID=\"one\"\n",
        "GROUP-ID=\"audio/one\"",
        "URI=\"a1/index.m3u8\"",
        "AUDIO=\"audio/one\",PATHWAY-ID=\"one\"\nv0~a0/index.m3u8\n",
        "GROUP-ID=\"audio/two\"",
        "URI=\"//two/f/a1/index.m3u8?hop=2\"",
        "PATHWAY-ID=\"two\"\n//two/f/v0~a0/index.m3u8?hop=2\n"};
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        text = strstr(text, order[i]);
        assert_non_null(text);
    }
    buffer_fini(&out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_are_exact_and_never_add_up),
        cmocka_unit_test(a_key_stands_before_the_first_segment),
        cmocka_unit_test(a_key_stands_before_each_period_with_another),
        cmocka_unit_test(a_clear_lead_has_no_key),
        cmocka_unit_test(segments_of_text_are_webvtt),
        cmocka_unit_test(subtitles_are_renditions),
        cmocka_unit_test(one_sound_is_muxed_into_each_variant),
        cmocka_unit_test(further_sounds_of_a_codec_are_renditions),
        cmocka_unit_test(each_codec_of_sound_has_variants_of_its_own),
        cmocka_unit_test(sound_alone_and_pictures_alone_are_variants),
        cmocka_unit_test(what_no_stream_carries_is_left_out),
        cmocka_unit_test(each_pathway_has_variants_and_groups),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
