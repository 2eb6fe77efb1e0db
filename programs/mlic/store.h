/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_MLIC_STORE_H
#define PROGRAMS_MLIC_STORE_H

/*
 * The license server's database (platform/database.h) with all that is in it. For
 * one thread; several, and several programs, may have one each on one database.
 */

#include "programs/mlic/key_store.h"
#include "programs/mlic/play_store.h"

struct store {
    struct database *database;
    struct key_store *keys;
    struct play_store *plays;
};

/* `place` as database_open's; the master keys stay the caller's, and longer than
 * the store. What database_open gives. */
int store_open(const char *place, struct master_keys *master,
               struct store **out);
void store_close(struct store *store); /* NULL is fine */

#endif
