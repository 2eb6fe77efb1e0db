/* SPDX-License-Identifier: Apache-2.0 */
/* Of the stand-in plug-in that the command line names; certificate, key and ASk
 * are made here. */

#include "programs/mlic/license_fairplay.h"

#include "core/err.h"
#include "platform/files.h"
#include "platform/log.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

#define TAG_SESSION 0x3d1a10b8bffac2ec
#define TAG_INTEGRITY 0xb349d4809e910687
#define TAG_SEED 0x89c90f12204106b2
#define TAG_R2 0x71b5595ac1521133
#define TAG_ASSET 0x1bf7f53f5d5d5a1f
#define TAG_RETURNED 0x19f9d4e5ab7609cb
#define TAG_TRANSACTION 0x47aa7ad3440577de
#define TAG_CONTENT_KEY 0x58b38165af0e3d5a
#define TAG_R1 0xea74c4645d5efee9
#define TAG_DURATION 0x47acf6a418cd091a
#define TAG_OUTPUT 0x2e52f1530d8ddb4a

#define KID_TEXT "00112233-4455-6677-8899-aabbccddeeff"
#define ASK_TEXT "6465666768696a6b6c6d6e6f70717273"

static const uint8_t kid[CRYPT_KEY_SIZE] = {0x00, 0x11, 0x22, 0x33, 0x44, 0x55,
                                            0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb,
                                            0xcc, 0xdd, 0xee, 0xff};
static const uint8_t zeros[112],
    key_of_spc[16] = "key of the SPC.", iv_of_spc[16] = "IV of the SPC..",
    session_key[16] = "session's key..", seed[16] = "seed of the CKC",
    r2[21] = "twenty-one bytes, R2";
static uint8_t r1[44] = "R1";

static const char *plugin;
static char folder[64], certificate_path[96], key_path[96], ask_path[96];
static EVP_PKEY *private_key;
static uint8_t certificate_hash[20];
static struct fairplay_config config;
static struct fairplay *fairplay;
static struct license_request request;
static const char *reason;

/* ---- what is Apple's ---- */

static void
certificate_write(void)
{
    unsigned len;
    X509 *certificate = X509_new();
    FILE *file = fopen(certificate_path, "w");
    assert_non_null(file);
    X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, private_key);
    assert_true(X509_sign(certificate, private_key, EVP_sha256()) > 0);
    assert_int_equal(PEM_write_X509(file, certificate), 1);
    assert_int_equal(
        X509_digest(certificate, EVP_sha1(), certificate_hash, &len), 1);
    fclose(file);
    X509_free(certificate);
}

static void
key_write(const char *path, EVP_PKEY *key)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL),
                     1);
    fclose(file);
    assert_int_equal(chmod(path, 0600), 0);
}

static void
ask_write(const char *text)
{
    assert_int_equal(
        file_write_atomic(ask_path, bytes_of_text(text), 0600, false), 0);
}

