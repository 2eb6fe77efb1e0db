/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PLATFORM_DATABASE_H
#define PLATFORM_DATABASE_H

/*
 * An SQL database: a file of this machine (SQLite in WAL mode) or a server that
 * several programs share (PostgreSQL). Prepared statements, a schema moved
 * forward by numbered migrations. A database and its statements belong to one
 * thread. Failures are logged here with the database's own reason; callers get
 * an ERR_*.
 *
 * The SQL is the part that both understand: parameters ?1, ?2, ...; columns of
 * BIGINT and CTEXT, the latter compared byte by byte; no NULL.
 */

#include "core/bytes.h"
#include "core/err.h"

struct database;
struct statement; /* prepared once, used often; freed before the database */

/*
 * `place` is a file's path, or "postgresql://[USER@]HOST[:PORT]/NAME" in any
 * form that libpq takes. Makes the file where there is none, and runs the
 * migrations that the database has not seen, all in one transaction; how many
 * were run is kept in it. One written by a newer program is refused:
 * ERR_VERSION. ERR_IO, ERR_MEMORY, ERR_UNAVAILABLE.
 */
int database_open(const char *place, const char *const *migrations,
                  unsigned migration_count, struct database **out);
bool database_is_server(const char *place);
void database_close(struct database *database); /* NULL is fine */

/* Everything from begin to commit, or nothing; a transaction that writes waits
 * here for the others'. After a failure of anything in between, and of commit:
 * rollback. */
int database_begin(struct database *database);
int database_commit(struct database *database);
void database_rollback(struct database *database);

/* `sql` must stay while the statement does. */
int database_prepare(struct database *database, const char *sql,
                     struct statement **out);
void statement_free(struct statement *statement); /* NULL is fine */

#define STATEMENT_PARAMETERS_MAX 24

/* Parameters count from 1. The bytes must stay until statement_reset. */
void statement_bind_text(struct statement *statement, int parameter,
                         struct bytes text);
void statement_bind_integer(struct statement *statement, int parameter,
                            int64_t value);

/*
 * 1: a row is there; 0: done; ERR_UNAVAILABLE: locked by another process for
 * too long, or the server does not answer (whether it took a write is then not
 * known); ERR_TIMEOUT: it hangs (so is that); ERR_FULL; ERR_IO. Reset after use, whatever came: an open read keeps
 * the write-ahead log from being folded back.
 */
int statement_step(struct statement *statement);
void statement_reset(struct statement *statement);

/* Columns count from 0. The text is valid until the next step or reset. */
struct bytes statement_text(struct statement *statement, int column);
int64_t statement_integer(struct statement *statement, int column);

/* Rows the last INSERT, UPDATE or DELETE changed. */
int database_changes(struct database *database);

#endif
