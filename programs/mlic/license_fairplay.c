/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FairPlay licenses. The certificate, its private key, the ASk and the D function
 * are Apple's, given to those with a contract, and not part of this program: the
 * D function is a plug-in (fairplay_plugin.h). Nothing here was tried with a
 * player of Apple's; the one key of a request is good for a lease, never stored.
 */

#include "programs/mlic/license_fairplay.h"

#include "core/err.h"
#include "platform/key_file.h"
#include "platform/log.h"
#include "programs/mlic/fairplay_plugin.h"

#include <dlfcn.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>

#define AES_SIZE 16
#define SPC_KEY_SIZE 128
#define R1_SIZE 44
#define CKC_SIZE_MAX (16u << 10)

struct fairplay {
    void *plugin;
    const struct mlic_fairplay *functions;
    EVP_PKEY *key;
    uint8_t certificate_hash[20];
    uint8_t ask[AES_SIZE];
};

/* An SPC that is opened. */
struct session {
    uint8_t *plain;
    struct fairplay_payload payload;
    uint8_t key[AES_SIZE], r1[R1_SIZE];
};

/* ---- what is Apple's ---- */

static int
refuse(const char *path, const char *reason)
{
    log_error("fairplay: refuse %s (%s)", path, reason);
    return ERR_INVALID;
}

static int
plugin_open(const char *path, struct fairplay *out)
{
    out->plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (out->plugin == NULL)
        return refuse(path, dlerror());
    mlic_fairplay_function *function;
    void *symbol = dlsym(out->plugin, "mlic_fairplay");
    memcpy(&function, &symbol, sizeof function);
    out->functions = symbol == NULL ? NULL : function();
    if (out->functions == NULL || out->functions->abi != MLIC_FAIRPLAY_ABI)
        return refuse(path, "it is no FairPlay plug-in of this ABI");
    log_info("fairplay: use %s (%s)", path, out->functions->about);
    return 0;
}

static int
certificate_read(const char *path, struct fairplay *out)
{
    unsigned len;
    FILE *file = fopen(path, "re");
    X509 *certificate =
        file == NULL ? NULL : PEM_read_X509(file, NULL, NULL, NULL);
    const bool is_read =
        certificate != NULL
        && X509_digest(certificate, EVP_sha1(), out->certificate_hash, &len)
               == 1;
    X509_free(certificate);
    if (file != NULL)
        fclose(file);
    return is_read ? 0 : refuse(path, "it is no certificate in PEM");
}

static int
private_key_read(const char *path, struct fairplay *out)
{
    const int err = key_file_owner_check(path);
    if (err != 0)
        return err;
    FILE *file = fopen(path, "re");
    out->key =
        file == NULL ? NULL : PEM_read_PrivateKey(file, NULL, NULL, NULL);
    if (file != NULL)
        fclose(file);
    return out->key != NULL && EVP_PKEY_is_a(out->key, "RSA")
                   && EVP_PKEY_get_size(out->key) == SPC_KEY_SIZE
               ? 0
               : refuse(path, "it is no RSA key of 1024 bits in PEM");
}

static int
ask_read(const char *path, struct fairplay *out)
{
    char text[KEY_SIZE] = "";
    size_t len;
    int err = key_file_owner_check(path);
    if (err == 0)
        err = key_file_read(path, text);
    if (err == 0
        && (strlen(text) != 2 * AES_SIZE
            || OPENSSL_hexstr2buf_ex(out->ask, AES_SIZE, &len, text, '\0')
                   != 1))
        err = refuse(path, "it must hold 32 hex digits");
    explicit_bzero(text, sizeof text);
    return err;
}

int
fairplay_new(const struct fairplay_config *config, struct fairplay **out)
{
    if (config->certificate == NULL || config->key == NULL
        || config->ask == NULL)
        return refuse(config->plugin, "a plug-in needs a certificate, its key "
                                      "and the ASk, too");
    struct fairplay *fairplay = calloc(1, sizeof *fairplay);
    if (fairplay == NULL)
        return ERR_MEMORY;
    int err = plugin_open(config->plugin, fairplay);
    if (err == 0)
        err = certificate_read(config->certificate, fairplay);
    if (err == 0)
        err = private_key_read(config->key, fairplay);
    if (err == 0)
        err = ask_read(config->ask, fairplay);
    if (err != 0)
        fairplay_free(fairplay);
    else
        *out = fairplay;
    return err;
}

