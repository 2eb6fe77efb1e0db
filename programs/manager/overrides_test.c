/* SPDX-License-Identifier: Apache-2.0 */
#include "programs/manager/overrides.h"

#include "core/err.h"
#include "platform/files.h"
#include "programs/manager/override_json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

#define NOW_MS 1000000u

static char folder[64], path[96];

static int
start(void **state)
{
    snprintf(folder, sizeof folder, "/tmp/overrides_test.XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/overrides.json", folder);
    return 0;
}

static int
stop(void **state)
{
    return folder_remove(folder);
}

static const struct override drain = {
    .target = OVERRIDE_NODE, .name = "origin2", .until_ms = NOW_MS + 5000};
static const struct override pin = {.target = OVERRIDE_CONTENT,
                                    .name = "film",
                                    .until_ms = NOW_MS + 9000,
                                    .is_pinned = true,
                                    .level = LEVEL_NORMAL,
                                    .owner_count = 3};

static struct overrides *
open_list(size_t count_expected)
{
    struct overrides *o;
    size_t count;
    assert_int_equal(overrides_new(path, &o), 0);
    overrides_list(o, &count);
    assert_int_equal(count, count_expected);
    return o;
}

static void
what_was_set_is_there_after_a_restart(void **state)
{
    struct overrides *o = open_list(0);
    size_t count;
    assert_int_equal(overrides_put(o, &drain), 0);
    assert_int_equal(overrides_put(o, &pin), 0);
    overrides_free(o);
    o = open_list(2);
    const struct override *list = overrides_list(o, &count);
    assert_string_equal(list[0].name, "film");
    assert_int_equal(list[0].level, LEVEL_NORMAL);
    assert_int_equal(list[0].owner_count, 3);
    assert_int_equal(list[0].until_ms, pin.until_ms);
    assert_int_equal(
        overrides_remove(o, OVERRIDE_CONTENT, BYTES_LITERAL("film")), 0);
    assert_int_equal(
        overrides_remove(o, OVERRIDE_CONTENT, BYTES_LITERAL("film")),
        ERR_NOT_FOUND);
    overrides_free(o);
    o = open_list(1);
    overrides_expire(o, drain.until_ms);
    overrides_free(o);
    overrides_free(open_list(0));
}

static void
what_cannot_be_kept_does_not_count(void **state)
{
    struct overrides *o;
    size_t count;
    snprintf(path, sizeof path, "%s/no/such/folder", folder);
    assert_int_equal(overrides_new(path, &o), 0);
    assert_int_equal(overrides_put(o, &drain), ERR_IO);
    overrides_list(o, &count);
    assert_int_equal(count, 0);
    overrides_free(o);
}

static unsigned change_count;

static void
count_change(void *context)
{
    change_count++;
}

static void
another_managers_list_takes_the_place_of_the_own(void **state)
{
    struct overrides *from = open_list(0), *to;
    size_t count;
    assert_int_equal(overrides_put(from, &pin), 0);
    char *text = overrides_text(from);
    assert_int_equal(overrides_new(NULL, &to), 0);
    overrides_on_change(to, count_change, NULL);
    change_count = 0;
    assert_int_equal(overrides_put(to, &drain), 0);
    assert_int_equal(change_count, 1);
    /* until that list is there nothing is taken that it would undo */
    overrides_set_ready(to, false);
    assert_int_equal(overrides_put(to, &pin), ERR_UNAVAILABLE);
    assert_int_equal(
        overrides_remove(to, OVERRIDE_NODE, BYTES_LITERAL("origin2")),
        ERR_UNAVAILABLE);
    assert_int_equal(overrides_replace(to, BYTES_LITERAL("[7]")), ERR_INVALID);
    assert_string_equal(overrides_list(to, &count)->name, "origin2");
    assert_int_equal(overrides_replace(to, bytes_of_text(text)), 0);
    assert_string_equal(overrides_list(to, &count)->name, "film");
    assert_int_equal(count, 1);
    assert_int_equal(change_count, 1);
    overrides_expire(to, pin.until_ms);
    assert_int_equal(change_count, 2);
    free(text);
    overrides_free(from);
    overrides_free(to);
}

static void
a_list_that_is_kept_elsewhere_counts_without_the_file(void **state)
{
    struct overrides *from = open_list(0), *to;
    size_t count;
    assert_int_equal(overrides_put(from, &pin), 0);
    char *text = overrides_text(from);
    snprintf(path, sizeof path, "%s/no/such/folder", folder);
    assert_int_equal(overrides_new(path, &to), 0);
    assert_int_equal(overrides_replace(to, bytes_of_text(text)), 0);
    assert_string_equal(overrides_list(to, &count)->name, "film");
    free(text);
    overrides_free(from);
    overrides_free(to);
}

