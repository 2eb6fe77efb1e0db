/* SPDX-License-Identifier: Apache-2.0 */

#include "core/err.h"
#include "media/text/cues.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

/* "start-end settings|text" of each cue, "; " between, LF as "/". */
static char *
told(struct bytes file, char *out, size_t size)
{
    struct cues cues;
    struct cues_error error;
    size_t len = 0;
    out[0] = '\0';
    const int err = cues_read(file, &cues, &error);
    if (err != 0) {
        snprintf(out, size, "%s at %u: %s", err_name(err), error.line,
                 error.reason);
        return out;
    }
    for (uint32_t i = 0; i < cues.count; i++) {
        const struct cue *c = &cues.list[i];
        const struct bytes settings = cue_settings(&cues, c);
        const struct bytes text = cue_text(&cues, c);
        len += (size_t) snprintf(
            out + len, size - len, "%s%llu-%llu %.*s|%.*s", i == 0 ? "" : "; ",
            (unsigned long long) c->start_ms, (unsigned long long) c->end_ms,
            (int) settings.len, settings.ptr, (int) text.len, text.ptr);
        assert_true(len < size);
    }
    for (char *p = out; (p = strchr(p, '\n')) != NULL;)
        *p = '/';
    cues_free(&cues);
    return out;
}

struct reading {
    const char *file, *cues;
};

static void
readings_check(const struct reading *list, size_t count)
{
    char text[1024];
    for (size_t i = 0; i < count; i++)
        assert_string_equal(
            told(bytes_of_text(list[i].file), text, sizeof text), list[i].cues);
}

#define CHECK(list) readings_check(list, sizeof list / sizeof *list)

static void
webvtt_is_read(void **state)
{
    static const struct reading list[] = {
        {"WEBVTT", ""},
        {"WEBVTT\n", ""},
        {"WEBVTT a film\nKind: captions\n\n00:01.000 --> 00:02.500\nHi\n",
         "1000-2500 |Hi"},
        {"WEBVTT\n\nNOTE left out\nit is\n\nintro\n"
         "01:00:00.000 --> 100:00:00.001 line:0  foo:1 align:start\n"
         "<i>a</i>\n- b",
         "3600000-360000001 line:0 align:start|<i>a</i>/- b"},
        {"WEBVTT\n00:00.000 --> 00:01.000\nno blank line\n"
         "00:01.000 --> 00:02.000\nnor here",
         "0-1000 |no blank line; 1000-2000 |nor here"},
        {"WEBVTT\r\n\r\n00:00.000 --> 00:01.000\r\na\rb\r\n", "0-1000 |a/b"},
        {"WEBVTT\n\n00:05.000 --> 00:06.000\nlate\n\n"
         "00:01.000 --> 00:09.000\nearly\n\n00:05.000 --> 00:06.000\nlater\n",
         "1000-9000 |early; 5000-6000 |late; 5000-6000 |later"},
        {"WEBVTT\n\n00:01.000 --> 00:01.000\nnever\n\n"
         "00:01.000 --> 00:02.000\n\n00:03.000 --> 00:04.000\nseen",
         "3000-4000 |seen"},
    };
    CHECK(list);
}

static void
subrip_is_read(void **state)
{
    static const struct reading list[] = {
        {"", ""},
        {"1\n00:00:01,000 --> 00:00:02,500\nHi\n\n"
         "2\n00:00:03,000 --> 00:00:04,000\n- a\n- b\n",
         "1000-2500 |Hi; 3000-4000 |- a/- b"},
        /* a blank line in a text, a number as a text, none before the times */
        {"1\n0:00:01.000 --> 0:00:02.000 X1:0 X2:9\na\n\nb\n"
         "2\n00:00:03,000 --> 00:00:04,000\n1984\n\n"
         "00:00:05,000 --> 00:00:06,000\nc\n\n\n",
         "1000-2000 |a/b; 3000-4000 |1984; 5000-6000 |c"},
        {"1\n00:00:01,000 --> 00:00:02,000\n"
         "<I>a</I> <font color=\"red\">b</FONT> {\\an8}c & <d> {e}\n",
         "1000-2000 |<i>a</i> b c &amp; &lt;d&gt; {e}"},
        {"1\n00:00:01,000 --> 00:00:02,000\n"
         "<font {\\b} <font a>c {\\ <font>d {\\ <font\n{\\}<font>e\n",
         "1000-2000 |c {\\ d {\\ &lt;font/e"},
        {"1\n00:00:01,000 --> 00:00:02,000\n<font>\n2\n"
         "00:00:03,000 --> 00:00:04,000\n<fontless\n",
         "3000-4000 |&lt;fontless"},
    };
    CHECK(list);
}

