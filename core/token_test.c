/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <time.h>

#include "core/err.h"
#include "core/test_random.h"
#include "core/token.h"

#define HEX_A "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define HEX_B "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100"

static struct token_keys *
keys_of(const char *text)
{
    struct token_keys *keys = NULL;
    unsigned line = 0;
    assert_int_equal(token_keys_parse(bytes_of_text(text), &keys, &line), 0);
    return keys;
}

static const struct token_claims claims = {.session = 0x0123456789abcdef,
                                           .expires_s = 2000000000};

static void
what_was_signed_is_verified_until_it_expires(void **state)
{
    struct token_keys *keys = keys_of("7 " HEX_A "\n");
    struct bytes film = BYTES_LITERAL("film");
    struct token_claims found = {0};
    char text[TOKEN_TEXT_LEN];
    assert_int_equal(token_sign(keys, film, &claims, text), 0);
    struct bytes token = bytes_of(text, sizeof text);
    assert_int_equal(token_verify(keys, token, film, 0, &found), 0);
    assert_true(found.session == claims.session);
    assert_int_equal(found.expires_s, claims.expires_s);
    assert_int_equal(token_verify(keys, token, film, 2000000000, &found), 0);
    found.session = 5;
    assert_int_equal(token_verify(keys, token, film, 2000000001, &found),
                     ERR_EXPIRED);
    assert_int_equal(token_verify(keys, token, film, UINT64_MAX, &found),
                     ERR_EXPIRED);
    assert_int_equal(found.session, 5);
    token_keys_free(keys);
}

static void
the_form_is_the_same_for_ever(void **state)
{
    /* HMAC-SHA256 by another implementation (Python's hmac) */
    struct token_keys *keys = keys_of("7 " HEX_A "\n");
    char text[TOKEN_TEXT_LEN];
    assert_int_equal(token_sign(keys, BYTES_LITERAL("film"), &claims, text), 0);
    assert_memory_equal(text, "AQd3NZQAASNFZ4mrze-G81Gby1xHxAs8di8Kt9aE",
                        TOKEN_TEXT_LEN);
    token_keys_free(keys);
}

static void
of_ten_thousand_altered_tokens_none_is_accepted(void **state)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklm"
                                   "nopqrstuvwxyz0123456789-_+/= .%";
    struct token_keys *keys = keys_of("7 " HEX_A "\n8 " HEX_B "\n");
    struct token_claims found;
    uint64_t random = 1;
    unsigned accepted = 0;
    for (unsigned i = 0; i < 10000; i++) {
        char text[TOKEN_TEXT_LEN + 8], signed_text[TOKEN_TEXT_LEN];
        char id[20];
        size_t len = TOKEN_TEXT_LEN;
        struct token_claims some = {.session = random_next(&random),
                                    .expires_s = 2000000000};
        snprintf(id, sizeof id, "film-%u", i);
        struct bytes content = bytes_of_text(id);
        assert_int_equal(token_sign(keys, content, &some, signed_text), 0);
        memcpy(text, signed_text, sizeof signed_text);
        size_t at = random_next(&random) % TOKEN_TEXT_LEN;
        switch (i % 5) {
        case 0: /* one bit of the text */
            text[at] = (char) (text[at] ^ 1 << random_next(&random) % 8);
            break;
        case 1: /* another character, of the alphabet or near it */
            do {
                text[at] =
                    alphabet[random_next(&random) % (sizeof alphabet - 1)];
            } while (text[at] == signed_text[at]);
            break;
        case 2: /* of another content */
            content = bytes_of(id, content.len - 1);
            break;
        case 3: /* shorter or longer */
            memcpy(text + TOKEN_TEXT_LEN, "AAAA====", 8);
            len = i % 2 ? at : TOKEN_TEXT_LEN + 1 + at % 8;
            break;
        case 4: /* two places swapped, or one turned over when equal */
        {
            size_t other = (at + 1 + random_next(&random) % 39) % 40;
            char c = text[at];
            text[at] = text[other];
            text[other] = c;
            if (memcmp(text, signed_text, sizeof signed_text) == 0)
                text[at] = text[at] == 'A' ? 'B' : 'A';
            break;
        }
        }
        accepted +=
            token_verify(keys, bytes_of(text, len), content, 0, &found) == 0;
    }
    assert_int_equal(accepted, 0);
    token_keys_free(keys);
}

