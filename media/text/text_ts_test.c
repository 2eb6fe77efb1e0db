/* SPDX-License-Identifier: Apache-2.0 */

#include "media/text/text_ts.h"

#include "core/err.h"
#include "media/text/text_track.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define CUES "00:01.000 --> 00:02.000\nWords\n\n"

static void
the_stream_s_time_takes_the_place_of_the_presentation_s(void **state)
{
    static const char in[] = TEXT_SEGMENT_START("0") CUES;
    static const char expected[] = TEXT_SEGMENT_START("900000") CUES;
    for (size_t piece = 1; piece <= sizeof expected; piece++) {
        char out[sizeof expected] = "";
        struct transform *t;
        assert_int_equal(text_ts_transform_open(sizeof in - 1, &t), 0);
        assert_int_equal(t->size_out, sizeof expected - 1);
        struct transform_io io = {.in = (const uint8_t *) in,
                                  .out = (uint8_t *) out};
        while (io.out < (uint8_t *) out + t->size_out) {
            const size_t left =
                (size_t) ((const uint8_t *) in + t->size_in - io.in);
            io.in_len = left < piece ? left : piece;
            io.out_len = 1;
            assert_int_equal(t->run(t, &io), 0);
        }
        assert_string_equal(out, expected);
        assert_ptr_equal(io.in, in + sizeof in - 1);
        t->close(t);
    }
}

static void
what_starts_otherwise_is_refused(void **state)
{
    static const char in[] = "WEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00:01.000,"
                             "MPEGTS:0\n\n" CUES;
    uint8_t out[sizeof in];
    struct transform_io io = {(const uint8_t *) in, sizeof in - 1, out,
                              sizeof out};
    struct transform *t;
    assert_int_equal(text_ts_transform_open(8, &t), ERR_INVALID);
    assert_int_equal(text_ts_transform_open(sizeof in - 1, &t), 0);
    assert_int_equal(t->run(t, &io), ERR_INVALID);
    t->close(t);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            the_stream_s_time_takes_the_place_of_the_presentation_s),
        cmocka_unit_test(what_starts_otherwise_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
