/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_CRYPT_CPIX_RECIPIENT_H
#define MEDIA_CRYPT_CPIX_RECIPIENT_H

/*
 * Whom keys are encrypted to (CPIX 2.3 §6.1): a certificate that the request
 * carries and its private key. The key server makes a document key and a MAC
 * key for each answer and wraps both by RSA-OAEP; content keys are encrypted by
 * the one, and by the other it is known that nobody has changed them.
 *
 *   our RSA key ---> document key (AES-256) ---> content keys
 *               `--> MAC key (HMAC-SHA512)  ---> their ValueMAC
 */

#include "core/bytes.h"

#include <stdint.h>

#define CPIX_PEM_SIZE_MAX (64u << 10) /* bytes, of either file */

struct cpix_recipient;

/* Both in PEM: an X.509 certificate for RSA of 2048 bits and more, the first of
 * the file, and its key without a passphrase. *reason says on failure what is
 * wrong and what mends it. ERR_INVALID, ERR_MEMORY. */
int cpix_recipient_new(struct bytes certificate, struct bytes key,
                       struct cpix_recipient **out, const char **reason);
void cpix_recipient_free(struct cpix_recipient *recipient); /* or NULL; wipes */

/* In DER. */
struct bytes cpix_recipient_certificate(const struct cpix_recipient *recipient);

/* ---- of an answer ---- */

#define CPIX_WRAPPED_SIZE_MAX 2048 /* bytes: RSA of 16384 bits */
#define CPIX_CIPHER_SIZE 48        /* of a key: IV, block, padding */
#define CPIX_MAC_SIZE 64

struct cpix_secrets {
    uint8_t document_key[32];
    uint8_t mac_key[CPIX_WRAPPED_SIZE_MAX];
    size_t mac_key_len;
};

/* Unwraps both keys; to be wiped by who calls. ERR_INVALID. */
int cpix_secrets_unwrap(const struct cpix_recipient *recipient,
                        struct bytes document_key, struct bytes mac_key,
                        struct cpix_secrets *out);

/* A content key; the MAC comes first. ERR_CHECKSUM: it is not the value's;
 * ERR_INVALID: what is encrypted is no key of 16 bytes. */
int cpix_key_decrypt(const struct cpix_secrets *secrets,
                     const uint8_t cipher[CPIX_CIPHER_SIZE],
                     const uint8_t mac[CPIX_MAC_SIZE], uint8_t out[16]);

#endif
