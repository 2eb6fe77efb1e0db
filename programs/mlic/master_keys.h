/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_MLIC_MASTER_KEYS_H
#define PROGRAMS_MLIC_MASTER_KEYS_H

/*
 * The keys that content keys are wrapped under: lines of a file, or AES keys
 * that never leave a device (PKCS #11). Each has a number, one wraps and all
 * unwrap, so that a new one can be in use before the old one is taken away.
 *
 * A wrapped key is AES-256-GCM (NIST SP 800-38D) with a nonce by the system's
 * random generator, and with what the key is for as additional data: a row of
 * the database that is moved to another name, or changed, is noticed. Under one
 * master key 2^32 keys may be wrapped.
 */

#include "media/crypt/cenc.h"

#define MASTER_KEY_SIZE 32
#define MASTER_KEYS_MAX 16
#define WRAPPED_NONCE_SIZE 12
#define WRAPPED_TAG_SIZE 16
#define WRAPPED_SIZE (WRAPPED_NONCE_SIZE + CRYPT_KEY_SIZE + WRAPPED_TAG_SIZE)

struct wrapped_key {
    uint32_t master;             /* the number of what it is wrapped under */
    uint8_t bytes[WRAPPED_SIZE]; /* nonce, key, tag */
};

/* For one thread. */
struct master_keys;

/*
 * `place` is a file, which nobody but its owner may read:
 *
 *   <number, from 1> <64 hex digits>      a line for each, the first wraps
 *
 * or "pkcs11:" and the rest of a URI (RFC 7512): token=, object= (the label of
 * the keys, whose CKA_ID is the number), id= (of the one that wraps; without it
 * the highest), module-path=, pin-source= (a file). The reason of a failure is
 * logged, with the place and never a key: ERR_NOT_FOUND, ERR_DENIED (others may
 * read it, or the PIN is wrong), ERR_INVALID, ERR_LIMIT, ERR_IO, ERR_MEMORY.
 */
int master_keys_open(const char *place, struct master_keys **out);
void master_keys_close(struct master_keys *keys); /* wipes; NULL is fine */

/* The number of the one that wraps. */
uint32_t master_keys_current(const struct master_keys *keys);

/* `name` is what the key is for, and is not kept. ERR_IO: no randomness, or the
 * device failed. */
int master_keys_wrap(struct master_keys *keys, struct bytes name,
                     const uint8_t key[CRYPT_KEY_SIZE],
                     struct wrapped_key *out);

/* ERR_NOT_FOUND: its master key is none of these; ERR_CHECKSUM: it is not what
 * was wrapped for this name; ERR_IO. */
int master_keys_unwrap(struct master_keys *keys, struct bytes name,
                       const struct wrapped_key *wrapped,
                       uint8_t key[CRYPT_KEY_SIZE]);

#endif
