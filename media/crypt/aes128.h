/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_CRYPT_AES128_H
#define MEDIA_CRYPT_AES128_H

/*
 * METHOD=AES-128 of HLS (RFC 8216 §4.3.2.4): the whole answer in AES-128-CBC
 * with PKCS#7 padding.
 */

#include "media/transform.h"

#define AES128_KEY_SIZE 16 /* bytes */
#define AES128_BLOCK_SIZE 16

/* The IV of a segment for which the playlist says none: its number. */
void aes128_iv_of_segment(uint32_t number, uint8_t iv[AES128_BLOCK_SIZE]);

/*
 * Around `inner`, which it closes, now on failure; inner NULL: what goes in is
 * encrypted as it is, all `size` bytes. The key is copied, and wiped with the
 * transform; key NULL: only padded, for the caller to encrypt. ERR_MEMORY.
 */
int aes128_transform_open(struct transform *inner, uint64_t size,
                          const uint8_t key[AES128_KEY_SIZE],
                          const uint8_t iv[AES128_BLOCK_SIZE],
                          struct transform **out);

#endif
