/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/buffer.h"
#include "core/err.h"

static void
appends_are_kept_in_order(void **state)
{
    struct buffer b;
    buffer_init(&b, 1000);
    buffer_append_text(&b, "ab");
    buffer_append_u8(&b, 1);
    buffer_append_le16(&b, 0x0203);
    buffer_append_be16(&b, 0x0203);
    buffer_append_le32(&b, 0x04050607);
    buffer_append_be32(&b, 0x04050607);
    buffer_append_le64(&b, 0x08090a0b0c0d0e0f);
    buffer_append_be64(&b, 0x08090a0b0c0d0e0f);
    buffer_append_bytes(&b, BYTES_LITERAL("z"));
    static const uint8_t expected[] =
        "ab\x01\x03\x02\x02\x03\x07\x06\x05\x04\x04\x05\x06\x07"
        "\x0f\x0e\x0d\x0c\x0b\x0a\x09\x08\x08\x09\x0a\x0b\x0c\x0d\x0e\x0fz";
    assert_int_equal(b.err, 0);
    assert_true(
        bytes_equal(buffer_bytes(&b), bytes_of(expected, sizeof expected - 1)));
    buffer_fini(&b);
    assert_null(b.ptr);
}

static void
an_append_past_the_maximum_sets_the_error_and_keeps_the_rest(void **state)
{
    struct buffer b;
    buffer_init(&b, 300);
    for (int i = 0; i < 300; i++)
        buffer_append_u8(&b, (uint8_t) i);
    assert_int_equal(b.err, 0);
    assert_int_equal(b.len, 300);
    buffer_append_u8(&b, 0);
    assert_int_equal(b.err, ERR_LIMIT);
    assert_int_equal(b.len, 300);
    assert_true(b.capacity <= 300);
    buffer_append_text(&b, "");
    buffer_append_text(&b, "more");
    buffer_printf(&b, "%d", 1);
    assert_int_equal(b.len, 300);
    assert_int_equal(b.err, ERR_LIMIT);
    buffer_fini(&b);
}

static void
a_size_that_would_wrap_is_over_the_limit(void **state)
{
    struct buffer b;
    buffer_init(&b, SIZE_MAX);
    buffer_append_u8(&b, 1);
    buffer_append(&b, "x", SIZE_MAX);
    assert_int_equal(b.err, ERR_LIMIT);
    assert_int_equal(b.len, 1);
    buffer_fini(&b);
}

static void
printf_writes_short_and_long_texts(void **state)
{
    struct buffer b;
    char expected[1200];
    buffer_init(&b, 2000);
    buffer_printf(&b, "%s-%u", "a", 7u);
    assert_true(bytes_equal(buffer_bytes(&b), BYTES_LITERAL("a-7")));
    buffer_printf(&b, "%1000d|", 5);
    memset(expected, ' ', sizeof expected);
    memcpy(expected, "a-7", 3);
    memcpy(expected + 3 + 999, "5|", 2);
    assert_true(bytes_equal(buffer_bytes(&b), bytes_of(expected, 1004)));
    /* exactly the size of the text's own buffer */
    buffer_printf(&b, "%255d%256d", 1, 2);
    assert_int_equal(b.len, 1004 + 511);
    assert_int_equal(b.ptr[b.len - 1], '2');
    buffer_fini(&b);
}

static void
every_error_has_name_text_and_status(void **state)
{
    for (int err = -1; err >= -(int) ERR_COUNT; err--) {
        assert_true(strlen(err_text(err)) > 0);
        assert_string_not_equal(err_text(err), "unknown error");
        assert_true(err_http_status(err) >= 400);
        assert_true(err_http_status(err) < 600);
    }
    assert_string_equal(err_name(ERR_EXPIRED), "EXPIRED");
    assert_string_equal(err_text(ERR_EXPIRED), "expired");
    assert_int_equal(err_http_status(ERR_EXPIRED), 403);
    assert_int_equal(err_http_status(0), 200);
    static const int unknown[] = {1, -1 - (int) ERR_COUNT, INT32_MIN,
                                  INT32_MAX};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        assert_string_equal(err_text(unknown[i]), "unknown error");
        assert_string_equal(err_name(unknown[i]), "UNKNOWN");
        assert_int_equal(err_http_status(unknown[i]), 500);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_are_kept_in_order),
        cmocka_unit_test(
            an_append_past_the_maximum_sets_the_error_and_keeps_the_rest),
        cmocka_unit_test(a_size_that_would_wrap_is_over_the_limit),
        cmocka_unit_test(printf_writes_short_and_long_texts),
        cmocka_unit_test(every_error_has_name_text_and_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
