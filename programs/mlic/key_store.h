/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_MLIC_KEY_STORE_H
#define PROGRAMS_MLIC_KEY_STORE_H

/*
 * Content keys: made here from the system's random generator, kept in a
 * database, each wrapped under a master key. For one thread.
 */

#include "core/content.h"
#include "media/crypt/keys.h"
#include "programs/mlic/master_keys.h"

#define KEY_TRACK_LEN_MAX 64

/* What a key is of. Keys of one name may be several, as packagers choose KIDs;
 * a KID is of one name. */
struct key_name {
    char content[CONTENT_ID_LEN_MAX + 1];
    char version[CONTENT_ID_LEN_MAX + 1]; /* empty: the packager has none */
    enum crypt_scheme scheme;             /* one key is never used by two */
    char track[KEY_TRACK_LEN_MAX + 1];    /* as the packager says: "SD+HD1" */
    unsigned classes;                     /* bits of enum crypt_class; not 0 */
    uint32_t period;
};

struct database;
struct key_store;

/* The database (programs/mlic/store.h) and the master keys stay the caller's, and
 * longer than it. What database_prepare gives. */
int key_store_new(struct database *database, struct master_keys *master,
                  struct key_store **out);
void key_store_free(struct key_store *store); /* NULL is fine */

/* From now on, also in the middle of what another thread asks the store: when
 * this returns the others are no more in use. */
void key_store_use(struct key_store *store, struct master_keys *master);

/*
 * The key of that KID. Where there is none it is made, and in the database before
 * this returns. Whoever asks gets the same key, also of two stores at once on one
 * database. ERR_STALE: it is of another name. Else as key_store_find.
 */
int key_store_take(struct key_store *store, const struct key_name *name,
                   const uint8_t kid[CRYPT_KEY_SIZE], uint64_t now_s,
                   struct crypt_key *out);

/* A key by its KID, and what it is for. ERR_NOT_FOUND; ERR_CHECKSUM: the row is
 * not what was written for this key, or ERR_UNAVAILABLE: its master key is not
 * held, both logged; or as database.h. */
int key_store_find(struct key_store *store, const uint8_t kid[CRYPT_KEY_SIZE],
                   struct key_name *name, struct crypt_key *out);

/* How many keys there are, and how many of them are under another master key
 * than the one that wraps. */
int key_store_count(struct key_store *store, uint64_t *total, uint64_t *old);

/*
 * Wraps up to `max` keys anew that are under another master key than the one
 * that wraps; *count is how many were, 0 in the end. May be stopped, killed and
 * begun again, beside stores that read and write: a key is under the one or the
 * other at any moment.
 */
int key_store_rewrap(struct key_store *store, unsigned max, unsigned *count);

#endif
