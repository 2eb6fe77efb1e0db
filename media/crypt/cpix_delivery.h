/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_CRYPT_CPIX_DELIVERY_H
#define MEDIA_CRYPT_CPIX_DELIVERY_H

/*
 * The other side of media/crypt/cpix_recipient.h: keys that are made for a
 * document, wrapped for whom it is delivered to, and encrypt content keys (CPIX
 * 2.3 §6.1).
 */

#include "media/crypt/cpix_recipient.h"

#define CPIX_MAC_KEY_SIZE 64

/* Whom: from an X.509 certificate in DER, for RSA of 2048 bits and more. NULL: it
 * is none. */
struct cpix_certificate;
struct cpix_certificate *cpix_certificate_new(struct bytes der);
void cpix_certificate_free(struct cpix_certificate *certificate);

/* By the system's random generator; to be wiped. ERR_IO. */
int cpix_secrets_make(struct cpix_secrets *out);

/* One of the keys in it for one certificate. ERR_INVALID. */
int cpix_wrap(const struct cpix_certificate *certificate, struct bytes key,
              uint8_t out[CPIX_WRAPPED_SIZE_MAX], size_t *len);

/* ERR_IO: no randomness. */
int cpix_key_encrypt(const struct cpix_secrets *secrets, const uint8_t key[16],
                     uint8_t cipher[CPIX_CIPHER_SIZE],
                     uint8_t mac[CPIX_MAC_SIZE]);

#endif