static int
setup(void **state)
{
    snprintf(folder, sizeof folder, "/tmp/fairplay_test.XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(certificate_path, sizeof certificate_path, "%s/crt", folder);
    snprintf(key_path, sizeof key_path, "%s/key", folder);
    snprintf(ask_path, sizeof ask_path, "%s/ask", folder);
    private_key = EVP_RSA_gen(1024);
    certificate_write();
    key_write(key_path, private_key);
    ask_write(ASK_TEXT "\n");
    config =
        (struct fairplay_config){plugin, certificate_path, key_path, ask_path};
    return fairplay_new(&config, &fairplay);
}

static int
teardown(void **state)
{
    fairplay_free(fairplay);
    EVP_PKEY_free(private_key);
    return folder_remove(folder);
}

static void
refused_with(int expected)
{
    struct fairplay *none = NULL;
    assert_int_equal(fairplay_new(&config, &none), expected);
    assert_null(none);
}

static void
what_is_not_apple_s_is_refused(void **state)
{
    const struct fairplay_config whole = config;
    EVP_PKEY *large = EVP_RSA_gen(2048);
    config.ask = NULL;
    refused_with(ERR_INVALID);
    config = whole;
    config.plugin = "/nowhere.so";
    refused_with(ERR_INVALID);
    config = whole;
    config.certificate = key_path;
    refused_with(ERR_INVALID);
    config = whole;
    ask_write("6465");
    refused_with(ERR_INVALID);
    ask_write(ASK_TEXT "\n");
    assert_int_equal(chmod(ask_path, 0640), 0);
    refused_with(ERR_DENIED);
    ask_write(ASK_TEXT "\n");
    assert_int_equal(chmod(key_path, 0644), 0);
    refused_with(ERR_DENIED);
    key_write(key_path, large);
    refused_with(ERR_INVALID);
    key_write(key_path, private_key);
    EVP_PKEY_free(large);
}

/* ---- a player ---- */

static void
cipher_run(const EVP_CIPHER *cipher, bool is_encrypted, const uint8_t *key,
           const uint8_t *iv, struct bytes from, uint8_t *to)
{
    int len;
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    assert_int_equal(
        EVP_CipherInit_ex(context, cipher, NULL, key, iv, is_encrypted), 1);
    EVP_CIPHER_CTX_set_padding(context, 0);
    assert_int_equal(
        EVP_CipherUpdate(context, to, &len, from.ptr, (int) from.len), 1);
    assert_int_equal(len, from.len);
    EVP_CIPHER_CTX_free(context);
}

static void
block_append(uint64_t tag, const void *value, size_t size, struct buffer *out)
{
    const size_t padding = -size % 16;
    buffer_append_be64(out, tag);
    buffer_append_be32(out, (uint32_t) (size + padding));
    buffer_append_be32(out, (uint32_t) size);
    buffer_append(out, value, size);
    buffer_append(out, zeros, padding);
}

/* The session of the stand-in's D function. */
static void
session_append(struct buffer *out)
{
    uint8_t dask[16], plain[96] = {0}, value[112] = {0};
    for (size_t i = 0; i < sizeof dask; i++)
        dask[i] = (uint8_t) ((0x64 + i) ^ r2[i]);
    memcpy(plain, session_key, sizeof session_key);
    memcpy(plain + 36, r1, sizeof r1);
    cipher_run(EVP_aes_128_cbc(), true, dask, value,
               bytes_of(plain, sizeof plain), value + 16);
    block_append(TAG_SESSION, value, sizeof value, out);
}

static void
payload_append(const char *asset, struct buffer *out)
{
    uint8_t tag[8];
    store_be64(tag, TAG_TRANSACTION);
    session_append(out);
    block_append(TAG_INTEGRITY, zeros, 16, out);
    block_append(TAG_SEED, seed, sizeof seed, out);
    block_append(TAG_R2, r2, sizeof r2, out);
    block_append(TAG_ASSET, asset, strlen(asset), out);
    block_append(TAG_TRANSACTION, "12345678", 8, out);
    block_append(TAG_RETURNED, tag, sizeof tag, out);
}

static void
spc_append(const char *asset, struct buffer *out)
{
    struct buffer payload;
    uint8_t wrapped[128], sealed[4096];
    size_t len = sizeof wrapped;
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(private_key, NULL);
    assert_int_equal(EVP_PKEY_encrypt_init(context), 1);
    EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_OAEP_PADDING);
    assert_int_equal(EVP_PKEY_encrypt(context, wrapped, &len, key_of_spc, 16),
                     1);
    EVP_PKEY_CTX_free(context);
    buffer_init(&payload, sizeof sealed);
    payload_append(asset, &payload);
    cipher_run(EVP_aes_128_cbc(), true, key_of_spc, iv_of_spc,
               buffer_bytes(&payload), sealed);
    buffer_append_be32(out, 1);
    buffer_append_be32(out, 0);
    buffer_append(out, iv_of_spc, 16);
    buffer_append(out, wrapped, sizeof wrapped);
    buffer_append(out, certificate_hash, sizeof certificate_hash);
    buffer_append_be32(out, (uint32_t) payload.len);
    buffer_append(out, sealed, payload.len);
    buffer_fini(&payload);
}

static int
spc_read(struct bytes spc)
{
    request = (struct license_request){.fairplay = fairplay, .body = spc};
    reason = NULL;
    return license_fairplay.read(spc, &request, &reason);
}

