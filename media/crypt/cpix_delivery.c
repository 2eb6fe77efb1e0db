/* SPDX-License-Identifier: Apache-2.0 */
/* The algorithms are those of CPIX 2.3 §6.1.4, as in cpix_recipient.c. */
#include "media/crypt/cpix_delivery.h"

#include "core/err.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdlib.h>

#define RSA_BITS_MIN 2048 /* of SPEKE v2 */
#define BLOCK 16

struct cpix_certificate {
    EVP_PKEY *key;
};

static bool
key_is_good(EVP_PKEY *key)
{
    return key != NULL && EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA
           && EVP_PKEY_get_bits(key) >= RSA_BITS_MIN
           && EVP_PKEY_get_size(key) <= CPIX_WRAPPED_SIZE_MAX;
}

struct cpix_certificate *
cpix_certificate_new(struct bytes der)
{
    const uint8_t *at = der.ptr;
    struct cpix_certificate *made = calloc(1, sizeof *made);
    X509 *x509 = d2i_X509(NULL, &at, (long) der.len);
    EVP_PKEY *key =
        x509 == NULL || at != der.ptr + der.len ? NULL : X509_get_pubkey(x509);
    X509_free(x509);
    ERR_clear_error();
    if (made == NULL || !key_is_good(key)) {
        EVP_PKEY_free(key);
        free(made);
        return NULL;
    }
    made->key = key;
    return made;
}

void
cpix_certificate_free(struct cpix_certificate *certificate)
{
    if (certificate == NULL)
        return;
    EVP_PKEY_free(certificate->key);
    free(certificate);
}

int
cpix_secrets_make(struct cpix_secrets *out)
{
    out->mac_key_len = CPIX_MAC_KEY_SIZE;
    return RAND_priv_bytes(out->document_key, sizeof out->document_key) == 1
                   && RAND_priv_bytes(out->mac_key, CPIX_MAC_KEY_SIZE) == 1
               ? 0
               : ERR_IO;
}

int
cpix_wrap(const struct cpix_certificate *certificate, struct bytes key,
          uint8_t out[CPIX_WRAPPED_SIZE_MAX], size_t *len)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(certificate->key, NULL);
    *len = CPIX_WRAPPED_SIZE_MAX;
    const bool is_done =
        ctx != NULL && EVP_PKEY_encrypt_init(ctx) == 1
        && EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) == 1
        && EVP_PKEY_encrypt(ctx, out, len, key.ptr, key.len) == 1;
    EVP_PKEY_CTX_free(ctx);
    ERR_clear_error();
    return is_done ? 0 : ERR_INVALID;
}

int
cpix_key_encrypt(const struct cpix_secrets *secrets, const uint8_t key[16],
                 uint8_t cipher[CPIX_CIPHER_SIZE], uint8_t mac[CPIX_MAC_SIZE])
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    unsigned mac_len = 0;
    int len = 0, more = 0;
    const bool is_done =
        ctx != NULL && RAND_bytes(cipher, BLOCK) == 1
        && EVP_EncryptInit_ex(ctx, EVP_aes_256_cbc(), NULL,
                              secrets->document_key, cipher)
               == 1
        && EVP_EncryptUpdate(ctx, cipher + BLOCK, &len, key, BLOCK) == 1
        && EVP_EncryptFinal_ex(ctx, cipher + BLOCK + len, &more) == 1
        && len + more == CPIX_CIPHER_SIZE - BLOCK
        && HMAC(EVP_sha512(), secrets->mac_key, (int) secrets->mac_key_len,
                cipher, CPIX_CIPHER_SIZE, mac, &mac_len)
               != NULL
        && mac_len == CPIX_MAC_SIZE;
    EVP_CIPHER_CTX_free(ctx);
    ERR_clear_error();
    return is_done ? 0 : ERR_IO;
}