static void
every_bit_of_a_token_counts(void **state)
{
    struct token_keys *keys = keys_of("7 " HEX_A "\n");
    struct token_claims found;
    char text[TOKEN_TEXT_LEN];
    token_sign(keys, BYTES_LITERAL("film"), &claims, text);
    for (size_t i = 0; i < TOKEN_TEXT_LEN; i++) {
        char before = text[i];
        for (int c = 0; c < 256; c++) {
            text[i] = (char) c;
            int err = token_verify(keys, bytes_of(text, sizeof text),
                                   BYTES_LITERAL("film"), 0, &found);
            assert_int_equal(err, text[i] == before ? 0 : ERR_DENIED);
        }
        text[i] = before;
    }
    token_keys_free(keys);
}

static void
keys_are_rotated_without_a_gap(void **state)
{
    struct token_keys *old = keys_of("1 " HEX_A);
    struct token_keys *both = keys_of("2 " HEX_B "\n1 " HEX_A "\n");
    struct token_keys *new = keys_of("2 " HEX_B);
    struct token_claims found;
    struct bytes film = BYTES_LITERAL("film");
    char text[TOKEN_TEXT_LEN];
    struct bytes token = bytes_of(text, sizeof text);
    token_sign(old, film, &claims, text);
    assert_int_equal(token_verify(both, token, film, 0, &found), 0);
    assert_int_equal(token_verify(new, token, film, 0, &found), ERR_DENIED);
    token_sign(both, film, &claims, text);
    assert_int_equal(token_verify(new, token, film, 0, &found), 0);
    assert_int_equal(token_verify(old, token, film, 0, &found), ERR_DENIED);
    token_keys_free(old);
    token_keys_free(both);
    token_keys_free(new);
    token_keys_free(NULL);
}

static void
key_files_are_read_or_refused_with_the_line(void **state)
{
    static const struct {
        const char *text;
        int err;
        unsigned line;
    } cases[] = {
        {"", ERR_INVALID, 0},
        {"# none\n\n", ERR_INVALID, 0},
        {"1 " HEX_A, 0, 0},
        {"# c\r\n\t255\t" HEX_A " \r\n\n0 " HEX_B "\n", 0, 0},
        {"256 " HEX_A, ERR_INVALID, 1},
        {"-1 " HEX_A, ERR_INVALID, 1},
        {"00001 " HEX_A, ERR_INVALID, 1},
        {"1" HEX_A, ERR_INVALID, 1},
        {"1 " HEX_A "\n1 " HEX_B, ERR_INVALID, 2},
        {"1 " HEX_A "0", ERR_INVALID, 1},
        {"1 " HEX_A " x", ERR_INVALID, 1},
        {"\n\n1 00g1", ERR_INVALID, 3},
        {"1 ", ERR_INVALID, 1},
        {"1", ERR_INVALID, 1},
        {"1 zz112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
         ERR_INVALID, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct token_keys *keys = NULL;
        unsigned line = 0;
        assert_int_equal(
            token_keys_parse(bytes_of_text(cases[i].text), &keys, &line),
            cases[i].err);
        assert_int_equal(line, cases[i].line);
        assert_int_equal(keys != NULL, cases[i].err == 0);
        token_keys_free(keys);
    }
    char many[TOKEN_KEYS_MAX * 80 + 80];
    size_t len = 0;
    for (int i = 0; i <= TOKEN_KEYS_MAX; i++)
        len += (size_t) snprintf(many + len, sizeof many - len,
                                 "%d " HEX_A "\n", i);
    struct token_keys *keys = NULL;
    unsigned line = 0;
    assert_int_equal(token_keys_parse(bytes_of(many, len), &keys, &line),
                     ERR_LIMIT);
    assert_int_equal(line, TOKEN_KEYS_MAX + 1);
}

static void
a_verification_takes_little_time(void **state)
{
    enum { ROUNDS = 100000 };
    struct token_keys *keys = keys_of("7 " HEX_A "\n");
    struct token_claims found;
    char text[TOKEN_TEXT_LEN];
    struct timespec a, b;
    token_sign(keys, BYTES_LITERAL("film-123456"), &claims, text);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
    for (int i = 0; i < ROUNDS; i++)
        assert_true(token_verify(keys, bytes_of(text, sizeof text),
                                 BYTES_LITERAL("film-123456"), 0, &found)
                    == 0);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
    printf("%.0f ns a verification\n", ((double) (b.tv_sec - a.tv_sec) * 1e9
                                        + (double) (b.tv_nsec - a.tv_nsec))
                                           / ROUNDS);
    token_keys_free(keys);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_signed_is_verified_until_it_expires),
        cmocka_unit_test(the_form_is_the_same_for_ever),
        cmocka_unit_test(of_ten_thousand_altered_tokens_none_is_accepted),
        cmocka_unit_test(every_bit_of_a_token_counts),
        cmocka_unit_test(keys_are_rotated_without_a_gap),
        cmocka_unit_test(key_files_are_read_or_refused_with_the_line),
        cmocka_unit_test(a_verification_takes_little_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
