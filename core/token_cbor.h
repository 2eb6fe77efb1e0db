/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_TOKEN_CBOR_H
#define CORE_TOKEN_CBOR_H

/*
 * CBOR (RFC 8949) as CWTs use it: of definite length. Nothing is copied.
 */

#include "core/bytes.h"

#define TOKEN_CBOR_DEPTH_MAX 8

enum token_cbor_major {
    TOKEN_CBOR_UNSIGNED,
    TOKEN_CBOR_NEGATIVE, /* value n is -1 - n */
    TOKEN_CBOR_BYTES,
    TOKEN_CBOR_TEXT,
    TOKEN_CBOR_ARRAY,
    TOKEN_CBOR_MAP,
    TOKEN_CBOR_TAG,
    TOKEN_CBOR_SIMPLE,
};

struct token_cbor {
    const uint8_t *at, *end;
    bool is_shortest; /* so far: no head was longer than it had to be */
};

struct token_cbor_head {
    enum token_cbor_major major;
    uint64_t value;
};

struct token_cbor token_cbor_of(struct bytes data);

/* False: it ends early, or is of indefinite length. */
bool token_cbor_head_take(struct token_cbor *cbor, struct token_cbor_head *out);

/* The next item is of this major type. */
bool token_cbor_is(const struct token_cbor *cbor, enum token_cbor_major major);

/* A head of that type; an array or a map has no more items than can follow. */
bool token_cbor_take(struct token_cbor *cbor, enum token_cbor_major major,
                     uint64_t *value);

/* A byte or text string. */
bool token_cbor_string_take(struct token_cbor *cbor,
                            enum token_cbor_major major, struct bytes *out);

/* -2^63 .. 2^63-1. */
bool token_cbor_integer_take(struct token_cbor *cbor, int64_t *out);

bool token_cbor_skip(struct token_cbor *cbor);

/* Writes a head in its shortest form, up to 9 bytes; returns what is behind. */
uint8_t *token_cbor_put(uint8_t *out, enum token_cbor_major major,
                        uint64_t value);

/* Head and bytes of a string. */
uint8_t *token_cbor_put_string(uint8_t *out, enum token_cbor_major major,
                               struct bytes text);

#endif