static void
assert_block(struct bytes plain, uint64_t tag, const void *expected,
             size_t size)
{
    struct bytes block;
    assert_true(fairplay_block_find(plain, tag, &block));
    assert_true(load_be32(block.ptr + 12) >= size);
    assert_memory_equal(block.ptr + 16, expected, size);
}

static void
an_spc_is_answered_with_a_lease_of_its_key(void **state)
{
    struct license_key key = {
        .key = {.key = "content's key..", .iv = "content's IV..."},
        .policy = {
            .output = OUTPUT_HDCP_1, .license_s = 600, .playback_s = 60}};
    uint8_t hash[20], answer_key[16], plain[1024], content[32];
    uint8_t duration[16] = {0,    0,    0,    60,   0,    0,    0,    0,
                            0x1a, 0x4b, 0xde, 0x7e, 0x86, 0xd3, 0x4a, 0x3a};
    unsigned len;
    struct buffer spc, ckc;
    buffer_init(&spc, 8192);
    buffer_init(&ckc, 8192);
    spc_append("skd://" KID_TEXT, &spc);
    assert_int_equal(spc_read(buffer_bytes(&spc)), 0);
    assert_int_equal(request.kid_count, 1);
    assert_memory_equal(request.kids[0], kid, sizeof kid);
    license_fairplay.write(&request, &key, &ckc);
    assert_int_equal(ckc.err, 0);

    assert_int_equal(load_be32(ckc.ptr), 1);
    assert_int_equal(load_be32(ckc.ptr + 24), ckc.len - 28);
    EVP_Digest(r1, sizeof r1, hash, &len, EVP_sha1(), NULL);
    cipher_run(EVP_aes_128_ecb(), true, hash, NULL, bytes_of(seed, 16),
               answer_key);
    cipher_run(EVP_aes_128_cbc(), false, answer_key, ckc.ptr + 8,
               bytes_of(ckc.ptr + 28, ckc.len - 28), plain);
    const struct bytes blocks = bytes_of(plain, ckc.len - 28);
    memcpy(content, key.key.iv, 16);
    cipher_run(EVP_aes_128_ecb(), true, session_key, NULL,
               bytes_of(key.key.key, 16), content + 16);
    assert_block(blocks, TAG_CONTENT_KEY, content, sizeof content);
    assert_block(blocks, TAG_R1, r1, sizeof r1);
    assert_block(blocks, TAG_DURATION, duration, sizeof duration);
    assert_block(blocks, TAG_OUTPUT, "\x40\x79\x1a\xc7\x8b\xd5\xc5\x71", 8);
    assert_block(blocks, TAG_TRANSACTION, "12345678", 8);
    buffer_fini(&spc);
    buffer_fini(&ckc);
}

static void
a_changed_spc_is_refused(void **state)
{
    static const struct {
        size_t offset; /* of the byte that is another */
        const char *reason;
    } cases[] = {
        {3, "another version"},
        {24 + 64, "cannot be decrypted"},
        {152, "another certificate"},
        {175, "size"},
        {176, "blocks"},
    };
    struct buffer spc;
    buffer_init(&spc, 8192);
    spc_append(KID_TEXT, &spc);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        spc.ptr[cases[i].offset] ^= 1;
        assert_int_not_equal(spc_read(buffer_bytes(&spc)), 0);
        spc.ptr[cases[i].offset] ^= 1;
        assert_non_null(strstr(reason, cases[i].reason));
    }
    /* in the session, which then ends with other bytes */
    spc.ptr[176 + 16 + 80] ^= 1;
    assert_int_equal(spc_read(buffer_bytes(&spc)), ERR_INVALID);
    assert_non_null(strstr(reason, "not whole"));
    buffer_fini(&spc);
}

static void
an_spc_that_is_cut_off_is_refused(void **state)
{
    static uint8_t large[FAIRPLAY_SPC_SIZE_MAX + 1];
    struct buffer spc;
    buffer_init(&spc, 8192);
    spc_append(KID_TEXT, &spc);
    for (size_t len = 0; len < spc.len; len++)
        assert_int_equal(spc_read(bytes_of(spc.ptr, len)), ERR_INVALID);
    assert_int_equal(spc_read(bytes_of(large, sizeof large)), ERR_LIMIT);
    buffer_fini(&spc);
}

