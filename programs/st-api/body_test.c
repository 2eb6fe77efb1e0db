/* SPDX-License-Identifier: Apache-2.0 */
#include "programs/st-api/body.h"

#include "core/buffer.h"
#include "core/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define TEXT_64 \
    "0123456789012345678901234567890123456789012345678901234567890123"
#define TEXT_128 TEXT_64 TEXT_64

static void
a_play_is_read(void **state)
{
    struct body_playback out;
    char message[BODY_MESSAGE_SIZE];
    const char *body = " {\"content\": \"demo\", \"viewer\":\"anna\"} ";
    assert_int_equal(body_playback_parse(bytes_of_text(body), &out, message),
                     0);
    assert_string_equal(out.content, "demo");
    assert_string_equal(out.viewer, "anna");
    assert_false(out.steering);
    assert_false(out.trick_play);
    body = "{\"content\":\"" TEXT_64 "\"}";
    assert_int_equal(body_playback_parse(bytes_of_text(body), &out, message),
                     0);
    assert_string_equal(out.content, TEXT_64);
    assert_string_equal(out.viewer, "");
    body = "{\"steering\":true,\"content\":\"demo\",\"trick_play\":true}";
    assert_int_equal(body_playback_parse(bytes_of_text(body), &out, message),
                     0);
    assert_true(out.steering);
    assert_true(out.trick_play);
    assert_int_equal(out.address.family, 0);
    body = "{\"content\":\"demo\",\"address\":\"2001:db8::7\"}";
    assert_int_equal(body_playback_parse(bytes_of_text(body), &out, message),
                     0);
    assert_int_equal(out.address.family, 6);
    assert_int_equal(out.address.bits, 128);
    assert_int_equal(out.address.address[15], 7);
}

