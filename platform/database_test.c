/* SPDX-License-Identifier: Apache-2.0 */
#include "platform/database.h"

#include "platform/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64];
static char path[96];

static const char *const first[] = {
    "CREATE TABLE t(id TEXT PRIMARY KEY, n INTEGER NOT NULL)",
};
static const char *const second[] = {
    "CREATE TABLE t(id TEXT PRIMARY KEY, n INTEGER NOT NULL)",
    "ALTER TABLE t ADD COLUMN m INTEGER NOT NULL DEFAULT 7",
};
static const char *const broken[] = {
    "CREATE TABLE t(id TEXT PRIMARY KEY, n INTEGER NOT NULL)",
    "ALTER TABLE t ADD COLUMN m INTEGER NOT NULL DEFAULT 7; NO SUCH WORD",
};

static int
setup(void **state)
{
    (void) state;
    log_init("database_test", LOG_LEVEL_ERROR);
    snprintf(folder, sizeof folder, "/tmp/database_test.XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/db", folder);
    return 0;
}

static int
teardown(void **state)
{
    (void) state;
    static const char *const endings[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < 3; i++) {
        char name[128];
        snprintf(name, sizeof name, "%s%s", path, endings[i]);
        unlink(name);
    }
    return rmdir(folder);
}

static void
put(struct database *database, const char *id, int64_t n)
{
    struct statement *insert;
    assert_int_equal(database_prepare(database,
                                      "INSERT INTO t(id, n) VALUES(?, ?)",
                                      &insert),
                     0);
    statement_bind_text(insert, 1, bytes_of_text(id));
    statement_bind_integer(insert, 2, n);
    assert_int_equal(statement_step(insert), 0);
    assert_int_equal(database_changes(database), 1);
    statement_free(insert);
}

static int64_t
get(struct database *database, const char *sql, const char *id)
{
    struct statement *select;
    assert_int_equal(database_prepare(database, sql, &select), 0);
    statement_bind_text(select, 1, bytes_of_text(id));
    int64_t n = statement_step(select) == 1 ? statement_integer(select, 0) : -1;
    statement_free(select);
    return n;
}

static void
what_is_written_is_read_after_a_restart(void **state)
{
    struct database *database;
    assert_int_equal(database_open(path, first, 1, &database), 0);
    put(database, "a", 42);
    database_close(database);
    assert_int_equal(database_open(path, first, 1, &database), 0);
    assert_int_equal(get(database, "SELECT n FROM t WHERE id = ?", "a"), 42);
    assert_int_equal(get(database, "SELECT n FROM t WHERE id = ?", "b"), -1);
    database_close(database);
}

static void
an_older_file_is_migrated_and_keeps_its_rows(void **state)
{
    struct database *database;
    assert_int_equal(database_open(path, first, 1, &database), 0);
    put(database, "a", 42);
    database_close(database);
    assert_int_equal(database_open(path, second, 2, &database), 0);
    assert_int_equal(get(database, "SELECT n + m FROM t WHERE id = ?", "a"),
                     49);
    database_close(database);
}

static void
a_file_of_a_newer_program_is_refused(void **state)
{
    struct database *database;
    assert_int_equal(database_open(path, second, 2, &database), 0);
    database_close(database);
    assert_int_equal(database_open(path, first, 1, &database), ERR_VERSION);
}

static void
a_migration_that_fails_changes_nothing(void **state)
{
    struct database *database;
    assert_int_equal(database_open(path, first, 1, &database), 0);
    put(database, "a", 1);
    database_close(database);
    assert_int_equal(database_open(path, broken, 2, &database), ERR_IO);
    assert_int_equal(database_open(path, first, 1, &database), 0);
    assert_int_equal(get(database, "SELECT n FROM t WHERE id = ?", "a"), 1);
    database_close(database);
    assert_int_equal(database_open(path, second, 2, &database), 0);
    database_close(database);
}

static void
a_file_that_is_no_database_is_refused(void **state)
{
    FILE *f = fopen(path, "w");
    for (int i = 0; i < 100; i++)
        fputs("this is not a database at all\n", f);
    fclose(f);
    struct database *database;
    assert_int_equal(database_open(path, first, 1, &database), ERR_IO);
    assert_int_equal(database_open("/nonexistent/db", first, 1, &database),
                     ERR_IO);
}

static void
a_lock_held_for_too_long_is_unavailable(void **state)
{
    struct database *a, *b;
    assert_int_equal(database_open(path, first, 1, &a), 0);
    assert_int_equal(database_open(path, first, 1, &b), 0);
    struct statement *begin, *insert;
    assert_int_equal(database_prepare(a, "BEGIN IMMEDIATE", &begin), 0);
    assert_int_equal(statement_step(begin), 0);
    assert_int_equal(
        database_prepare(b, "INSERT INTO t(id, n) VALUES('x', 1)", &insert), 0);
    assert_int_equal(statement_step(insert), ERR_UNAVAILABLE);
    statement_free(begin);
    statement_free(insert);
    database_close(a);
    database_close(b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(what_is_written_is_read_after_a_restart),
        TEST(an_older_file_is_migrated_and_keeps_its_rows),
        TEST(a_file_of_a_newer_program_is_refused),
        TEST(a_migration_that_fails_changes_nothing),
        TEST(a_file_that_is_no_database_is_refused),
        TEST(a_lock_held_for_too_long_is_unavailable),
#undef TEST
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
