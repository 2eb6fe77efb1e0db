/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/token_uri.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static void
patterns_match_the_whole_text_or_nothing(void **state)
{
    static const struct {
        const char *pattern, *text;
        bool matches;
    } cases[] = {
        {"", "", true},
        {"", "a", false},
        {"abc", "abc", true},
        {"abc", "abcd", false},
        {"abc", "xabc", false},
        {"^abc$", "abc", true},
        {"a.c", "abc", true},
        {"a.c", "ac", false},
        {"a\\.c", "a.c", true},
        {"a\\.c", "abc", false},
        {"a[.]c", "a.c", true},
        {"a*", "aaaa", true},
        {"a*", "aaab", false},
        {"a*ab", "aaab", true},
        {"a+", "", false},
        {"a+b?", "aa", true},
        {".*", "anything", true},
        {".*b.*c", "abbc", true},
        {"[^/]*/x", "a/x", true},
        {"[^/]*/x", "a/b/x", false},
        {"[a-c]+[0-9]{2}", "abc12", true},
        {"[a-c]+[0-9]{2}", "abd12", false},
        {"a{2,3}", "a", false},
        {"a{2,3}", "aaa", true},
        {"a{2,3}", "aaaa", false},
        {"a{2,}", "aaaaa", true},
        {"[]a]*", "]a", true},
        {"[^]a]*", "b", true},
        {"[a-]", "-", true},
        {"}", "}", true},
        /* what is not one of these matches nothing, not even itself */
        {"(a)", "(a)", false},
        {"(a)", "a", false},
        {"a|b", "a", false},
        {"a|b", "a|b", false},
        {"[[:alpha:]]", "a", false},
        {"[a", "a", false},
        {"a**", "a", false},
        {"*a", "*a", false},
        {"a{", "a", false},
        {"a{2", "aa", false},
        {"a{3,2}", "aaa", false},
        {"a{256}", "a", false},
        {"a{99999999999}", "a", false},
        {"a^b", "a^b", false},
        {"a$b", "a$b", false},
        {"a\\", "a", false},
        {"\\d", "1", false},
        {"\\1", "1", false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        bool matches = token_pattern_matches(bytes_of_text(cases[i].pattern),
                                             bytes_of_text(cases[i].text));
        if (matches != cases[i].matches)
            print_error("%s on %s\n", cases[i].pattern, cases[i].text);
        assert_true(matches == cases[i].matches);
    }
}

static void
a_pattern_that_takes_for_ever_matches_nothing(void **state)
{
    char pattern[200], text[2000];
    memset(text, 'a', sizeof text);
    for (size_t i = 0; i < sizeof pattern; i += 2)
        memcpy(pattern + i, i + 2 < sizeof pattern ? "a*" : "b$", 2);
    assert_false(token_pattern_matches(bytes_of(pattern, sizeof pattern),
                                       bytes_of(text, sizeof text)));
}

static struct token_request
request_of(const char *authority, const char *rest)
{
    return (struct token_request){
        .scheme = BYTES_LITERAL("https"),
        .authority = bytes_of_text(authority),
        .prefix = BYTES_LITERAL("/p/"),
        .content = BYTES_LITERAL("film"),
        .rest = bytes_of_text(rest),
        .query = BYTES_LITERAL("a=1&b=%20"),
    };
}

static void
a_uri_is_that_of_the_request_without_the_token(void **state)
{
    struct token_request request = request_of("[2001:db8::1]:443", "v/a.m4s");
    struct token_uri uri;
    assert_true(token_uri_make(&request, &uri));
    assert_true(bytes_equal(
        uri.all, BYTES_LITERAL("https://[2001:db8::1]:443/p/film/v/a.m4s"
                               "?a=1&b=%20")));
    assert_true(bytes_equal(uri.host, BYTES_LITERAL("[2001:db8::1]")));
    assert_true(bytes_equal(uri.port, BYTES_LITERAL("443")));
    assert_true(bytes_equal(uri.path, BYTES_LITERAL("/p/film/v/a.m4s")));
    request = request_of("h", "v");
    assert_true(token_uri_make(&request, &uri));
    assert_true(bytes_equal(uri.host, BYTES_LITERAL("h")));
    assert_int_equal(uri.port.len, 0);
}

static void
a_uri_that_can_be_read_in_two_ways_is_none(void **state)
{
    static const struct {
        const char *authority, *rest;
    } cases[] = {
        /* the host could bring a path of another content along */
        {"h/p/film", "v"}, {"h?", "v"},   {"h#", "v"},   {"u@h", "v"},
        {"h\n", "v"},      {"h", "v?x"},  {"h", "v%2e"}, {"h", "v#x"},
        {"h", "a b"},      {"h", "a\\b"}, {"h", "a\"b"}, {"h", "\xc3\xa9"},
    };
    struct token_uri uri;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct token_request request =
            request_of(cases[i].authority, cases[i].rest);
        assert_false(token_uri_make(&request, &uri));
    }
    struct token_request request = request_of("h", "v");
    request.query = BYTES_LITERAL("a b");
    assert_false(token_uri_make(&request, &uri));
    char rest[TOKEN_URI_LEN_MAX];
    memset(rest, 'a', sizeof rest);
    request = request_of("h", "v");
    request.rest = bytes_of(rest, sizeof rest);
    assert_false(token_uri_make(&request, &uri));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_match_the_whole_text_or_nothing),
        cmocka_unit_test(a_pattern_that_takes_for_ever_matches_nothing),
        cmocka_unit_test(a_uri_is_that_of_the_request_without_the_token),
        cmocka_unit_test(a_uri_that_can_be_read_in_two_ways_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
