/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PLATFORM_DATABASE_TESTING_H
#define PLATFORM_DATABASE_TESTING_H

/* For tests that run beside tests/integration/postgresql_server.py. */

#include <stddef.h>

/* Makes an empty schema "<prefix><number>" in that PostgreSQL, and writes the
 * URI of a database that is it. */
int database_testing_schema(const char *prefix, unsigned number, char *place,
                            size_t size);

#endif
