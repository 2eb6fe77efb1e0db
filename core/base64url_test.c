/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base64url.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static void
base64url_has_one_text_for_each_bytes(void **state)
{
    static const char *const bad[] = {
        "A", "AB", "AAB", "AA=", "AA==", "A+AA", "A/AA", "A AA", "AAAAA"};
    uint8_t data[8], back[8];
    char text[12];
    for (size_t size = 0; size <= 6; size++) {
        for (unsigned v = 0; v < 256; v++) {
            memset(data, (int) v, sizeof data);
            base64url_encode(bytes_of(data, size), text);
            assert_true(
                base64url_decode(bytes_of(text, BASE64URL_LEN(size)), back));
            assert_memory_equal(data, back, size);
        }
    }
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_false(base64url_decode(bytes_of_text(bad[i]), back));
    assert_true(base64url_decode(BYTES_LITERAL("_-A"), back));
    assert_int_equal(back[0], 0xff);
    assert_int_equal(back[1], 0xe0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base64url_has_one_text_for_each_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