void
fairplay_free(struct fairplay *fairplay)
{
    if (fairplay == NULL)
        return;
    EVP_PKEY_free(fairplay->key);
    if (fairplay->plugin != NULL)
        dlclose(fairplay->plugin);
    explicit_bzero(fairplay, sizeof *fairplay);
    free(fairplay);
}

/* ---- SPC ---- */

/* Of whole blocks, in both directions; false: it could not be done. */
static bool
aes(const EVP_CIPHER *cipher, bool is_encrypted, const uint8_t key[AES_SIZE],
    const uint8_t *iv, struct bytes from, uint8_t *to)
{
    int len;
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    const bool is_done =
        context != NULL
        && EVP_CipherInit_ex(context, cipher, NULL, key, iv, is_encrypted) == 1
        && EVP_CIPHER_CTX_set_padding(context, 0) == 1
        && EVP_CipherUpdate(context, to, &len, from.ptr, (int) from.len) == 1
        && (size_t) len == from.len;
    EVP_CIPHER_CTX_free(context);
    return is_done;
}

static bool
key_unwrap(const struct fairplay *fairplay, const uint8_t wrapped[SPC_KEY_SIZE],
           uint8_t key[AES_SIZE])
{
    uint8_t plain[SPC_KEY_SIZE];
    size_t len = sizeof plain;
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(fairplay->key, NULL);
    const bool is_done =
        context != NULL && EVP_PKEY_decrypt_init(context) == 1
        && EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_OAEP_PADDING) == 1
        && EVP_PKEY_decrypt(context, plain, &len, wrapped, SPC_KEY_SIZE) == 1
        && len == AES_SIZE;
    EVP_PKEY_CTX_free(context);
    if (is_done)
        memcpy(key, plain, AES_SIZE);
    explicit_bzero(plain, sizeof plain);
    return is_done;
}

/* The session's key and R1, which the D function opens. */
static bool
session_open(const struct fairplay *fairplay, struct session *session)
{
    const struct fairplay_payload *payload = &session->payload;
    uint8_t dask[AES_SIZE], plain[96]; /* SK 16, HU 20, R1 44, integrity 16 */
    const bool is_open =
        fairplay->functions->derive(payload->r2.ptr, payload->r2.len,
                                    fairplay->ask, dask)
            == 0
        && aes(EVP_aes_128_cbc(), false, dask, payload->session.ptr,
               bytes_of(payload->session.ptr + AES_SIZE, sizeof plain), plain)
        && CRYPTO_memcmp(plain + 80, payload->integrity.ptr, AES_SIZE) == 0;
    if (is_open) {
        memcpy(session->key, plain, sizeof session->key);
        memcpy(session->r1, plain + 36, sizeof session->r1);
    }
    explicit_bzero(dask, sizeof dask);
    explicit_bzero(plain, sizeof plain);
    return is_open;
}

static void
session_close(struct session *session)
{
    if (session->plain != NULL)
        explicit_bzero(session->plain, session->payload.whole.len);
    free(session->plain);
    explicit_bzero(session, sizeof *session);
}

/* Close it in either case. */
static int
spc_open(const struct fairplay *fairplay, struct bytes spc, struct session *out,
         const char **reason)
{
    struct fairplay_envelope envelope;
    uint8_t key[AES_SIZE];
    *out = (struct session){0};
    int err = fairplay_envelope_read(spc, &envelope, reason);
    if (err != 0)
        return err;
    *reason = "the SPC is for another certificate";
    if (memcmp(envelope.certificate_hash, fairplay->certificate_hash, 20) != 0)
        return ERR_INVALID;
    out->plain = malloc(envelope.payload.len);
    if (out->plain == NULL)
        return ERR_MEMORY;
    *reason = "the SPC cannot be decrypted";
    if (!key_unwrap(fairplay, envelope.key, key)
        || !aes(EVP_aes_128_cbc(), false, key, envelope.iv, envelope.payload,
                out->plain))
        err = ERR_INVALID;
    explicit_bzero(key, sizeof key);
    if (err == 0)
        err = fairplay_payload_read(bytes_of(out->plain, envelope.payload.len),
                                    &out->payload, reason);
    if (err == 0 && !session_open(fairplay, out)) {
        *reason = "the SPC's session is not whole";
        err = ERR_INVALID;
    }
    return err;
}

static int
fairplay_read(struct bytes body, struct license_request *out,
              const char **reason)
{
    struct session session;
    int err = spc_open(out->fairplay, body, &session, reason);
    if (err == 0)
        err = fairplay_asset_read(session.payload.asset, out, reason);
    session_close(&session);
    return err;
}

