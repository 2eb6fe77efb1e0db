/* SPDX-License-Identifier: Apache-2.0 */
#include "programs/st-api/catalogue.h"

#include "core/err.h"
#include "platform/database_testing.h"
#include "platform/files.h"
#include "platform/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* Of a case: a file, or a schema of its own in the PostgreSQL that the test runs
 * beside. */
static char folder[64];
static char place[512];
static struct catalogue *catalogue;

static int
file_setup(void **state)
{
    log_init("catalogue_test", LOG_LEVEL_ERROR);
    snprintf(folder, sizeof folder, "/tmp/catalogue_test.XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(place, sizeof place, "%s/db", folder);
    return catalogue_open(place, &catalogue);
}

static int
file_teardown(void **state)
{
    catalogue_close(catalogue);
    return folder_remove(folder);
}

static int
schema_setup(void **state)
{
    static unsigned number;
    log_init("catalogue_test", LOG_LEVEL_ERROR);
    if (database_testing_schema("s", ++number, place, sizeof place) != 0)
        return -1;
    return catalogue_open(place, &catalogue);
}

static int
schema_teardown(void **state)
{
    catalogue_close(catalogue);
    return 0;
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
        catalogue_put(catalogue, &content, NULL, 0, now_s, &content, &is_new),
        0);
    assert_string_equal(content.version, version);
    assert_int_equal(content.updated_s, now_s);
    return is_new;
}

static uint64_t
count(void)
{
    uint64_t n = UINT64_MAX;
    assert_int_equal(catalogue_count(catalogue, &n), 0);
    return n;
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
    assert_int_equal(count(), 1);
}

static void
what_is_not_there_is_not_found(void **state)
{
    struct catalogue_content found;
    char version[CONTENT_ID_LEN_MAX + 1];
    struct bytes id = BYTES_LITERAL("none");
    assert_int_equal(catalogue_find(catalogue, id, &found), ERR_NOT_FOUND);
    assert_int_equal(catalogue_find_version(catalogue, id, version),
                     ERR_NOT_FOUND);
    assert_int_equal(catalogue_remove(catalogue, id, 9), ERR_NOT_FOUND);
    assert_int_equal(catalogue_find(catalogue, bytes_of(NULL, 0), &found),
                     ERR_NOT_FOUND);
    assert_int_equal(catalogue_check(catalogue), 0);
}

static void
a_removed_content_is_gone(void **state)
{
    put("a", "v", 1);
    put("b", "v", 1);
    assert_int_equal(catalogue_remove(catalogue, BYTES_LITERAL("a"), 9), 0);
    char version[CONTENT_ID_LEN_MAX + 1];
    assert_int_equal(
        catalogue_find_version(catalogue, BYTES_LITERAL("a"), version),
        ERR_NOT_FOUND);
    assert_int_equal(
        catalogue_find_version(catalogue, BYTES_LITERAL("b"), version), 0);
    assert_int_equal(count(), 1);
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
    assert_int_equal(catalogue_open(place, &catalogue), 0);
    assert_int_equal(count(), 1);
    char version[CONTENT_ID_LEN_MAX + 1];
    assert_int_equal(
        catalogue_find_version(catalogue, BYTES_LITERAL("demo"), version), 0);
    assert_string_equal(version, "aaa");
}

struct versions {
    struct catalogue_version list[8];
    unsigned count;
};

static void
see_version(const struct catalogue_version *version, void *context)
{
    struct versions *versions = context;
    assert_true(versions->count < 8);
    versions->list[versions->count++] = *version;
}

static void
count_version(const struct catalogue_version *version, void *context)
{
    ++*(unsigned *) context;
}

