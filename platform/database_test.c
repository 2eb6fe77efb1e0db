/* SPDX-License-Identifier: Apache-2.0 */
#include "platform/database.h"

#include "platform/clock.h"
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

/* Where the case's database is: a file, or a schema of its own in the
 * PostgreSQL that the test runs beside. */
static char folder[64];
static char path[96];
static char place[512];

static const char *const first[] = {
    "CREATE TABLE t(id CTEXT PRIMARY KEY, n BIGINT NOT NULL)",
};
static const char *const second[] = {
    "CREATE TABLE t(id CTEXT PRIMARY KEY, n BIGINT NOT NULL)",
    "ALTER TABLE t ADD COLUMN m BIGINT NOT NULL DEFAULT 7",
};
static const char *const broken[] = {
    "CREATE TABLE t(id CTEXT PRIMARY KEY, n BIGINT NOT NULL)",
    "ALTER TABLE t ADD COLUMN m BIGINT NOT NULL DEFAULT 7; NO SUCH WORD",
};

static int
folder_setup(void **state)
{
    log_init("database_test", LOG_LEVEL_ERROR);
    snprintf(folder, sizeof folder, "/tmp/database_test.XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/db", folder);
    snprintf(place, sizeof place, "%s", path);
    return 0;
}

static int
folder_teardown(void **state)
{
    return folder_remove(folder);
}

static int
schema_setup(void **state)
{
    static unsigned number;
    log_init("database_test", LOG_LEVEL_ERROR);
    return database_testing_schema("t", ++number, place, sizeof place);
}

static void
put(struct database *database, const char *id, int64_t n)
{
    struct statement *insert;
    assert_int_equal(database_prepare(database,
                                      "INSERT INTO t(id, n) VALUES(?1, ?2)",
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
    assert_int_equal(database_open(place, first, 1, &database), 0);
    put(database, "a", 42);
    database_close(database);
    assert_int_equal(database_open(place, first, 1, &database), 0);
    assert_int_equal(get(database, "SELECT n FROM t WHERE id = ?1", "a"), 42);
    assert_int_equal(get(database, "SELECT n FROM t WHERE id = ?1", "b"), -1);
    database_close(database);
}

static void
an_older_database_is_migrated_and_keeps_its_rows(void **state)
{
    struct database *database;
    assert_int_equal(database_open(place, first, 1, &database), 0);
    put(database, "a", 42);
    database_close(database);
    assert_int_equal(database_open(place, second, 2, &database), 0);
    assert_int_equal(get(database, "SELECT n + m FROM t WHERE id = ?1", "a"),
                     49);
    database_close(database);
}

static void
one_of_a_newer_program_is_refused(void **state)
{
    struct database *database;
    assert_int_equal(database_open(place, second, 2, &database), 0);
    database_close(database);
    assert_int_equal(database_open(place, first, 1, &database), ERR_VERSION);
}

static void
a_migration_that_fails_changes_nothing(void **state)
{
    struct database *database;
    assert_int_equal(database_open(place, first, 1, &database), 0);
    put(database, "a", 1);
    database_close(database);
    assert_int_equal(database_open(place, broken, 2, &database), ERR_IO);
    assert_int_equal(database_open(place, first, 1, &database), 0);
    assert_int_equal(get(database, "SELECT n FROM t WHERE id = ?1", "a"), 1);
    database_close(database);
    assert_int_equal(database_open(place, second, 2, &database), 0);
    database_close(database);
}

static void
what_is_read_is_in_the_order_of_bytes(void **state)
{
    static const char *const ids[] = {"b", "B", "a-", "a", "\xc3\xa9", "_"};
    static const char *const ordered[] = {"B", "_", "a", "a-", "b", "\xc3\xa9"};
    struct database *database;
    assert_int_equal(database_open(place, first, 1, &database), 0);
    for (size_t i = 0; i < 6; i++)
        put(database, ids[i], (int64_t) i);
    struct statement *list;
    assert_int_equal(database_prepare(database,
                                      "SELECT id FROM t ORDER BY id LIMIT ?1",
                                      &list),
                     0);
    statement_bind_integer(list, 1, 10);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(statement_step(list), 1);
        struct bytes id = statement_text(list, 0);
        assert_int_equal(id.len, strlen(ordered[i]));
        assert_memory_equal(id.ptr, ordered[i], id.len);
    }
    assert_int_equal(statement_step(list), 0);
    statement_free(list);
    database_close(database);
}

/* Text is text: nothing in it ends the SQL, or itself. */
static void
text_comes_back_as_it_was(void **state)
{
    static const char text[] = "'; DROP TABLE t; --\\ $1 ?1 \xe2\x82\xac";
    struct database *database;
    assert_int_equal(database_open(place, first, 1, &database), 0);
    put(database, text, INT64_MIN);
    put(database, "", INT64_MAX);
    assert_true(get(database, "SELECT n FROM t WHERE id = ?1", text)
                == INT64_MIN);
    assert_true(get(database, "SELECT n FROM t WHERE id = ?1", "")
                == INT64_MAX);
    database_close(database);
}

static void
a_transaction_is_all_or_nothing(void **state)
{
    struct database *database;
    assert_int_equal(database_open(place, first, 1, &database), 0);
    assert_int_equal(database_begin(database), 0);
    put(database, "a", 1);
    database_rollback(database);
    assert_int_equal(get(database, "SELECT n FROM t WHERE id = ?1", "a"), -1);

    assert_int_equal(database_begin(database), 0);
    put(database, "a", 2);
    put(database, "b", 3);
    assert_int_equal(database_commit(database), 0);
    assert_int_equal(get(database, "SELECT n FROM t WHERE id = ?1", "b"), 3);

    /* what fails in it takes the rest along */
    struct statement *insert;
    assert_int_equal(database_prepare(database,
                                      "INSERT INTO t(id, n) VALUES(?1, 0)",
                                      &insert),
                     0);
    assert_int_equal(database_begin(database), 0);
    put(database, "c", 4);
    statement_bind_text(insert, 1, BYTES_LITERAL("a"));
    assert_int_equal(statement_step(insert), ERR_IO);
    statement_free(insert);
    database_rollback(database);
    assert_int_equal(get(database, "SELECT n FROM t WHERE id = ?1", "c"), -1);
    database_close(database);
}

static void
two_that_start_at_once_migrate_once(void **state)
{
    pid_t children[4];
    for (size_t i = 0; i < 4; i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] == 0) {
            struct database *database;
            _exit(database_open(place, second, 2, &database) == 0 ? 0 : 1);
        }
    }
    for (size_t i = 0; i < 4; i++) {
        int status;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
}