static void
what_cannot_be_read_is_told_with_its_line(void **state)
{
    static const struct reading list[] = {
        {"WEBVTT\n\n00:01.000 --> 00:0x.000\na\n",
         "INVALID at 3: not the times of a cue"},
        {"WEBVTT\n\n\n00:02.000 --> 00:01.000\na\n",
         "INVALID at 4: the cue ends before it starts"},
        {"WEBVTT\n\n00:00.000 --> 00:01.000\na\n\nlost\nmore\n",
         "INVALID at 7: a text without the times of its cue"},
        {"WEBVTT\n\nSTYLE\n::cue {\n00:00.000 --> 00:01.000\n}\n\n",
         "INVALID at 7: a STYLE or REGION that does not end"},
        {"a film\n", "INVALID at 1: neither WebVTT nor SubRip"},
        {"WEBVTTT\n", "INVALID at 1: neither WebVTT nor SubRip"},
        {"1\n00:00:60,000 --> 00:01:02,000\na\n",
         "INVALID at 2: not the times of a cue"},
        {"1\n00:00:01,00 --> 00:01:02,000\na\n",
         "INVALID at 2: not the times of a cue"},
        {"1\n00:00:01,000 --> 00:01:02,000 \nsee --> there\n",
         "INVALID at 3: not the times of a cue"},
        {"1\n00000:00:01,000 --> 00:01:02,000\na\n",
         "INVALID at 2: not the times of a cue"},
    };
    CHECK(list);
}

static void
styles_and_regions_are_kept_as_they_are(void **state)
{
    static const char head[] = "REGION\nid:a\nlines:3\n\n"
                               "STYLE\n::cue { color: red }\n\n";
    char file[256];
    struct cues cues;
    struct cues_error error;
    snprintf(file, sizeof file,
             "WEBVTT\n\n%s00:00.000 --> 00:01.000 region:a\nb\n\n"
             "STYLE\ntoo: late\n",
             head);
    assert_int_equal(cues_read(bytes_of_text(file), &cues, &error), 0);
    assert_int_equal(cues.count, 1);
    assert_true(bytes_equal(buffer_bytes(&cues.head), bytes_of_text(head)));
    cues_free(&cues);
}

#define WEBVTT "WEBVTT\n\n00:00.000 --> 00:01.000\n"

static void
each_encoding_gives_the_same_text(void **state)
{
    /* "é€" */
    static const struct {
        struct bytes file;
        const char *cues;
    } list[] = {
        {BYTES_LITERAL(WEBVTT "\xc3\xa9\xe2\x82\xac"), "0-1000 |é€"},
        {BYTES_LITERAL("\xef\xbb\xbf" WEBVTT "\xc3\xa9\xe2\x82\xac"),
         "0-1000 |é€"},
        {BYTES_LITERAL(WEBVTT "\xe9\x80"), "0-1000 |é€"},
        {BYTES_LITERAL("1\n0:00:00,000 --> 0:00:01,000\n\xe9\x80"),
         "0-1000 |é€"},
        {BYTES_LITERAL(WEBVTT "\xf0\x9f\x98\x80"), "0-1000 |\U0001f600"},
        /* a surrogate, an overlong form, a broken end: not UTF-8 */
        {BYTES_LITERAL(WEBVTT "\xed\xa0\x80"), "0-1000 |í\u00a0€"},
        {BYTES_LITERAL(WEBVTT "\xc0\xaf"), "0-1000 |À¯"},
        {BYTES_LITERAL(WEBVTT "\xc3"), "0-1000 |Ã"},
        {BYTES_LITERAL(WEBVTT "a\0b"), "0-1000 |a\uFFFDb"},
        {BYTES_LITERAL("\xef\xbb\xbf" WEBVTT "\xe9\x80"),
         "INVALID at 4: not in the encoding that its byte order mark names"},
        {BYTES_LITERAL("\xff\xfe\x0d\x00\x00\xd8"),
         "INVALID at 2: not in the encoding that its byte order mark names"},
        {BYTES_LITERAL("\xfe\xff\x00"),
         "INVALID at 1: not in the encoding that its byte order mark names"},
    };
    char text[256];
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        assert_string_equal(told(list[i].file, text, sizeof text),
                            list[i].cues);
}

