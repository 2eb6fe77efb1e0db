/* SPDX-License-Identifier: Apache-2.0 */
#include "platform/database_testing.h"

#include "platform/database.h"

#include <stdio.h>
#include <stdlib.h>

int
database_testing_schema(const char *prefix, unsigned number, char *place,
                        size_t size)
{
    const char *server = getenv("VODST_TEST_POSTGRESQL");
    const char *const none[] = {NULL};
    struct database *database;
    struct statement *create;
    char sql[64];
    if (server == NULL) {
        fprintf(stderr, "run it by tests/integration/postgresql_server.py\n");
        return ERR_UNAVAILABLE;
    }
    int err = database_open(server, none, 0, &database);
    if (err != 0)
        return err;
    snprintf(sql, sizeof sql, "CREATE SCHEMA %s%u", prefix, number);
    err = database_prepare(database, sql, &create);
    if (err == 0) {
        err = statement_step(create);
        statement_free(create);
    }
    database_close(database);
    snprintf(place, size, "%s&options=-csearch_path%%3D%s%u", server, prefix,
             number);
    return err;
}
