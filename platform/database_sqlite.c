/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SQLite behind platform/database.h.
 *
 * synchronous=FULL: an answered write survives a power cut. Writes are a few a
 * minute (an ingest, a change of the catalogue), reads are the traffic, and
 * these never wait for the disk.
 */

#include "platform/database_private.h"
#include "platform/log.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

/* Another process holds the lock for the length of one small transaction. */
#define BUSY_TIMEOUT_MS 1000

struct sqlite {
    struct database base;
    sqlite3 *handle;
};

struct sqlite_statement {
    struct statement base;
    sqlite3_stmt *handle;
};

static sqlite3 *
handle_of(const struct database *database)
{
    return ((const struct sqlite *) database)->handle;
}

static sqlite3_stmt *
statement_of(const struct statement *statement)
{
    return ((const struct sqlite_statement *) statement)->handle;
}

static int
err_of(int code)
{
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_DONE:
        return 0;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return ERR_UNAVAILABLE;
    case SQLITE_NOMEM:
        return ERR_MEMORY;
    case SQLITE_FULL:
        return ERR_FULL;
    default:
        return ERR_IO;
    }
}

static int
failed(const struct database *database, const char *what, int code)
{
    log_error("database: %s: %s failed (%s)", database->name, what,
              sqlite3_errmsg(handle_of(database)));
    return err_of(code);
}

