/* SPDX-License-Identifier: Apache-2.0 */
/* Leases and uses in the database. */

#include "programs/mlic/play_store.h"

#include "core/err.h"
#include "platform/database.h"

#include <stdlib.h>

/* X(name, sql). The row of the viewer is written first: who counts at the same
 * time, of another connection, waits for it. */
#define STATEMENTS(X)                                                    \
    X(viewer_lock, "INSERT INTO viewers(viewer, ends) VALUES(?1, ?2)"    \
                   " ON CONFLICT(viewer) DO UPDATE SET ends = ?2")       \
    X(others, "SELECT count(*) FROM plays"                               \
              " WHERE viewer = ?1 AND play <> ?2 AND ends > ?3")         \
    X(lease, "INSERT INTO plays(viewer, play, ends) VALUES(?1, ?2, ?3)"  \
             " ON CONFLICT(viewer, play) DO UPDATE SET ends = ?3")       \
    X(renew, "UPDATE plays SET ends = ?3"                                \
             " WHERE viewer = ?1 AND play = ?2 AND ends > ?4")           \
    X(release, "DELETE FROM plays WHERE viewer = ?1 AND play = ?2")      \
    X(use, "INSERT INTO used(entitlement, kid, ends) VALUES(?1, ?2, ?3)" \
           " ON CONFLICT DO NOTHING")                                    \
    X(plays_sweep, "DELETE FROM plays WHERE (viewer, play) IN"           \
                   " (SELECT viewer, play FROM plays WHERE ends <= ?1"   \
                   " ORDER BY ends LIMIT 1000)")                         \
    X(used_sweep, "DELETE FROM used WHERE (entitlement, kid) IN"         \
                  " (SELECT entitlement, kid FROM used WHERE ends <= ?1" \
                  " ORDER BY ends LIMIT 1000)")                          \
    X(viewers_sweep, "DELETE FROM viewers WHERE viewer IN"               \
                     " (SELECT viewer FROM viewers WHERE ends <= ?1"     \
                     " ORDER BY ends LIMIT 1000)")                       \
    X(key_first, "INSERT INTO viewers_key(id, mark) VALUES(0, ?1)"       \
                 " ON CONFLICT(id) DO NOTHING")                          \
    X(key_change, "INSERT INTO viewers_key(id, mark) VALUES(0, ?1)"      \
                  " ON CONFLICT(id) DO UPDATE SET mark = ?1")            \
    X(key_find, "SELECT mark FROM viewers_key WHERE id = 0")

struct play_store {
    struct database *database;
#define STATEMENT(name, sql) struct statement *name;
    STATEMENTS(STATEMENT)
#undef STATEMENT
};

int
play_store_new(struct database *database, struct play_store **out)
{
    struct play_store *store = calloc(1, sizeof *store);
    if (store == NULL)
        return ERR_MEMORY;
    store->database = database;
    int err = 0;
#define STATEMENT(name, sql) \
    if (err == 0)            \
        err = database_prepare(database, sql, &store->name);
    STATEMENTS(STATEMENT)
#undef STATEMENT
    if (err != 0)
        play_store_free(store);
    else
        *out = store;
    return err;
}

void
play_store_free(struct play_store *store)
{
    if (store == NULL)
        return;
#define STATEMENT(name, sql) statement_free(store->name);
    STATEMENTS(STATEMENT)
#undef STATEMENT
    free(store);
}

static int
run(struct statement *statement)
{
    const int step = statement_step(statement);
    statement_reset(statement);
    return step < 0 ? step : 0;
}

static int
others_count(struct play_store *store, const struct lease *lease,
             uint64_t now_s, int64_t *out)
{
    statement_bind_text(store->others, 1, bytes_of_text(lease->viewer));
    statement_bind_text(store->others, 2, bytes_of_text(lease->play));
    statement_bind_integer(store->others, 3, (int64_t) now_s);
    const int step = statement_step(store->others);
    if (step == 1)
        *out = statement_integer(store->others, 0);
    statement_reset(store->others);
    return step == 1 ? 0 : step == 0 ? ERR_IO : step;
}

static void
lease_bind(struct statement *statement, const struct lease *lease)
{
    statement_bind_text(statement, 1, bytes_of_text(lease->viewer));
    statement_bind_text(statement, 2, bytes_of_text(lease->play));
    statement_bind_integer(statement, 3, (int64_t) lease->ends_s);
}

static int
lease_take(struct play_store *store, const struct lease *lease, unsigned max,
           uint64_t now_s)
{
    int64_t others;
    statement_bind_text(store->viewer_lock, 1, bytes_of_text(lease->viewer));
    statement_bind_integer(store->viewer_lock, 2, (int64_t) lease->ends_s);
    int err = run(store->viewer_lock);
    if (err == 0)
        err = others_count(store, lease, now_s, &others);
    if (err == 0 && others >= max)
        err = ERR_LIMIT;
    if (err != 0)
        return err;
    lease_bind(store->lease, lease);
    return run(store->lease);
}

int
play_store_lease(struct play_store *store, const struct lease *lease,
                 unsigned max, uint64_t now_s)
{
    int err = database_begin(store->database);
    if (err != 0)
        return err;
    err = lease_take(store, lease, max, now_s);
    if (err == 0)
        err = database_commit(store->database);
    if (err != 0)
        database_rollback(store->database);
    return err;
}

int
play_store_renew(struct play_store *store, const struct lease *lease,
                 uint64_t now_s)
{
    lease_bind(store->renew, lease);
    statement_bind_integer(store->renew, 4, (int64_t) now_s);
    const int err = run(store->renew);
    if (err != 0)
        return err;
    return database_changes(store->database) > 0 ? 0 : ERR_NOT_FOUND;
}

int
play_store_release(struct play_store *store, const struct lease *lease)
{
    statement_bind_text(store->release, 1, bytes_of_text(lease->viewer));
    statement_bind_text(store->release, 2, bytes_of_text(lease->play));
    return run(store->release);
}

int
play_store_use(struct play_store *store, const char *entitlement,
               const char *kid, uint64_t ends_s)
{
    statement_bind_text(store->use, 1, bytes_of_text(entitlement));
    statement_bind_text(store->use, 2, bytes_of_text(kid));
    statement_bind_integer(store->use, 3, (int64_t) ends_s);
    const int err = run(store->use);
    if (err != 0)
        return err;
    return database_changes(store->database) > 0 ? 0 : ERR_STALE;
}

int
play_store_key_agree(struct play_store *store, const char *mark, bool is_new)
{
    struct statement *put = is_new ? store->key_change : store->key_first;
    statement_bind_text(put, 1, bytes_of_text(mark));
    int err = run(put);
    if (err != 0)
        return err;
    const int step = statement_step(store->key_find);
    if (step == 1)
        err =
            bytes_equal(statement_text(store->key_find, 0), bytes_of_text(mark))
                ? 0
                : ERR_CHECKSUM;
    statement_reset(store->key_find);
    return step == 1 ? err : step == 0 ? ERR_IO : step;
}

int
play_store_sweep(struct play_store *store, uint64_t now_s)
{
    struct statement *const sweeps[] = {store->plays_sweep, store->used_sweep,
                                        store->viewers_sweep};
    int err = 0;
    for (unsigned i = 0; i < sizeof sweeps / sizeof *sweeps && err == 0; i++) {
        statement_bind_integer(sweeps[i], 1, (int64_t) now_s);
        err = run(sweeps[i]);
    }
    return err;
}
