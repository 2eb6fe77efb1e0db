/* SPDX-License-Identifier: Apache-2.0 */
#include "platform/options.h"

#include "core/err.h"
#include "platform/files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct config {
    bool loud;
    int64_t count;
    double ratio;
    int64_t size_bytes;
    int64_t wait_ms;
    const char *listen;
    const char *name;
    struct option_list managers;
};

#define FIELD(f) offsetof(struct config, f)
static const struct option options[] = {
    {.name = "loud",
     .type = OPTION_FLAG,
     .offset = FIELD(loud),
     .description = "Says more."},
    {.name = "count",
     .type = OPTION_INTEGER,
     .offset = FIELD(count),
     .default_value = "3",
     .min = 1,
     .max = 10,
     .unit = "turns",
     .description = "How often."},
    {.name = "ratio",
     .type = OPTION_NUMBER,
     .offset = FIELD(ratio),
     .default_value = "0.5",
     .min = 0,
     .max = 1,
     .description = "How much."},
    {.name = "size",
     .type = OPTION_SIZE,
     .offset = FIELD(size_bytes),
     .default_value = "64k",
     .min = 1024,
     .max = 1 << 30,
     .description = "How large."},
    {.name = "wait",
     .type = OPTION_DURATION,
     .offset = FIELD(wait_ms),
     .default_value = "10s",
     .min = 1,
     .max = 3600000,
     .description = "How long. This sentence is long enough that it has to be "
                    "wrapped to the next line of the help."},
    {.name = "listen",
     .type = OPTION_TEXT,
     .offset = FIELD(listen),
     .default_value = "127.0.0.1:7100",
     .unit = "ADDRESS",
     .description = "Where."},
    {.name = "name",
     .type = OPTION_TEXT,
     .offset = FIELD(name),
     .required = true,
     .description = "Whose."},
    {.name = "manager",
     .type = OPTION_LIST,
     .offset = FIELD(managers),
     .unit = "URL",
     .description = "Which."},
};
static const struct program program = {
    .name = "tester",
    .summary = "tests options",
    .synopsis = "FILE",
    .details = "Two words.\n\n.A dot and a \\ begin this.",
    .options = options,
    .option_count = OPTION_COUNT(options),
    .arguments_min = 0,
    .arguments_max = 2,
};

struct run {
    int status;
    char output[16384], error[4096];
};

static void
drain(int fd, char *to, size_t size)
{
    size_t len = 0;
    ssize_t n;
    while (len < size - 1 && (n = read(fd, to + len, size - 1 - len)) > 0)
        len += (size_t) n;
    to[len] = '\0';
    close(fd);
}

#define ARGUMENTS_MAX 16

static int
parse(struct config *config, char **argv)
{
    int argc = 0;
    while (argv[argc] != NULL)
        argc++;
    return options_parse(&program, argc, argv, config);
}

/* What a child that parses these arguments prints, and how it ends. */
static struct run *
run(char **argv)
{
    static struct run r;
    int out[2], err[2];
    assert_int_equal(pipe(out), 0);
    assert_int_equal(pipe(err), 0);
    fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0) {
        struct config config;
        dup2(out[1], 1);
        dup2(err[1], 2);
        parse(&config, argv);
        _exit(77);
    }
    close(out[1]);
    close(err[1]);
    drain(out[0], r.output, sizeof r.output);
    drain(err[0], r.error, sizeof r.error);
    waitpid(pid, &r.status, 0);
    r.status = WEXITSTATUS(r.status);
    return &r;
}

#define ARGV(...) ((char *[]){(char[]){"tester"}, __VA_ARGS__, NULL})
#define A(text) ((char[]){text})

static void
defaults_fill_what_is_not_given(void **state)
{
    struct config c;
    assert_int_equal(parse(&c, ARGV(A("--name"), A("n"))), 3);
    assert_false(c.loud);
    assert_int_equal(c.count, 3);
    assert_true(c.ratio == 0.5);
    assert_int_equal(c.size_bytes, 65536);
    assert_int_equal(c.wait_ms, 10000);
    assert_string_equal(c.listen, "127.0.0.1:7100");
    assert_string_equal(c.name, "n");
    assert_int_equal(c.managers.count, 0);
}