static void
what_is_wrong_with_a_play_is_named(void **state)
{
    static const struct {
        const char *body, *message;
    } cases[] = {
        {"", "the body is empty"},
        {" ", "bad JSON at line 1"},
        {"{", "bad JSON at line 1, column 1"},
        {"{\"content\":\n \"a\",}", "bad JSON at line 2"},
        {"{\"content\":\"a\"} x", "bad JSON at line 1"},
        {"{\"content\":\"\\u0000\"}", "bad JSON"},
        {"{\"content\":\"\xff\"}", "bad JSON"},
        {"[]", "must be a JSON object"},
        {"\"demo\"", "bad JSON"},
        {"{}", "field \"content\" is missing"},
        {"{\"content\":1}", "field \"content\" must be a string"},
        {"{\"content\":null}", "field \"content\" must be a string"},
        {"{\"content\":\"\"}", "field \"content\" must be 1 to 64"},
        {"{\"content\":\"a/b\"}", "field \"content\" must be 1 to 64"},
        {"{\"content\":\"..\"}", "field \"content\" must be 1 to 64"},
        {"{\"content\":\"a" TEXT_64 "\"}", "field \"content\" must be 1 to 64"},
        {"{\"content\":\"a\",\"viewer\":\"\"}", "field \"viewer\" must be 1"},
        {"{\"content\":\"a\",\"viewer\":\"a\\nb\"}", "field \"viewer\" must"},
        {"{\"content\":\"a\",\"viewer\":\"b" TEXT_128 "\"}",
         "field \"viewer\" must be 1 to 128"},
        {"{\"content\":\"a\",\"steering\":1}",
         "field \"steering\" must be true or false"},
        {"{\"content\":\"a\",\"address\":\"192.0.2.0/24\"}",
         "field \"address\" must be an IPv4 or IPv6 address"},
        {"{\"content\":\"a\",\"address\":1}", "field \"address\" must be"},
        {"{\"content\":\"a\",\"content\":\"b\"}", "a field is given twice"},
        {"{\"content\":\"a\",\"colour\":\"red\"}", "unknown field \"colour\""},
        {"{\"" TEXT_128 "\":1}", "unknown field \"" TEXT_64 "\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct body_playback out = {.content = "untouched"};
        char message[BODY_MESSAGE_SIZE] = "";
        assert_int_equal(
            body_playback_parse(bytes_of_text(cases[i].body), &out, message),
            ERR_INVALID);
        if (strstr(message, cases[i].message) == NULL)
            fail_msg("%s: '%s' has no '%s'", cases[i].body, message,
                     cases[i].message);
        assert_string_equal(out.content, "untouched");
    }
}

static void
a_long_field_name_is_cut_between_characters(void **state)
{
    struct buffer text;
    buffer_init(&text, 512);
    buffer_append_text(&text, "{\"x");
    for (int i = 0; i < 60; i++)
        buffer_append_text(&text, "\xc3\xa4");
    buffer_append_text(&text, "\":1}");
    struct body_playback out;
    char message[BODY_MESSAGE_SIZE];
    assert_int_equal(body_playback_parse(buffer_bytes(&text), &out, message),
                     ERR_INVALID);
    assert_non_null(strstr(message, "\xc3\xa4\""));
    buffer_fini(&text);
}

static void
a_content_is_read(void **state)
{
    struct body_content out;
    char message[BODY_MESSAGE_SIZE];
    const char *body = "{\"title\":\"F\xc3\xbc\x6e\x66 \\\"Tage\\\"\","
                       "\"version\":\"0123456789ab\",\"duration_ms\":60000}";
    assert_int_equal(body_content_parse(bytes_of_text(body), &out, message), 0);
    assert_string_equal(out.title, "F\xc3\xbcnf \"Tage\"");
    assert_string_equal(out.version, "0123456789ab");
    assert_int_equal(out.duration_ms, 60000);
}

#define CONTENT_WITH(tracks)                                                  \
    "{\"title\":\"t\",\"version\":\"v\",\"duration_ms\":1,\"tracks\":" tracks \
    "}"

static void
the_tracks_of_a_content_are_read(void **state)
{
    static struct body_content out;
    char message[BODY_MESSAGE_SIZE];
    const char *body = CONTENT_WITH(
        "[{\"name\":\"v0\",\"kind\":\"video\",\"codecs\":\"avc1.64001f\","
        "\"width\":1280,\"height\":720,\"bandwidth\":3000000},"
        "{\"name\":\"a0\",\"kind\":\"audio\",\"language\":\"de\","
        "\"label\":\"Deutsch\",\"channels\":2}]");
    assert_int_equal(body_content_parse(bytes_of_text(body), &out, message), 0);
    assert_int_equal(out.track_count, 2);
    assert_string_equal(out.tracks[0].name, "v0");
    assert_int_equal(out.tracks[0].kind, CATALOGUE_TRACK_VIDEO);
    assert_int_equal(out.tracks[0].bandwidth, 3000000);
    assert_int_equal(out.tracks[0].channels, 0);
    assert_int_equal(out.tracks[1].kind, CATALOGUE_TRACK_AUDIO);
    assert_string_equal(out.tracks[1].label, "Deutsch");
    assert_string_equal(out.tracks[1].codecs, "");
}

static void
what_is_wrong_with_a_content_is_named(void **state)
{
    static const struct {
        const char *body, *message;
    } cases[] = {
        {"{}", "field \"title\" is missing"},
        {"{\"title\":\"t\",\"duration_ms\":1}", "field \"version\" is missing"},
        {"{\"title\":\"t\",\"version\":\"v\"}",
         "field \"duration_ms\" is missing"},
        {"{\"title\":\"\",\"version\":\"v\",\"duration_ms\":1}",
         "field \"title\" must be 1 to 200 bytes"},
        {"{\"title\":\"" TEXT_128 TEXT_128 "\"}",
         "field \"title\" must be 1 to 200 bytes"},
        {"{\"title\":\"t\",\"version\":\"../..\"}", "field \"version\" must"},
        {"{\"title\":\"t\",\"version\":\"v\",\"duration_ms\":0}",
         "field \"duration_ms\" must be an integer from 1"},
        {"{\"title\":\"t\",\"version\":\"v\",\"duration_ms\":-5}",
         "field \"duration_ms\" must be an integer from 1"},
        {"{\"title\":\"t\",\"version\":\"v\",\"duration_ms\":1.5}",
         "field \"duration_ms\" must be an integer from 1"},
        {"{\"title\":\"t\",\"version\":\"v\",\"duration_ms\":\"1\"}",
         "field \"duration_ms\" must be an integer from 1"},
        {"{\"title\":\"t\",\"version\":\"v\",\"duration_ms\":9999999999999}",
         "field \"duration_ms\" must be an integer from 1 to 2592000000"},
        {"{\"duration_ms\":99999999999999999999999}", "bad JSON"},
        {"{\"id\":\"x\"}", "unknown field \"id\""},
        {CONTENT_WITH("{}"), "field \"tracks\" must be a list of 1 to 128"},
        {CONTENT_WITH("[]"), "field \"tracks\" must be a list of 1 to 128"},
        {CONTENT_WITH("[7]"), "tracks[0]: it must be a JSON object"},
        {CONTENT_WITH("[{\"name\":\"v0\"}]"),
         "tracks[0]: field \"kind\" is missing"},
        {CONTENT_WITH("[{\"name\":\"a/b\",\"kind\":\"video\"}]"),
         "tracks[0]: field \"name\" must be 1 to 64"},
        {CONTENT_WITH("[{\"name\":\"a\",\"kind\":\"smell\"}]"),
         "tracks[0]: field \"kind\" must be video, audio"},
        {CONTENT_WITH("[{\"name\":\"a\",\"kind\":\"audio\"},"
                      "{\"name\":\"a\",\"kind\":\"video\"}]"),
         "tracks[1]: \"a\" is there already"},
        {CONTENT_WITH("[{\"name\":\"a\",\"kind\":\"audio\",\"channels\":65}]"),
         "tracks[0]: field \"channels\" must be an integer from 1 to 64"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        static struct body_content out;
        out.duration_ms = 77;
        char message[BODY_MESSAGE_SIZE] = "";
        assert_int_equal(
            body_content_parse(bytes_of_text(cases[i].body), &out, message),
            ERR_INVALID);
        if (strstr(message, cases[i].message) == NULL)
            fail_msg("%s: '%s' has no '%s'", cases[i].body, message,
                     cases[i].message);
        assert_int_equal(out.duration_ms, 77);
    }
}

static void
deep_nesting_is_refused(void **state)
{
    static char body[BODY_SIZE_MAX];
    memset(body, '[', sizeof body);
    struct body_playback out;
    char message[BODY_MESSAGE_SIZE];
    assert_int_equal(
        body_playback_parse(bytes_of(body, sizeof body), &out, message),
        ERR_INVALID);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_play_is_read),
        cmocka_unit_test(what_is_wrong_with_a_play_is_named),
        cmocka_unit_test(a_long_field_name_is_cut_between_characters),
        cmocka_unit_test(a_content_is_read),
        cmocka_unit_test(the_tracks_of_a_content_are_read),
        cmocka_unit_test(what_is_wrong_with_a_content_is_named),
        cmocka_unit_test(deep_nesting_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
