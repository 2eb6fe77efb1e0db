/* SPDX-License-Identifier: Apache-2.0 */
#include "platform/jwt.h"

#include "core/base64url.h"
#include "core/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* "n" or "e": `size` bytes of which the first and the last are these. */
struct number {
    size_t size;
    uint8_t first, last;
};

static const char *
number_text(struct number number, char out[1024])
{
    uint8_t bytes[512] = {0};
    assert_in_range(number.size, 1, sizeof bytes);
    bytes[number.size - 1] = number.last;
    bytes[0] |= number.first;
    base64url_encode(bytes_of(bytes, number.size), out);
    out[BASE64URL_LEN(number.size)] = '\0';
    return out;
}

static void
an_rsa_key_has_numbers_that_nobody_else_signs_with(void **state)
{
    static const struct {
        struct number n, e;
        const char *reason; /* part of it; NULL: it is a key */
    } cases[] = {
        {{256, 0x80, 1}, {3, 1, 1}, NULL},
        {{257, 0, 1}, {3, 1, 1}, "2048 bits"},
        {{256, 0x40, 1}, {3, 1, 1}, "2048 bits"},
        {{256, 0x7f, 1}, {3, 1, 1}, "2048 bits"},
        {{257, 1, 1}, {3, 1, 1}, NULL},
        {{512, 0x80, 1}, {3, 1, 1}, NULL},
        {{256, 0x80, 2}, {3, 1, 1}, "even modulus"},
        {{256, 0x80, 1}, {1, 0, 1}, "exponent"},
        {{256, 0x80, 1}, {1, 0, 3}, "exponent"},
        {{256, 0x80, 1}, {2, 0xff, 0xff}, "exponent"},
        {{256, 0x80, 1}, {3, 1, 0}, "exponent"},
        {{256, 0x80, 1}, {3, 1, 2}, "exponent"},
        {{256, 0x80, 1}, {3, 1, 3}, NULL},
        {{256, 0x80, 1}, {9, 0, 1}, "exponent"}, /* 1 behind zeros */
        {{256, 0x80, 1}, {9, 1, 1}, NULL},
        {{256, 0x80, 1}, {32, 0xff, 1}, NULL},
        {{256, 0x80, 1}, {33, 1, 1}, "exponent"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char n[1024], e[1024], text[2 * 1024 + 64];
        struct jwk *jwk = NULL;
        const char *reason = NULL;
        snprintf(text, sizeof text,
                 "{\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"%s\"}",
                 number_text(cases[i].n, n), number_text(cases[i].e, e));
        int err = jwk_read(bytes_of_text(text), "id", &jwk, &reason);
        jwk_free(jwk);
        if (cases[i].reason == NULL
                ? err != 0
                : err != ERR_INVALID || strstr(reason, cases[i].reason) == NULL)
            fail_msg("case %zu: %d %s", i, err, reason);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_rsa_key_has_numbers_that_nobody_else_signs_with),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
