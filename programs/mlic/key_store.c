/* SPDX-License-Identifier: Apache-2.0 */
/* Content keys in the database. */

#include "programs/mlic/key_store.h"

#include "core/err.h"
#include "platform/database.h"
#include "platform/log.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define KID_TEXT_LEN (2 * CRYPT_KEY_SIZE)
#define IV_TEXT_LEN (2 * CRYPT_KEY_SIZE)
#define WRAPPED_TEXT_LEN (2 * WRAPPED_SIZE)
#define NAME_SIZE_MAX 320 /* bytes, of what a wrapped key is bound to */

_Static_assert(CRYPT_CENC == 1 && CRYPT_CBCS == 2 && CRYPT_AES128 == 3
                   && CRYPT_CLASS_SD == 0 && CRYPT_CLASS_AUDIO == 3,
               "they are what stands in rows");

#define ROW                                                               \
    "kid, content, version, scheme, track, classes, period, iv, master, " \
    "wrapped"

/* X(name, sql) */
#define STATEMENTS(X)                                                       \
    X(add, "INSERT INTO content_keys(kid, content, version, scheme, track," \
           " classes, period, iv, master, wrapped, created)"                \
           " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"          \
           " ON CONFLICT DO NOTHING")                                       \
    X(find, "SELECT " ROW " FROM content_keys WHERE kid = ?1")              \
    X(total, "SELECT count(*) FROM content_keys")                           \
    X(old, "SELECT count(*) FROM content_keys WHERE master <> ?1")          \
    X(old_list, "SELECT " ROW " FROM content_keys WHERE master <> ?1"       \
                " ORDER BY kid LIMIT ?2")                                   \
    X(rewrap, "UPDATE content_keys SET master = ?3, wrapped = ?4"           \
              " WHERE kid = ?1 AND wrapped = ?2")

struct key_store {
    struct database *database;
    pthread_mutex_t lock; /* of who uses the master keys, or brings others */
    struct master_keys *master;
#define STATEMENT(name, sql) struct statement *name;
    STATEMENTS(STATEMENT)
#undef STATEMENT
};

struct row {
    struct key_name name;
    struct wrapped_key wrapped;
    uint8_t kid[CRYPT_KEY_SIZE], iv[CRYPT_KEY_SIZE];
};

/* ---- text ---- */

