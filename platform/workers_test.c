/* SPDX-License-Identifier: Apache-2.0 */
#include "platform/workers.h"

#include "core/err.h"

#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#define WORKS 1000
#define THREADS 4

static struct event_base *base;
static pid_t loop_thread;
static unsigned done_count;

struct sum {
    struct work work;
    unsigned number, *of_state;
    unsigned pause_us;
};

static int
setup(void **state)
{
    base = event_base_new();
    loop_thread = gettid();
    done_count = 0;
    return base == NULL;
}

static int
teardown(void **state)
{
    event_base_free(base);
    return 0;
}

static void
run(struct work *work, void *state)
{
    struct sum *sum = (struct sum *) work;
    assert_int_not_equal(gettid(), loop_thread);
    usleep(sum->pause_us);
    *(unsigned *) state += sum->number; /* nobody else has it */
    sum->of_state = state;
}

static void
done(struct work *work)
{
    assert_int_equal(gettid(), loop_thread);
    assert_non_null(((struct sum *) work)->of_state);
    if (++done_count == WORKS)
        event_base_loopbreak(base);
}

static void
all_work_is_done_once(void **state)
{
    static struct sum sums[WORKS];
    unsigned states[THREADS] = {0};
    void *list[THREADS];
    struct workers *workers;
    for (size_t i = 0; i < THREADS; i++)
        list[i] = &states[i];
    assert_int_equal(workers_new(base, list, THREADS, WORKS, &workers), 0);
    for (unsigned i = 0; i < WORKS; i++) {
        sums[i] = (struct sum){.work = {run, done, NULL}, .number = i + 1};
        assert_true(workers_submit(workers, &sums[i].work));
    }
    event_base_dispatch(base);
    workers_free(workers);
    assert_int_equal(done_count, WORKS);
    unsigned total = 0;
    for (size_t i = 0; i < THREADS; i++)
        total += states[i];
    assert_int_equal(total, WORKS * (WORKS + 1) / 2);
}

static void
what_is_too_much_is_refused_and_what_was_taken_is_done(void **state)
{
    static struct sum sums[4];
    unsigned sum = 0;
    void *const list[] = {&sum};
    struct workers *workers;
    assert_int_equal(workers_new(base, list, 1, 2, &workers), 0);
    for (unsigned i = 0; i < 4; i++)
        sums[i] = (struct sum){
            .work = {run, done, NULL}, .number = 1, .pause_us = 50000};
    assert_true(workers_submit(workers, &sums[0].work));
    usleep(20000); /* taken up by the thread */
    assert_true(workers_submit(workers, &sums[1].work));
    assert_true(workers_submit(workers, &sums[2].work));
    assert_false(workers_submit(workers, &sums[3].work));
    assert_int_equal(done_count, 0);
    workers_free(workers); /* the loop does not turn any more */
    assert_int_equal(done_count, 3);
    assert_int_equal(sum, 3);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(all_work_is_done_once, setup, teardown),
        cmocka_unit_test_setup_teardown(
            what_is_too_much_is_refused_and_what_was_taken_is_done, setup,
            teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