static int
sqlite_execute(struct database *database, const char *what, const char *sql)
{
    int code = sqlite3_exec(handle_of(database), sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? 0 : failed(database, what, code);
}

/* Who makes a new file and who opens it at that moment wait for each other's
 * locks: SQLite then says that it is busy at once, and waits for nobody. */
static int
wal_begin(struct database *database)
{
    int waited_ms = 0, code;
    while ((code = sqlite3_exec(handle_of(database),
                                "PRAGMA journal_mode = WAL", NULL, NULL, NULL))
               == SQLITE_BUSY
           && waited_ms < BUSY_TIMEOUT_MS)
        waited_ms += sqlite3_sleep(10);
    return code == SQLITE_OK ? 0 : failed(database, "open", code);
}

/* `alone`: until this process ends no other one can use the database. */
static int
handle_open(struct sqlite *sqlite, bool alone)
{
    struct database *database = &sqlite->base;
    sqlite3_close_v2(sqlite->handle);
    sqlite->handle = NULL;
    int code = sqlite3_open_v2(
        database->name, &sqlite->handle,
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    if (code != SQLITE_OK)
        return failed(database, "open", code);
    sqlite3_busy_timeout(sqlite->handle, BUSY_TIMEOUT_MS);
    int err = 0;
    if (alone)
        err =
            sqlite_execute(database, "open", "PRAGMA locking_mode = EXCLUSIVE");
    if (err == 0)
        err = wal_begin(database);
    return err != 0 ? err
                    : sqlite_execute(database, "open",
                                     "PRAGMA synchronous = FULL;"
                                     "PRAGMA foreign_keys = ON;"
                                     "PRAGMA cache_size = -32768;"
                                     "PRAGMA trusted_schema = OFF");
}

/* IMMEDIATE: a transaction that could not write would find that out late. */
static int
sqlite_begin(struct database *database)
{
    return sqlite_execute(database, "begin", "BEGIN IMMEDIATE");
}

static int
sqlite_commit(struct database *database)
{
    return sqlite_execute(database, "commit", "COMMIT");
}

static void
sqlite_rollback(struct database *database)
{
    if (!sqlite3_get_autocommit(handle_of(database)))
        sqlite_execute(database, "rollback", "ROLLBACK");
}

static int
sqlite_schema_version_read(struct database *database, unsigned *version)
{
    struct statement *statement;
    int err = database_prepare(database, "PRAGMA user_version", &statement);
    if (err != 0)
        return err;
    int step = statement_step(statement);
    if (step == 1)
        *version = (unsigned) statement_integer(statement, 0);
    statement_free(statement);
    return step == 1 ? 0 : step == 0 ? ERR_IO : step;
}

static int
sqlite_schema_version_write(struct database *database, unsigned version)
{
    char sql[64];
    snprintf(sql, sizeof sql, "PRAGMA user_version = %u", version);
    return sqlite_execute(database, "migration", sql);
}

static void
sqlite_close(struct database *database)
{
    sqlite3_close_v2(handle_of(database));
    free(database->name);
    free(database);
}

static int
sqlite_changes(struct database *database)
{
    return sqlite3_changes(handle_of(database));
}

static int
sqlite_prepare(struct database *database, const char *sql,
               struct statement **out)
{
    struct sqlite_statement *statement = calloc(1, sizeof *statement);
    if (statement == NULL)
        return ERR_MEMORY;
    int code =
        sqlite3_prepare_v3(handle_of(database), sql, -1,
                           SQLITE_PREPARE_PERSISTENT, &statement->handle, NULL);
    if (code != SQLITE_OK) {
        free(statement);
        return failed(database, "prepare", code);
    }
    *out = &statement->base;
    return 0;
}

static void
sqlite_statement_free(struct statement *statement)
{
    sqlite3_finalize(statement_of(statement));
    free(statement);
}

static void
sqlite_bind_text(struct statement *statement, int parameter, struct bytes text)
{
    sqlite3_bind_text64(statement_of(statement), parameter,
                        (const char *) text.ptr, text.len, SQLITE_STATIC,
                        SQLITE_UTF8);
}

static void
sqlite_bind_integer(struct statement *statement, int parameter, int64_t value)
{
    sqlite3_bind_int64(statement_of(statement), parameter, value);
}

static int
sqlite_step(struct statement *statement)
{
    int code = sqlite3_step(statement_of(statement));
    if (code == SQLITE_ROW)
        return 1;
    if (code == SQLITE_DONE)
        return 0;
    return failed(statement->database, sqlite3_sql(statement_of(statement)),
                  code);
}

static void
sqlite_reset(struct statement *statement)
{
    sqlite3_reset(statement_of(statement));
    sqlite3_clear_bindings(statement_of(statement));
}

static struct bytes
sqlite_text(struct statement *statement, int column)
{
    const void *text = sqlite3_column_text(statement_of(statement), column);
    int len = sqlite3_column_bytes(statement_of(statement), column);
    return bytes_of(text, text != NULL && len > 0 ? (size_t) len : 0);
}

static int64_t
sqlite_integer(struct statement *statement, int column)
{
    return sqlite3_column_int64(statement_of(statement), column);
}

static const struct database_kind kind = {
    .close = sqlite_close,
    .execute = sqlite_execute,
    .begin = sqlite_begin,
    .commit = sqlite_commit,
    .rollback = sqlite_rollback,
    .schema_begin = sqlite_begin,
    .schema_version_read = sqlite_schema_version_read,
    .schema_version_write = sqlite_schema_version_write,
    .changes = sqlite_changes,
    .prepare = sqlite_prepare,
    .statement_free = sqlite_statement_free,
    .bind_text = sqlite_bind_text,
    .bind_integer = sqlite_bind_integer,
    .step = sqlite_step,
    .reset = sqlite_reset,
    .text = sqlite_text,
    .integer = sqlite_integer,
};

int
database_open_sqlite(const char *path, struct database **out)
{
    struct sqlite *sqlite = calloc(1, sizeof *sqlite);
    if (sqlite == NULL)
        return ERR_MEMORY;
    sqlite->base.kind = &kind;
    int err = ERR_MEMORY;
    if ((sqlite->base.name = strdup(path)) == NULL)
        goto failed;
    err = handle_open(sqlite, false);
    if (err != 0 && (sqlite3_errcode(sqlite->handle) & 0xff) == SQLITE_IOERR) {
        /* on a full disk WAL's index, a file that processes share, finds no
         * room: alone with the database it is in memory */
        log_warn("database: %s: open it for this process alone", path);
        err = handle_open(sqlite, true);
    }
    if (err != 0)
        goto failed;
    *out = &sqlite->base;
    return 0;

failed:
    sqlite_close(&sqlite->base);
    return err;
}
