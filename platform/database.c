/* SPDX-License-Identifier: Apache-2.0 */
/* What all kinds of databases have in common: the way of their schema. */

#include "platform/database_private.h"
#include "platform/log.h"

#include <stdlib.h>

/* Within one transaction, so that of two programs starting at once only one
 * migrates. */
static int
migrate_locked(struct database *database, const char *const *migrations,
               unsigned count)
{
    const struct database_kind *kind = database->kind;
    unsigned version;
    int err = kind->schema_version_read(database, &version);
    if (err != 0)
        return err;
    if (version > count) {
        log_error("database: %s: refused (schema %u is of a newer program, "
                  "this one knows %u)",
                  database->name, version, count);
        return ERR_VERSION;
    }
    for (; version < count && err == 0; version++)
        err = kind->execute(database, "migration", migrations[version]);
    return err != 0 ? err : kind->schema_version_write(database, count);
}

static int
migrate(struct database *database, const char *const *migrations,
        unsigned count)
{
    unsigned version;
    int err = database->kind->schema_version_read(database, &version);
    if (err != 0 || version == count)
        return err; /* the usual start takes no write lock */
    err = database->kind->schema_begin(database);
    if (err != 0)
        return err;
    err = migrate_locked(database, migrations, count);
    if (err == 0)
        err = database_commit(database);
    if (err != 0)
        database_rollback(database);
    return err;
}

bool
database_is_server(const char *place)
{
    return strncmp(place, "postgresql://", 13) == 0
           || strncmp(place, "postgres://", 11) == 0;
}

int
database_open(const char *place, const char *const *migrations,
              unsigned migration_count, struct database **out)
{
    struct database *database;
    int err = database_is_server(place)
                  ? database_open_postgresql(place, &database)
                  : database_open_sqlite(place, &database);
    if (err != 0)
        return err;
    err = migrate(database, migrations, migration_count);
    if (err != 0) {
        database_close(database);
        return err;
    }
    *out = database;
    return 0;
}

void
database_close(struct database *database)
{
    if (database != NULL)
        database->kind->close(database);
}

int
database_begin(struct database *database)
{
    return database->kind->begin(database);
}

int
database_commit(struct database *database)
{
    return database->kind->commit(database);
}

void
database_rollback(struct database *database)
{
    database->kind->rollback(database);
}

int
database_changes(struct database *database)
{
    return database->kind->changes(database);
}

int
database_prepare(struct database *database, const char *sql,
                 struct statement **out)
{
    struct statement *statement;
    int err = database->kind->prepare(database, sql, &statement);
    if (err != 0)
        return err;
    statement->database = database;
    *out = statement;
    return 0;
}

void
statement_free(struct statement *statement)
{
    if (statement != NULL)
        statement->database->kind->statement_free(statement);
}

void
statement_bind_text(struct statement *statement, int parameter,
                    struct bytes text)
{
    /* A NULL pointer would bind NULL instead of the empty text. */
    if (text.len == 0)
        text = BYTES_LITERAL("");
    statement->database->kind->bind_text(statement, parameter, text);
}

void
statement_bind_integer(struct statement *statement, int parameter,
                       int64_t value)
{
    statement->database->kind->bind_integer(statement, parameter, value);
}

int
statement_step(struct statement *statement)
{
    return statement->database->kind->step(statement);
}

void
statement_reset(struct statement *statement)
{
    statement->database->kind->reset(statement);
}

struct bytes
statement_text(struct statement *statement, int column)
{
    return statement->database->kind->text(statement, column);
}

int64_t
statement_integer(struct statement *statement, int column)
{
    return statement->database->kind->integer(statement, column);
}
