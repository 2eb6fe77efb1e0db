/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/err.h"
#include "modules/package/package_path.h"

static void
expect_text(struct bytes found, const char *expected)
{
    assert_true(bytes_equal(found, bytes_of_text(expected)));
}

static void
every_kind_of_path_is_told_apart(void **state)
{
    static const struct {
        const char *path;
        enum package_kind kind;
        const char *folder, *track;
        uint32_t segment;
    } cases[] = {
        {"a/1/master.m3u8", PACKAGE_MULTIVARIANT, "a/1", "", 0},
        {"a/1/manifest.mpd", PACKAGE_MPD, "a/1", "", 0},
        {"a/1/v0/index.m3u8", PACKAGE_PLAYLIST, "a/1", "v0", 0},
        {"a/1/v0/iframes.m3u8", PACKAGE_IFRAMES, "a/1", "v0", 0},
        {"big.film_2/v-3/a1/init.mp4", PACKAGE_INIT, "big.film_2/v-3", "a1", 0},
        {"a/1/v0/0.m4s", PACKAGE_SEGMENT, "a/1", "v0", 0},
        {"a/1/v0/4294967295.m4s", PACKAGE_SEGMENT, "a/1", "v0", UINT32_MAX},
        {"a/1/v0/iframes/init.mp4", PACKAGE_INIT, "a/1", "v0", 0},
        {"a/1/v0/iframes/10.m4s", PACKAGE_KEY_SEGMENT, "a/1", "v0", 10},
        {"a/1/s0/7.vtt", PACKAGE_TEXT_SEGMENT, "a/1", "s0", 7},
        {"a/1/s0/all.vtt", PACKAGE_TEXT, "a/1", "s0", 0},
        {"a/1/s0/0-0.vtt", PACKAGE_TEXT_PART, "a/1", "s0", 0},
        {"a/1/s0/7-12.vtt", PACKAGE_TEXT_PART, "a/1", "s0", 7},
        {"a/1/ts/master.m3u8", PACKAGE_TS_MULTIVARIANT, "a/1", "", 0},
        {"a/1/ts/a0/index.m3u8", PACKAGE_TS_PLAYLIST, "a/1", "a0", 0},
        {"a/1/ts/v0~a0/index.m3u8", PACKAGE_TS_PLAYLIST, "a/1", "v0~a0", 0},
        {"ts/ts/ts/v0/0.ts", PACKAGE_TS_SEGMENT, "ts/ts", "v0", 0},
        {"a/1/ts/s0/7.vtt", PACKAGE_TS_TEXT_SEGMENT, "a/1", "s0", 7},
        {"a/1/ts/v12~a1/34.ts", PACKAGE_TS_SEGMENT, "a/1", "v12~a1", 34},
        {"a/1/i0/12.jpg", PACKAGE_IMAGE, "a/1", "i0", 12},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct package_path found;

        assert_int_equal(
            package_path_parse(bytes_of_text(cases[i].path), &found), 0);
        assert_int_equal(found.kind, cases[i].kind);
        expect_text(found.folder, cases[i].folder);
        struct bytes tracks = found.track;
        if (found.muxed.len > 0) { /* one behind the other */
            assert_ptr_equal(found.muxed.ptr, tracks.ptr + tracks.len + 1);
            tracks.len += 1 + found.muxed.len;
        }
        expect_text(tracks, cases[i].track);
        assert_int_equal(found.segment, cases[i].segment);
        assert_int_equal(
            found.last,
            found.kind == PACKAGE_TEXT_PART && found.segment == 7 ? 12 : 0);
    }
}

static void
a_path_with_another_spelling_is_not_found(void **state)
{
    static const char *const cases[] = {
        "",
        "/",
        "a",
        "a/1",
        "a/1/",
        "/a/1/master.m3u8",
        "a//master.m3u8",
        "a/1/master.m3u8/",
        "a/1/Master.m3u8",
        "a/1/manifest.mpd/",
        "a/1/v0/manifest.mpd",
        "a/1/v0/",
        "a/1/v0/index.m3u",
        "a/1/v0/init.mp4x",
        "../1/master.m3u8",
        "a/../master.m3u8",
        "a/1/../index.m3u8",
        "a/1/.v/index.m3u8",
        "a/1/v0/x/0.m4s",
        "a/1/v0/.m4s",
        "a/1/v0/00.m4s",
        "a/1/v0/01.m4s",
        "a/1/s0/01.vtt",
        "a/1/s0/.vtt",
        "a/1/s0/7-6.vtt",
        "a/1/s0/7-.vtt",
        "a/1/s0/-7.vtt",
        "a/1/s0/7--8.vtt",
        "a/1/s0/07-8.vtt",
        "a/1/s0/7-08.vtt",
        "a/1/s0/7-8-9.vtt",
        "a/1/s0/7-4294967296.vtt",
        "a/1/s0/7-8.m4s",
        "a/1/s0/7-8",
        "a/1/ts/s0/7-8.vtt",
        "a/1/v0/iframes/1-2.vtt",
        "a/1/v0/iframes/",
        "a/1/v0/iframes/01.m4s",
        "a/1/v0/iframes/1.vtt",
        "a/1/v0/iframes/1.jpg",
        "a/1/v0/iframes/index.m3u8",
        "a/1/v0/iframes/iframes/1.m4s",
        "a/1/iframes/1.m4s/",
        "a/1/v0//1.m4s",
        "a/1/i0/01.jpg",
        "a/1/i0/1.jpeg",
        "a/1/all.vtt",
        "a/1/s0/all.m4s",
        "a/1/v0/-1.m4s",
        "a/1/v0/+1.m4s",
        "a/1/v0/1.mp4",
        "a/1/v0/4294967296.m4s",
        "a/1/v0/99999999999999999999.m4s",
        "a/1/sixteen_letters_/0.m4s",
        "a b/1/master.m3u8",
        "a%2f/1/master.m3u8",
        "a/1/ts/index.m3u8",
        "a/1/ts/manifest.mpd",
        "a/1/ts/0.ts",
        "a/1/v0/0.ts",
        "a/1/v0~a0/index.m3u8",
        "a/1/ts/v0/0.m4s",
        "a/1/ts/v0/00.ts",
        "a/1/ts/v0/.ts",
        "a/1/ts/v0~s0/0.vtt",
        "a/1/ts/s0/all.vtt",
        "a/1/ts/v0/0.tsx",
        "a/1/ts/v0/master.m3u8",
        "a/1/ts/~a0/0.ts",
        "a/1/ts/v0~/0.ts",
        "a/1/ts/v0~a0~a1/0.ts",
        "a/1/ts/v0~../0.ts",
        "a/1/ts/v0+a0/0.ts",
        "a/1/ts/v0%7ea0/0.ts",
        "a/1/ts//0.ts",
        "a/1/ts/ts/v0/0.ts",
        "a/1/ts/v0~sixteen_letters_/0.ts",
        "a/1/ts/sixteen_letters_/0.ts",
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct package_path found;

        assert_int_equal(package_path_parse(bytes_of_text(cases[i]), &found),
                         ERR_NOT_FOUND);
    }
}

