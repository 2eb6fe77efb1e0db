/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client's network inside a JWT: a JWE in compact serialization (RFC 7516
 * section 3.1) with "dir" and "A256GCM" (RFC 7518 sections 4.5 and 5.3), whose
 * plaintext is a prefix in CIDR notation.
 */

#include "core/base64url.h"
#include "core/err.h"
#include "core/token_forms.h"
#include "core/token_json.h"

#include <openssl/evp.h>
#include <openssl/rand.h>

#define JWE_HEADER "{\"alg\":\"dir\",\"enc\":\"A256GCM\"}"
#define JWE_HEADER_SIZE_MAX 192
#define JWE_NONCE 12
#define JWE_TAG 16
#define JWE_PLAIN_MAX 64

static bool
header_is_ours(struct bytes text)
{
    uint8_t header[JWE_HEADER_SIZE_MAX];
    struct token_json json;
    struct token_json_member member;
    bool has_alg = false, has_enc = false;
    int more;

    if (BASE64URL_SIZE(text.len) > sizeof header
        || !base64url_decode(text, header)
        || !token_json_open(&json, header, BASE64URL_SIZE(text.len)))
        return false;
    while ((more = token_json_next(&json, &member)) == 1) {
        const bool is_text = member.type == TOKEN_JSON_STRING;
        if (bytes_equal(member.name, BYTES_LITERAL("alg")))
            has_alg = is_text && !has_alg
                      && bytes_equal(member.text, BYTES_LITERAL("dir"));
        else if (bytes_equal(member.name, BYTES_LITERAL("enc")))
            has_enc = is_text && !has_enc
                      && bytes_equal(member.text, BYTES_LITERAL("A256GCM"));
        else if (!bytes_equal(member.name, BYTES_LITERAL("kid"))
                 && !bytes_equal(member.name, BYTES_LITERAL("typ")))
            return false; /* "zip" and "crit" among them */
    }
    return more == 0 && has_alg && has_enc;
}

/* The next part up to a dot, or to the end. */
static struct bytes
part_take(struct bytes *text)
{
    const uint8_t *dot =
        text->len > 0 ? memchr(text->ptr, '.', text->len) : NULL;
    size_t len = dot != NULL ? (size_t) (dot - text->ptr) : text->len;
    size_t taken = dot != NULL ? len + 1 : len;
    struct bytes part = bytes_of(text->ptr, len);
    *text = bytes_of(text->ptr + taken, text->len - taken);
    return part;
}

static bool
gcm_open(EVP_CIPHER_CTX *cipher, const uint8_t *nonce, struct bytes additional,
         struct bytes sealed, uint8_t *tag, uint8_t *plain)
{
    int n;
    return EVP_DecryptInit_ex(cipher, NULL, NULL, NULL, nonce) == 1
           && EVP_DecryptUpdate(cipher, NULL, &n, additional.ptr,
                                (int) additional.len)
                  == 1
           && EVP_DecryptUpdate(cipher, plain, &n, sealed.ptr, (int) sealed.len)
                  == 1
           && EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_GCM_SET_TAG, JWE_TAG, tag)
                  == 1
           && EVP_DecryptFinal_ex(cipher, plain + n, &n) == 1;
}

int
token_jwe_open(const struct token_key *key, struct bytes text,
               struct network *out)
{
    const struct bytes header = part_take(&text);
    const struct bytes wrapped = part_take(&text);
    const struct bytes nonce = part_take(&text);
    const struct bytes sealed = part_take(&text);
    const struct bytes tag = text;
    uint8_t nonce_bytes[JWE_NONCE], tag_bytes[JWE_TAG];
    uint8_t sealed_bytes[JWE_PLAIN_MAX], plain[JWE_PLAIN_MAX];

    if (!key->has_jwe || wrapped.len != 0
        || nonce.len != BASE64URL_LEN(JWE_NONCE)
        || tag.len != BASE64URL_LEN(JWE_TAG)
        || BASE64URL_SIZE(sealed.len) > JWE_PLAIN_MAX || sealed.len == 0
        || !base64url_decode(nonce, nonce_bytes)
        || !base64url_decode(tag, tag_bytes)
        || !base64url_decode(sealed, sealed_bytes) || !header_is_ours(header))
        return ERR_DENIED;
    const size_t size = BASE64URL_SIZE(sealed.len);
    return gcm_open(key->hidden, nonce_bytes, header,
                    bytes_of(sealed_bytes, size), tag_bytes, plain)
                   && network_parse_prefix(bytes_of(plain, size), out) == 0
               ? 0
               : ERR_DENIED;
}

static char *
part_put(char *out, const void *data, size_t size)
{
    *out++ = '.';
    base64url_encode(bytes_of(data, size), out);
    return out + BASE64URL_LEN(size);
}

int
token_jwe_seal(const struct token_key *key, const struct network *network,
               char *text, size_t *len)
{
    const size_t header_len = BASE64URL_LEN(sizeof JWE_HEADER - 1);
    char plain[NETWORK_TEXT_SIZE];
    const int size = (int) network_text(network, plain);
    uint8_t nonce[JWE_NONCE], tag[JWE_TAG], sealed[NETWORK_TEXT_SIZE];
    EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
    int n, rest, err = ERR_MEMORY;

    base64url_encode(BYTES_LITERAL(JWE_HEADER), text);
    if (cipher != NULL && RAND_bytes(nonce, sizeof nonce) == 1
        && EVP_EncryptInit_ex(cipher, EVP_aes_256_gcm(), NULL, key->jwe, nonce)
               == 1
        && EVP_EncryptUpdate(cipher, NULL, &n, (const uint8_t *) text,
                             (int) header_len)
               == 1
        && EVP_EncryptUpdate(cipher, sealed, &n, (const uint8_t *) plain, size)
               == 1
        && EVP_EncryptFinal_ex(cipher, sealed + n, &rest) == 1
        && EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_GCM_GET_TAG, JWE_TAG, tag)
               == 1) {
        char *at = text + header_len;
        *at++ = '.'; /* no wrapped key */
        at = part_put(at, nonce, sizeof nonce);
        at = part_put(at, sealed, (size_t) size);
        at = part_put(at, tag, sizeof tag);
        *len = (size_t) (at - text);
        err = 0;
    }
    EVP_CIPHER_CTX_free(cipher);
    return err;
}