static void
a_bad_file_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "{}",
        "[",
        "[{}]",
        "[7]",
        "[{\"target\":\"node\",\"name\":\"a b\",\"until\":5}]",
        "[{\"target\":\"node\",\"name\":\"a\"}]",
        "[{\"target\":\"node\",\"name\":\"a\",\"for_s\":5}]",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct overrides *o = NULL;
        assert_int_equal(
            file_write_atomic(path, bytes_of_text(bad[i]), 0600, false), 0);
        assert_int_equal(overrides_new(path, &o), ERR_INVALID);
        assert_null(o);
    }
}

static void
requests_are_read_strictly(void **state)
{
    static const struct {
        enum override_target target;
        const char *body;
        bool is_good;
        const char *message; /* a part of it */
    } cases[] = {
        {OVERRIDE_NODE, "{\"for_s\":60}", true, ""},
        {OVERRIDE_NODE, "{\"until\":1060}", true, ""},
        {OVERRIDE_NODE, "{}", false, "until"},
        {OVERRIDE_NODE, "{\"until\":1000}", false, "to come"},
        {OVERRIDE_NODE, "{\"for_s\":0}", false, "seconds"},
        {OVERRIDE_NODE, "{\"for_s\":1.5}", false, "seconds"},
        {OVERRIDE_NODE, "{\"for_s\":40000000}", false, "366 days"},
        {OVERRIDE_NODE, "{\"for_s\":60,\"until\":1060}", false, "either"},
        {OVERRIDE_NODE, "{\"for_s\":60,\"for_s\":61}", false, "duplicate"},
        {OVERRIDE_NODE, "{\"for_s\":60,\"level\":\"hot\"}", false, "node"},
        {OVERRIDE_NODE, "{\"for_s\":60,\"name\":\"b\"}", false, "no such"},
        {OVERRIDE_NODE, "{\"for_s\":60", false, "JSON"},
        {OVERRIDE_NODE, "[]", false, "object"},
        {OVERRIDE_CONTENT, "{\"for_s\":60,\"level\":\"hot\"}", true, ""},
        {OVERRIDE_CONTENT, "{\"for_s\":60,\"cdn\":false}", true, ""},
        {OVERRIDE_CONTENT,
         "{\"for_s\":60,\"level\":\"normal\",\"owner_count\":4,\"cdn\":false}",
         true, ""},
        {OVERRIDE_CONTENT, "{\"for_s\":60}", false, "level"},
        {OVERRIDE_CONTENT, "{\"for_s\":60,\"level\":\"warm\"}", false, "calm"},
        {OVERRIDE_CONTENT, "{\"for_s\":60,\"cdn\":true}", false, "false"},
        {OVERRIDE_CONTENT, "{\"for_s\":60,\"level\":\"hot\",\"owner_count\":4}",
         false, "owner_count"},
        {OVERRIDE_CDN, "{\"for_s\":60,\"cdn\":false}", true, ""},
        {OVERRIDE_CDN, "{\"for_s\":60,\"budget_share\":0.5}", true, ""},
        {OVERRIDE_CDN, "{\"for_s\":60,\"budget_plays\":5}", true, ""},
        {OVERRIDE_CDN, "{\"for_s\":60,\"budget_share\":1.5}", false, "0 to 1"},
        {OVERRIDE_CDN, "{\"for_s\":60,\"budget_plays\":0}", false, "above 0"},
        {OVERRIDE_CDN, "{\"for_s\":60}", false, "budget"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char message[OVERRIDE_MESSAGE_SIZE] = "";
        struct override o = {.target = cases[i].target};
        if (o.target != OVERRIDE_CDN)
            o.name[0] = 'a';
        const int err =
            override_parse(bytes_of_text(cases[i].body), NOW_MS, &o, message);
        assert_int_equal(err, cases[i].is_good ? 0 : ERR_INVALID);
        if (strstr(message, cases[i].message) == NULL)
            fail_msg("%s: %s", cases[i].body, message);
        assert_int_equal(o.until_ms, cases[i].is_good ? NOW_MS + 60000 : 0);
    }
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)
    const struct CMUnitTest tests[] = {
        TEST(what_was_set_is_there_after_a_restart),
        TEST(what_cannot_be_kept_does_not_count),
        TEST(another_managers_list_takes_the_place_of_the_own),
        TEST(a_list_that_is_kept_elsewhere_counts_without_the_file),
        TEST(a_bad_file_is_refused),
        TEST(requests_are_read_strictly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
