/* SPDX-License-Identifier: Apache-2.0 */
#include "programs/st-api/catalogue.h"

#include "core/err.h"
#include "platform/files.h"
#include "platform/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static char folder[64];
static char path[96];
static struct catalogue *catalogue;

static int
setup(void **state)
{
    log_init("catalogue_test", LOG_LEVEL_ERROR);
    snprintf(folder, sizeof folder, "/tmp/catalogue_test.XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/db", folder);
    return catalogue_open(path, &catalogue);
}

static int
teardown(void **state)
{
    catalogue_close(catalogue);
    return folder_remove(folder);
}

static bool
put(const char *id, const char *version, uint64_t now_s)
{
    struct catalogue_content content = {.duration_ms = 60000};
    snprintf(content.id, sizeof content.id, "%s", id);
    snprintf(content.title, sizeof content.title, "Title of %s", id);
    snprintf(content.version, sizeof content.version, "%s", version);
    bool is_new;
    assert_int_equal(
        catalogue_put(catalogue, &content, now_s, &content, &is_new), 0);
    assert_string_equal(content.version, version);
    assert_int_equal(content.updated_s, now_s);
    return is_new;
}

static void
a_replaced_content_keeps_its_birthday(void **state)
{
    assert_true(put("demo", "aaa", 100));
    assert_false(put("demo", "bbb", 200));
    struct catalogue_content found;
    assert_int_equal(catalogue_find(catalogue, BYTES_LITERAL("demo"), &found),
                     0);
    assert_string_equal(found.title, "Title of demo");
    assert_string_equal(found.version, "bbb");
    assert_int_equal(found.duration_ms, 60000);
    assert_int_equal(found.created_s, 100);
    assert_int_equal(found.updated_s, 200);
    assert_int_equal(catalogue_count(catalogue), 1);
}

static void
what_is_not_there_is_not_found(void **state)
{
    struct catalogue_content found;
    char version[CONTENT_ID_LEN_MAX + 1];
    uint64_t duration_ms = 0;
    struct bytes id = BYTES_LITERAL("none");
    assert_int_equal(catalogue_find(catalogue, id, &found), ERR_NOT_FOUND);
    assert_int_equal(
        catalogue_find_version(catalogue, id, version, &duration_ms),
        ERR_NOT_FOUND);
    assert_int_equal(catalogue_remove(catalogue, id), ERR_NOT_FOUND);
    assert_int_equal(catalogue_find(catalogue, bytes_of(NULL, 0), &found),
                     ERR_NOT_FOUND);
    assert_int_equal(catalogue_check(catalogue), 0);
}

static void
a_removed_content_is_gone(void **state)
{
    put("a", "v", 1);
    put("b", "v", 1);
    assert_int_equal(catalogue_remove(catalogue, BYTES_LITERAL("a")), 0);
    char version[CONTENT_ID_LEN_MAX + 1];
    uint64_t duration_ms = 0;
    assert_int_equal(catalogue_find_version(catalogue, BYTES_LITERAL("a"),
                                            version, &duration_ms),
                     ERR_NOT_FOUND);
    assert_int_equal(catalogue_find_version(catalogue, BYTES_LITERAL("b"),
                                            version, &duration_ms),
                     0);
    assert_int_equal(catalogue_count(catalogue), 1);
}

struct seen {
    char ids[64][CONTENT_ID_LEN_MAX + 1];
    unsigned count;
};

static void
see(const struct catalogue_content *content, void *context)
{
    struct seen *seen = context;
    memcpy(seen->ids[seen->count++], content->id, sizeof content->id);
}

static void
pages_of_a_list_give_every_content_once_in_order(void **state)
{
    for (int i = 0; i < 25; i++) {
        char id[8];
        snprintf(id, sizeof id, "c%02d", (i * 7) % 25);
        put(id, "v", 1);
    }
    struct seen seen = {.count = 0};
    bool has_more = true;
    char after[CONTENT_ID_LEN_MAX + 1] = "";
    unsigned pages = 0;
    while (has_more) {
        assert_int_equal(catalogue_list(catalogue, bytes_of_text(after), 10,
                                        see, &seen, &has_more),
                         0);
        snprintf(after, sizeof after, "%s", seen.ids[seen.count - 1]);
        pages++;
    }
    assert_int_equal(pages, 3);
    assert_int_equal(seen.count, 25);
    for (unsigned i = 0; i < 25; i++) {
        char id[8];
        snprintf(id, sizeof id, "c%02u", i);
        assert_string_equal(seen.ids[i], id);
    }
    assert_int_equal(catalogue_list(catalogue, BYTES_LITERAL("zz"), 10, see,
                                    &seen, &has_more),
                     0);
    assert_int_equal(seen.count, 25);
    assert_false(has_more);
}

static void
the_catalogue_survives_a_restart(void **state)
{
    put("demo", "aaa", 100);
    catalogue_close(catalogue);
    assert_int_equal(catalogue_open(path, &catalogue), 0);
    assert_int_equal(catalogue_count(catalogue), 1);
    char version[CONTENT_ID_LEN_MAX + 1];
    uint64_t duration_ms = 0;
    assert_int_equal(catalogue_find_version(catalogue, BYTES_LITERAL("demo"),
                                            version, &duration_ms),
                     0);
    assert_string_equal(version, "aaa");
    assert_int_equal(duration_ms, 60000);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(a_replaced_content_keeps_its_birthday),
        TEST(what_is_not_there_is_not_found),
        TEST(a_removed_content_is_gone),
        TEST(pages_of_a_list_give_every_content_once_in_order),
        TEST(the_catalogue_survives_a_restart),
#undef TEST
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
