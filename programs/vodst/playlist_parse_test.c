/* SPDX-License-Identifier: Apache-2.0 */

#include "programs/vodst/audience_url.h"
#include "programs/vodst/playlist_parse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static const char master[] =
    "#EXTM3U\n"
    "#EXT-X-VERSION:7\n"
    "#EXT-X-INDEPENDENT-SEGMENTS\n"
    "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"fr\",URI=\"a1/i.m3u8\"\n"
    "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"en, gb\",DEFAULT=YES,"
    "URI=\"a0/i.m3u8\"\n"
    "#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"s\",NAME=\"en\",URI=\"s0/i.m3u8\"\n"
    "#EXT-X-STREAM-INF:BANDWIDTH=800000,CODECS=\"avc1.4d401e,mp4a.40.2\","
    "RESOLUTION=640x360,AUDIO=\"a\"\r\n"
    "v1/i.m3u8\r\n"
    "\n"
    "#EXT-X-STREAM-INF:RESOLUTION=1280x720,AUDIO=\"a\",BANDWIDTH=2500000\n"
    "v0/i.m3u8\n"
    "#EXT-X-STREAM-INF:BANDWIDTH=100\n"
    "v2/i.m3u8";

static void
variants_come_best_first_with_their_default_sound(void **state)
{
    struct multivariant found;
    assert_int_equal(multivariant_parse(bytes_of_text(master), &found), 0);
    assert_int_equal(found.variant_count, 3);
    assert_true(bytes_equal(found.variants[0].uri, BYTES_LITERAL("v0/i.m3u8")));
    assert_true(bytes_equal(found.variants[1].uri, BYTES_LITERAL("v1/i.m3u8")));
    assert_int_equal(found.variants[1].bandwidth_bps, 800000);
    assert_int_equal(found.audio_count, 2);
    const struct playlist_audio *audio =
        multivariant_audio(&found, &found.variants[0]);
    assert_non_null(audio);
    assert_true(bytes_equal(audio->uri, BYTES_LITERAL("a0/i.m3u8")));
    assert_null(multivariant_audio(&found, &found.variants[2]));
}

static void
of_several_pathways_the_first_is_read(void **state)
{
    struct multivariant found;
    const char *text =
        "#EXTM3U\n"
        "#EXT-X-CONTENT-STEERING:SERVER-URI=\"http://r/s\",PATHWAY-ID=\"a\"\n"
        "#EXT-X-STREAM-INF:BANDWIDTH=100,PATHWAY-ID=\"a\"\nv1/i.m3u8\n"
        "#EXT-X-STREAM-INF:BANDWIDTH=200,PATHWAY-ID=\"a\"\nv0/i.m3u8\n"
        "#EXT-X-STREAM-INF:BANDWIDTH=100,PATHWAY-ID=\"b\"\nhttp://b/v1\n"
        "#EXT-X-STREAM-INF:BANDWIDTH=200,PATHWAY-ID=\"b\"\nhttp://b/v0\n";
    assert_int_equal(multivariant_parse(bytes_of_text(text), &found), 0);
    assert_int_equal(found.variant_count, 2);
    assert_true(bytes_equal(found.variants[0].uri, BYTES_LITERAL("v0/i.m3u8")));
    assert_true(bytes_equal(found.variants[1].uri, BYTES_LITERAL("v1/i.m3u8")));
}

static void
segments_end_where_the_durations_sum_to(void **state)
{
    struct media_playlist found;
    const char *text = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n"
                       "#EXT-X-MAP:URI=\"init.mp4\"\n"
                       "#EXTINF:4.0005,\n0.m4s\n#EXTINF:3.9995,title\n1.m4s\n"
                       "#EXTINF:2\n2.m4s\n#EXT-X-ENDLIST\n";
    assert_int_equal(media_playlist_parse(bytes_of_text(text), &found), 0);
    assert_int_equal(found.segment_count, 3);
    assert_true(bytes_equal(found.init_uri, BYTES_LITERAL("init.mp4")));
    assert_int_equal(found.segments[0].end_ms, 4000);
    assert_int_equal(found.segments[1].end_ms, 8000);
    assert_int_equal(found.segments[2].end_ms, 10000);
    assert_true(bytes_equal(found.segments[2].uri, BYTES_LITERAL("2.m4s")));
    assert_int_equal(media_playlist_find(&found, 0), 0);
    assert_int_equal(media_playlist_find(&found, 3999), 0);
    assert_int_equal(media_playlist_find(&found, 4000), 1);
    assert_int_equal(media_playlist_find(&found, 9999), 2);
    assert_int_equal(media_playlist_find(&found, 10000), 3);
    media_playlist_fini(&found);
}

