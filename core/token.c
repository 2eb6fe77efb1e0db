/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Playback tokens, see core/token.h. Each key has one HMAC context with the
 * key's state prepared; a verification only starts it anew.
 */

#include "core/err.h"
#include "core/token.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdlib.h>

#define TOKEN_FORM 1
#define SIGNED_SIZE 14
#define MAC_SIZE 16 /* of the 32 bytes of HMAC-SHA256 */
#define TOKEN_SIZE (SIGNED_SIZE + MAC_SIZE)

_Static_assert(TOKEN_SIZE * 4 == TOKEN_TEXT_LEN * 3,
               "whole groups: the text has no spare bits to vary");

struct token_key {
    uint8_t id;
    EVP_MAC_CTX *mac;
};

struct token_keys {
    struct token_key list[TOKEN_KEYS_MAX]; /* in order of the file */
    unsigned count;
    int8_t index_by_id[256]; /* in list, or -1 */
};

static const char alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static unsigned
base64url_value(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return (unsigned) (c - 'A');
    if (c >= 'a' && c <= 'z')
        return (unsigned) (c - 'a' + 26);
    if (c >= '0' && c <= '9')
        return (unsigned) (c - '0' + 52);
    if (c == '-')
        return 62;
    return c == '_' ? 63 : 64;
}

static bool
token_decode(struct bytes text, uint8_t token[TOKEN_SIZE])
{
    unsigned bad = 0;

    if (text.len != TOKEN_TEXT_LEN)
        return false;
    for (size_t i = 0; i < TOKEN_TEXT_LEN / 4; i++) {
        unsigned group = 0;
        for (size_t j = 0; j < 4; j++) {
            unsigned value = base64url_value(text.ptr[i * 4 + j]);
            bad |= value;
            group = group << 6 | (value & 63);
        }
        token[i * 3] = (uint8_t) (group >> 16);
        token[i * 3 + 1] = (uint8_t) (group >> 8);
        token[i * 3 + 2] = (uint8_t) group;
    }
    return (bad & 64) == 0;
}

static void
token_encode(const uint8_t token[TOKEN_SIZE], char *text)
{
    for (size_t i = 0; i < TOKEN_SIZE / 3; i++) {
        unsigned group = (unsigned) token[i * 3] << 16
                         | (unsigned) token[i * 3 + 1] << 8
                         | (unsigned) token[i * 3 + 2];
        for (size_t j = 0; j < 4; j++)
            text[i * 4 + j] = alphabet[group >> (18 - 6 * j) & 63];
    }
}

static int
token_mac(const struct token_key *key, const uint8_t *token,
          struct bytes content, uint8_t mac[EVP_MAX_MD_SIZE])
{
    size_t len;
    if (EVP_MAC_init(key->mac, NULL, 0, NULL) != 1
        || EVP_MAC_update(key->mac, token, SIGNED_SIZE) != 1
        || EVP_MAC_update(key->mac, content.ptr, content.len) != 1
        || EVP_MAC_final(key->mac, mac, &len, EVP_MAX_MD_SIZE) != 1)
        return ERR_MEMORY;
    return 0;
}

static EVP_MAC_CTX *
mac_new(const uint8_t secret[TOKEN_SECRET_SIZE])
{
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    EVP_MAC *hmac = EVP_MAC_fetch(NULL, OSSL_MAC_NAME_HMAC, NULL);
    EVP_MAC_CTX *mac = hmac != NULL ? EVP_MAC_CTX_new(hmac) : NULL;
    EVP_MAC_free(hmac); /* the context holds on to it */
    if (mac != NULL
        && EVP_MAC_init(mac, secret, TOKEN_SECRET_SIZE, params) != 1) {
        EVP_MAC_CTX_free(mac);
        return NULL;
    }
    return mac;
}

static bool
is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static struct bytes
blanks_skip(struct bytes text)
{
    while (text.len > 0 && is_blank(text.ptr[0]))
        text = bytes_of(text.ptr + 1, text.len - 1);
    return text;
}

/* Takes the first line, and its end, off *text. */
static struct bytes
line_take(struct bytes *text)
{
    const uint8_t *end = memchr(text->ptr, '\n', text->len);
    size_t len = end ? (size_t) (end - text->ptr) : text->len;
    struct bytes line = bytes_of(text->ptr, len);
    size_t taken = end ? len + 1 : len;
    *text = bytes_of(text->ptr + taken, text->len - taken);
    return line;
}

