/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/cmcd.h"

static void
finds(const char *text, const char *key, const char *expected)
{
    struct bytes value = bytes_of_text("?");
    const bool is_there =
        cmcd_find(bytes_of_text(text), bytes_of_text(key), &value);
    assert_int_equal(is_there, expected != NULL);
    if (expected != NULL)
        assert_true(bytes_equal(value, bytes_of_text(expected)));
}

static void
every_kind_of_value_is_found(void **state)
{
    const char *text = "bl=2300,bs,cid=\"a film\",ot=v,pr=1.05,"
                       "nor=\"..%2F300kbps%2Fsegment35.m4v\"";
    finds(text, "bl", "2300");
    finds(text, "bs", "1");
    finds(text, "cid", "a film");
    finds(text, "ot", "v");
    finds(text, "pr", "1.05");
    finds(text, "nor", "..%2F300kbps%2Fsegment35.m4v");
    finds(text, "b", NULL);
    finds(text, "sid", NULL);
    finds("bs", "bs", "1");
    finds("bl=1, com.example-x=y ,mtp=25400", "com.example-x", "y");
    finds("bl=1, com.example-x=y ,mtp=25400", "mtp", "25400");
}

static void
a_string_may_hold_anything(void **state)
{
    finds("cid=\"a,bs=\\\"1\\\",b\",bl=5", "cid", "a,bs=\\\"1\\\",b");
    finds("cid=\"a,bs=\\\"1\\\",b\",bl=5", "bs", NULL);
    finds("cid=\"a,bs=\\\"1\\\",b\",bl=5", "bl", "5");
    finds("cid=\"\"", "cid", "");
}

static void
nothing_is_found_behind_what_is_broken(void **state)
{
    finds("", "", NULL);
    finds("", "bs", NULL);
    finds(",bs", "bs", NULL);
    finds("=1,bs", "bs", NULL);
    finds("bl=,bs", "bs", NULL);
    finds("cid=\"open,bs", "bs", NULL);
    finds("cid=\"open\\\"", "cid", NULL);
    finds("cid=\"a\"b,bs", "bs", NULL);
    finds("bl=1;bs,bs=\"", "bs", NULL);
    finds("bl=1 2,bs", "bs", NULL);
    finds("bl=1\n,bs", "bs", NULL);
    finds("bs,=", "bs", "1"); /* before it is as good as ever */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_value_is_found),
        cmocka_unit_test(a_string_may_hold_anything),
        cmocka_unit_test(nothing_is_found_behind_what_is_broken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
