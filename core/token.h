/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_TOKEN_H
#define CORE_TOKEN_H

/*
 * The playback token: proof that st-api allowed one session to play this
 * content until a moment. It rides in the URL as one path segment of 40
 * base64url characters (RFC 4648 section 5, no padding):
 *
 *   0  version, 1 = this form      1  key id
 *   2  expiry, Unix s, be32        6  session, be64
 *  14  HMAC-SHA256 over bytes 0..13 and the content id, first 16 bytes
 *
 * The content id is not in it: it stands in the URL, and the HMAC binds it.
 */

#include "core/bytes.h"

#define TOKEN_TEXT_LEN 40
#define TOKEN_KEYS_MAX 16
#define TOKEN_SECRET_SIZE 32

struct token_claims {
    uint64_t session;
    uint32_t expires_s; /* Unix time; valid while now <= expires */
};

/* Keys and their prepared HMAC states. One per thread: verification uses
 * scratch state inside. */
struct token_keys;

/*
 * Reads a key file: lines "<id 0..255> <64 hex digits>", '#' comments, blank
 * lines. The first key signs, all verify. ERR_INVALID with *line set to the
 * offending line (from 1), ERR_LIMIT, ERR_MEMORY. An empty file is
 * ERR_INVALID, line 0.
 */
int token_keys_parse(struct bytes text, struct token_keys **out,
                     unsigned *line);
void token_keys_free(struct token_keys *keys); /* wipes; NULL is fine */

/* Writes TOKEN_TEXT_LEN characters, not terminated. */
int token_sign(struct token_keys *keys, struct bytes content,
               const struct token_claims *claims, char *text);

/*
 * ERR_DENIED: altered, of another content, an unknown key or malformed.
 * ERR_EXPIRED: genuine, but over. The HMAC is compared in constant time.
 */
int token_verify(struct token_keys *keys, struct bytes text,
                 struct bytes content, uint64_t now_s,
                 struct token_claims *out);

#endif