/* ---- the blocks ---- */

static int
payload_read(struct buffer *payload)
{
    struct fairplay_payload out;
    const int err = fairplay_payload_read(buffer_bytes(payload), &out, &reason);
    buffer_fini(payload);
    buffer_init(payload, 8192);
    return err;
}

static void
blocks_that_are_not_right_are_refused(void **state)
{
    struct buffer payload;
    buffer_init(&payload, 8192);
    payload_append("a", &payload);
    for (size_t len = 0; len < payload.len; len++) {
        struct fairplay_payload out;
        const int err =
            fairplay_payload_read(bytes_of(payload.ptr, len), &out, &reason);
        /* the last blocks may be missing, in whole */
        assert_true(err == ERR_INVALID || len == payload.len - 32
                    || len == payload.len - 64);
    }
    assert_int_equal(payload_read(&payload), 0);
    payload_append("a", &payload);
    block_append(TAG_SEED, seed, sizeof seed, &payload); /* twice */
    assert_int_equal(payload_read(&payload), ERR_INVALID);
    block_append(TAG_SEED, seed, sizeof seed - 1, &payload);
    assert_int_equal(payload_read(&payload), ERR_INVALID);
    assert_non_null(strstr(reason, "not right"));
    payload_append("", &payload);
    assert_int_equal(payload_read(&payload), ERR_INVALID);
    assert_non_null(strstr(reason, "lacks"));
    /* a value larger than its block */
    payload_append("a", &payload);
    payload.ptr[15] = 129;
    assert_int_equal(payload_read(&payload), ERR_INVALID);
}

static void
up_to_16_tags_are_returned(void **state)
{
    struct buffer payload;
    buffer_init(&payload, 8192);
    for (size_t size = 0; size <= 17 * 8; size++) {
        uint8_t tags[17 * 8] = {0};
        session_append(&payload);
        block_append(TAG_INTEGRITY, zeros, 16, &payload);
        block_append(TAG_SEED, seed, sizeof seed, &payload);
        block_append(TAG_R2, r2, sizeof r2, &payload);
        block_append(TAG_ASSET, "a", 1, &payload);
        block_append(TAG_RETURNED, tags, size, &payload);
        assert_int_equal(payload_read(&payload),
                         size % 8 == 0 && size <= 16 * 8 ? 0 : ERR_INVALID);
    }
    assert_non_null(strstr(reason, "16 tags"));
}

static void
an_asset_is_a_kid(void **state)
{
    static const struct {
        const char *asset;
        int err;
    } cases[] = {
        {KID_TEXT, 0},
        {"skd://" KID_TEXT, 0},
        {"00112233445566778899AABBCCDDEEFF", 0},
        {"", ERR_INVALID},
        {"skd://", ERR_INVALID},
        {"SKD://" KID_TEXT, ERR_INVALID},
        {"skd://" KID_TEXT "0", ERR_INVALID},
        {"skd://host/" KID_TEXT, ERR_INVALID},
        {"0011223344556677889gaabbccddeeff", ERR_INVALID},
        {"00112233445566778899aabbccddeef", ERR_INVALID},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        request = (struct license_request){.kid_count = 0};
        assert_int_equal(fairplay_asset_read(bytes_of_text(cases[i].asset),
                                             &request, &reason),
                         cases[i].err);
        assert_int_equal(request.kid_count, cases[i].err == 0);
        if (cases[i].err == 0)
            assert_memory_equal(request.kids[0], kid, sizeof kid);
    }
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_apple_s_is_refused),
        cmocka_unit_test(an_spc_is_answered_with_a_lease_of_its_key),
        cmocka_unit_test(a_changed_spc_is_refused),
        cmocka_unit_test(an_spc_that_is_cut_off_is_refused),
        cmocka_unit_test(blocks_that_are_not_right_are_refused),
        cmocka_unit_test(up_to_16_tags_are_returned),
        cmocka_unit_test(an_asset_is_a_kid),
    };
    if (argc != 2)
        return 2;
    plugin = argv[1];
    log_init("fairplay_test", LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, setup, teardown);
}
