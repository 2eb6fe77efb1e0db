/* SPDX-License-Identifier: Apache-2.0 */
#include "platform/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char captured[4096];

/* What `speak` writes to standard error. */
static void
capture(void (*speak)(void))
{
    int ends[2], saved = dup(STDERR_FILENO);
    assert_int_equal(pipe(ends), 0);
    fflush(stderr);
    dup2(ends[1], STDERR_FILENO);
    speak();
    dup2(saved, STDERR_FILENO);
    close(ends[1]);
    close(saved);
    ssize_t n = read(ends[0], captured, sizeof captured - 1);
    captured[n > 0 ? n : 0] = '\0';
    close(ends[0]);
}

static void
speak_at_warn(void)
{
    log_init("tester", LOG_LEVEL_WARN);
    log_error("part: lost %d", 7);
    log_info("part: never seen");
}

static void
a_line_has_time_program_and_level(void **state)
{
    unsetenv("JOURNAL_STREAM");
    capture(speak_at_warn);
    assert_non_null(strstr(captured, "Z tester["));
    assert_non_null(strstr(captured, "] error: part: lost 7\n"));
}

static void
lines_under_the_level_are_left_out(void **state)
{
    capture(speak_at_warn);
    assert_null(strstr(captured, "never seen"));
}

static void
under_systemd_a_line_has_its_priority(void **state)
{
    setenv("JOURNAL_STREAM", "8:1", 1);
    capture(speak_at_warn);
    assert_string_equal(captured, "<3>part: lost 7\n");
    unsetenv("JOURNAL_STREAM");
}

static void
speak_two_lines(void)
{
    log_init("tester", LOG_LEVEL_WARN);
    log_error("path '%s'", "a\n2026 forged\033[31m");
}

static void
text_from_outside_forges_no_line(void **state)
{
    capture(speak_two_lines);
    char *newline = strchr(captured, '\n');
    assert_non_null(newline);
    assert_string_equal(newline, "\n");
    assert_null(strchr(captured, '\033'));
}

static void
speak_long(void)
{
    char text[5000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    log_init("tester", LOG_LEVEL_WARN);
    log_error("%s", text);
}

static void
a_long_line_is_cut(void **state)
{
    capture(speak_long);
    assert_in_range(strlen(captured), 1000, 2048);
    assert_int_equal(captured[strlen(captured) - 1], '\n');
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_has_time_program_and_level),
        cmocka_unit_test(lines_under_the_level_are_left_out),
        cmocka_unit_test(under_systemd_a_line_has_its_priority),
        cmocka_unit_test(text_from_outside_forges_no_line),
        cmocka_unit_test(a_long_line_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
