/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claims that are authentic and still may be anything: the target signs what it
 * is given, as an issuer that holds a key could. The first byte says what the
 * rest is: 'j' a JWT's header, a NUL and its payload; 'c' a CAT's protected
 * header, its length first, and its payload; 'r' a pattern, a NUL and a text;
 * 'e' a network for a JWT's cdniip.
 */

#include "core/base64url.h"
#include "core/err.h"
#include "core/token_cbor.h"
#include "core/token_forms.h"
#include "core/token_uri.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PART_MAX 600 /* bytes; longer ones make no token that is looked at */
#define KEY_HEX "000102030405060708090a0b0c0d0e0f"
static const char key_file[] =
    "7 " KEY_HEX KEY_HEX " iss=me aud=us jwe=" KEY_HEX KEY_HEX "\n";

static void
verify(struct token_keys *keys, const char *text, size_t len)
{
    static const uint8_t address[4] = {192, 0, 2, 77};
    struct network client;
    const struct token_request request = {
        .scheme = BYTES_LITERAL("http"),
        .authority = BYTES_LITERAL("node.example:8080"),
        .prefix = BYTES_LITERAL("/p/"),
        .content = BYTES_LITERAL("film"),
        .rest = BYTES_LITERAL("v1/v0/3.m4s"),
        .client = &client,
        .now_s = 1700000000,
    };
    struct token_claims claims = {.expires_s = 1};
    /* exactly the size, so that a sanitizer sees any step past the end */
    char *copy = malloc(len);
    assert(copy != NULL);
    memcpy(copy, text, len);
    network_set(&client, 4, address, 32);
    int err =
        token_verify_request(keys, bytes_of(copy, len), &request, &claims);
    assert(err == ERR_DENIED || err == ERR_EXPIRED
           || (err == 0 && claims.expires_s > 1700000000));
    assert(err == 0 || claims.expires_s == 1);
    free(copy);
}

static void
try_jwt(struct token_keys *keys, struct bytes data)
{
    const uint8_t *nul = data.len > 0 ? memchr(data.ptr, 0, data.len) : NULL;
    char text[TOKEN_TEXT_LEN_MAX];
    uint8_t mac[TOKEN_MAC_SIZE];
    if (nul == NULL || data.len > PART_MAX)
        return;
    struct bytes header = bytes_of(data.ptr, (size_t) (nul - data.ptr));
    struct bytes payload = bytes_of(nul + 1, data.len - header.len - 1);
    base64url_encode(header, text);
    size_t len = BASE64URL_LEN(header.len);
    text[len++] = '.';
    base64url_encode(payload, text + len);
    len += BASE64URL_LEN(payload.len);
    struct bytes part = bytes_of(text, len);
    assert(token_key_mac(token_key_signing(keys), &part, 1, mac) == 0);
    text[len++] = '.';
    base64url_encode(bytes_of(mac, sizeof mac), text + len);
    verify(keys, text, len + BASE64URL_LEN(sizeof mac));
}

static void
try_cat(struct token_keys *keys, struct bytes data)
{
    uint8_t whole[PART_MAX + 64], mac[TOKEN_MAC_SIZE];
    char text[TOKEN_TEXT_LEN_MAX];
    if (data.len == 0 || data.len > PART_MAX || data.ptr[0] >= data.len)
        return;
    struct bytes header = bytes_of(data.ptr + 1, data.ptr[0]);
    struct bytes payload =
        bytes_of(header.ptr + header.len, data.len - 1 - header.len);
    uint8_t *at = whole;
    *at++ = 0xd1;
    *at++ = 0x84;
    uint8_t *items = at;
    at = token_cbor_put_string(at, TOKEN_CBOR_BYTES, header);
    struct bytes header_item = bytes_of(items, (size_t) (at - items));
    *at++ = 0xa0;
    items = at;
    at = token_cbor_put_string(at, TOKEN_CBOR_BYTES, payload);
    const struct bytes parts[] = {BYTES_LITERAL("\x84\x64MAC0"), header_item,
                                  BYTES_LITERAL("\x40"),
                                  bytes_of(items, (size_t) (at - items))};
    assert(token_key_mac(token_key_signing(keys), parts, 4, mac) == 0);
    at = token_cbor_put_string(at, TOKEN_CBOR_BYTES, bytes_of(mac, 32));
    struct bytes all = bytes_of(whole, (size_t) (at - whole));
    base64url_encode(all, text);
    verify(keys, text, BASE64URL_LEN(all.len));
}

static void
try_pattern(struct bytes data)
{
    const uint8_t *nul = data.len > 0 ? memchr(data.ptr, 0, data.len) : NULL;
    if (nul == NULL)
        return;
    size_t len = (size_t) (nul - data.ptr);
    token_pattern_matches(bytes_of(data.ptr, len),
                          bytes_of(nul + 1, data.len - len - 1));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct token_keys *keys;
    struct network network;
    unsigned line;
    if (size == 0
        || (keys == NULL
            && token_keys_parse(bytes_of_text(key_file), &keys, &line) != 0))
        return 0;
    struct bytes rest = bytes_of(data + 1, size - 1);
    switch (data[0]) {
    case 'j':
        try_jwt(keys, rest);
        break;
    case 'c':
        try_cat(keys, rest);
        break;
    case 'r':
        try_pattern(rest);
        break;
    case 'e':
        /* nobody sealed it */
        assert(token_jwe_open(token_key_signing(keys), rest, &network) != 0
               || rest.len > 0);
        break;
    }
    return 0;
}