static void
a_version_that_is_replaced_is_retired(void **state)
{
    put("demo", "aaa", 100);
    put("demo", "bbb", 200);
    put("demo", "ccc", 300);
    put("other", "aaa", 300);
    struct versions seen = {.count = 0};
    struct bytes demo = BYTES_LITERAL("demo");
    assert_int_equal(catalogue_versions(catalogue, demo, see_version, &seen),
                     0);
    assert_int_equal(seen.count, 3);
    static const char *const names[] = {"aaa", "bbb", "ccc"};
    static const uint64_t retired[] = {200, 300, 0};
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(seen.list[i].content, "demo");
        assert_string_equal(seen.list[i].version, names[i]);
        assert_int_equal(seen.list[i].retired_s, retired[i]);
        assert_int_equal(seen.list[i].created_s, 100 + 100 * i);
    }

    /* the first one again: it is played, and the third is not */
    put("demo", "aaa", 400);
    seen.count = 0;
    assert_int_equal(catalogue_versions(catalogue, demo, see_version, &seen),
                     0);
    assert_int_equal(seen.count, 3);
    assert_int_equal(seen.list[0].retired_s, 0);
    assert_int_equal(seen.list[1].retired_s, 300);
    assert_int_equal(seen.list[2].retired_s, 400);

    /* what is retired for long enough may go, the rest may not */
    seen.count = 0;
    assert_int_equal(catalogue_retired(catalogue, 399, 10, see_version, &seen),
                     0);
    assert_int_equal(seen.count, 1);
    assert_string_equal(seen.list[0].version, "bbb");
    assert_int_equal(
        catalogue_version_remove(catalogue, demo, BYTES_LITERAL("ccc"), 399),
        ERR_STALE);
    assert_int_equal(
        catalogue_version_remove(catalogue, demo, BYTES_LITERAL("aaa"), 999),
        ERR_STALE);
    assert_int_equal(
        catalogue_version_remove(catalogue, demo, BYTES_LITERAL("bbb"), 399),
        0);
    assert_int_equal(
        catalogue_version_remove(catalogue, demo, BYTES_LITERAL("bbb"), 399),
        ERR_NOT_FOUND);

    /* a content that is removed leaves versions to be collected */
    assert_int_equal(catalogue_remove(catalogue, demo, 500), 0);
    seen.count = 0;
    assert_int_equal(catalogue_retired(catalogue, 500, 10, see_version, &seen),
                     0);
    assert_int_equal(seen.count, 2);
    assert_string_equal(seen.list[0].version, "ccc");
    assert_string_equal(seen.list[1].version, "aaa");
    assert_int_equal(seen.list[1].retired_s, 500);
    seen.count = 0;
    assert_int_equal(catalogue_retired(catalogue, 500, 1, see_version, &seen),
                     0);
    assert_int_equal(seen.count, 1);
}

static void
a_version_has_its_tracks(void **state)
{
    static const struct catalogue_track tracks[] = {
        {.name = "v0",
         .kind = CATALOGUE_TRACK_VIDEO,
         .codecs = "avc1.64001f",
         .width = 1280,
         .height = 720,
         .bandwidth = 3000000},
        {.name = "a0",
         .kind = CATALOGUE_TRACK_AUDIO,
         .codecs = "mp4a.40.2",
         .language = "de",
         .label = "Deutsch \xc3\xbc",
         .channels = 2},
    };
    struct catalogue_content content = {
        .id = "demo", .title = "T", .version = "aaa", .duration_ms = 1};
    bool is_new;
    assert_int_equal(
        catalogue_put(catalogue, &content, tracks, 2, 1, &content, &is_new), 0);
    struct catalogue_track found[CATALOGUE_TRACKS_MAX];
    unsigned n = 9;
    struct bytes demo = BYTES_LITERAL("demo"), aaa = BYTES_LITERAL("aaa");
    for (int round = 0; round < 2; round++) {
        assert_int_equal(catalogue_tracks(catalogue, demo, aaa, found, &n), 0);
        assert_int_equal(n, 2);
        assert_string_equal(found[0].name, "a0");
        assert_string_equal(found[0].label, tracks[1].label);
        assert_string_equal(found[0].language, "de");
        assert_int_equal(found[0].channels, 2);
        assert_string_equal(found[1].codecs, "avc1.64001f");
        assert_int_equal(found[1].kind, CATALOGUE_TRACK_VIDEO);
        assert_int_equal(found[1].bandwidth, 3000000);
        put("demo", "aaa", 2); /* without a word of tracks: they stay */
    }
    assert_int_equal(
        catalogue_put(catalogue, &content, tracks, 1, 3, &content, &is_new), 0);
    assert_int_equal(catalogue_tracks(catalogue, demo, aaa, found, &n), 0);
    assert_int_equal(n, 1);

    /* and go with their version */
    assert_int_equal(catalogue_remove(catalogue, demo, 4), 0);
    assert_int_equal(catalogue_version_remove(catalogue, demo, aaa, 4), 0);
    assert_int_equal(catalogue_tracks(catalogue, demo, aaa, found, &n), 0);
    assert_int_equal(n, 0);
}

