/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_MLIC_PLAY_STORE_H
#define PROGRAMS_MLIC_PLAY_STORE_H

/*
 * Who plays now, and which entitlements were used: limits that hold over all
 * license servers of one database. A play is a lease, which its player renews; one
 * that died frees its place when the lease ends. For one thread.
 */

#include "core/bytes.h"

#define PLAY_ID_LEN_MAX 64
#define VIEWER_KEY_LEN_MAX 160 /* a service and a hash of its viewer */

struct database;
struct play_store;

/* What database_prepare gives. */
int play_store_new(struct database *database, struct play_store **out);
void play_store_free(struct play_store *store); /* NULL is fine */

/* Whether the key that viewers are hashed with, told by its mark (audit.h), is the
 * database's: the first one is, or a new one that is put in its place. Another is
 * ERR_CHECKSUM: its plays would be counted apart. */
int play_store_key_agree(struct play_store *store, const char *mark,
                         bool is_new);

struct lease {
    const char *viewer, *play;
    uint64_t ends_s; /* Unix time: the first second in which it is no more */
};

/* Begins it or puts off its end, if the viewer has fewer than `max` others that
 * last; in a transaction. ERR_LIMIT; or as database.h. */
int play_store_lease(struct play_store *store, const struct lease *lease,
                     unsigned max, uint64_t now_s);
/* Puts off its end. ERR_NOT_FOUND: there is none that lasts. */
int play_store_renew(struct play_store *store, const struct lease *lease,
                     uint64_t now_s);
/* Ends it; there may be none. */
int play_store_release(struct play_store *store, const struct lease *lease);

/* Notes that the entitlement has given the key; it is kept to `ends_s`, when the
 * entitlement itself ends. ERR_STALE: it had given it. */
int play_store_use(struct play_store *store, const char *entitlement,
                   const char *kid, uint64_t ends_s);

/* Forgets up to a thousand each of what has ended. */
int play_store_sweep(struct play_store *store, uint64_t now_s);

#endif
