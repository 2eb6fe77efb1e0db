/* SPDX-License-Identifier: Apache-2.0 */

#include "media/crypt/aes128.h"

#include "core/buffer.h"
#include "core/err.h"

#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define SIZE_MAX_OUT (1u << 20)

static const uint8_t key[16] = "sixteen letters.";
static const uint8_t iv[16] = "another sixteen.";

/* Doubles each byte, and contradicts its map at a 0xff. */
struct doubler {
    struct transform super;
    uint64_t put;
    uint8_t pending;
    bool *is_closed;
};

static int
doubler_run(struct transform *self, struct transform_io *io)
{
    struct doubler *d = (struct doubler *) self;
    while (io->out_len > 0 && (d->put % 2 == 1 || io->in_len > 0)) {
        if (d->put % 2 == 0) {
            d->pending = *io->in++;
            io->in_len--;
        }
        if (d->pending == 0xff)
            return ERR_INVALID;
        *io->out++ = d->pending;
        io->out_len--;
        d->put++;
    }
    return 0;
}

static void
doubler_close(struct transform *self)
{
    *((struct doubler *) self)->is_closed = true;
    free(self);
}

static struct transform *
doubler_new(uint64_t size_in, bool *is_closed)
{
    struct doubler *d = calloc(1, sizeof *d);
    assert_non_null(d);
    d->super = (struct transform){.size_in = size_in,
                                  .size_out = 2 * size_in,
                                  .run = doubler_run,
                                  .close = doubler_close};
    d->is_closed = is_closed;
    *is_closed = false;
    return &d->super;
}

static struct bytes
plain_of(size_t len, uint8_t *memory)
{
    for (size_t i = 0; i < len; i++)
        memory[i] = (uint8_t) (i * 31 % 251);
    return bytes_of(memory, len);
}

static int
pieces_run(struct transform *t, struct bytes in, size_t piece_in,
           size_t piece_out, struct buffer *out)
{
    uint8_t piece[5000];
    size_t at = 0;
    buffer_init(out, SIZE_MAX_OUT);
    for (;;) {
        const size_t len = in.len - at < piece_in ? in.len - at : piece_in;
        struct transform_io io = {in.ptr + at, len, piece, piece_out};
        const int err = t->run(t, &io);
        if (err != 0)
            return err;
        at += len - io.in_len;
        buffer_append(out, piece, piece_out - io.out_len);
        if (len == io.in_len && io.out_len == piece_out)
            break;
    }
    assert_int_equal(at, t->size_in);
    assert_int_equal(out->len, t->size_out);
    return 0;
}

/* OpenSSL's own, at once. */
static void
expected_of(struct bytes plain, struct buffer *out)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    uint8_t *memory = malloc(plain.len + 32);
    int len, last;
    EVP_EncryptInit_ex(ctx, EVP_aes_128_cbc(), NULL, key, iv);
    EVP_EncryptUpdate(ctx, memory, &len, plain.ptr, (int) plain.len);
    EVP_EncryptFinal_ex(ctx, memory + len, &last);
    EVP_CIPHER_CTX_free(ctx);
    buffer_init(out, SIZE_MAX_OUT);
    buffer_append(out, memory, (size_t) (len + last));
    free(memory);
}

static const size_t lengths[] = {0, 1, 15, 16, 17, 31, 32, 33, 4096, 10000};
static const size_t pieces[][2] = {{1, 1},    {1, 5000},   {5000, 1},
                                   {7, 31},   {16, 16},    {33, 32},
                                   {100, 47}, {4096, 4096}};

static void
it_is_openssl_s_cbc_with_pkcs7_in_pieces_of_any_size(void **state)
{
    uint8_t memory[10000];
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        const struct bytes plain = plain_of(lengths[i], memory);
        struct buffer expected;
        expected_of(plain, &expected);
        for (size_t p = 0; p < sizeof pieces / sizeof pieces[0]; p++) {
            struct transform *t;
            struct buffer out;
            assert_int_equal(
                aes128_transform_open(NULL, plain.len, key, iv, &t), 0);
            assert_int_equal(
                pieces_run(t, plain, pieces[p][0], pieces[p][1], &out), 0);
            assert_true(
                bytes_equal(buffer_bytes(&out), buffer_bytes(&expected)));
            t->close(t);
            buffer_fini(&out);
        }
        buffer_fini(&expected);
    }
}

static void
what_the_inner_transform_gives_is_encrypted(void **state)
{
    uint8_t memory[10000], twice[20000];
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        const struct bytes plain = plain_of(lengths[i], memory);
        for (size_t b = 0; b < 2 * plain.len; b++)
            twice[b] = plain.ptr[b / 2];
        struct buffer expected;
        expected_of(bytes_of(twice, 2 * plain.len), &expected);
        for (size_t p = 0; p < sizeof pieces / sizeof pieces[0]; p++) {
            struct transform *t;
            struct buffer out;
            bool is_closed;
            assert_int_equal(
                aes128_transform_open(doubler_new(plain.len, &is_closed), 0,
                                      key, iv, &t),
                0);
            assert_int_equal(
                pieces_run(t, plain, pieces[p][0], pieces[p][1], &out), 0);
            assert_true(
                bytes_equal(buffer_bytes(&out), buffer_bytes(&expected)));
            t->close(t);
            assert_true(is_closed);
            buffer_fini(&out);
        }
        buffer_fini(&expected);
    }
}

static void
an_error_of_the_inner_transform_comes_through(void **state)
{
    static const uint8_t plain[100] = {[70] = 0xff};
    for (size_t p = 0; p < sizeof pieces / sizeof pieces[0]; p++) {
        struct transform *t;
        struct buffer out;
        bool is_closed;
        assert_int_equal(
            aes128_transform_open(doubler_new(sizeof plain, &is_closed), 0, key,
                                  iv, &t),
            0);
        assert_int_equal(pieces_run(t, bytes_of(plain, sizeof plain),
                                    pieces[p][0], pieces[p][1], &out),
                         ERR_INVALID);
        t->close(t);
        buffer_fini(&out);
    }
}

static void
the_iv_is_the_segment_s_number(void **state)
{
    static const uint8_t expected[16] = {[12] = 1, 2, 3, 4};
    uint8_t found[16];
    aes128_iv_of_segment(0x01020304, found);
    assert_memory_equal(found, expected, 16);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_openssl_s_cbc_with_pkcs7_in_pieces_of_any_size),
        cmocka_unit_test(what_the_inner_transform_gives_is_encrypted),
        cmocka_unit_test(an_error_of_the_inner_transform_comes_through),
        cmocka_unit_test(the_iv_is_the_segment_s_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
