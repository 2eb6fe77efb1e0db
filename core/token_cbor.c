/* SPDX-License-Identifier: Apache-2.0 */
/* CBOR, see core/token_cbor.h. */

#include "core/token_cbor.h"

struct token_cbor
token_cbor_of(struct bytes data)
{
    return (struct token_cbor){data.ptr, data.ptr + data.len, true};
}

bool
token_cbor_head_take(struct token_cbor *cbor, struct token_cbor_head *out)
{
    if (cbor->at == cbor->end)
        return false;
    const uint8_t first = *cbor->at++;
    const unsigned info = first & 31;

    out->major = (enum token_cbor_major)(first >> 5);
    out->value = info;
    if (info < 24)
        return true;
    if (info > 27)
        return false;
    const size_t size = (size_t) 1 << (info - 24);
    if ((size_t) (cbor->end - cbor->at) < size)
        return false;
    out->value = 0;
    for (size_t i = 0; i < size; i++)
        out->value = out->value << 8 | *cbor->at++;
    const uint64_t shorter = size == 1   ? 24
                             : size == 2 ? 0x100
                             : size == 4 ? 0x10000
                                         : 0x100000000;
    if (out->value < shorter)
        cbor->is_shortest = false;
    return true;
}

bool
token_cbor_is(const struct token_cbor *cbor, enum token_cbor_major major)
{
    return cbor->at < cbor->end && *cbor->at >> 5 == (int) major;
}

bool
token_cbor_take(struct token_cbor *cbor, enum token_cbor_major major,
                uint64_t *value)
{
    struct token_cbor_head head;
    if (!token_cbor_is(cbor, major) || !token_cbor_head_take(cbor, &head))
        return false;
    *value = head.value;
    return (major != TOKEN_CBOR_ARRAY && major != TOKEN_CBOR_MAP)
           || head.value <= (uint64_t) (cbor->end - cbor->at);
}

bool
token_cbor_string_take(struct token_cbor *cbor, enum token_cbor_major major,
                       struct bytes *out)
{
    uint64_t len;
    if (!token_cbor_take(cbor, major, &len)
        || len > (uint64_t) (cbor->end - cbor->at))
        return false;
    *out = bytes_of(cbor->at, (size_t) len);
    cbor->at += len;
    return true;
}

bool
token_cbor_integer_take(struct token_cbor *cbor, int64_t *out)
{
    struct token_cbor_head head;
    if (!token_cbor_head_take(cbor, &head) || head.major > TOKEN_CBOR_NEGATIVE
        || head.value > INT64_MAX)
        return false;
    *out = head.major == TOKEN_CBOR_NEGATIVE ? -1 - (int64_t) head.value
                                             : (int64_t) head.value;
    return true;
}

static bool
item_skip(struct token_cbor *cbor, unsigned depth)
{
    struct token_cbor_head head;

    if (depth > TOKEN_CBOR_DEPTH_MAX || !token_cbor_head_take(cbor, &head))
        return false;
    const uint64_t left = (uint64_t) (cbor->end - cbor->at);
    uint64_t items = 0;
    switch (head.major) {
    case TOKEN_CBOR_UNSIGNED:
    case TOKEN_CBOR_NEGATIVE:
    case TOKEN_CBOR_SIMPLE:
        return true;
    case TOKEN_CBOR_BYTES:
    case TOKEN_CBOR_TEXT:
        if (head.value > left)
            return false;
        cbor->at += head.value;
        return true;
    case TOKEN_CBOR_ARRAY:
    case TOKEN_CBOR_MAP:
        if (head.value > left)
            return false;
        items = head.major == TOKEN_CBOR_MAP ? head.value * 2 : head.value;
        break;
    case TOKEN_CBOR_TAG:
        items = 1;
        break;
    }
    for (; items > 0; items--)
        if (!item_skip(cbor, depth + 1))
            return false;
    return true;
}

bool
token_cbor_skip(struct token_cbor *cbor)
{
    return item_skip(cbor, 0);
}

uint8_t *
token_cbor_put(uint8_t *out, enum token_cbor_major major, uint64_t value)
{
    const unsigned top = (unsigned) major << 5;
    unsigned size = value < 24            ? 0
                    : value < 0x100       ? 1
                    : value < 0x10000     ? 2
                    : value < 0x100000000 ? 4
                                          : 8;
    *out++ = (uint8_t) (top
                        | (size == 0   ? (unsigned) value
                           : size == 1 ? 24u
                           : size == 2 ? 25u
                           : size == 4 ? 26u
                                       : 27u));
    while (size > 0)
        *out++ = (uint8_t) (value >> 8 * --size);
    return out;
}

uint8_t *
token_cbor_put_string(uint8_t *out, enum token_cbor_major major,
                      struct bytes text)
{
    out = token_cbor_put(out, major, text.len);
    memcpy(out, text.ptr, text.len);
    return out + text.len;
}
