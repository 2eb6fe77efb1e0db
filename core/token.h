/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_TOKEN_H
#define CORE_TOKEN_H

/*
 * The playback token: proof that somebody who holds a key allowed one session
 * to play this content until a moment. It rides in the URL as one path
 * segment, in one of three forms that are told apart by their text:
 *
 *   compact  40 base64url characters (44 when bound to a network), token.c
 *   JWT      "a.b.c", RFC 7519 as RFC 9246 (URI Signing) uses it, token_jwt.c
 *   CAT      base64url of a CWT, RFC 8392, with the claims of CTA-5007-B
 *            (Common Access Token), token_cat.c
 *
 * Whatever the form: the key is found by the id the token names, its own
 * algorithm and no other is used, and the MAC or signature over every byte is
 * checked before a claim is looked at. A claim that would restrict the play
 * and cannot be judged here refuses the token.
 */

#include "core/network.h"

#define TOKEN_TEXT_LEN 40         /* of the compact form without a network */
#define TOKEN_TEXT_LEN_MAX 2048   /* of those that are looked at */
#define TOKEN_ISSUED_LEN_MAX 1024 /* of those that are issued here */
#define TOKEN_KEYS_MAX 16
#define TOKEN_SECRET_SIZE 32
#define TOKEN_SKEW_MAX_S 3600 /* that clocks may be allowed to differ by */
#define TOKEN_PREFIX_DEFAULT "/p/"

enum token_form { TOKEN_COMPACT, TOKEN_JWT, TOKEN_CAT };

struct token_claims {
    uint64_t session;
    uint32_t expires_s;     /* Unix time: a compact token's last second, and the
                         * first that a JWT or CAT is no more valid in */
    struct network network; /* that it is bound to; family 0: to none */
};

/* Keys and their prepared states. One per thread: verification uses scratch
 * state inside. */
struct token_keys;

/*
 * Reads a key file: a key a line, '#' comments, blank lines.
 *
 *   <id 0..255> <64 hex digits> [name=value ...]            HMAC-SHA256
 *   <id 0..255> es256 <base64 of the public key's DER> [name=value ...]
 *
 *   kid=NAME   what JWTs and CATs call it; otherwise the id in decimal
 *   iss=NAME   the one issuer whose tokens it verifies
 *   aud=NAME   the one audience, where a token names any
 *   jwe=HEX    64 hex digits: the key that hides a client's network in a JWT
 *
 * The first HMAC key signs, all verify. ERR_INVALID with *line set to the
 * offending line (from 1), ERR_LIMIT, ERR_MEMORY. An empty file is
 * ERR_INVALID, line 0.
 */
int token_keys_parse(struct bytes text, struct token_keys **out,
                     unsigned *line);
void token_keys_free(struct token_keys *keys); /* wipes; NULL is fine */

/* One of them signs; and hides a client's network in a JWT. */
bool token_keys_can_sign(const struct token_keys *keys);
bool token_keys_can_hide(const struct token_keys *keys);

/* Writes a compact token of TOKEN_TEXT_LEN characters, not terminated, that is
 * bound to no network. */
int token_sign(struct token_keys *keys, struct bytes content,
               const struct token_claims *claims, char *text);

/* Writes a token of any form, not terminated, for plays below
 * TOKEN_PREFIX_DEFAULT. ERR_UNSUPPORTED: no key can. */
int token_issue(struct token_keys *keys, enum token_form form,
                struct bytes content, const struct token_claims *claims,
                char text[TOKEN_ISSUED_LEN_MAX], size_t *len);

/* What a token is held against. The parts of the URI are those of the request
 * without the token's segment: "http" "h:80" "/p/" "film" "v1/0.m4s" "a=b". */
struct token_request {
    struct bytes scheme, authority, prefix, content, rest, query;
    struct bytes method;          /* empty: GET */
    const struct network *client; /* its address; NULL: not known */
    uint64_t now_s;
    uint32_t early_s; /* a token that begins so much later has begun */
    uint32_t late_s;  /* one that ended so long ago has not ended */
    bool is_expiry_ignored;
};

/*
 * ERR_DENIED: altered, of another content or client, not yet valid, an unknown
 * key or malformed, or with a restriction that cannot be judged.
 * ERR_EXPIRED: genuine, but over. MACs are compared in constant time.
 */
int token_verify_request(struct token_keys *keys, struct bytes text,
                         const struct token_request *request,
                         struct token_claims *out);

/* The same for a play as such, wherever its viewer is: for no one file of the
 * content, and so not for a token that is bound to a network or a file. */
int token_verify(struct token_keys *keys, struct bytes text,
                 struct bytes content, uint64_t now_s,
                 struct token_claims *out);

#endif