static void
every_type_is_read_from_the_command_line(void **state)
{
    struct config c;
    char **argv =
        ARGV(A("--loud"), A("--count=7"), A("--ratio"), A("0.25"),
             A("--size=2M"), A("--wait=1.5m"), A("first"), A("--name=x=y"),
             A("--manager"), A("a"), A("--manager=b"), A("--"), A("--second"));
    int first = parse(&c, argv);
    assert_true(c.loud);
    assert_int_equal(c.count, 7);
    assert_true(c.ratio == 0.25);
    assert_int_equal(c.size_bytes, 2 << 20);
    assert_int_equal(c.wait_ms, 90000);
    assert_string_equal(c.name, "x=y");
    assert_int_equal(c.managers.count, 2);
    assert_string_equal(c.managers.items[0], "a");
    assert_string_equal(c.managers.items[1], "b");
    assert_string_equal(argv[first], "first");
    assert_string_equal(argv[first + 1], "--second");
    assert_null(argv[first + 2]);
}

static void
wrong_use_ends_with_2_and_the_remedy(void **state)
{
    static const struct {
        const char *argument, *said;
    } cases[] = {
        {"--lisen=x", "tester: unknown option '--lisen', did you mean "
                      "--listen?\nTry 'tester --help'.\n"},
        {"--xylophone=x", "unknown option '--xylophone'\n"},
        {"-x", "unknown option '-x'"},
        {"--count=11", "--count is 11, expected 1 to 10"},
        {"--count=2.5", "--count is '2.5', expected a whole number"},
        {"--count=99999999999999999999", "expected a whole number"},
        {"--ratio=nan", "--ratio is 'nan', expected a number"},
        {"--ratio=-0.1", "--ratio is -0.1, expected 0 to 1"},
        {"--size=3X", "--size is '3X', expected a size such as 64k"},
        {"--size=9999999999999999999999T", "expected 1k to 1G"},
        {"--wait=10 s", "expected a time such as 500ms"},
        {"--wait=2h", "--wait is 2h, expected 1ms to 1h"},
        {"--wait=-1s", "expected a time"},
        {"--wait=0x10", "expected a time"},
        {"--loud=maybe", "--loud is 'maybe', expected true or false"},
        {"--manager=", "--manager is '', expected a text"},
        {"--config=/no/such", "cannot read /no/such (not found)"},
        {"--count", "--count needs a value"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char argument[80];
        snprintf(argument, sizeof argument, "%s", cases[i].argument);
        struct run *r = run(ARGV(A("--name=n"), argument));
        assert_int_equal(r->status, 2);
        assert_string_equal(r->output, "");
        if (strstr(r->error, cases[i].said) == NULL)
            fail_msg("%s: said '%s'", cases[i].argument, r->error);
    }
}

static void
a_required_option_is_asked_for(void **state)
{
    struct run *r = run(ARGV(A("file")));
    assert_int_equal(r->status, 2);
    assert_non_null(strstr(r->error, "--name is missing (Whose.)"));
}

static void
arguments_are_counted(void **state)
{
    struct run *r = run(ARGV(A("--name=n"), A("1"), A("2"), A("3")));
    assert_int_equal(r->status, 2);
    assert_non_null(strstr(r->error, "3 arguments given, expected at most 2"));
}

static int
read_text(const char *text, struct config *c, char *error)
{
    return options_read_text(&program, "t.conf", text, strlen(text), c, error);
}

static void
a_file_sets_options(void **state)
{
    struct config c;
    char error[OPTIONS_ERROR_SIZE];
    assert_int_equal(
        read_text("# comment\n\n  name = a b # c \r\ncount=9\nloud = yes\n"
                  "manager = http://x/#y\nmanager = z",
                  &c, error),
        0);
    assert_string_equal(c.name, "a b # c");
    assert_int_equal(c.count, 9);
    assert_true(c.loud);
    assert_int_equal(c.managers.count, 2);
    assert_string_equal(c.managers.items[0], "http://x/#y");
}

static void
an_error_in_a_file_has_its_line_and_changes_nothing(void **state)
{
    static const struct {
        const char *text, *said;
    } cases[] = {
        {"name = n\ncuont = 1\n",
         "t.conf:2: unknown option 'cuont', did you mean count?"},
        {"name = n\n\ncount = 0", "t.conf:3: count is 0, expected 1 to 10"},
        {"count\n", "t.conf:1: found 'count', expected 'name = value'"},
        {"loud =\n", "t.conf:1: loud is '', expected true or false"},
        {"= 1\n", "t.conf:1: unknown option ''"},
        {"count = 4\n", "--name is missing"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct config c = {.count = 42};
        char error[OPTIONS_ERROR_SIZE];
        assert_int_equal(read_text(cases[i].text, &c, error), ERR_INVALID);
        assert_int_equal(c.count, 42);
        if (strstr(error, cases[i].said) != error)
            fail_msg("said '%s'", error);
    }
}

static void
the_command_line_wins_over_the_file(void **state)
{
    char path[] = "/tmp/options_test.XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    file_write_atomic(path,
                      BYTES_LITERAL("name = file\ncount = 5\n"
                                    "manager = a\nmanager = b\n"),
                      0600, false);
    struct config c;
    parse(&c, ARGV(A("--manager=c"), A("--config"), path, A("--name=line")));
    assert_string_equal(c.name, "line");
    assert_int_equal(c.count, 5);
    assert_int_equal(c.managers.count, 1);
    /* what is overridden is checked all the same */
    file_write_atomic(path, BYTES_LITERAL("name = n\ncount = no\n"), 0600,
                      false);
    struct run *r = run(ARGV(A("--count=1"), A("--config"), path));
    assert_int_equal(r->status, 2);
    assert_non_null(strstr(r->error, ":2: count is 'no'"));
    unlink(path);
}

static void
help_names_every_option_within_80_columns(void **state)
{
    struct run *r = run(ARGV(A("--help")));
    assert_int_equal(r->status, 0);
    assert_string_equal(r->error, "");
    assert_non_null(strstr(r->output, "usage: tester [OPTION...] FILE\n"));
    for (size_t i = 0; i < OPTION_COUNT(options); i++)
        assert_non_null(strstr(r->output, options[i].name));
    assert_non_null(
        strstr(r->output, "How often. (1 to 10 turns; default: 3)"));
    assert_non_null(strstr(r->output, "(required)"));
    assert_non_null(strstr(r->output, "--listen ADDRESS"));
    for (char *line = r->output, *end; (end = strchr(line, '\n')) != NULL;
         line = end + 1)
        if (end - line > 80)
            fail_msg("too long: %.*s", (int) (end - line), line);
}

static void
version_is_printed(void **state)
{
    struct run *r = run(ARGV(A("--version")));
    assert_int_equal(r->status, 0);
    assert_int_equal(strncmp(r->output, "tester ", 7), 0);
}

static void
the_man_page_has_its_sections(void **state)
{
    struct run *r = run(ARGV(A("--man")));
    assert_int_equal(r->status, 0);
    for (size_t i = 0; i < 6; i++) {
        static const char *const sections[] = {
            ".TH \"TESTER\" 1", ".SH NAME",    ".SH SYNOPSIS",
            ".SH DESCRIPTION",  ".SH OPTIONS", ".SH EXIT STATUS"};
        assert_non_null(strstr(r->output, sections[i]));
    }
    assert_non_null(strstr(r->output, "\\&.A dot and a \\e begin"));
}

static void
the_sample_file_is_read_back(void **state)
{
    struct run *r = run(ARGV(A("--sample")));
    struct config c;
    char error[OPTIONS_ERROR_SIZE];
    assert_int_equal(r->status, 0);
    /* only the required one is to be filled in */
    char *name = strstr(r->output, "# name = ");
    assert_non_null(name);
    memcpy(name, "name = a ", 9);
    if (read_text(r->output, &c, error) != 0)
        fail_msg("%s", error);
    assert_string_equal(c.name, "a");
    assert_int_equal(c.wait_ms, 10000);
}

static int
release(void **state)
{
    options_release();
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_fill_what_is_not_given),
        cmocka_unit_test(every_type_is_read_from_the_command_line),
        cmocka_unit_test(wrong_use_ends_with_2_and_the_remedy),
        cmocka_unit_test(a_required_option_is_asked_for),
        cmocka_unit_test(arguments_are_counted),
        cmocka_unit_test(a_file_sets_options),
        cmocka_unit_test(an_error_in_a_file_has_its_line_and_changes_nothing),
        cmocka_unit_test(the_command_line_wins_over_the_file),
        cmocka_unit_test(help_names_every_option_within_80_columns),
        cmocka_unit_test(version_is_printed),
        cmocka_unit_test(the_man_page_has_its_sections),
        cmocka_unit_test(the_sample_file_is_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, release);
}
