/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <string.h>

#include "core/pace.h"

static struct pace_rate
rate_at(const struct pace *pace, uint64_t now_ms)
{
    struct pace_rate rate;
    pace_read(pace, now_ms, &rate);
    return rate;
}

static void
a_steady_pace_reads_as_it_is(void **state)
{
    struct pace pace = {0};
    for (uint64_t ms = 100000; ms < 130000; ms += 10) {
        pace_add(&pace, ms, 1, 10240);
        if (ms >= 101000) {
            assert_in_range(rate_at(&pace, ms).requests, 96, 104);
            assert_in_range(rate_at(&pace, ms).bits, 96 * 81920, 104 * 81920);
        }
    }
}

static void
what_was_more_than_a_second_ago_is_forgotten(void **state)
{
    struct pace pace = {0};
    pace_add(&pace, 5000, 100, 0);
    assert_int_equal(rate_at(&pace, 5000).requests, 100);
    assert_int_equal(rate_at(&pace, 5990).requests, 100);
    assert_in_range(rate_at(&pace, 6060).requests, 40, 60);
    assert_int_equal(rate_at(&pace, 6125).requests, 0);
    /* and its place in the ring is found used by none of the later rounds */
    for (uint64_t ms = 6125; ms < 60000; ms += 125)
        assert_int_equal(rate_at(&pace, ms).requests, 0);
    pace_add(&pace, 5000 + PACE_TICKS * PACE_TICK_MS, 7, 0);
    assert_int_equal(rate_at(&pace, 5000 + PACE_TICKS * PACE_TICK_MS).requests,
                     7);
}

static void
who_adds_late_takes_nothing_away(void **state)
{
    struct pace pace = {0};
    pace_add(&pace, 9000, 100, 0);
    pace_add(&pace, 9000 - PACE_TICKS * PACE_TICK_MS, 1, 0);
    assert_int_equal(rate_at(&pace, 9000).requests, 101);
}

static void
a_part_of_a_kibibyte_counts_as_one(void **state)
{
    struct pace pace = {0};
    pace_add(&pace, 5000, 0, 1);
    assert_int_equal(rate_at(&pace, 5000).bits, 8192);
    assert_int_equal(rate_at(&pace, 5000).requests, 0);
}

static void
zeroed_memory_is_no_pace_at_any_time(void **state)
{
    const struct pace pace = {0};
    for (uint64_t ms = 0; ms < 5000; ms += 25)
        assert_int_equal(rate_at(&pace, ms).requests, 0);
}

enum { THREADS = 4, ADDS = 100000 };

static void *
add_many(void *shared)
{
    for (int i = 0; i < ADDS; i++)
        pace_add(shared, 77000 + (uint64_t) (i * 900 / ADDS), 1, 0);
    return NULL;
}

static void
workers_add_at_the_same_time(void **state)
{
    struct pace pace = {0};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add_many, &pace), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(rate_at(&pace, 77900).requests, THREADS * ADDS);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_steady_pace_reads_as_it_is),
        cmocka_unit_test(what_was_more_than_a_second_ago_is_forgotten),
        cmocka_unit_test(who_adds_late_takes_nothing_away),
        cmocka_unit_test(a_part_of_a_kibibyte_counts_as_one),
        cmocka_unit_test(zeroed_memory_is_no_pace_at_any_time),
        cmocka_unit_test(workers_add_at_the_same_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