/* ---- CKC ---- */

static void
block_append(uint64_t tag, const void *value, size_t size, struct buffer *out)
{
    static const uint8_t zeros[AES_SIZE];
    const size_t padding = (AES_SIZE - size % AES_SIZE) % AES_SIZE;
    buffer_append_be64(out, tag);
    buffer_append_be32(out, (uint32_t) (size + padding));
    buffer_append_be32(out, (uint32_t) size);
    buffer_append(out, value, size);
    buffer_append(out, zeros, padding);
}

static void
policy_append(const struct license_policy *policy, struct buffer *out)
{
    static const uint64_t hdcp[] = {[OUTPUT_NONE] = 0xef72894ca7895b78,
                                    [OUTPUT_HDCP_1] = 0x40791ac78bd5c571,
                                    [OUTPUT_HDCP_2_2] = 0x285a0863bba8e1d3};
    uint8_t duration[16] = {0}, output[16] = {0};
    /* its first play is now */
    const bool is_play =
        policy->playback_s > 0 && policy->playback_s < policy->license_s;
    store_be32(duration, is_play ? policy->playback_s : policy->license_s);
    store_be32(duration + 8, 0x1a4bde7e); /* a lease */
    store_be32(duration + 12, 0x86d34a3a);
    block_append(0x47acf6a418cd091a, duration, sizeof duration, out);
    store_be64(output, hdcp[policy->output]);
    block_append(0x2e52f1530d8ddb4a, output, sizeof output, out);
}

/* The blocks that the client wants back as they were. */
static void
returned_append(const struct fairplay_payload *payload, struct buffer *out)
{
    struct bytes block;
    for (size_t at = 0; at < payload->tags.len; at += 8)
        if (fairplay_block_find(payload->whole,
                                load_be64(payload->tags.ptr + at), &block))
            buffer_append_bytes(out, block);
}

/* The key of the CKC: the client's seed under a hash of R1. */
static bool
ckc_key(const struct session *session, uint8_t out[AES_SIZE])
{
    uint8_t hash[EVP_MAX_MD_SIZE];
    unsigned len;
    return EVP_Digest(session->r1, R1_SIZE, hash, &len, EVP_sha1(), NULL) == 1
           && aes(EVP_aes_128_ecb(), true, hash, NULL, session->payload.seed,
                  out);
}

static bool
ckc_write(const struct session *session, const struct license_key *key,
          struct buffer *out)
{
    uint8_t content[2 * AES_SIZE], answer_key[AES_SIZE], iv[AES_SIZE];
    uint8_t sealed[CKC_SIZE_MAX];
    struct buffer blocks;
    buffer_init(&blocks, CKC_SIZE_MAX);
    memcpy(content, key->key.iv, AES_SIZE);
    bool is_done = aes(EVP_aes_128_ecb(), true, session->key, NULL,
                       bytes_of(key->key.key, AES_SIZE), content + AES_SIZE)
                   && ckc_key(session, answer_key)
                   && RAND_bytes(iv, sizeof iv) == 1;
    block_append(0x58b38165af0e3d5a, content, sizeof content, &blocks);
    block_append(0xea74c4645d5efee9, session->r1, R1_SIZE, &blocks);
    policy_append(&key->policy, &blocks);
    returned_append(&session->payload, &blocks);
    is_done = is_done && blocks.err == 0 && blocks.len % AES_SIZE == 0
              && aes(EVP_aes_128_cbc(), true, answer_key, iv,
                     buffer_bytes(&blocks), sealed);
    if (is_done) {
        buffer_append_be32(out, 1);
        buffer_append_be32(out, 0);
        buffer_append(out, iv, sizeof iv);
        buffer_append_be32(out, (uint32_t) blocks.len);
        buffer_append(out, sealed, blocks.len);
    }
    explicit_bzero(answer_key, sizeof answer_key);
    buffer_fini(&blocks);
    return is_done;
}

static void
fairplay_write(const struct license_request *request,
               const struct license_key *keys, struct buffer *out)
{
    struct session session;
    const char *reason;
    int err = spc_open(request->fairplay, request->body, &session, &reason);
    if (err == 0 && !ckc_write(&session, &keys[0], out))
        err = ERR_INVALID;
    if (err != 0)
        out->err = err;
    session_close(&session);
}

const struct license_system license_fairplay = {
    .content_type = "application/octet-stream",
    .read = fairplay_read,
    .write = fairplay_write,
};
