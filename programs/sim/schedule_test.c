/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/err.h"
#include "programs/sim/schedule.h"

static void
a_flash_is_read_in_any_order(void **state)
{
    static const char *const same[] = {
        "at=60s,ramp=1m,share=0.2",
        "share=0.2,at=60,ramp=60000ms",
        "ramp=60s,share=0.20,at=1m",
    };
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        struct sim_config config = {0};
        assert_int_equal(schedule_flash(same[i], &config), 0);
        assert_int_equal(config.flash_ms, 60000);
        assert_int_equal(config.flash_ramp_ms, 60000);
        assert_true(config.flash_share == 0.2);
    }
}

static void
a_wrong_flash_changes_nothing(void **state)
{
    static const char *const wrong[] = {
        "",
        "at=60s",
        "at=60s,ramp=60s",
        "at=60s,ramp=60s,share=0.2,",
        "at=60s,ramp=60s,share=0.2,share=0.3",
        "at=60s,ramp=60s,share=1.5",
        "at=60s,ramp=60s,share=-1",
        "at=60s,ramp=60s,share=x",
        "at=60s,ramp=0,share=0.2",
        "at=60d,ramp=60s,share=0.2",
        "at=9999999999h,ramp=60s,share=0.2",
        "at=60s ramp=60s share=0.2",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct sim_config config = {.flash_ms = 7};
        assert_int_equal(schedule_flash(wrong[i], &config), ERR_INVALID);
        assert_int_equal(config.flash_ms, 7);
        assert_true(config.flash_share == 0);
    }
}

static void
a_kill_names_a_node_that_there_is(void **state)
{
    static const char *const wrong[] = {"",     "3",      "@5s",   "4@5s",
                                        "3@",   "3@5s,",  "-1@5s", "3@0s",
                                        "x@5s", "3 @ 5s", "1e9@5s"};
    struct sim_config config = {.nodes = 4};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(schedule_kill(wrong[i], &config), ERR_INVALID);
        assert_int_equal(config.kill_ms, 0);
    }
    assert_int_equal(schedule_kill("3@1.5s", &config), 0);
    assert_int_equal(config.kill_node, 3);
    assert_int_equal(config.kill_ms, 1500);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flash_is_read_in_any_order),
        cmocka_unit_test(a_wrong_flash_changes_nothing),
        cmocka_unit_test(a_kill_names_a_node_that_there_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
