/* SPDX-License-Identifier: Apache-2.0 */
#include "programs/st-api/api.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void
a_playback_url_needs_a_scheme_and_a_host(void **state)
{
    static const struct {
        const char *url;
        bool is_valid;
    } cases[] = {
        {"http://127.0.0.1:8080", true},
        {"https://play.example", true},
        {"http://[::1]:8080", true},
        {"https://play.example/base", true},
        {"http://", false},
        {"http:///p", false},
        {"", false},
        {"play.example", false},
        {"ftp://play.example", false},
        {"http://play.example/?a=b", false},
        {"http://play.example/#x", false},
        {"http://play.example/\"", false},
        {"http://play.example/ x", false},
        {"http://play.example/\\", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (api_playback_url_is_valid(cases[i].url) != cases[i].is_valid)
            fail_msg("%s", cases[i].url);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_playback_url_needs_a_scheme_and_a_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
