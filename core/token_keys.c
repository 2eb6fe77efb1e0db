/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The key file, and what is done with a key: an HMAC, or a check of an ECDSA
 * signature over P-256 with SHA-256 (RFC 7518 section 3.4, RFC 9053 section
 * 2.1). Each HMAC key has one context with the key's state prepared; a
 * verification only starts it anew.
 */

#include "core/token_keys.h"

#include "core/err.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/x509.h>
#include <stdlib.h>

#define DER_SIZE_MAX 128 /* a P-256 public key's is 91 */

struct token_keys {
    struct token_key list[TOKEN_KEYS_MAX]; /* in order of the file */
    unsigned count;
    int8_t index_by_id[256]; /* in list, or -1 */
};

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

/* ---- a line ---- */

static bool
is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static struct bytes
bytes_skip(struct bytes text, size_t len)
{
    return bytes_of(text.ptr + len, text.len - len);
}

static struct bytes
blanks_skip(struct bytes text)
{
    while (text.len > 0 && is_blank(text.ptr[0]))
        text = bytes_skip(text, 1);
    return text;
}

/* Takes the first line, and its end, off *text. */
static struct bytes
line_take(struct bytes *text)
{
    const uint8_t *end = memchr(text->ptr, '\n', text->len);
    size_t len = end ? (size_t) (end - text->ptr) : text->len;
    struct bytes line = bytes_of(text->ptr, len);
    *text = bytes_skip(*text, end ? len + 1 : len);
    return line;
}

/* Takes a word, and the blanks after it, off *line. */
static struct bytes
word_take(struct bytes *line)
{
    size_t len = 0;
    while (len < line->len && !is_blank(line->ptr[len]))
        len++;
    struct bytes word = bytes_of(line->ptr, len);
    *line = blanks_skip(bytes_skip(*line, len));
    return word;
}