static void
hex_write(const uint8_t *bytes, size_t size, char *out)
{
    for (size_t i = 0; i < size; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

static bool
hex_read(struct bytes text, uint8_t *out, size_t size)
{
    char copy[WRAPPED_TEXT_LEN + 1];
    size_t len;
    if (text.len != 2 * size)
        return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    return OPENSSL_hexstr2buf_ex(out, size, &len, copy, '\0') == 1;
}

static bool
id_read(struct bytes text, char out[CONTENT_ID_LEN_MAX + 1])
{
    if (!content_id_is_valid(text))
        return false;
    memcpy(out, text.ptr, text.len);
    out[text.len] = '\0';
    return true;
}

/* What a wrapped key is bound to: all that its row says of it. */
static struct bytes
bound_name(const struct row *row, uint8_t out[NAME_SIZE_MAX])
{
    const struct key_name *name = &row->name;
    memcpy(out, row->kid, CRYPT_KEY_SIZE);
    memcpy(out + CRYPT_KEY_SIZE, row->iv, CRYPT_KEY_SIZE);
    const int len = snprintf(
        (char *) out + 2 * CRYPT_KEY_SIZE, NAME_SIZE_MAX - 2 * CRYPT_KEY_SIZE,
        "%s/%s/%d/%s/%u/%u", name->content, name->version, (int) name->scheme,
        name->track, name->classes, name->period);
    return bytes_of(out, 2 * CRYPT_KEY_SIZE + (size_t) len);
}

/* ---- rows ---- */

static bool
track_read(struct bytes text, char out[KEY_TRACK_LEN_MAX + 1])
{
    if (text.len == 0 || text.len > KEY_TRACK_LEN_MAX)
        return false;
    memcpy(out, text.ptr, text.len);
    out[text.len] = '\0';
    return true;
}

/* False: somebody else has written it. */
static bool
row_read(struct statement *from, struct row *out)
{
    const int64_t scheme = statement_integer(from, 3);
    const int64_t classes = statement_integer(from, 5);
    const int64_t period = statement_integer(from, 6);
    const int64_t master = statement_integer(from, 8);
    const struct bytes version = statement_text(from, 2);
    if (scheme < CRYPT_CENC || scheme > CRYPT_AES128 || classes < 1
        || classes >= 1 << CRYPT_CLASS_COUNT || period < 0
        || period > UINT32_MAX || master < 1 || master > UINT32_MAX)
        return false;
    *out = (struct row){.name = {.scheme = (enum crypt_scheme) scheme,
                                 .classes = (unsigned) classes,
                                 .period = (uint32_t) period},
                        .wrapped = {.master = (uint32_t) master}};
    return hex_read(statement_text(from, 0), out->kid, sizeof out->kid)
           && id_read(statement_text(from, 1), out->name.content)
           && (version.len == 0 || id_read(version, out->name.version))
           && track_read(statement_text(from, 4), out->name.track)
           && hex_read(statement_text(from, 7), out->iv, sizeof out->iv)
           && hex_read(statement_text(from, 9), out->wrapped.bytes,
                       sizeof out->wrapped.bytes);
}

/* The one row that a statement finds. */
static int
row_take(struct statement *statement, struct row *out)
{
    int err = statement_step(statement);
    if (err == 1)
        err = row_read(statement, out) ? 0 : ERR_CHECKSUM;
    else if (err == 0)
        err = ERR_NOT_FOUND;
    statement_reset(statement);
    return err;
}

static int
statement_run(struct statement *statement)
{
    const int step = statement_step(statement);
    statement_reset(statement);
    return step < 0 ? step : 0;
}

static int
number_take(struct statement *statement, uint64_t *out)
{
    const int step = statement_step(statement);
    if (step == 1)
        *out = (uint64_t) statement_integer(statement, 0);
    statement_reset(statement);
    return step == 1 ? 0 : step == 0 ? ERR_NOT_FOUND : step;
}

static int
row_unwrap(struct key_store *store, const struct row *row,
           uint8_t key[CRYPT_KEY_SIZE])
{
    uint8_t name[NAME_SIZE_MAX];
    pthread_mutex_lock(&store->lock);
    const int err = master_keys_unwrap(store->master, bound_name(row, name),
                                       &row->wrapped, key);
    pthread_mutex_unlock(&store->lock);
    return err;
}

static int
row_wrap(struct key_store *store, const struct row *row,
         const uint8_t key[CRYPT_KEY_SIZE], struct wrapped_key *out)
{
    uint8_t name[NAME_SIZE_MAX];
    pthread_mutex_lock(&store->lock);
    const int err =
        master_keys_wrap(store->master, bound_name(row, name), key, out);
    pthread_mutex_unlock(&store->lock);
    return err;
}

static int
row_open(struct key_store *store, int err, const struct row *row,
         struct key_name *name, struct crypt_key *out)
{
    struct crypt_key key;
    if (err == 0)
        err = row_unwrap(store, row, key.key);
    if (err == 0) {
        memcpy(key.kid, row->kid, sizeof key.kid);
        memcpy(key.iv, row->iv, sizeof key.iv);
        *name = row->name;
        *out = key;
    } else if (err == ERR_NOT_FOUND) {
        log_error("keys: a key of %s/%s is wrapped under master key %u, which "
                  "is not held",
                  row->name.content, row->name.version, row->wrapped.master);
        err = ERR_UNAVAILABLE;
    } else if (err == ERR_CHECKSUM) {
        log_error("keys: a key in the database is not what was put there: it "
                  "was changed, or is of other master keys");
    }
    explicit_bzero(&key, sizeof key);
    return err;
}

/* ---- what is asked for ---- */

int
key_store_find(struct key_store *store, const uint8_t kid[CRYPT_KEY_SIZE],
               struct key_name *name, struct crypt_key *out)
{
    struct row row;
    char text[KID_TEXT_LEN + 1];
    hex_write(kid, CRYPT_KEY_SIZE, text);
    statement_bind_text(store->find, 1, bytes_of_text(text));
    const int err = row_take(store->find, &row);
    return err == ERR_NOT_FOUND ? err : row_open(store, err, &row, name, out);
}

/* Nothing, where there is one of that KID by now. */
static int
key_add(struct key_store *store, const struct key_name *name,
        const uint8_t kid[CRYPT_KEY_SIZE], uint64_t now_s)
{
    struct row row = {.name = *name};
    uint8_t key[CRYPT_KEY_SIZE];
    char kid_text[KID_TEXT_LEN + 1], iv_text[IV_TEXT_LEN + 1],
        wrapped_text[WRAPPED_TEXT_LEN + 1];
    struct statement *add = store->add;
    memcpy(row.kid, kid, sizeof row.kid);
    int err = ERR_IO;
    if (RAND_priv_bytes(key, sizeof key) == 1
        && RAND_bytes(row.iv, sizeof row.iv) == 1)
        err = row_wrap(store, &row, key, &row.wrapped);
    explicit_bzero(key, sizeof key);
    if (err != 0)
        return err;
    hex_write(row.kid, sizeof row.kid, kid_text);
    hex_write(row.iv, sizeof row.iv, iv_text);
    hex_write(row.wrapped.bytes, sizeof row.wrapped.bytes, wrapped_text);
    statement_bind_text(add, 1, bytes_of_text(kid_text));
    statement_bind_text(add, 2, bytes_of_text(name->content));
    statement_bind_text(add, 3, bytes_of_text(name->version));
    statement_bind_integer(add, 4, name->scheme);
    statement_bind_text(add, 5, bytes_of_text(name->track));
    statement_bind_integer(add, 6, name->classes);
    statement_bind_integer(add, 7, name->period);
    statement_bind_text(add, 8, bytes_of_text(iv_text));
    statement_bind_integer(add, 9, row.wrapped.master);
    statement_bind_text(add, 10, bytes_of_text(wrapped_text));
    statement_bind_integer(add, 11, (int64_t) now_s);
    return statement_run(add);
}

static bool
is_same_name(const struct key_name *a, const struct key_name *b)
{
    return strcmp(a->content, b->content) == 0
           && strcmp(a->version, b->version) == 0 && a->scheme == b->scheme
           && strcmp(a->track, b->track) == 0 && a->classes == b->classes
           && a->period == b->period;
}

int
key_store_take(struct key_store *store, const struct key_name *name,
               const uint8_t kid[CRYPT_KEY_SIZE], uint64_t now_s,
               struct crypt_key *out)
{
    struct key_name found;
    struct crypt_key key;
    int err = key_store_find(store, kid, &found, &key);
    if (err == ERR_NOT_FOUND) {
        err = key_add(store, name, kid, now_s);
        if (err == 0)
            err = key_store_find(store, kid, &found, &key);
    }
    if (err == 0 && !is_same_name(name, &found))
        err = ERR_STALE;
    if (err == 0)
        *out = key;
    explicit_bzero(&key, sizeof key);
    return err;
}

static int64_t
current_master(struct key_store *store)
{
    pthread_mutex_lock(&store->lock);
    const uint32_t number = master_keys_current(store->master);
    pthread_mutex_unlock(&store->lock);
    return number;
}

int
key_store_count(struct key_store *store, uint64_t *total, uint64_t *old)
{
    uint64_t all;
    int err = number_take(store->total, &all);
    if (err != 0)
        return err;
    statement_bind_integer(store->old, 1, current_master(store));
    err = number_take(store->old, old);
    if (err == 0)
        *total = all;
    return err;
}

/* ---- another master key ---- */

static int
row_rewrap(struct key_store *store, const struct row *row)
{
    struct wrapped_key anew;
    struct crypt_key opened;
    struct key_name name;
    int err = row_open(store, 0, row, &name, &opened);
    if (err == 0)
        err = row_wrap(store, row, opened.key, &anew);
    explicit_bzero(&opened, sizeof opened);
    if (err != 0)
        return err;
    char kid[KID_TEXT_LEN + 1], before[WRAPPED_TEXT_LEN + 1],
        after[WRAPPED_TEXT_LEN + 1];
    hex_write(row->kid, sizeof row->kid, kid);
    hex_write(row->wrapped.bytes, sizeof row->wrapped.bytes, before);
    hex_write(anew.bytes, sizeof anew.bytes, after);
    statement_bind_text(store->rewrap, 1, bytes_of_text(kid));
    statement_bind_text(store->rewrap, 2, bytes_of_text(before));
    statement_bind_integer(store->rewrap, 3, anew.master);
    statement_bind_text(store->rewrap, 4, bytes_of_text(after));
    return statement_run(store->rewrap);
}

int
key_store_rewrap(struct key_store *store, unsigned max, unsigned *count)
{
    struct row *rows = calloc(max, sizeof *rows);
    unsigned found = 0;
    if (rows == NULL)
        return ERR_MEMORY;
    int err = database_begin(store->database);
    if (err != 0)
        goto done;
    statement_bind_integer(store->old_list, 1, current_master(store));
    statement_bind_integer(store->old_list, 2, max);
    int step;
    while ((step = statement_step(store->old_list)) == 1 && found < max)
        if (!row_read(store->old_list, &rows[found++]))
            err = ERR_CHECKSUM;
    statement_reset(store->old_list);
    if (step < 0)
        err = step;
    for (unsigned i = 0; i < found && err == 0; i++)
        err = row_rewrap(store, &rows[i]);
    if (err == 0)
        err = database_commit(store->database);
    if (err != 0)
        database_rollback(store->database);
done:
    free(rows);
    if (err == 0)
        *count = found;
    return err;
}

/* ---- opening ---- */

static int
prepare(struct key_store *store)
{
    int err = 0;
#define STATEMENT(name, sql) \
    if (err == 0)            \
        err = database_prepare(store->database, sql, &store->name);
    STATEMENTS(STATEMENT)
#undef STATEMENT
    return err;
}

int
key_store_new(struct database *database, struct master_keys *master,
              struct key_store **out)
{
    struct key_store *store = calloc(1, sizeof *store);
    if (store == NULL)
        return ERR_MEMORY;
    store->database = database;
    store->master = master;
    pthread_mutex_init(&store->lock, NULL);
    int err = prepare(store);
    if (err != 0)
        key_store_free(store);
    else
        *out = store;
    return err;
}

void
key_store_free(struct key_store *store)
{
    if (store == NULL)
        return;
#define STATEMENT(name, sql) statement_free(store->name);
    STATEMENTS(STATEMENT)
#undef STATEMENT
    pthread_mutex_destroy(&store->lock);
    free(store);
}

void
key_store_use(struct key_store *store, struct master_keys *master)
{
    pthread_mutex_lock(&store->lock);
    store->master = master;
    pthread_mutex_unlock(&store->lock);
}
