/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a key file, and as a token under known keys: none may be
 * accepted but those that were signed.
 */

#include "core/err.h"
#include "core/token.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define KEY_HEX "000102030405060708090a0b0c0d0e0f"
static const char key_file[] =
    "1 " KEY_HEX KEY_HEX "\n65 " KEY_HEX KEY_HEX "\n";

static void
try_keys(struct bytes text)
{
    struct token_keys *keys;
    struct token_claims claims = {.session = 7, .expires_s = 2000};
    struct token_claims found;
    char token[TOKEN_TEXT_LEN];
    unsigned line = 0;

    int err = token_keys_parse(text, &keys, &line);
    if (err != 0) {
        assert(err == ERR_INVALID || err == ERR_LIMIT || err == ERR_MEMORY);
        return;
    }
    struct bytes id = BYTES_LITERAL("film");
    assert(token_sign(keys, id, &claims, token) == 0);
    assert(token_verify(keys, bytes_of(token, sizeof token), id, 1999, &found)
           == 0);
    assert(found.session == 7);
    token_keys_free(keys);
}

static void
try_token(struct bytes text)
{
    static struct token_keys *keys;
    struct token_claims claims;
    unsigned line;
    if (keys == NULL
        && token_keys_parse(bytes_of_text(key_file), &keys, &line) != 0)
        return;
    /* nobody signs for this content */
    assert(token_verify(keys, text, BYTES_LITERAL("unsigned"), 0, &claims)
           != 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    try_keys(bytes_of(data, size));
    try_token(bytes_of(data, size));
    if (size > TOKEN_TEXT_LEN)
        try_token(bytes_of(data, TOKEN_TEXT_LEN));
    return 0;
}