static bool
key_id_parse(struct bytes word, uint8_t *id)
{
    uint64_t value;
    if (word.len > 4 || !bytes_number(word, &value) || value > 255)
        return false;
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
secret_parse(struct bytes word, uint8_t secret[TOKEN_SECRET_SIZE])
{
    if (word.len != TOKEN_SECRET_SIZE * 2)
        return false;
    for (size_t i = 0; i < TOKEN_SECRET_SIZE; i++) {
        int high = hex_value(word.ptr[i * 2]);
        int low = hex_value(word.ptr[i * 2 + 1]);
        if (high < 0 || low < 0)
            return false;
        secret[i] = (uint8_t) (high << 4 | low);
    }
    return true;
}

/* A SubjectPublicKeyInfo (RFC 5280 section 4.1) with a point of P-256. */
static EVP_PKEY *
public_key_parse(struct bytes word)
{
    uint8_t der[DER_SIZE_MAX * 3 / 4 + 3];
    char group[16];

    if (word.len > DER_SIZE_MAX || word.len % 4 != 0)
        return NULL;
    int size = EVP_DecodeBlock(der, word.ptr, (int) word.len);
    for (size_t n = word.len; size > 0 && word.ptr[n - 1] == '='; n--)
        size--; /* it counts the padding */
    const uint8_t *end = der;
    EVP_PKEY *key = size > 0 ? d2i_PUBKEY(NULL, &end, size) : NULL;
    if (key != NULL
        && (end != der + size || EVP_PKEY_get_base_id(key) != EVP_PKEY_EC
            || EVP_PKEY_get_group_name(key, group, sizeof group, NULL) != 1
            || strcmp(group, "prime256v1") != 0)) {
        EVP_PKEY_free(key);
        return NULL;
    }
    return key;
}

static bool
is_prefix(struct bytes text, const char *prefix)
{
    size_t len = strlen(prefix);
    return text.len >= len && memcmp(text.ptr, prefix, len) == 0;
}

/* Nothing that would need an escape in JSON, as these are written too. */
static bool
name_parse(struct bytes word, struct token_name *name)
{
    if (word.len == 0 || word.len > TOKEN_NAME_LEN_MAX || name->len > 0)
        return false;
    for (size_t i = 0; i < word.len; i++)
        if (word.ptr[i] <= ' ' || word.ptr[i] > '~' || word.ptr[i] == '"'
            || word.ptr[i] == '\\')
            return false;
    memcpy(name->text, word.ptr, word.len);
    name->len = word.len;
    return true;
}

/* AES-256-GCM with the key set; a nonce each time starts it anew. */
static EVP_CIPHER_CTX *
hidden_new(const uint8_t secret[TOKEN_SECRET_SIZE])
{
    EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
    if (cipher != NULL
        && EVP_DecryptInit_ex(cipher, EVP_aes_256_gcm(), NULL, secret, NULL)
               != 1) {
        EVP_CIPHER_CTX_free(cipher);
        return NULL;
    }
    return cipher;
}

static bool
attribute_parse(struct bytes word, struct token_key *key)
{
    struct bytes value = bytes_skip(word, word.len < 4 ? word.len : 4);
    if (is_prefix(word, "kid="))
        return name_parse(value, &key->kid);
    if (is_prefix(word, "iss="))
        return name_parse(value, &key->issuer);
    if (is_prefix(word, "aud="))
        return name_parse(value, &key->audience);
    if (is_prefix(word, "jwe=") && !key->has_jwe)
        return key->has_jwe = secret_parse(value, key->jwe)
                              && (key->hidden = hidden_new(key->jwe)) != NULL;
    return false;
}

static void
key_fini(struct token_key *key)
{
    /* freeing a context wipes the key inside it */
    EVP_MAC_CTX_free(key->mac);
    EVP_PKEY_free(key->public_key);
    EVP_MD_CTX_free(key->digest);
    EVP_CIPHER_CTX_free(key->hidden);
    OPENSSL_cleanse(key, sizeof *key);
}

/* The secret, or "es256" and the public key. */
static int
material_take(struct bytes *line, struct token_key *key)
{
    uint8_t secret[TOKEN_SECRET_SIZE] = {0};
    struct bytes word = word_take(line);
    int err = 0;

    if (bytes_equal(word, BYTES_LITERAL("es256"))) {
        key->algorithm = TOKEN_ES256;
        key->public_key = public_key_parse(word_take(line));
        key->digest = EVP_MD_CTX_new();
        return key->public_key == NULL ? ERR_INVALID
               : key->digest == NULL   ? ERR_MEMORY
                                       : 0;
    }
    if (!secret_parse(word, secret))
        err = ERR_INVALID;
    else if ((key->mac = mac_new(secret)) == NULL)
        err = ERR_MEMORY;
    OPENSSL_cleanse(secret, sizeof secret);
    return err;
}

static int
key_parse(struct token_keys *keys, struct bytes line, struct token_key *key)
{
    char decimal[4];

    if (!key_id_parse(word_take(&line), &key->id)
        || keys->index_by_id[key->id] >= 0)
        return ERR_INVALID;
    int err = material_take(&line, key);
    while (err == 0 && line.len > 0)
        err = attribute_parse(word_take(&line), key) ? 0 : ERR_INVALID;
    if (err != 0)
        return err;
    if (key->kid.len == 0) {
        size_t len = 0;
        if (key->id >= 100)
            decimal[len++] = (char) ('0' + key->id / 100);
        if (key->id >= 10)
            decimal[len++] = (char) ('0' + key->id / 10 % 10);
        decimal[len++] = (char) ('0' + key->id % 10);
        name_parse(bytes_of(decimal, len), &key->kid);
    }
    return token_key_by_name(keys, token_name_bytes(&key->kid)) != NULL
               ? ERR_INVALID
               : 0;
}

static int
line_parse(struct token_keys *keys, struct bytes line)
{
    struct token_key key = {0};

    line = blanks_skip(line);
    if (line.len == 0 || line.ptr[0] == '#')
        return 0;
    int err = key_parse(keys, line, &key);
    if (err == 0 && keys->count == TOKEN_KEYS_MAX)
        err = ERR_LIMIT;
    if (err != 0) {
        key_fini(&key);
        return err;
    }
    keys->index_by_id[key.id] = (int8_t) keys->count;
    keys->list[keys->count++] = key;
    OPENSSL_cleanse(&key, sizeof key);
    return 0;
}

/* ---- keys ---- */

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
    for (unsigned i = 0; i < keys->count; i++)
        key_fini(&keys->list[i]);
    OPENSSL_cleanse(keys, sizeof *keys);
    free(keys);
}

