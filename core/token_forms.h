/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_TOKEN_FORMS_H
#define CORE_TOKEN_FORMS_H

/*
 * The forms of playback tokens, to each other and to core/token.c: callers
 * use core/token.h.
 */

#include "core/token_cbor.h"
#include "core/token_keys.h"

#define TOKEN_SIZE_MAX (TOKEN_TEXT_LEN_MAX * 3 / 4)

/* When a token is valid, by its own words. */
struct token_times {
    uint64_t begins_s; /* 0: always was */
    uint64_t ends_s;   /* the first second it is no more */
};

/* ERR_DENIED before its time, ERR_EXPIRED after it. */
int token_times_judge(const struct token_request *request,
                      const struct token_times *times);

/* A session for a token that names none, or not by 64 bits. */
uint64_t token_session(struct bytes name);

/* A network in a JWT: encrypted to the key's own "jwe" secret, as RFC 9246 wants
 * it (section 2.1.10). Writes TOKEN_JWE_LEN_MAX characters at most. */
#define TOKEN_JWE_LEN_MAX 192
int token_jwe_seal(const struct token_key *key, const struct network *network,
                   char *text, size_t *len);
int token_jwe_open(const struct token_key *key, struct bytes text,
                   struct network *out);

int token_jwt_verify(struct token_keys *keys, struct bytes text,
                     const struct token_request *request,
                     struct token_claims *out);
int token_jwt_issue(const struct token_key *key, struct bytes content,
                    const struct token_claims *claims, char *text, size_t *len);

/* Labels in catu: the path of the URI, compared by what it begins with. */
enum { TOKEN_CATU_PATH = 3, TOKEN_CATU_PREFIX = 1 };

/* Reads the map at `cbor` to its end. False when it does not hold for the
 * request, or cannot be judged. *has_path: it says something of the path. */
bool token_catu_holds(const struct token_request *request,
                      struct token_cbor *cbor, bool *has_path);

int token_cat_verify(struct token_keys *keys, struct bytes text,
                     const struct token_request *request,
                     struct token_claims *out);
int token_cat_issue(const struct token_key *key, struct bytes content,
                    const struct token_claims *claims, char *text, size_t *len);

#endif
