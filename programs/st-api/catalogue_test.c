/* SPDX-License-Identifier: Apache-2.0 */
#include "programs/st-api/catalogue_private.h"

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
    struct catalogue_put put = {.content.duration_ms = 60000};
    struct catalogue_content content;
    snprintf(put.content.id, sizeof content.id, "%s", id);
    snprintf(put.content.title, sizeof content.title, "Title of %s", id);
    snprintf(put.content.version, sizeof content.version, "%s", version);
    bool is_new;
    assert_int_equal(catalogue_put(catalogue, &put, now_s, &content, &is_new),
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

/* As somebody, somewhere, at 1000 s. */
static int
play(const char *id, char version[CONTENT_ID_LEN_MAX + 1])
{
    const struct catalogue_asker asker = {
        .service = "", .region = "", .now_s = 1000};
    struct catalogue_played played;
    int err = catalogue_play(catalogue, bytes_of_text(id), &asker, &played);
    if (err == 0) {
        memcpy(version, played.version, sizeof played.version);
        assert_int_equal(played.duration_ms, 60000);
    }
    return err;
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
    assert_int_equal(play("none", version), ERR_NOT_FOUND);
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
    assert_int_equal(play("a", version), ERR_NOT_FOUND);
    assert_int_equal(play("b", version), 0);
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
    assert_int_equal(play("demo", version), 0);
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

static const struct catalogue_version none; /* the first page */
static bool has_more;

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
    assert_int_equal(catalogue_retired(catalogue, 399, 60, &none, 10,
                                       see_version, &seen, &has_more),
                     0);
    assert_int_equal(seen.count, 1);
    assert_string_equal(seen.list[0].version, "bbb");
    assert_int_equal(catalogue_version_remove(catalogue, demo,
                                              BYTES_LITERAL("ccc"), 399, 60),
                     ERR_STALE);
    assert_int_equal(catalogue_version_remove(catalogue, demo,
                                              BYTES_LITERAL("aaa"), 999, 60),
                     ERR_STALE);
    assert_int_equal(catalogue_version_remove(catalogue, demo,
                                              BYTES_LITERAL("bbb"), 399, 60),
                     0);
    assert_int_equal(catalogue_version_remove(catalogue, demo,
                                              BYTES_LITERAL("bbb"), 399, 60),
                     ERR_NOT_FOUND);

    /* a content that is removed leaves versions to be collected */
    assert_int_equal(catalogue_remove(catalogue, demo, 500), 0);
    seen.count = 0;
    assert_int_equal(catalogue_retired(catalogue, 600, 60, &none, 10,
                                       see_version, &seen, &has_more),
                     0);
    assert_int_equal(seen.count, 2);
    assert_string_equal(seen.list[0].version, "ccc");
    assert_string_equal(seen.list[1].version, "aaa");
    assert_int_equal(seen.list[1].retired_s, 500);
    seen.count = 0;
    assert_false(has_more);
    assert_int_equal(catalogue_retired(catalogue, 600, 60, &none, 1,
                                       see_version, &seen, &has_more),
                     0);
    assert_int_equal(seen.count, 1);
    assert_true(has_more);

    /* and the rest of it, whatever became of the last one */
    const struct catalogue_version after = seen.list[0];
    seen.count = 0;
    assert_int_equal(catalogue_retired(catalogue, 600, 60, &after, 1,
                                       see_version, &seen, &has_more),
                     0);
    assert_int_equal(seen.count, 1);
    assert_string_equal(seen.list[0].version, "aaa");
    assert_false(has_more);
}

static void
a_version_that_is_taken_away_does_not_come_back(void **state)
{
    const struct bytes demo = BYTES_LITERAL("demo");
    const struct bytes aaa = BYTES_LITERAL("aaa"), bbb = BYTES_LITERAL("bbb");
    put("demo", "aaa", 100);
    put("demo", "bbb", 200);
    assert_int_equal(catalogue_version_collect(catalogue, demo, bbb, 999, 60),
                     ERR_STALE);
    assert_int_equal(
        catalogue_version_collect(catalogue, demo, BYTES_LITERAL("c"), 999, 60),
        ERR_NOT_FOUND);
    /* 60 s of film: tokens are good for 90 */
    assert_int_equal(catalogue_version_collect(catalogue, demo, aaa, 290, 60),
                     ERR_STALE);
    assert_int_equal(catalogue_version_collect(catalogue, demo, aaa, 291, 60),
                     0);
    /* again, and where tokens are good for longer now */
    assert_int_equal(catalogue_version_collect(catalogue, demo, aaa, 291, 999),
                     0);
    struct versions seen = {.count = 0};
    assert_int_equal(catalogue_retired(catalogue, 291, 999, &none, 10,
                                       see_version, &seen, &has_more),
                     0);
    assert_int_equal(seen.count, 1);
    assert_true(seen.list[0].is_collecting);

    /* nothing of it went: as if it had not begun */
    assert_int_equal(catalogue_version_release(catalogue, demo, aaa), 0);
    assert_int_equal(
        catalogue_version_release(catalogue, demo, BYTES_LITERAL("c")),
        ERR_NOT_FOUND);
    seen.count = 0;
    assert_int_equal(catalogue_retired(catalogue, 291, 999, &none, 10,
                                       see_version, &seen, &has_more),
                     0);
    assert_int_equal(seen.count, 0);
    assert_int_equal(catalogue_version_collect(catalogue, demo, aaa, 291, 60),
                     0);

    struct catalogue_put again = {
        .content = {.id = "demo", .title = "T", .version = "aaa"}};
    struct catalogue_content content;
    bool is_new;
    assert_int_equal(catalogue_put(catalogue, &again, 300, &content, &is_new),
                     ERR_STALE);
    assert_int_equal(catalogue_find(catalogue, demo, &content), 0);
    assert_string_equal(content.version, "bbb");
    assert_string_equal(content.title, "Title of demo");
    assert_int_equal(content.updated_s, 200);
    struct catalogue_version version;
    assert_int_equal(catalogue_version_find(catalogue, demo, bbb, &version), 0);
    assert_int_equal(version.retired_s, 0);
    assert_false(version.is_collecting);
    /* nor of a content that is none any more: it stays none */
    assert_int_equal(catalogue_remove(catalogue, demo, 300), 0);
    assert_int_equal(catalogue_put(catalogue, &again, 300, &content, &is_new),
                     ERR_STALE);
    assert_int_equal(catalogue_find(catalogue, demo, &content), ERR_NOT_FOUND);
    assert_int_equal(count(), 0);

    assert_int_equal(catalogue_version_remove(catalogue, demo, aaa, 291, 999),
                     0);
    put("demo", "aaa", 400);
}

static void
a_version_that_is_kept_is_retired_anew(void **state)
{
    const struct bytes demo = BYTES_LITERAL("demo");
    const struct bytes aaa = BYTES_LITERAL("aaa"), bbb = BYTES_LITERAL("bbb");
    struct catalogue_version version;
    put("demo", "aaa", 100);
    put("demo", "bbb", 200);
    assert_int_equal(catalogue_version_keep(catalogue, demo, aaa, 300), 0);
    assert_int_equal(catalogue_version_find(catalogue, demo, aaa, &version), 0);
    assert_int_equal(version.retired_s, 300);
    assert_int_equal(catalogue_version_collect(catalogue, demo, aaa, 390, 60),
                     ERR_STALE);
    assert_int_equal(catalogue_version_keep(catalogue, demo, bbb, 300), 0);
    assert_int_equal(catalogue_version_find(catalogue, demo, bbb, &version), 0);
    assert_int_equal(version.retired_s, 0);
    assert_int_equal(
        catalogue_version_keep(catalogue, demo, BYTES_LITERAL("c"), 300),
        ERR_NOT_FOUND);
    assert_int_equal(catalogue_version_collect(catalogue, demo, aaa, 391, 60),
                     0);
    assert_int_equal(catalogue_version_keep(catalogue, demo, aaa, 400),
                     ERR_STALE);
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
    struct catalogue_put all = {
        .content = {.id = "demo",
                    .title = "T",
                    .version = "aaa",
                    .duration_ms = 1},
        .tracks = tracks,
        .track_count = 2,
    };
    struct catalogue_content content;
    bool is_new;
    assert_int_equal(catalogue_put(catalogue, &all, 1, &content, &is_new), 0);
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
    all.track_count = 1;
    assert_int_equal(catalogue_put(catalogue, &all, 3, &content, &is_new), 0);
    assert_int_equal(catalogue_tracks(catalogue, demo, aaa, found, &n), 0);
    assert_int_equal(n, 1);

    /* and go with their version */
    assert_int_equal(catalogue_remove(catalogue, demo, 4), 0);
    assert_int_equal(catalogue_version_remove(catalogue, demo, aaa, 6, 1), 0);
    assert_int_equal(catalogue_tracks(catalogue, demo, aaa, found, &n), 0);
    assert_int_equal(n, 0);
}

static void
a_content_with_windows_is_there_then_there_and_for_them(void **state)
{
    static const struct catalogue_window windows[] = {
        {.starts_s = 100, .ends_s = 200},
        {.starts_s = 300, .region = "DE"},
        {.starts_s = 300, .ends_s = 400, .service = "kino"},
    };
    static const struct {
        uint64_t now_s;
        const char *region, *service;
        int err;
    } cases[] = {
        {99, "DE", "kino", ERR_DENIED}, {100, "", "", 0},
        {199, "FR", "other", 0},        {200, "", "", ERR_DENIED},
        {300, "", "", ERR_DENIED},      {300, "DE", "", 0},
        {9999, "DE", "other", 0},       {350, "FR", "other", ERR_DENIED},
        {350, "FR", "kino", 0},         {400, "FR", "kino", ERR_DENIED},
    };
    struct catalogue_put all = {
        .content = {.id = "demo",
                    .title = "T",
                    .version = "v",
                    .duration_ms = 60000},
        .windows = windows,
        .window_count = 3,
    };
    struct catalogue_content content;
    bool is_new;
    char version[CONTENT_ID_LEN_MAX + 1];
    assert_int_equal(catalogue_put(catalogue, &all, 1, &content, &is_new), 0);
    put("demo", "v", 2); /* without a word of windows: they stay */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct catalogue_asker asker = {.service = cases[i].service,
                                              .region = cases[i].region,
                                              .now_s = cases[i].now_s};
        struct catalogue_played played;
        int err =
            catalogue_play(catalogue, BYTES_LITERAL("demo"), &asker, &played);
        if (err != cases[i].err)
            fail_msg("case %zu: %s", i, err_text(err));
    }
    struct catalogue_window found[CATALOGUE_WINDOWS_MAX];
    unsigned n;
    assert_int_equal(
        catalogue_windows(catalogue, BYTES_LITERAL("demo"), found, &n), 0);
    assert_int_equal(n, 3);
    assert_int_equal(found[0].ends_s, 200);
    assert_string_equal(found[1].region, "DE");

    /* a campaign opens it, for its time */
    static struct catalogue_campaign campaign = {.id = "summer",
                                                 .name = "Summer",
                                                 .window = {900, 1100, "", ""},
                                                 .contents = {"demo", "later"},
                                                 .content_count = 2};
    assert_int_equal(play("demo", version), ERR_DENIED);
    assert_int_equal(catalogue_campaign_put(catalogue, &campaign, &is_new), 0);
    assert_true(is_new);
    assert_int_equal(play("demo", version), 0);
    campaign.window.ends_s = 1000;
    assert_int_equal(catalogue_campaign_put(catalogue, &campaign, &is_new), 0);
    assert_false(is_new);
    assert_int_equal(play("demo", version), ERR_DENIED);
    campaign.window.ends_s = 1001;
    assert_int_equal(catalogue_campaign_put(catalogue, &campaign, &is_new), 0);
    assert_int_equal(play("demo", version), 0);
    static struct catalogue_campaign read;
    assert_int_equal(
        catalogue_campaign_find(catalogue, BYTES_LITERAL("summer"), &read), 0);
    assert_int_equal(read.content_count, 2);
    assert_string_equal(read.contents[1], "later");
    assert_int_equal(
        catalogue_campaign_remove(catalogue, BYTES_LITERAL("summer")), 0);
    assert_int_equal(
        catalogue_campaign_remove(catalogue, BYTES_LITERAL("summer")),
        ERR_NOT_FOUND);
    assert_int_equal(play("demo", version), ERR_DENIED);

    /* and without windows it is there always */
    all.window_count = 0;
    assert_int_equal(catalogue_put(catalogue, &all, 3, &content, &is_new), 0);
    assert_int_equal(play("demo", version), 0);
}