static void
a_zero_byte_in_a_path_is_not_found(void **state)
{
    static const char path[] = "a\0/1/master.m3u8";
    struct package_path found;

    assert_int_equal(
        package_path_parse(bytes_of(path, sizeof path - 1), &found),
        ERR_NOT_FOUND);
}

static void
a_content_range_is_read(void **state)
{
    struct content_range range;

    assert_int_equal(
        content_range_parse(BYTES_LITERAL("bytes 100-199/1000"), &range), 0);
    assert_int_equal(range.start, 100);
    assert_int_equal(range.end, 200);
    assert_int_equal(range.total, 1000);
    assert_int_equal(content_range_parse(BYTES_LITERAL("bytes 0-0/1"), &range),
                     0);
}

static void
a_content_range_that_makes_no_sense_is_refused(void **state)
{
    static const char *const cases[] = {
        "",
        "bytes",
        "bytes ",
        "bytes 0-1",
        "bytes 0-1/",
        "bytes 0-1/*",
        "bytes */10",
        "bytes 5-4/10",
        "bytes 0-10/10",
        "bytes -1/10",
        "bytes 0-1/10 ",
        "items 0-1/10",
        "bytes 0-18446744073709551616/10",
        "bytes 0-18446744073709551615/18446744073709551615",
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct content_range range;

        assert_int_equal(content_range_parse(bytes_of_text(cases[i]), &range),
                         ERR_INVALID);
    }
}

static void
a_range_is_what_there_is_of_it(void **state)
{
    static const struct {
        const char *text;
        uint64_t start, end;
    } cases[] = {
        {"bytes=0-0", 0, 1},      {"bytes=5-", 5, 100},
        {"bytes=99-99", 99, 100}, {"bytes=90-200", 90, 100},
        {"bytes=-1", 99, 100},    {"bytes=-100", 0, 100},
        {"bytes=-500", 0, 100},   {"bytes=1-18446744073709551615", 1, 100},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct byte_range range;

        assert_int_equal(
            byte_range_parse(bytes_of_text(cases[i].text), 100, &range), 0);
        assert_int_equal(range.start, cases[i].start);
        assert_int_equal(range.end, cases[i].end);
    }
}

static void
a_range_that_is_none_is_passed_over_or_refused(void **state)
{
    static const struct {
        const char *text;
        int err;
    } cases[] = {
        {"", ERR_UNSUPPORTED},
        {"bytes", ERR_UNSUPPORTED},
        {"bytes=", ERR_UNSUPPORTED},
        {"bytes=-", ERR_UNSUPPORTED},
        {"bytes=5", ERR_UNSUPPORTED},
        {"bytes=5-4", ERR_UNSUPPORTED},
        {"bytes=0-1,3-4", ERR_UNSUPPORTED},
        {"bytes=-5-", ERR_UNSUPPORTED},
        {"items=0-1", ERR_UNSUPPORTED},
        {"bytes=0-1 ", ERR_UNSUPPORTED},
        {"bytes=100-", ERR_NOT_FOUND},
        {"bytes=100-200", ERR_NOT_FOUND},
        {"bytes=-0", ERR_NOT_FOUND},
        {"bytes=0-18446744073709551616", ERR_UNSUPPORTED},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct byte_range range;

        assert_int_equal(
            byte_range_parse(bytes_of_text(cases[i].text), 100, &range),
            cases[i].err);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_path_is_told_apart),
        cmocka_unit_test(a_path_with_another_spelling_is_not_found),
        cmocka_unit_test(a_zero_byte_in_a_path_is_not_found),
        cmocka_unit_test(a_content_range_is_read),
        cmocka_unit_test(a_content_range_that_makes_no_sense_is_refused),
        cmocka_unit_test(a_range_is_what_there_is_of_it),
        cmocka_unit_test(a_range_that_is_none_is_passed_over_or_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
