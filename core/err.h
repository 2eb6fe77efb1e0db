/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_ERR_H
#define CORE_ERR_H

/*
 * The one list of errors. Every function that can fail returns 0 or a
 * negative ERR_* value and leaves its results untouched on failure. The HTTP
 * status is what a program answers when the error ends a request.
 */
#define ERR_TABLE(X)                                   \
    X(INVALID, "invalid value", 400)                   \
    X(TRUNCATED, "input ends too early", 400)          \
    X(CHECKSUM, "checksum does not match", 400)        \
    X(VERSION, "unknown version", 400)                 \
    X(LIMIT, "over the stated limit", 413)             \
    X(UNSUPPORTED, "not supported", 415)               \
    X(DENIED, "not allowed", 403)                      \
    X(EXPIRED, "expired", 403)                         \
    X(REVOKED, "revoked", 403)                         \
    X(NOT_FOUND, "not found", 404)                     \
    X(STALE, "older than what is held", 409)           \
    X(FULL, "no room left", 503)                       \
    X(MEMORY, "out of memory", 500)                    \
    X(IO, "input/output error", 500)                   \
    X(UPSTREAM, "the tier behind answered badly", 502) \
    X(UNAVAILABLE, "not available now", 503)           \
    X(TIMEOUT, "took too long", 504)

enum err_index {
#define ERR_INDEX(name, text, status) ERR_INDEX_##name,
    ERR_TABLE(ERR_INDEX)
#undef ERR_INDEX
        ERR_COUNT
};

enum err {
    ERR_OK = 0,
#define ERR_VALUE(name, text, status) ERR_##name = -1 - ERR_INDEX_##name,
    ERR_TABLE(ERR_VALUE)
#undef ERR_VALUE
};

/* "expired"; "unknown error" for a value that is not in the table. */
const char *err_text(int err);

/* "EXPIRED": the stable name, for logs and JSON. */
const char *err_name(int err);

/* 200 for 0, 500 for a value that is not in the table. */
int err_http_status(int err);

#endif
