/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/content.h"
#include "core/err.h"

static void
ids_are_plain_names(void **state)
{
    static const struct {
        const char *id;
        bool is_valid;
    } cases[] = {
        {"a", true},
        {"Film_01.de-4K", true},
        {"-x", true},
        {"a..b", true},
        {"", false},
        {".", false},
        {"..", false},
        {".hidden", false},
        {"a/b", false},
        {"a b", false},
        {"a%", false},
        {"\xc3\xa4", false},
        {"a\n", false},
        {"0123456789012345678901234567890123456789012345678901234567890123",
         true},
        {"01234567890123456789012345678901234567890123456789012345678901234",
         false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(content_id_is_valid(bytes_of_text(cases[i].id)),
                         cases[i].is_valid);
    assert_false(content_id_is_valid(bytes_of("a\0b", 3)));
}

static void
the_hash_is_the_same_for_ever(void **state)
{
    /* figures of XXH3_64bits; files and placement depend on them */
    assert_int_equal(content_hash(BYTES_LITERAL("demo")), 0x7f72fb3af456330u);
    assert_int_equal(content_hash(BYTES_LITERAL("film-370000")),
                     0x65d41c64fc8bb74du);
    assert_true(content_hash(BYTES_LITERAL("")) != 0);
}

static void
a_path_is_split_in_token_content_and_rest(void **state)
{
    struct play_path p;
    assert_int_equal(play_path_parse(BYTES_LITERAL("tok/film/v1/v0/3.m4s"), &p),
                     0);
    assert_true(bytes_equal(p.token, BYTES_LITERAL("tok")));
    assert_true(bytes_equal(p.content, BYTES_LITERAL("film")));
    assert_true(bytes_equal(p.rest, BYTES_LITERAL("v1/v0/3.m4s")));
    assert_int_equal(play_path_parse(BYTES_LITERAL("t/c/x"), &p), 0);
    assert_true(bytes_equal(p.rest, BYTES_LITERAL("x")));
}

static void
a_path_that_is_not_one_is_refused_and_changes_nothing(void **state)
{
    static const char *const paths[] = {
        "",         "/",          "t",
        "t/",       "t/c",        "t/c/",
        "/c/x",     "t//x",       "t/.c/x",
        "t/c//x",   "t/c/x/",     "t/c/./x",
        "t/c/../x", "t/c/x/..",   "t/c/.",
        "t/c/x//y", "t/c/x\r\ny", "t/c/x y",
        "t\t/c/x",  "t/c/\x7f",   "t/c/\xc3\xa4",
        "t/c%2f/x", "/t/c/x",
    };
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        struct play_path p, before;
        memset(&p, 0x55, sizeof p);
        before = p;
        assert_int_equal(play_path_parse(bytes_of_text(paths[i]), &p),
                         ERR_INVALID);
        assert_memory_equal(&p, &before, sizeof p);
    }
    struct play_path p;
    assert_int_equal(play_path_parse(bytes_of("t/c/x\0y", 7), &p), ERR_INVALID);
    assert_int_equal(play_path_parse(BYTES_LITERAL("t/c/..a/b..c/..."), &p), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_plain_names),
        cmocka_unit_test(the_hash_is_the_same_for_ever),
        cmocka_unit_test(a_path_is_split_in_token_content_and_rest),
        cmocka_unit_test(a_path_that_is_not_one_is_refused_and_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