static void
what_fails_halfway_changes_nothing(void **state)
{
    static const struct catalogue_track twice[] = {{.name = "v0"},
                                                   {.name = "v0"}};
    put("demo", "aaa", 1);
    struct catalogue_content content = {
        .id = "demo", .title = "T", .version = "bbb", .duration_ms = 1};
    bool is_new;
    assert_int_equal(
        catalogue_put(catalogue, &content, twice, 2, 2, &content, &is_new),
        ERR_IO);
    struct versions seen = {.count = 0};
    assert_int_equal(catalogue_versions(catalogue, BYTES_LITERAL("demo"),
                                        see_version, &seen),
                     0);
    assert_int_equal(seen.count, 1);
    assert_string_equal(seen.list[0].version, "aaa");
    assert_int_equal(seen.list[0].retired_s, 0);
    put("demo", "bbb", 3); /* and all goes on */
}

/* Of two that replace a content at once one comes later, and is played. */
static void
two_at_once_leave_one_version_that_is_played(void **state)
{
    put("demo", "v", 1);
    pid_t children[4];
    for (unsigned i = 0; i < 4; i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] != 0)
            continue;
        struct catalogue *own;
        struct catalogue_content content = {
            .id = "demo", .title = "T", .duration_ms = 1};
        bool is_new;
        if (catalogue_open(place, &own) != 0)
            _exit(1);
        for (unsigned j = 0; j < 10; j++) {
            snprintf(content.version, sizeof content.version, "v%u.%u", i, j);
            if (catalogue_put(own, &content, NULL, 0, 2 + j, &content, &is_new)
                != 0)
                _exit(1);
        }
        _exit(0);
    }
    for (size_t i = 0; i < 4; i++) {
        int status;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    struct catalogue_content found;
    struct catalogue_version version;
    struct bytes demo = BYTES_LITERAL("demo");
    assert_int_equal(catalogue_find(catalogue, demo, &found), 0);
    assert_int_equal(catalogue_version_find(catalogue, demo,
                                            bytes_of_text(found.version),
                                            &version),
                     0);
    assert_int_equal(version.retired_s, 0);
    unsigned retired = 0;
    assert_int_equal(
        catalogue_retired(catalogue, 1000, 1000, count_version, &retired), 0);
    assert_int_equal(retired, 40);
    assert_int_equal(count(), 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define BOTH(name)                                             \
    {"sqlite: " #name, name, file_setup, file_teardown, NULL}, \
        {"postgresql: " #name, name, schema_setup, schema_teardown, NULL}
        BOTH(a_replaced_content_keeps_its_birthday),
        BOTH(what_is_not_there_is_not_found),
        BOTH(a_removed_content_is_gone),
        BOTH(pages_of_a_list_give_every_content_once_in_order),
        BOTH(the_catalogue_survives_a_restart),
        BOTH(a_version_that_is_replaced_is_retired),
        BOTH(a_version_has_its_tracks),
        BOTH(what_fails_halfway_changes_nothing),
        BOTH(two_at_once_leave_one_version_that_is_played),
#undef BOTH
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
