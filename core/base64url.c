/* SPDX-License-Identifier: Apache-2.0 */
/* base64url, see core/base64url.h. */

#include "core/base64url.h"

static const char alphabet[64] __attribute__((nonstring)) =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

#define GOOD 64 /* a bit that only characters of the alphabet have */
#define V(value) (GOOD | (value))

/* clang-format off */
static const uint8_t values[256] = {
    ['A'] = V(0), V(1), V(2), V(3), V(4), V(5), V(6), V(7), V(8), V(9), V(10),
    V(11), V(12), V(13), V(14), V(15), V(16), V(17), V(18), V(19), V(20),
    V(21), V(22), V(23), V(24), V(25),
    ['a'] = V(26), V(27), V(28), V(29), V(30), V(31), V(32), V(33), V(34), V(35),
    V(36), V(37), V(38), V(39), V(40), V(41), V(42), V(43), V(44), V(45),
    V(46), V(47), V(48), V(49), V(50), V(51),
    ['0'] = V(52), V(53), V(54), V(55), V(56), V(57), V(58), V(59), V(60), V(61),
    ['-'] = V(62), ['_'] = V(63),
};
/* clang-format on */

bool
base64url_decode(struct bytes text, uint8_t *out)
{
    const uint8_t *p = text.ptr;
    const size_t tail = text.len % 4;
    unsigned good = tail == 1 ? 0 : GOOD;

    for (size_t i = text.len / 4; i > 0; i--, p += 4, out += 3) {
        unsigned a = values[p[0]], b = values[p[1]];
        unsigned c = values[p[2]], d = values[p[3]];
        good &= a & b & c & d;
        out[0] = (uint8_t) (a << 2 | (b & 63) >> 4);
        out[1] = (uint8_t) (b << 4 | (c & 63) >> 2);
        out[2] = (uint8_t) (c << 6 | (d & 63));
    }
    if (tail >= 2) {
        unsigned a = values[p[0]], b = values[p[1]];
        unsigned c = tail == 3 ? values[p[2]] : GOOD;
        good &= a & b & c;
        out[0] = (uint8_t) (a << 2 | (b & 63) >> 4);
        if (tail == 3)
            out[1] = (uint8_t) (b << 4 | (c & 63) >> 2);
        if ((tail == 2 ? b & 15 : c & 3) != 0)
            good = 0;
    }
    return good != 0;
}

void
base64url_encode(struct bytes data, char *out)
{
    const uint8_t *p = data.ptr;
    size_t left = data.len;

    for (; left >= 3; left -= 3, p += 3) {
        *out++ = alphabet[p[0] >> 2];
        *out++ = alphabet[(p[0] << 4 | p[1] >> 4) & 63];
        *out++ = alphabet[(p[1] << 2 | p[2] >> 6) & 63];
        *out++ = alphabet[p[2] & 63];
    }
    if (left > 0) {
        unsigned second = left == 2 ? p[1] : 0;
        *out++ = alphabet[p[0] >> 2];
        *out++ = alphabet[((unsigned) p[0] << 4 | second >> 4) & 63];
        if (left == 2)
            *out++ = alphabet[second << 2 & 63];
    }
}
