/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MODULES_PACKAGE_PACKAGE_SEAL_H
#define MODULES_PACKAGE_PACKAGE_SEAL_H

/*
 * AES-128-CBC of several answers at once. In one chain each block waits for the
 * one before it, and a core does a sixth of what it can; chains of different
 * answers wait for nothing of each other. So what is to be sealed waits until
 * the worker has seen to all its connections, and is then done together, by
 * Intel's Multi-Buffer Crypto for IPsec library.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include <stdbool.h>

#include "media/crypt/aes128.h"

#define PACKAGE_SEAL_SIZE_MAX 65520u /* bytes: the library counts in 16 bits */

/* A chain. */
struct package_seal {
    bool is_waiting; /* its bytes are not sealed yet */

    /* private */
    ngx_queue_t queue;
    ngx_connection_t *connection;
    u_char *bytes;
    size_t len;
    uint8_t iv[AES128_BLOCK_SIZE];
    uint8_t keys[11 * AES128_BLOCK_SIZE] __attribute__((aligned(16)));
};

/* Once in a worker. */
void package_seal_init(ngx_log_t *log);

/* Of the pool; the key is copied. NULL: this build or this CPU cannot, or there
 * is no memory. */
struct package_seal *package_seal_open(ngx_pool_t *pool,
                                       const uint8_t key[AES128_KEY_SIZE],
                                       const uint8_t iv[AES128_BLOCK_SIZE]);

/* Seals the bytes, whole blocks and PACKAGE_SEAL_SIZE_MAX at most, where they
 * lie, and then has the connection write. One at a time: while is_waiting they
 * are not to be touched. */
void package_seal_start(struct package_seal *seal, ngx_connection_t *connection,
                        u_char *bytes, size_t len);

/* Forgets what is waiting; wipes the key. NULL is fine. */
void package_seal_close(struct package_seal *seal);

#endif
