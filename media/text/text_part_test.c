/* SPDX-License-Identifier: Apache-2.0 */

#include "media/text/text_part.h"

#include "core/err.h"
#include "media/testing/track.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define HEAD "STYLE\n::cue { color: red }\n\n"

/* Segments of 2 s less a third of a ms. */
static const uint64_t cuts[] = {0, 5999, 11998, 17997};

static void
text_make(struct test_track *t, const char *webvtt)
{
    test_text_make(t,
                   (struct text_build){.cuts = cuts,
                                       .cut_count = 4,
                                       .timescale = 3000,
                                       .duration = 24000,
                                       .name = "s0",
                                       .language = "en"},
                   webvtt);
}

static struct bytes
stored_of(const struct test_track *t, const struct text_part *part)
{
    return bytes_of(t->media.ptr + part->start,
                    (size_t) (part->end - part->start));
}

static void
part_expect(const struct test_track *t, uint32_t first, uint32_t last,
            const char *expected)
{
    struct text_part part;
    struct buffer out;
    buffer_init(&out, 4096);
    assert_int_equal(text_part_find(&t->index, first, last, &part), 0);
    assert_int_equal(
        text_part_write(&t->index, &part, stored_of(t, &part), &out), 0);
    buffer_append_u8(&out, 0);
    assert_string_equal((const char *) out.ptr, expected);
    buffer_fini(&out);
}

static void
times_count_from_where_the_part_starts(void **state)
{
    struct test_track t;
    text_make(&t, "WEBVTT\n\n" HEAD "00:00.000 --> 00:01.000\nbefore\n\n"
                  "00:01.500 --> 00:07.000 line:0\nlong\n\n"
                  "00:02.000 --> 00:03.000\nat the border\n\n"
                  "00:03.999 --> 00:04.500\na third of a ms before it\n\n"
                  "00:04.000 --> 00:05.000\ntwo\nlines\n\n"
                  "00:07.500 --> 100:00:00.000\nend\n");
    /* 1.9997 s, which is 2.000 s in ms */
    part_expect(&t, 1, 2,
                "WEBVTT\n\n" HEAD
                "00:00:00.000 --> 00:00:05.000 line:0\nlong\n\n"
                "00:00:00.000 --> 00:00:01.000\nat the border\n\n"
                "00:00:01.999 --> 00:00:02.500\na third of a ms before it\n\n"
                "00:00:02.000 --> 00:00:03.000\ntwo\nlines\n\n");
    part_expect(&t, 0, 0,
                "WEBVTT\n\n" HEAD "00:00:00.000 --> 00:00:01.000\nbefore\n\n"
                "00:00:01.500 --> 00:00:07.000 line:0\nlong\n\n");
    part_expect(&t, 3, 3,
                "WEBVTT\n\n" HEAD
                "00:00:00.000 --> 00:00:01.001 line:0\nlong\n\n"
                "00:00:01.501 --> 99:59:54.001\nend\n\n");
    test_track_fini(&t);
}

static void
what_ends_as_the_part_starts_is_not_in_it(void **state)
{
    struct test_track t;
    /* seen for a third of a ms of segment 1, and a ms has no thirds */
    text_make(&t, "WEBVTT\n\n00:01.000 --> 00:02.000\na\n\n"
                  "00:05.000 --> 00:05.500\nb\n");
    part_expect(&t, 1, 1, "WEBVTT\n\n");
    part_expect(&t, 1, 2, "WEBVTT\n\n00:00:03.000 --> 00:00:03.500\nb\n\n");
    test_track_fini(&t);
}

static void
segments_that_are_not_there_have_no_text(void **state)
{
    struct text_part part;
    struct test_track t;
    text_make(&t, "WEBVTT\n\n00:01.000 --> 00:02.000\na\n");
    assert_int_equal(text_part_find(&t.index, 2, 1, &part), ERR_NOT_FOUND);
    assert_int_equal(text_part_find(&t.index, 0, 4, &part), ERR_NOT_FOUND);
    assert_int_equal(text_part_find(&t.index, 4, 4, &part), ERR_NOT_FOUND);
    t.index.info.kind = TRACK_VIDEO;
    assert_int_equal(text_part_find(&t.index, 0, 1, &part), ERR_NOT_FOUND);
    test_track_fini(&t);
}

/* Each byte of the times is changed, and the text is cut short. */
static void
what_is_stored_otherwise_is_refused(void **state)
{
    struct text_part part;
    struct buffer out;
    struct test_track t;
    text_make(&t, "WEBVTT\n\n00:00.100 --> 00:01.000\na\n");
    buffer_init(&out, 4096);
    assert_int_equal(text_part_find(&t.index, 0, 0, &part), 0);
    const struct bytes stored = stored_of(&t, &part);
    const size_t start = sizeof TEXT_SEGMENT_START("0") - 1;
    for (size_t i = 0; i < start + sizeof "00:00:00.100 --> 00:00:01.000" - 1;
         i++) {
        uint8_t *byte = t.media.ptr + part.start + i;
        const uint8_t before = *byte;
        *byte = 'x';
        assert_int_equal(text_part_write(&t.index, &part, stored, &out),
                         ERR_INVALID);
        *byte = before;
    }
    t.media.ptr[part.end - 1] = 'x';
    assert_int_equal(text_part_write(&t.index, &part, stored, &out),
                     ERR_INVALID);
    assert_int_equal(text_part_write(&t.index, &part,
                                     bytes_of(stored.ptr, stored.len - 1),
                                     &out),
                     ERR_INVALID);
    buffer_fini(&out);
    test_track_fini(&t);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_count_from_where_the_part_starts),
        cmocka_unit_test(what_ends_as_the_part_starts_is_not_in_it),
        cmocka_unit_test(segments_that_are_not_there_have_no_text),
        cmocka_unit_test(what_is_stored_otherwise_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
