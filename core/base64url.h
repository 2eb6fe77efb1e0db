/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_BASE64URL_H
#define CORE_BASE64URL_H

/*
 * base64url without padding (RFC 4648 section 5), strictly: each byte string
 * has one text, and no other text is read as it.
 */

#include "core/bytes.h"

/* Characters of `size` bytes; bytes of `len` characters, rounded down. */
#define BASE64URL_LEN(size) (((size) *4 + 2) / 3)
#define BASE64URL_SIZE(len) ((len) *3 / 4)

/* False: another character, a length that none has, or spare bits that are
 * not 0. Writes BASE64URL_SIZE(text.len) bytes, before a failure too. */
bool base64url_decode(struct bytes text, uint8_t *out);

/* Writes BASE64URL_LEN(data.len) characters, not terminated. */
void base64url_encode(struct bytes data, char *out);

#endif
