/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_TOKEN_KEYS_H
#define CORE_TOKEN_KEYS_H

/*
 * The keys of playback tokens, for the forms of tokens alone: see core/token.h
 * for what a key file holds and for what callers use.
 */

#include "core/token.h"

#include <openssl/types.h>

#define TOKEN_NAME_LEN_MAX 64 /* of a kid, an issuer, an audience */
#define TOKEN_MAC_SIZE 32     /* HMAC-SHA256 */
#define TOKEN_ES256_SIZE 64   /* r and s */

enum token_algorithm { TOKEN_HS256, TOKEN_ES256 };

struct token_name {
    uint8_t text[TOKEN_NAME_LEN_MAX];
    size_t len; /* 0: not given */
};

struct token_key {
    enum token_algorithm algorithm;
    uint8_t id;
    struct token_name kid, issuer, audience;
    EVP_MAC_CTX *mac;     /* prepared; of HS256 */
    EVP_PKEY *public_key; /* of ES256 */
    EVP_MD_CTX *digest;   /* scratch */
    bool has_jwe;
    uint8_t jwe[TOKEN_SECRET_SIZE];
    EVP_CIPHER_CTX *hidden; /* prepared to open with it */
};

/* NULL: there is none. */
const struct token_key *token_key_by_id(const struct token_keys *keys,
                                        uint8_t id);
const struct token_key *token_key_by_name(const struct token_keys *keys,
                                          struct bytes kid);
const struct token_key *token_key_signing(const struct token_keys *keys);

static inline struct bytes
token_name_bytes(const struct token_name *name)
{
    return bytes_of(name->text, name->len);
}

/* HMAC-SHA256 over the parts, one after the other. ERR_MEMORY. */
int token_key_mac(const struct token_key *key, const struct bytes *parts,
                  size_t count, uint8_t mac[TOKEN_MAC_SIZE]);

/* The MAC or signature, by the key's own algorithm. ERR_DENIED when it is not
 * that of the parts. */
int token_key_check(const struct token_key *key, const struct bytes *parts,
                    size_t count, struct bytes signature);

#endif
