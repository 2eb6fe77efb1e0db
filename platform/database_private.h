/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PLATFORM_DATABASE_PRIVATE_H
#define PLATFORM_DATABASE_PRIVATE_H

/* What a kind of database does for platform/database.h. */

#include "platform/database.h"

struct database_kind {
    void (*close)(struct database *database);
    /* Several statements, none with parameters or rows. */
    int (*execute)(struct database *database, const char *what,
                   const char *sql);
    int (*begin)(struct database *database);
    int (*commit)(struct database *database);
    void (*rollback)(struct database *database);
    /* Begins a transaction that is alone with the schema. */
    int (*schema_begin)(struct database *database);
    /* Migrations that were run; 0 in a new database. */
    int (*schema_version_read)(struct database *database, unsigned *version);
    int (*schema_version_write)(struct database *database, unsigned version);
    int (*changes)(struct database *database);

    int (*prepare)(struct database *database, const char *sql,
                   struct statement **out);
    void (*statement_free)(struct statement *statement);
    void (*bind_text)(struct statement *statement, int parameter,
                      struct bytes text);
    void (*bind_integer)(struct statement *statement, int parameter,
                         int64_t value);
    int (*step)(struct statement *statement);
    void (*reset)(struct statement *statement);
    struct bytes (*text)(struct statement *statement, int column);
    int64_t (*integer)(struct statement *statement, int column);
};

/* First in what a kind of database keeps. */
struct database {
    const struct database_kind *kind;
    char *name; /* in messages: never with a password */
};

struct statement {
    struct database *database;
};

/* The schema is not looked at. */
int database_open_sqlite(const char *path, struct database **out);
int database_open_postgresql(const char *uri, struct database **out);

#endif
