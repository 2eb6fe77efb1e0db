/* SPDX-License-Identifier: Apache-2.0 */
#include "media/crypt/aes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/evp.h>

#define SIZE 5000

static const uint8_t key[AES_BLOCK_SIZE] = {0x10, 0x32, 0x54, 0x76, 0x98};
/* the counter runs over while it counts */
static const uint8_t iv[AES_BLOCK_SIZE] = {1, 2,  3,  4,  5, 6, 7,    8,
                                           9, 10, 11, 12, 0, 0, 0xff, 0xf0};

static void
plain_make(uint8_t *plain, size_t size)
{
    for (unsigned i = 0; i < size; i++)
        plain[i] = (uint8_t) (i * 2654435761u >> 24);
}

/* By OpenSSL in one piece. */
static void
encrypt(const EVP_CIPHER *cipher, const uint8_t *plain, size_t len,
        const uint8_t *start, uint8_t *out)
{
    int put;
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    assert_non_null(ctx);
    assert_int_equal(EVP_EncryptInit_ex(ctx, cipher, NULL, key, start), 1);
    assert_int_equal(EVP_EncryptUpdate(ctx, out, &put, plain, (int) len), 1);
    assert_int_equal(put, len);
    EVP_CIPHER_CTX_free(ctx);
}

static void
counter_pieces_of_any_size_are_openssl_s(void **state)
{
    uint8_t plain[SIZE], wanted[SIZE], got[SIZE];
    struct aes *aes;
    plain_make(plain, SIZE);
    encrypt(EVP_aes_128_ctr(), plain, SIZE, iv, wanted);
    assert_int_equal(aes_open(key, &aes), 0);
    for (size_t step = 1; step < 600; step++) {
        assert_int_equal(aes_counter_start(aes, iv), 0);
        memset(got, 0, sizeof got);
        /* also where they lie, and pieces of several sizes after each other */
        for (size_t at = 0, len; at < SIZE; at += len) {
            len = 1 + (step * (at + 7)) % step;
            len = len < SIZE - at ? len : SIZE - at;
            memcpy(got + at, plain + at, len);
            const uint8_t *in = step % 2 ? plain + at : got + at;
            assert_int_equal(aes_counter_run(aes, in, got + at, len), 0);
        }
        assert_memory_equal(got, wanted, SIZE);
    }
    aes_close(aes);
}

static void
chains_side_by_side_are_openssl_s(void **state)
{
    uint8_t plain[SIZE], wanted[SIZE], got[SIZE];
    struct aes *aes;
    plain_make(plain, SIZE);
    assert_int_equal(aes_open(key, &aes), 0);
    for (size_t count = 1; count <= AES_CHAINS_MAX; count++) {
        struct aes_chain chains[AES_CHAINS_MAX];
        size_t put = 0;
        memcpy(got, plain, SIZE);
        memcpy(wanted, plain, SIZE);
        /* in two parts: the second goes on where the first ended */
        for (size_t i = 0; i < count; i++) {
            const size_t len = AES_BLOCK_SIZE * (2 + (i * 7 + count) % 14);
            assert_true(put + len <= SIZE);
            chains[i].bytes = got + put;
            chains[i].len = AES_BLOCK_SIZE;
            memcpy(chains[i].iv, iv, sizeof iv);
            chains[i].iv[0] = (uint8_t) i;
            encrypt(EVP_aes_128_cbc(), plain + put, len, chains[i].iv,
                    wanted + put);
            put += len;
        }
        assert_int_equal(aes_chains_run(aes, chains, count), 0);
        for (size_t i = 0; i < count; i++) {
            chains[i].bytes += AES_BLOCK_SIZE;
            chains[i].len = AES_BLOCK_SIZE * (1 + (i * 7 + count) % 14);
        }
        assert_int_equal(aes_chains_run(aes, chains, count), 0);
        assert_memory_equal(got, wanted, SIZE);
    }
    aes_close(aes);
}

static void
long_chains_are_openssl_s(void **state)
{
    /* about where a length no longer fits into 16 bits, and side by side */
    static const size_t lens[] = {65520,  65536,  16,     65552,
                                  131040, 131056, 131072, 1 << 20};
    enum { COUNT = sizeof lens / sizeof lens[0] };
    uint8_t *plain = malloc(1 << 20), *wanted = malloc(1 << 20);
    struct aes_chain chains[COUNT];
    struct aes *aes;
    assert_non_null(plain);
    assert_non_null(wanted);
    plain_make(plain, 1 << 20);
    encrypt(EVP_aes_128_cbc(), plain, 1 << 20, iv, wanted);
    assert_int_equal(aes_open(key, &aes), 0);
    for (size_t count = 1; count <= COUNT; count++) {
        for (size_t i = 0; i < count; i++) {
            chains[i].len = lens[COUNT - count + i];
            chains[i].bytes = malloc(chains[i].len);
            assert_non_null(chains[i].bytes);
            memcpy(chains[i].bytes, plain, chains[i].len);
            memcpy(chains[i].iv, iv, sizeof iv);
        }
        assert_int_equal(aes_chains_run(aes, chains, count), 0);
        for (size_t i = 0; i < count; i++) {
            assert_memory_equal(chains[i].bytes, wanted, chains[i].len);
            assert_memory_equal(chains[i].iv,
                                wanted + chains[i].len - AES_BLOCK_SIZE,
                                AES_BLOCK_SIZE);
            free(chains[i].bytes);
        }
    }
    aes_close(aes);
    free(wanted);
    free(plain);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counter_pieces_of_any_size_are_openssl_s),
        cmocka_unit_test(chains_side_by_side_are_openssl_s),
        cmocka_unit_test(long_chains_are_openssl_s),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