/* Takes the key id off *line. */
static bool
key_id_take(struct bytes *line, uint8_t *id)
{
    unsigned value = 0;
    size_t digits = 0;
    while (digits < line->len && digits < 4 && line->ptr[digits] >= '0'
           && line->ptr[digits] <= '9') {
        value = value * 10 + (unsigned) (line->ptr[digits] - '0');
        digits++;
    }
    if (digits == 0 || value > 255 || digits == line->len
        || !is_blank(line->ptr[digits]))
        return false;
    *line = blanks_skip(bytes_of(line->ptr + digits, line->len - digits));
    *id = (uint8_t) value;
    return true;
}

static int
hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static bool
secret_take(struct bytes *line, uint8_t secret[TOKEN_SECRET_SIZE])
{
    if (line->len < TOKEN_SECRET_SIZE * 2)
        return false;
    for (size_t i = 0; i < TOKEN_SECRET_SIZE; i++) {
        int high = hex_value(line->ptr[i * 2]);
        int low = hex_value(line->ptr[i * 2 + 1]);
        if (high < 0 || low < 0)
            return false;
        secret[i] = (uint8_t) (high << 4 | low);
    }
    *line = bytes_of(line->ptr + TOKEN_SECRET_SIZE * 2,
                     line->len - TOKEN_SECRET_SIZE * 2);
    return true;
}

static int
line_parse(struct token_keys *keys, struct bytes line)
{
    uint8_t secret[TOKEN_SECRET_SIZE] = {0};
    uint8_t id = 0;
    int err = 0;

    line = blanks_skip(line);
    if (line.len == 0 || line.ptr[0] == '#')
        return 0;
    if (!key_id_take(&line, &id) || keys->index_by_id[id] >= 0
        || !secret_take(&line, secret) || blanks_skip(line).len != 0) {
        err = ERR_INVALID;
        goto done;
    }
    if (keys->count == TOKEN_KEYS_MAX) {
        err = ERR_LIMIT;
        goto done;
    }
    struct token_key *key = &keys->list[keys->count];
    key->id = id;
    key->mac = mac_new(secret);
    if (key->mac == NULL) {
        err = ERR_MEMORY;
        goto done;
    }
    keys->index_by_id[id] = (int8_t) keys->count++;
done:
    OPENSSL_cleanse(secret, sizeof secret);
    return err;
}

int
token_keys_parse(struct bytes text, struct token_keys **out, unsigned *line)
{
    struct token_keys *keys = calloc(1, sizeof *keys);
    unsigned number = 0;
    int err = 0;

    if (keys == NULL)
        return ERR_MEMORY;
    memset(keys->index_by_id, -1, sizeof keys->index_by_id);
    while (err == 0 && text.len > 0) {
        number++;
        err = line_parse(keys, line_take(&text));
    }
    if (err == 0 && keys->count == 0) {
        err = ERR_INVALID;
        number = 0;
    }
    if (err != 0) {
        token_keys_free(keys);
        *line = number;
        return err;
    }
    *out = keys;
    return 0;
}

void
token_keys_free(struct token_keys *keys)
{
    if (keys == NULL)
        return;
    /* freeing a context wipes the key inside it */
    for (unsigned i = 0; i < keys->count; i++)
        EVP_MAC_CTX_free(keys->list[i].mac);
    OPENSSL_cleanse(keys, sizeof *keys);
    free(keys);
}

int
token_sign(struct token_keys *keys, struct bytes content,
           const struct token_claims *claims, char *text)
{
    uint8_t token[TOKEN_SIZE];
    uint8_t mac[EVP_MAX_MD_SIZE];

    token[0] = TOKEN_FORM;
    token[1] = keys->list[0].id;
    store_be32(token + 2, claims->expires_s);
    store_be64(token + 6, claims->session);
    int err = token_mac(&keys->list[0], token, content, mac);
    if (err != 0)
        return err;
    memcpy(token + SIGNED_SIZE, mac, MAC_SIZE);
    token_encode(token, text);
    return 0;
}

int
token_verify(struct token_keys *keys, struct bytes text, struct bytes content,
             uint64_t now_s, struct token_claims *out)
{
    uint8_t token[TOKEN_SIZE];
    uint8_t mac[EVP_MAX_MD_SIZE];

    if (!token_decode(text, token) || token[0] != TOKEN_FORM
        || keys->index_by_id[token[1]] < 0)
        return ERR_DENIED;
    const struct token_key *key = &keys->list[keys->index_by_id[token[1]]];
    int err = token_mac(key, token, content, mac);
    if (err != 0)
        return err;
    if (CRYPTO_memcmp(mac, token + SIGNED_SIZE, MAC_SIZE) != 0)
        return ERR_DENIED;
    uint32_t expires_s = load_be32(token + 2);
    if (now_s > expires_s)
        return ERR_EXPIRED;
    out->expires_s = expires_s;
    out->session = load_be64(token + 6);
    return 0;
}
