/* SPDX-License-Identifier: Apache-2.0 */
#include "platform/descriptors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/resource.h>

#include <cmocka.h>

static uint64_t
raised(rlim_t soft, rlim_t hard, uint64_t wanted)
{
    struct rlimit limit = {.rlim_cur = soft, .rlim_max = hard};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    descriptors_raise(wanted);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(limit.rlim_max, hard);
    return limit.rlim_cur;
}

static void
the_limit_is_raised_as_far_as_wanted_and_allowed(void **state)
{
    assert_int_equal(raised(64, 900, 200), 200);
    assert_int_equal(raised(64, 900, DESCRIPTORS_ALL), 900);
    assert_int_equal(raised(64, 800, 1000), 800);
    assert_int_equal(raised(300, 800, 200), 300); /* never lowered */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_limit_is_raised_as_far_as_wanted_and_allowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
