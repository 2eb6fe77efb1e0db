/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_TOKEN_JSON_H
#define CORE_TOKEN_JSON_H

/*
 * Reads a JSON object (RFC 8259) member by member, in place: strings are
 * unescaped where they are. What a JWT consists of, and no more.
 */

#include "core/bytes.h"

#define TOKEN_JSON_DEPTH_MAX 8

enum token_json_type {
    TOKEN_JSON_STRING,
    TOKEN_JSON_INTEGER, /* of 63 bits, not below 0, without "." and "e" */
    TOKEN_JSON_OTHER,   /* anything else, passed over */
};

struct token_json_member {
    struct bytes name;
    enum token_json_type type;
    struct bytes text; /* of a string */
    uint64_t integer;
};

struct token_json {
    uint8_t *at;
    const uint8_t *end;
    bool is_first;
};

/* False when it is no object. */
bool token_json_open(struct token_json *json, uint8_t *text, size_t len);

/* 1: a member; 0: the object ended, and nothing is behind it; ERR_INVALID. */
int token_json_next(struct token_json *json, struct token_json_member *out);

#endif
