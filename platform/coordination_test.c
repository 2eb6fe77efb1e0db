/* SPDX-License-Identifier: Apache-2.0 */
#include "platform/coordination.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static const char *const urls[] = {"http://a:1", "http://b:2"};

static void
a_manager_that_fails_is_followed_by_the_next(void **state)
{
    struct coordination *c = coordination_static_new(urls, 2);
    assert_string_equal(c->manager(c), urls[0]);
    c->manager_failed(c, urls[0]);
    assert_string_equal(c->manager(c), urls[1]);
    c->manager_failed(c, urls[1]);
    assert_string_equal(c->manager(c), urls[0]);
    c->free(c);
}

static void
a_late_failure_of_the_one_before_moves_nothing(void **state)
{
    struct coordination *c = coordination_static_new(urls, 2);
    c->manager_failed(c, urls[0]);
    c->manager_failed(c, urls[0]);
    assert_string_equal(c->manager(c), urls[1]);
    c->free(c);
}

static void
a_redirect_is_followed_within_the_list_only(void **state)
{
    struct coordination *c = coordination_static_new(urls, 2);
    c->manager_moved(c, urls[0], "http://stranger:1");
    assert_string_equal(c->manager(c), urls[0]);
    c->manager_moved(c, urls[0], urls[1]);
    assert_string_equal(c->manager(c), urls[1]);
    c->manager_moved(c, urls[0], urls[0]); /* late: that one is left */
    assert_string_equal(c->manager(c), urls[1]);
    c->free(c);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_manager_that_fails_is_followed_by_the_next),
        cmocka_unit_test(a_late_failure_of_the_one_before_moves_nothing),
        cmocka_unit_test(a_redirect_is_followed_within_the_list_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
