/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PLATFORM_DATABASE_H
#define PLATFORM_DATABASE_H

/*
 * A small SQL database in one file: SQLite in WAL mode, prepared statements,
 * a schema moved forward by numbered migrations. One thread. Failures are
 * logged here with the database's own reason; callers get an ERR_*.
 */

#include "core/bytes.h"
#include "core/err.h"

struct database;
struct statement; /* prepared once, used often; freed before the database */

/*
 * Opens or makes the file and runs the migrations it has not seen, each in a
 * transaction; how many were run is kept in the file. A file written by a
 * newer program is refused: ERR_VERSION. ERR_IO, ERR_MEMORY, ERR_UNAVAILABLE.
 */
int database_open(const char *path, const char *const *migrations,
                  unsigned migration_count, struct database **out);
void database_close(struct database *database); /* NULL is fine */

int database_prepare(struct database *database, const char *sql,
                     struct statement **out);
void statement_free(struct statement *statement); /* NULL is fine */

/* Parameters count from 1. The bytes must stay until statement_reset. */
void statement_bind_text(struct statement *statement, int parameter,
                         struct bytes text);
void statement_bind_integer(struct statement *statement, int parameter,
                            int64_t value);

/*
 * 1: a row is there; 0: done; ERR_UNAVAILABLE: locked by another process for
 * too long; ERR_IO. Reset after use, whatever came: an open read keeps the
 * write-ahead log from being folded back.
 */
int statement_step(struct statement *statement);
void statement_reset(struct statement *statement);

/* Columns count from 0. The text is valid until the next step or reset. */
struct bytes statement_text(struct statement *statement, int column);
int64_t statement_integer(struct statement *statement, int column);

/* Rows the last INSERT, UPDATE or DELETE changed. */
int database_changes(struct database *database);

#endif