/* ---- PostgreSQL alone ---- */

static void
connections_end(struct database *other)
{
    struct statement *end;
    assert_int_equal(
        database_prepare(other,
                         "SELECT count(pg_terminate_backend(pid, 5000)) FROM "
                         "pg_stat_activity WHERE pid <> pg_backend_pid()"
                         " AND application_name = 'vodst'",
                         &end),
        0);
    assert_int_equal(statement_step(end), 1);
    assert_true(statement_integer(end, 0) > 0);
    statement_free(end);
}

static void
a_connection_that_ended_is_made_anew(void **state)
{
    struct database *database, *other;
    assert_int_equal(database_open(place, first, 1, &database), 0);
    assert_int_equal(database_open(place, first, 1, &other), 0);
    struct statement *select;
    assert_int_equal(
        database_prepare(database, "SELECT n FROM t WHERE id = ?1", &select),
        0);
    put(database, "a", 5);
    for (int round = 0; round < 2; round++) {
        statement_bind_text(select, 1, BYTES_LITERAL("a"));
        assert_int_equal(statement_step(select), 1);
        assert_int_equal(statement_integer(select, 0), 5);
        statement_reset(select);
        connections_end(other);
    }
    put(database, "b", 6);
    statement_free(select);

    /* not in a transaction: its first half is lost */
    assert_int_equal(database_begin(database), 0);
    put(database, "c", 7);
    connections_end(other);
    struct statement *insert;
    assert_int_equal(database_prepare(database,
                                      "INSERT INTO t(id, n) VALUES('d', 8)",
                                      &insert),
                     0);
    assert_int_equal(statement_step(insert), ERR_UNAVAILABLE);
    assert_int_equal(statement_step(insert), ERR_UNAVAILABLE);
    statement_free(insert);
    assert_int_equal(database_commit(database), ERR_UNAVAILABLE);
    database_rollback(database);
    assert_int_equal(get(database, "SELECT n FROM t WHERE id = ?1", "c"), -1);
    assert_int_equal(get(database, "SELECT n FROM t WHERE id = ?1", "d"), -1);
    database_close(database);
    database_close(other);
}

static void
a_server_that_hangs_is_left(void **state)
{
    struct database *database;
    struct statement *sleep;
    assert_int_equal(database_open(place, first, 1, &database), 0);
    put(database, "a", 1);
    assert_int_equal(
        database_prepare(database, "SELECT 1 FROM pg_sleep(30)", &sleep), 0);
    uint64_t before_ms = clock_now_ms();
    assert_int_equal(statement_step(sleep), ERR_TIMEOUT);
    assert_true(clock_now_ms() - before_ms < 20000);
    statement_free(sleep);
    assert_int_equal(get(database, "SELECT n FROM t WHERE id = ?1", "a"), 1);
    database_close(database);
}

static void
a_server_that_cannot_be_reached_is_named(void **state)
{
    struct database *database;
    assert_int_equal(database_open("postgresql://u:secret@127.0.0.1:1/db",
                                   first, 1, &database),
                     ERR_UNAVAILABLE);
    assert_int_equal(database_open("postgresql://%%%", first, 1, &database),
                     ERR_INVALID);
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
#define SQLITE(name) \
    {"sqlite: " #name, name, folder_setup, folder_teardown, NULL}
#define POSTGRESQL(name)                                     \
    {                                                        \
        "postgresql: " #name, name, schema_setup, NULL, NULL \
    }
#define BOTH(name) SQLITE(name), POSTGRESQL(name)
        BOTH(what_is_written_is_read_after_a_restart),
        BOTH(an_older_database_is_migrated_and_keeps_its_rows),
        BOTH(one_of_a_newer_program_is_refused),
        BOTH(a_migration_that_fails_changes_nothing),
        BOTH(what_is_read_is_in_the_order_of_bytes),
        BOTH(text_comes_back_as_it_was),
        BOTH(a_transaction_is_all_or_nothing),
        BOTH(two_that_start_at_once_migrate_once),
        SQLITE(a_file_that_is_no_database_is_refused),
        SQLITE(a_lock_held_for_too_long_is_unavailable),
        POSTGRESQL(a_connection_that_ended_is_made_anew),
        POSTGRESQL(a_server_that_hangs_is_left),
        POSTGRESQL(a_server_that_cannot_be_reached_is_named),
#undef BOTH
#undef POSTGRESQL
#undef SQLITE
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