static void
bad_playlists_are_refused_with_their_reason(void **state)
{
    static const struct {
        const char *text;
        int err;
    } cases[] = {
        {"", ERR_INVALID},
        {"<html>", ERR_INVALID},
        {"#EXTM3U\n#EXT-X-ENDLIST\n", ERR_INVALID},
        {"#EXTM3U\n0.m4s\n#EXT-X-ENDLIST\n", ERR_INVALID},
        {"#EXTM3U\n#EXTINF:4,\n0.m4s\n", ERR_UNSUPPORTED},
        {"#EXTM3U\n#EXTINF:four,\n0.m4s\n#EXT-X-ENDLIST\n", ERR_INVALID},
        {"#EXTM3U\n#EXTINF:,\n0.m4s\n#EXT-X-ENDLIST\n", ERR_INVALID},
        {"#EXTM3U\n#EXTINF:-1,\n0.m4s\n#EXT-X-ENDLIST\n", ERR_INVALID},
        {"#EXTM3U\n#EXTINF:4.x,\n0.m4s\n#EXT-X-ENDLIST\n", ERR_INVALID},
        {"#EXTM3U\n#EXTINF:99999999999999999999,\n0.m4s\n", ERR_LIMIT},
        {"#EXTM3U\n#EXT-X-BYTERANGE:1@0\n", ERR_UNSUPPORTED},
        {"#EXTM3U\n#EXT-X-MAP:BYTERANGE=\"1@0\",URI=\"i\"\n", ERR_UNSUPPORTED},
        {"#EXTM3U\n#EXT-X-MAP:URI=\"i\n", ERR_INVALID},
        {"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv\n", ERR_INVALID},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct media_playlist found;
        assert_int_equal(
            media_playlist_parse(bytes_of_text(cases[i].text), &found),
            cases[i].err);
    }
}

static void
bad_multivariant_playlists_are_refused(void **state)
{
    static const struct {
        const char *text;
        int err;
    } cases[] = {
        {"#EXTM3U\n", ERR_NOT_FOUND},
        {"#EXTM3U\nv0\n", ERR_INVALID},
        {"#EXTM3U\n#EXT-X-STREAM-INF:CODECS=\"x\"\nv0\n", ERR_INVALID},
        {"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=x\nv0\n", ERR_INVALID},
        {"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=99999999999999999999999\nv0\n",
         ERR_LIMIT},
        {"#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,URI=\"a\"\n", ERR_INVALID},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct multivariant found;
        assert_int_equal(
            multivariant_parse(bytes_of_text(cases[i].text), &found),
            cases[i].err);
    }
}

static void
references_resolve_as_a_browser_does(void **state)
{
    static const char base[] = "http://h:81/p/t/demo/1/master.m3u8?hop=1";
    static const struct {
        const char *reference, *url;
    } cases[] = {
        {"v0/index.m3u8", "http://h:81/p/t/demo/1/v0/index.m3u8"},
        {"0.m4s?x=1", "http://h:81/p/t/demo/1/0.m4s?x=1"},
        {"/q", "http://h:81/q"},
        {"//other/q", "http://other/q"},
        {"http://o:1/a", "http://o:1/a"},
        {"?x=2", "http://h:81/p/t/demo/1/master.m3u8?x=2"},
        {"../2/a", "http://h:81/p/t/demo/2/a"},
        {"./a", "http://h:81/p/t/demo/1/a"},
        {"../../../../../../a", "http://h:81/a"},
        {"a#b", "http://h:81/p/t/demo/1/a"},
    };
    char url[AUDIENCE_URL_BYTES_MAX];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(url_resolve(base, bytes_of_text(cases[i].reference),
                                     url, sizeof url),
                         0);
        assert_string_equal(url, cases[i].url);
    }
    assert_int_equal(
        url_resolve("http://h", bytes_of_text("a"), url, sizeof url), 0);
    assert_string_equal(url, "http://h/a");
}

static void
references_that_cannot_be_fetched_are_refused(void **state)
{
    char url[32];
    assert_int_equal(
        url_resolve("http://h/", bytes_of_text("ftp://x/"), url, sizeof url),
        ERR_UNSUPPORTED);
    assert_int_equal(
        url_resolve("http://h/", bytes_of_text("data:x"), url, sizeof url),
        ERR_UNSUPPORTED);
    assert_int_equal(
        url_resolve("file:///x", bytes_of_text("a"), url, sizeof url),
        ERR_INVALID);
    assert_int_equal(
        url_resolve("http://h/", bytes_of_text("a b"), url, sizeof url),
        ERR_INVALID);
    assert_int_equal(
        url_resolve("http://h/", bytes_of_text(""), url, sizeof url),
        ERR_INVALID);
    assert_int_equal(
        url_resolve("http://h/",
                    bytes_of_text("a/far/too/long/path/for/the/room"), url,
                    sizeof url),
        ERR_LIMIT);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(variants_come_best_first_with_their_default_sound),
        cmocka_unit_test(of_several_pathways_the_first_is_read),
        cmocka_unit_test(segments_end_where_the_durations_sum_to),
        cmocka_unit_test(bad_playlists_are_refused_with_their_reason),
        cmocka_unit_test(bad_multivariant_playlists_are_refused),
        cmocka_unit_test(references_resolve_as_a_browser_does),
        cmocka_unit_test(references_that_cannot_be_fetched_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
