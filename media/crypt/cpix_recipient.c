/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The algorithms are those of CPIX 2.3 §6.1.4 and no others: RSA-OAEP with
 * SHA-1 in hash and mask, AES-256-CBC with the IV before it and padding by
 * PKCS #7, HMAC-SHA512 of both. What fails leaves nothing in OpenSSL's queue of
 * errors, which others of the thread read.
 */
#include "media/crypt/cpix_recipient.h"

#include "core/err.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdlib.h>

#define RSA_BITS_MIN 2048 /* of SPEKE v2; 3072 are recommended */
#define BLOCK 16

struct cpix_recipient {
    EVP_PKEY *key;
    uint8_t *certificate;
    size_t certificate_size;
};

/* Never asks at a terminal. */
static int
no_passphrase(char *text, int size, int is_writing, void *unused)
{
    return -1;
}

static BIO *
bio_of(struct bytes text)
{
    return text.len > CPIX_PEM_SIZE_MAX
               ? NULL
               : BIO_new_mem_buf(text.ptr, (int) text.len);
}

static X509 *
certificate_read(struct bytes text)
{
    BIO *bio = bio_of(text);
    X509 *read =
        bio == NULL ? NULL : PEM_read_bio_X509(bio, NULL, no_passphrase, NULL);
    BIO_free(bio);
    return read;
}

static EVP_PKEY *
key_read(struct bytes text)
{
    BIO *bio = bio_of(text);
    EVP_PKEY *read =
        bio == NULL ? NULL
                    : PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
    BIO_free(bio);
    return read;
}

/* What is wrong with the pair, or NULL. */
static const char *
pair_reason(X509 *certificate, EVP_PKEY *key)
{
    if (certificate == NULL)
        return "the certificate's file has no certificate in PEM";
    if (key == NULL)
        return "the key's file has no private key in PEM without a passphrase";
    if (EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA
        || EVP_PKEY_get_bits(key) < RSA_BITS_MIN
        || EVP_PKEY_get_size(key) > CPIX_WRAPPED_SIZE_MAX)
        return "the key is not RSA of 2048 to 16384 bits: key servers wrap by "
               "RSA-OAEP";
    if (X509_check_private_key(certificate, key) != 1)
        return "the key is not the certificate's: both files must be of one "
               "pair";
    return NULL;
}

int
cpix_recipient_new(struct bytes certificate, struct bytes key,
                   struct cpix_recipient **out, const char **reason)
{
    struct cpix_recipient *made = calloc(1, sizeof *made);
    X509 *x509 = certificate_read(certificate);
    EVP_PKEY *pkey = key_read(key);
    int err = made == NULL ? ERR_MEMORY : 0;
    *reason = pair_reason(x509, pkey);
    if (err == 0 && *reason != NULL)
        err = ERR_INVALID;
    if (err == 0) {
        const int size = i2d_X509(x509, &made->certificate);
        made->certificate_size = size < 0 ? 0 : (size_t) size;
        made->key = pkey;
        pkey = NULL;
        *out = made;
        made = NULL;
    }
    free(made);
    X509_free(x509);
    EVP_PKEY_free(pkey);
    ERR_clear_error();
    return err;
}

void
cpix_recipient_free(struct cpix_recipient *recipient)
{
    if (recipient == NULL)
        return;
    EVP_PKEY_free(recipient->key); /* which wipes it */
    OPENSSL_free(recipient->certificate);
    free(recipient);
}

struct bytes
cpix_recipient_certificate(const struct cpix_recipient *recipient)
{
    return bytes_of(recipient->certificate, recipient->certificate_size);
}

/* OAEP's hash and mask are SHA-1 unless it is told otherwise. */
static int
unwrap(const struct cpix_recipient *recipient, struct bytes wrapped,
       uint8_t *out, size_t *len)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(recipient->key, NULL);
    *len = CPIX_WRAPPED_SIZE_MAX;
    const bool is_done =
        ctx != NULL && EVP_PKEY_decrypt_init(ctx) == 1
        && EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) == 1
        && EVP_PKEY_decrypt(ctx, out, len, wrapped.ptr, wrapped.len) == 1;
    EVP_PKEY_CTX_free(ctx);
    ERR_clear_error();
    return is_done ? 0 : ERR_INVALID;
}

int
cpix_secrets_unwrap(const struct cpix_recipient *recipient,
                    struct bytes document_key, struct bytes mac_key,
                    struct cpix_secrets *out)
{
    uint8_t key[CPIX_WRAPPED_SIZE_MAX];
    size_t len;
    int err = unwrap(recipient, document_key, key, &len);
    if (err == 0 && len != sizeof out->document_key)
        err = ERR_INVALID;
    if (err == 0)
        memcpy(out->document_key, key, sizeof out->document_key);
    if (err == 0)
        err = unwrap(recipient, mac_key, out->mac_key, &out->mac_key_len);
    OPENSSL_cleanse(key, sizeof key);
    return err;
}

int
cpix_key_decrypt(const struct cpix_secrets *secrets,
                 const uint8_t cipher[CPIX_CIPHER_SIZE],
                 const uint8_t mac[CPIX_MAC_SIZE], uint8_t out[16])
{
    uint8_t own[EVP_MAX_MD_SIZE], key[CPIX_CIPHER_SIZE];
    unsigned own_len = 0;
    int len = 0, more = 0;
    if (HMAC(EVP_sha512(), secrets->mac_key, (int) secrets->mac_key_len, cipher,
             CPIX_CIPHER_SIZE, own, &own_len)
            == NULL
        || own_len != CPIX_MAC_SIZE
        || CRYPTO_memcmp(own, mac, CPIX_MAC_SIZE) != 0)
        return ERR_CHECKSUM;
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    const bool is_key = ctx != NULL
                        && EVP_DecryptInit_ex(ctx, EVP_aes_256_cbc(), NULL,
                                              secrets->document_key, cipher)
                               == 1
                        && EVP_DecryptUpdate(ctx, key, &len, cipher + BLOCK,
                                             CPIX_CIPHER_SIZE - BLOCK)
                               == 1
                        && EVP_DecryptFinal_ex(ctx, key + len, &more) == 1
                        && len + more == BLOCK;
    if (is_key)
        memcpy(out, key, BLOCK);
    OPENSSL_cleanse(key, sizeof key);
    EVP_CIPHER_CTX_free(ctx);
    ERR_clear_error();
    return is_key ? 0 : ERR_INVALID;
}
