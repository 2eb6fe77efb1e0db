/* SPDX-License-Identifier: Apache-2.0 */
/* The schema. */

#include "programs/mlic/store.h"

#include "core/err.h"
#include "platform/database.h"

#include <stdlib.h>

static const char *const migrations[] = {
    "CREATE TABLE content_keys("
    " kid CTEXT PRIMARY KEY NOT NULL," /* these in hex digits */
    " content CTEXT NOT NULL,"
    " version CTEXT NOT NULL,"
    " scheme BIGINT NOT NULL," /* as enum crypt_scheme */
    " track CTEXT NOT NULL,"
    " classes BIGINT NOT NULL," /* bits of enum crypt_class */
    " period BIGINT NOT NULL,"
    " iv CTEXT NOT NULL,"
    " master BIGINT NOT NULL,"
    " wrapped CTEXT NOT NULL,"
    " created BIGINT NOT NULL);"
    "CREATE INDEX content_keys_content ON content_keys(content, version);"
    "CREATE INDEX content_keys_master ON content_keys(master, kid);"

    /* a row for each viewer with plays, to be locked while they are counted */
    "CREATE TABLE viewers("
    " viewer CTEXT PRIMARY KEY NOT NULL," /* service/hash */
    " ends BIGINT NOT NULL);"
    "CREATE INDEX viewers_ends ON viewers(ends);"
    "CREATE TABLE plays("
    " viewer CTEXT NOT NULL,"
    " play CTEXT NOT NULL,"
    " ends BIGINT NOT NULL,"
    " PRIMARY KEY(viewer, play));"
    "CREATE INDEX plays_ends ON plays(ends);"

    /* entitlements that are good once, for each key */
    "CREATE TABLE used("
    " entitlement CTEXT NOT NULL," /* service/jti */
    " kid CTEXT NOT NULL,"
    " ends BIGINT NOT NULL,"
    " PRIMARY KEY(entitlement, kid));"
    "CREATE INDEX used_ends ON used(ends)",

    /* one row: which audit key viewers are hashed with */
    "CREATE TABLE viewers_key("
    " id BIGINT PRIMARY KEY NOT NULL," /* 0 */
    " mark CTEXT NOT NULL)",
};

int
store_open(const char *place, struct master_keys *master, struct store **out)
{
    struct store *store = calloc(1, sizeof *store);
    if (store == NULL)
        return ERR_MEMORY;
    int err =
        database_open(place, migrations, sizeof migrations / sizeof *migrations,
                      &store->database);
    if (err == 0)
        err = key_store_new(store->database, master, &store->keys);
    if (err == 0)
        err = play_store_new(store->database, &store->plays);
    if (err != 0)
        store_close(store);
    else
        *out = store;
    return err;
}

void
store_close(struct store *store)
{
    if (store == NULL)
        return;
    play_store_free(store->plays);
    key_store_free(store->keys);
    database_close(store->database);
    free(store);
}
