/* SPDX-License-Identifier: Apache-2.0 */
#include "programs/vodst/ingest_child.h"

#include "core/err.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static char seen[4096];
static unsigned seen_count;

static void
see(const char *line, void *context)
{
    seen_count++;
    snprintf(seen, sizeof seen, "%s", line);
}

static int
run(const char *script, struct child_result *result)
{
    const char *const argv[] = {"sh", "-c", script, NULL};
    const struct child_config config = {.argv = argv, .line = see};
    seen_count = 0;
    seen[0] = '\0';
    return child_run(&config, result);
}

static void
a_child_tells_its_lines_errors_and_exit_status(void **state)
{
    static struct child_result result;
    assert_int_equal(run("echo one; echo two; echo bad >&2; exit 3", &result),
                     0);
    assert_int_equal(result.exit_status, 3);
    assert_int_equal(seen_count, 2);
    assert_string_equal(seen, "two");
    assert_string_equal(result.errors, "bad");
}

static void
of_many_errors_the_last_are_kept(void **state)
{
    static struct child_result result;
    assert_int_equal(
        run("for i in $(seq 5000); do echo line $i >&2; done", &result), 0);
    assert_true(strlen(result.errors) < CHILD_ERRORS_SIZE);
    assert_string_equal(text_last_lines(result.errors, 2),
                        "line 4999\nline 5000");
}

static void
much_output_blocks_nobody(void **state)
{
    static struct child_result result;
    assert_int_equal(run("seq 200000; seq 200000 >&2", &result), 0);
    assert_int_equal(seen_count, 200000);
    assert_string_equal(seen, "200000");
    /* one line longer than anything that is kept, then one that is not */
    assert_int_equal(
        run("head -c 300000 /dev/zero | tr '\\0' x; echo; echo ok", &result),
        0);
    assert_string_equal(seen, "ok");
}

static void
a_missing_program_is_not_found(void **state)
{
    static struct child_result result;
    const char *const argv[] = {"no-such-program-anywhere", NULL};
    const struct child_config config = {.argv = argv};
    assert_int_equal(child_run(&config, &result), ERR_NOT_FOUND);
}

static void
a_killed_child_has_the_signals_status(void **state)
{
    static struct child_result result;
    assert_int_equal(run("kill -9 $$", &result), 0);
    assert_int_equal(result.exit_status, 128 + SIGKILL);
}

static void
the_last_lines_of_a_text(void **state)
{
    assert_string_equal(text_last_lines("", 3), "");
    assert_string_equal(text_last_lines("a", 3), "a");
    assert_string_equal(text_last_lines("a\nb\nc\n", 1), "c\n");
    assert_string_equal(text_last_lines("a\nb\nc", 2), "b\nc");
    assert_string_equal(text_last_lines("a\nb\nc\n", 9), "a\nb\nc\n");
}

/* Last: from then on this program is told to stop. */
static void
a_signal_stops_the_child_first(void **state)
{
    static struct child_result result;
    stop_signals_catch();
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        const struct timespec pause = {0, 300000000};
        nanosleep(&pause, NULL);
        kill(parent, SIGINT);
        _exit(0);
    }
    time_t before = time(NULL);
    assert_int_equal(run("trap 'echo stopped; exit 0' TERM; echo go; "
                         "while :; do sleep 0.1; done",
                         &result),
                     ERR_TIMEOUT);
    assert_true(time(NULL) - before < 20);
    assert_string_equal(seen, "stopped");
    assert_int_equal(stop_signal(), SIGINT);
    waitpid(pid, NULL, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_child_tells_its_lines_errors_and_exit_status),
        cmocka_unit_test(of_many_errors_the_last_are_kept),
        cmocka_unit_test(much_output_blocks_nobody),
        cmocka_unit_test(a_missing_program_is_not_found),
        cmocka_unit_test(a_killed_child_has_the_signals_status),
        cmocka_unit_test(the_last_lines_of_a_text),
        cmocka_unit_test(a_signal_stops_the_child_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
