/* SPDX-License-Identifier: Apache-2.0 */

#include "platform/breaker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct breaker_config config = {.failures_max = 3,
                                             .pause_ms = 1000};

static void
opened_at(struct breaker *breaker, uint64_t now_ms)
{
    *breaker = (struct breaker){.state = BREAKER_CLOSED};
    for (unsigned i = 1; i <= config.failures_max; i++) {
        assert_true(breaker_may_ask(breaker, now_ms));
        assert_int_equal(breaker_failed(breaker, &config, now_ms),
                         i == config.failures_max);
    }
    assert_int_equal(breaker->state, BREAKER_OPEN);
}

static void
failures_in_a_row_open_it(void **state)
{
    struct breaker breaker;
    opened_at(&breaker, 5000);
    assert_false(breaker_may_ask(&breaker, 5000));
    assert_false(breaker_may_ask(&breaker, 5999));
}

static void
an_answer_between_them_begins_the_count_anew(void **state)
{
    struct breaker breaker = {.state = BREAKER_CLOSED};
    for (unsigned i = 0; i < 20; i++) {
        assert_true(breaker_may_ask(&breaker, i));
        if (i % 3 == 2)
            assert_false(breaker_answered(&breaker));
        else
            assert_false(breaker_failed(&breaker, &config, i));
    }
}

static void
after_the_pause_one_tries(void **state)
{
    struct breaker breaker;
    opened_at(&breaker, 5000);
    assert_true(breaker_may_ask(&breaker, 6000));
    for (uint64_t now_ms = 6000; now_ms < 100000; now_ms += 1000)
        assert_false(breaker_may_ask(&breaker, now_ms));
    assert_true(breaker_answered(&breaker));
    assert_true(breaker_may_ask(&breaker, 6001));
    assert_int_equal(breaker.failures, 0);
}

static void
a_try_that_fails_begins_the_pause_anew(void **state)
{
    struct breaker breaker;
    opened_at(&breaker, 5000);
    assert_true(breaker_may_ask(&breaker, 7000));
    assert_false(breaker_failed(&breaker, &config, 7500));
    assert_false(breaker_may_ask(&breaker, 8499));
    assert_true(breaker_may_ask(&breaker, 8500));
}

static void
failures_of_before_do_not_put_the_try_off(void **state)
{
    struct breaker breaker;
    opened_at(&breaker, 5000);
    assert_false(breaker_failed(&breaker, &config, 5900));
    assert_true(breaker_may_ask(&breaker, 6000));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failures_in_a_row_open_it),
        cmocka_unit_test(an_answer_between_them_begins_the_count_anew),
        cmocka_unit_test(after_the_pause_one_tries),
        cmocka_unit_test(a_try_that_fails_begins_the_pause_anew),
        cmocka_unit_test(failures_of_before_do_not_put_the_try_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