static void
utf16_is_read_in_either_order(void **state)
{
    static const char ascii[] = WEBVTT;
    const uint16_t last[] = {0xe9, 0x20ac, 0xd83d, 0xde00};
    char text[256];
    for (int is_big = 0; is_big < 2; is_big++) {
        uint8_t file[256], *p = file;
        uint16_t units[128] = {0xfeff};
        size_t count = 1;
        for (size_t i = 0; ascii[i] != '\0'; i++)
            units[count++] = (uint8_t) ascii[i];
        for (size_t i = 0; i < 4; i++)
            units[count++] = last[i];
        for (size_t i = 0; i < count; i++) {
            *p++ = (uint8_t) (is_big ? units[i] >> 8 : units[i]);
            *p++ = (uint8_t) (is_big ? units[i] : units[i] >> 8);
        }
        assert_string_equal(
            told(bytes_of(file, (size_t) (p - file)), text, sizeof text),
            "0-1000 |é€\U0001f600");
    }
}

static void
more_than_the_limits_is_refused(void **state)
{
    static const char cue[] = "00:00.000 --> 00:01.000\n";
    struct buffer file;
    char text[256];
    buffer_init(&file, 2 * CUES_FILE_SIZE_MAX);
    buffer_append_text(&file, "WEBVTT\n\n");
    for (uint32_t i = 0; i < CUES_MAX + 1; i++)
        buffer_printf(&file, "%sa\n\n", cue);
    assert_string_equal(told(buffer_bytes(&file), text, sizeof text),
                        "LIMIT at 300003: too many cues");
    file.len = 0;
    buffer_printf(&file, "WEBVTT\n\n%s", cue);
    for (uint32_t i = 0; i < CUE_TEXT_SIZE_MAX + 1; i++)
        buffer_append_u8(&file, 'a');
    assert_string_equal(told(buffer_bytes(&file), text, sizeof text),
                        "LIMIT at 4: the text of the cue is too long");
    file.len = 0;
    buffer_printf(&file, "WEBVTT\n\nSTYLE\n");
    for (uint32_t i = 0; i < CUES_HEAD_SIZE_MAX; i++)
        buffer_append_u8(&file, 'a');
    assert_string_equal(told(buffer_bytes(&file), text, sizeof text),
                        "LIMIT at 4: STYLE and REGION are too long");
    while (file.len <= CUES_FILE_SIZE_MAX)
        buffer_append_text(&file, "\n\n\n\n\n\n\n\n");
    assert_string_equal(told(buffer_bytes(&file), text, sizeof text),
                        "LIMIT at 1: the file is too large");
    buffer_fini(&file);
}

/* Each of them would look for its end up to that of the line. */
static void
tags_without_an_end_are_read_at_once(void **state)
{
    static const char *const tags[] = {"<font", "{\\"};
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++) {
        struct buffer file;
        char text[256];
        buffer_init(&file, CUES_FILE_SIZE_MAX);
        buffer_append_text(&file, "1\n00:00:01,000 --> 00:00:02,000\n");
        while (file.len + 8 < CUES_FILE_SIZE_MAX)
            buffer_append_text(&file, tags[i]);
        const clock_t start = clock();
        assert_string_equal(told(buffer_bytes(&file), text, sizeof text),
                            "LIMIT at 3: the text of the cue is too long");
        assert_true(clock() - start < 20 * CLOCKS_PER_SEC);
        buffer_fini(&file);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(webvtt_is_read),
        cmocka_unit_test(subrip_is_read),
        cmocka_unit_test(what_cannot_be_read_is_told_with_its_line),
        cmocka_unit_test(styles_and_regions_are_kept_as_they_are),
        cmocka_unit_test(each_encoding_gives_the_same_text),
        cmocka_unit_test(utf16_is_read_in_either_order),
        cmocka_unit_test(more_than_the_limits_is_refused),
        cmocka_unit_test(tags_without_an_end_are_read_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