static void
what_fails_halfway_changes_nothing(void **state)
{
    static const struct catalogue_track twice[] = {{.name = "v0"},
                                                   {.name = "v0"}};
    put("demo", "aaa", 1);
    const struct catalogue_put wrong = {
        .content = {.id = "demo",
                    .title = "T",
                    .version = "bbb",
                    .duration_ms = 1},
        .tracks = twice,
        .track_count = 2,
    };
    struct catalogue_content content;
    bool is_new;
    assert_int_equal(catalogue_put(catalogue, &wrong, 2, &content, &is_new),
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
        struct catalogue_put put = {
            .content = {.id = "demo", .title = "T", .duration_ms = 1}};
        struct catalogue_content content;
        bool is_new;
        if (catalogue_open(place, &own) != 0)
            _exit(1);
        for (unsigned j = 0; j < 10; j++) {
            snprintf(put.content.version, sizeof content.version, "v%u.%u", i,
                     j);
            if (catalogue_put(own, &put, 2 + j, &content, &is_new) != 0)
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
    assert_int_equal(catalogue_retired(catalogue, 1000, 60, &none, 1000,
                                       count_version, &retired, &has_more),
                     0);
    assert_int_equal(retired, 40);
    assert_int_equal(count(), 1);
}

/* So many at once, which one by one would take minutes. */
static void
revocations_add(const char *service, int64_t first, int64_t count)
{
    struct statement *add;
    assert_int_equal(
        database_prepare(catalogue->database,
                         "WITH RECURSIVE s(n) AS (SELECT CAST(?1 AS BIGINT)"
                         " UNION ALL SELECT n + 1 FROM s"
                         " WHERE n < CAST(?2 AS BIGINT))"
                         " INSERT INTO revocations(session, ends, service)"
                         " SELECT n, 1000, ?3 FROM s",
                         &add),
        0);
    statement_bind_integer(add, 1, first);
    statement_bind_integer(add, 2, first + count - 1);
    statement_bind_text(add, 3, bytes_of_text(service));
    assert_int_equal(statement_step(add), 0);
    statement_free(add);
}

static int
revoke_as(const char *service, uint64_t session)
{
    const struct catalogue_revocation revocation = {
        .session = session, .ends_s = 2000, .service = service};
    return catalogue_revoke(catalogue, &revocation, 1);
}

static void
no_service_keeps_another_or_the_admin_from_revoking(void **state)
{
    const int64_t share = CATALOGUE_REVOCATIONS_SHARE;
    revocations_add("", 1, share - 1);
    assert_int_equal(revoke_as("", 1000000), 0);
    assert_int_equal(revoke_as("", 1000001), ERR_LIMIT);
    assert_int_equal(revoke_as("", 1000000), 0); /* again adds nothing */
    assert_int_equal(revoke_as("", 1), 0);
    assert_int_equal(revoke_as("one", 2000000), 0);
    revocations_add("one", 100000, share - 1);
    revocations_add("two", 200000, share - 1);
    assert_int_equal(revoke_as("two", 3000000), 0);
    assert_int_equal(revoke_as("three", 4000000), ERR_LIMIT);
    assert_int_equal(revoke_as(NULL, 5000000), 0);
    revocations_add("*", 300000, share - 2);
    assert_int_equal(revoke_as(NULL, 5000001), 0);
    assert_int_equal(revoke_as(NULL, 5000002), ERR_LIMIT);
    assert_int_equal(revoke_as(NULL, 2), 0);
    /* what is revoked again ends later */
    assert_int_equal(catalogue_plays_forget(catalogue, 1500), 0);
    uint64_t left;
    assert_int_equal(catalogue_number(catalogue->revocations_count, &left), 0);
    assert_int_equal(left, 7);
}

static int
once(const char *service, const char *name, uint64_t session, uint64_t now_s,
     uint64_t *out)
{
    struct catalogue_once once = {.digest = "d",
                                  .session = session,
                                  .expires_s = now_s + 100,
                                  .version = "v"};
    snprintf(once.service, sizeof once.service, "%s", service);
    snprintf(once.name, sizeof once.name, "%s", name);
    int err = catalogue_play_once(catalogue, &once, now_s);
    *out = once.session;
    return err;
}

static void
names_that_are_nobodys_are_only_so_many(void **state)
{
    struct statement *add;
    uint64_t session;
    assert_int_equal(once("", "first", 1, 1000, &session), 0);
    assert_int_equal(
        database_prepare(catalogue->database,
                         "WITH RECURSIVE s(n) AS (SELECT 2 UNION ALL"
                         " SELECT n + 1 FROM s WHERE n < CAST(?1 AS BIGINT))"
                         " INSERT INTO plays_asked(service, name, digest,"
                         " session, expires, version) SELECT '',"
                         " CAST(n AS CTEXT), 'd', n, 1050, 'v' FROM s",
                         &add),
        0);
    statement_bind_integer(add, 1, CATALOGUE_ONCE_NOBODYS_MAX);
    assert_int_equal(statement_step(add), 0);
    statement_free(add);
    for (uint64_t i = 7; i < 9; i++) { /* not kept: each is its own */
        assert_int_equal(once("", "more", i, 1000, &session), 0);
        assert_int_equal(session, i);
        assert_int_equal(once("", "first", i, 1000, &session), 0);
        assert_int_equal(session, 1);
        assert_int_equal(once("one", "more", i, 1000, &session), 0);
        assert_int_equal(session, 7);
    }
    /* one that is over is not found again, though it is not forgotten yet */
    assert_int_equal(once("", "2", 9, 1060, &session), 0);
    assert_int_equal(session, 9);
    assert_int_equal(catalogue_plays_forget(catalogue, 1060), 0);
    for (uint64_t i = 10; i < 12; i++) {
        assert_int_equal(once("", "more", i, 1060, &session), 0);
        assert_int_equal(session, 10);
        assert_int_equal(once("", "first", i, 1060, &session), 0);
        assert_int_equal(session, 1);
    }
}

/* One at a time would take minutes. */
static void
rows_insert(const char *sql, int64_t n)
{
    struct statement *insert;
    assert_int_equal(database_prepare(catalogue->database, sql, &insert), 0);
    statement_bind_integer(insert, 1, n);
    assert_int_equal(statement_step(insert), 0);
    statement_free(insert);
}

#define NUMBERS                                    \
    "WITH RECURSIVE numbers(i) AS (SELECT 1 UNION" \
    " ALL SELECT i + 1 FROM numbers WHERE i < ?1) "

static void
assert_services(unsigned service_count, unsigned key_count)
{
    struct catalogue_service *services;
    struct catalogue_service_key *keys;
    unsigned counts[2];
    assert_int_equal(
        catalogue_services(catalogue, &services, &counts[0], &keys, &counts[1]),
        0);
    assert_int_equal(counts[0], service_count);
    assert_int_equal(counts[1], key_count);
    free(services);
    catalogue_keys_free(keys, counts[1]);
}

static void
no_more_services_and_keys_are_added_than_can_be_read(void **state)
{
    struct catalogue_service service = {.id = "last"};
    struct catalogue_service_key key = {.id = "k", .service = "last"};
    bool is_new = false;
    rows_insert(NUMBERS "INSERT INTO services(id, name, rate_per_s, burst,"
                        " created) SELECT 'x' || i, 'S', 0, 0, 0 FROM numbers",
                CATALOGUE_SERVICES_MAX - 1);
    assert_int_equal(catalogue_service_put(catalogue, &service, 1, &is_new), 0);
    assert_true(is_new);
    snprintf(service.id, sizeof service.id, "more");
    assert_int_equal(catalogue_service_put(catalogue, &service, 1, &is_new),
                     ERR_LIMIT);
    assert_services(CATALOGUE_SERVICES_MAX, 0);
    /* one that is there may be changed */
    snprintf(service.id, sizeof service.id, "x7");
    assert_int_equal(catalogue_service_put(catalogue, &service, 1, &is_new), 0);
    assert_false(is_new);
    rows_insert(NUMBERS "INSERT INTO service_keys(id, service, digest, created,"
                        " expires) SELECT 'k' || i, 'x1', '', 0, 0"
                        " FROM numbers",
                CATALOGUE_SERVICE_KEYS_MAX - 1);
    assert_int_equal(catalogue_service_key_add(catalogue, &key), 0);
    snprintf(key.id, sizeof key.id, "more");
    assert_int_equal(catalogue_service_key_add(catalogue, &key), ERR_LIMIT);
    assert_services(CATALOGUE_SERVICES_MAX, CATALOGUE_SERVICE_KEYS_MAX);
    /* and what goes makes room */
    assert_int_equal(catalogue_service_remove(catalogue, BYTES_LITERAL("x1")),
                     0);
    assert_int_equal(catalogue_service_key_add(catalogue, &key), 0);
    assert_services(CATALOGUE_SERVICES_MAX - 1, 2);
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
        BOTH(a_version_that_is_taken_away_does_not_come_back),
        BOTH(a_version_that_is_kept_is_retired_anew),
        BOTH(a_version_has_its_tracks),
        BOTH(a_content_with_windows_is_there_then_there_and_for_them),
        BOTH(what_fails_halfway_changes_nothing),
        BOTH(no_more_services_and_keys_are_added_than_can_be_read),
        BOTH(two_at_once_leave_one_version_that_is_played),
        BOTH(no_service_keeps_another_or_the_admin_from_revoking),
        BOTH(names_that_are_nobodys_are_only_so_many),
#undef BOTH
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