bool
token_keys_can_sign(const struct token_keys *keys)
{
    return token_key_signing(keys) != NULL;
}

bool
token_keys_can_hide(const struct token_keys *keys)
{
    const struct token_key *key = token_key_signing(keys);
    return key != NULL && key->has_jwe;
}

const struct token_key *
token_key_by_id(const struct token_keys *keys, uint8_t id)
{
    int index = keys->index_by_id[id];
    return index < 0 ? NULL : &keys->list[index];
}

const struct token_key *
token_key_by_name(const struct token_keys *keys, struct bytes kid)
{
    for (unsigned i = 0; i < keys->count; i++)
        if (bytes_equal(token_name_bytes(&keys->list[i].kid), kid))
            return &keys->list[i];
    return NULL;
}

const struct token_key *
token_key_signing(const struct token_keys *keys)
{
    for (unsigned i = 0; i < keys->count; i++)
        if (keys->list[i].algorithm == TOKEN_HS256)
            return &keys->list[i];
    return NULL;
}

int
token_key_mac(const struct token_key *key, const struct bytes *parts,
              size_t count, uint8_t mac[TOKEN_MAC_SIZE])
{
    size_t len;
    if (EVP_MAC_init(key->mac, NULL, 0, NULL) != 1)
        return ERR_MEMORY;
    for (size_t i = 0; i < count; i++)
        if (EVP_MAC_update(key->mac, parts[i].ptr, parts[i].len) != 1)
            return ERR_MEMORY;
    return EVP_MAC_final(key->mac, mac, &len, TOKEN_MAC_SIZE) == 1 ? 0
                                                                   : ERR_MEMORY;
}

/* r and s as OpenSSL takes them: SEQUENCE { INTEGER, INTEGER }. */
static size_t
es256_der(const uint8_t raw[TOKEN_ES256_SIZE], uint8_t der[80])
{
    size_t size = 2;
    for (size_t i = 0; i < TOKEN_ES256_SIZE; i += 32) {
        size_t skip = 0;
        while (skip < 31 && raw[i + skip] == 0)
            skip++;
        bool has_zero = (raw[i + skip] & 0x80) != 0; /* it is not negative */
        der[size++] = 0x02;
        der[size++] = (uint8_t) (32 - skip + has_zero);
        if (has_zero)
            der[size++] = 0;
        memcpy(der + size, raw + i + skip, 32 - skip);
        size += 32 - skip;
    }
    der[0] = 0x30;
    der[1] = (uint8_t) (size - 2);
    return size;
}

static int
es256_check(const struct token_key *key, const struct bytes *parts,
            size_t count, struct bytes signature)
{
    uint8_t der[80];
    if (signature.len != TOKEN_ES256_SIZE)
        return ERR_DENIED;
    size_t size = es256_der(signature.ptr, der);
    if (EVP_DigestVerifyInit(key->digest, NULL, EVP_sha256(), NULL,
                             key->public_key)
        != 1)
        return ERR_MEMORY;
    for (size_t i = 0; i < count; i++)
        if (EVP_DigestVerifyUpdate(key->digest, parts[i].ptr, parts[i].len)
            != 1)
            return ERR_MEMORY;
    return EVP_DigestVerifyFinal(key->digest, der, size) == 1 ? 0 : ERR_DENIED;
}

int
token_key_check(const struct token_key *key, const struct bytes *parts,
                size_t count, struct bytes signature)
{
    uint8_t mac[TOKEN_MAC_SIZE];

    if (key->algorithm == TOKEN_ES256)
        return es256_check(key, parts, count, signature);
    if (signature.len != TOKEN_MAC_SIZE)
        return ERR_DENIED;
    int err = token_key_mac(key, parts, count, mac);
    if (err == 0 && CRYPTO_memcmp(mac, signature.ptr, TOKEN_MAC_SIZE) != 0)
        err = ERR_DENIED;
    return err;
}
