/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SQLite behind platform/database.h.
 *
 * synchronous=FULL: an answered write survives a power cut. Writes are a few a
 * minute (an ingest, a change of the catalogue), reads are the traffic, and
 * these never wait for the disk.
 */

#include "platform/database.h"

#include "platform/log.h"

#include <sqlite3.h>
#include <stdlib.h>

/* Another process holds the lock for the length of one small transaction. */
#define BUSY_TIMEOUT_MS 1000

struct database {
    sqlite3 *handle;
    char *path;
};

struct statement {
    sqlite3_stmt *handle;
    struct database *database;
};

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
    log_error("database: %s: %s failed (%s)", database->path, what,
              sqlite3_errmsg(database->handle));
    return err_of(code);
}

static int
execute(struct database *database, const char *what, const char *sql)
{
    int code = sqlite3_exec(database->handle, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? 0 : failed(database, what, code);
}

/* `alone`: until this process ends no other one can use the database. */
static int
handle_open(struct database *database, bool alone)
{
    sqlite3_close_v2(database->handle);
    database->handle = NULL;
    int code = sqlite3_open_v2(
        database->path, &database->handle,
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    if (code != SQLITE_OK)
        return failed(database, "open", code);
    sqlite3_busy_timeout(database->handle, BUSY_TIMEOUT_MS);
    int err = 0;
    if (alone)
        err = execute(database, "open", "PRAGMA locking_mode = EXCLUSIVE");
    return err != 0 ? err
                    : execute(database, "open",
                              "PRAGMA journal_mode = WAL;"
                              "PRAGMA synchronous = FULL;"
                              "PRAGMA cache_size = -32768;"
                              "PRAGMA trusted_schema = OFF");
}

static int
user_version_read(struct database *database, unsigned *version)
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

/* Within one transaction, so that of two programs starting at once only one
 * migrates. */
static int
migrate_locked(struct database *database, const char *const *migrations,
               unsigned count)
{
    unsigned version = 0;
    int err = user_version_read(database, &version);
    if (err != 0)
        return err;
    if (version > count) {
        log_error("database: %s: refused (schema %u is of a newer program, "
                  "this one knows %u)",
                  database->path, version, count);
        return ERR_VERSION;
    }
    for (; version < count; version++) {
        err = execute(database, "migration", migrations[version]);
        if (err != 0)
            return err;
        char sql[64];
        sqlite3_snprintf(sizeof sql, sql, "PRAGMA user_version = %u",
                         version + 1);
        err = execute(database, "migration", sql);
        if (err != 0)
            return err;
    }
    return 0;
}

static int
migrate(struct database *database, const char *const *migrations,
        unsigned count)
{
    unsigned version = 0;
    int err = user_version_read(database, &version);
    if (err != 0 || version == count)
        return err; /* the usual start takes no write lock */
    err = execute(database, "migration", "BEGIN IMMEDIATE");
    if (err != 0)
        return err;
    err = migrate_locked(database, migrations, count);
    if (err == 0)
        return execute(database, "migration", "COMMIT");
    sqlite3_exec(database->handle, "ROLLBACK", NULL, NULL, NULL);
    return err;
}

int
database_open(const char *path, const char *const *migrations,
              unsigned migration_count, struct database **out)
{
    struct database *database = calloc(1, sizeof *database);
    if (database == NULL)
        return ERR_MEMORY;
    int err = ERR_MEMORY;
    if ((database->path = strdup(path)) == NULL)
        goto failed;
    err = handle_open(database, false);
    if (err != 0
        && (sqlite3_errcode(database->handle) & 0xff) == SQLITE_IOERR) {
        /* on a full disk WAL's index, a file that processes share, finds no
         * room: alone with the database it is in memory */
        log_warn("database: %s: open it for this process alone", path);
        err = handle_open(database, true);
    }
    if (err != 0)
        goto failed;
    err = migrate(database, migrations, migration_count);
    if (err != 0)
        goto failed;
    *out = database;
    return 0;

failed:
    database_close(database);
    return err;
}

void
database_close(struct database *database)
{
    if (database == NULL)
        return;
    sqlite3_close_v2(database->handle);
    free(database->path);
    free(database);
}

int
database_prepare(struct database *database, const char *sql,
                 struct statement **out)
{
    struct statement *statement = calloc(1, sizeof *statement);
    if (statement == NULL)
        return ERR_MEMORY;
    statement->database = database;
    int code =
        sqlite3_prepare_v3(database->handle, sql, -1, SQLITE_PREPARE_PERSISTENT,
                           &statement->handle, NULL);
    if (code != SQLITE_OK) {
        int err = failed(database, "prepare", code);
        free(statement);
        return err;
    }
    *out = statement;
    return 0;
}

void
statement_free(struct statement *statement)
{
    if (statement == NULL)
        return;
    sqlite3_finalize(statement->handle);
    free(statement);
}

void
statement_bind_text(struct statement *statement, int parameter,
                    struct bytes text)
{
    /* A NULL pointer would bind NULL instead of the empty text. */
    sqlite3_bind_text64(statement->handle, parameter,
                        text.len > 0 ? (const char *) text.ptr : "", text.len,
                        SQLITE_STATIC, SQLITE_UTF8);
}

void
statement_bind_integer(struct statement *statement, int parameter,
                       int64_t value)
{
    sqlite3_bind_int64(statement->handle, parameter, value);
}

int
statement_step(struct statement *statement)
{
    int code = sqlite3_step(statement->handle);
    if (code == SQLITE_ROW)
        return 1;
    if (code == SQLITE_DONE)
        return 0;
    return failed(statement->database, sqlite3_sql(statement->handle), code);
}

void
statement_reset(struct statement *statement)
{
    sqlite3_reset(statement->handle);
    sqlite3_clear_bindings(statement->handle);
}

struct bytes
statement_text(struct statement *statement, int column)
{
    const void *text = sqlite3_column_text(statement->handle, column);
    int len = sqlite3_column_bytes(statement->handle, column);
    return bytes_of(text, text != NULL && len > 0 ? (size_t) len : 0);
}

int64_t
statement_integer(struct statement *statement, int column)
{
    return sqlite3_column_int64(statement->handle, column);
}

int
database_changes(struct database *database)
{
    return sqlite3_changes(database->handle);
}
