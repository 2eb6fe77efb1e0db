/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_SIGV4_H
#define CORE_SIGV4_H

/*
 * AWS Signature Version 4 in the Authorization header, as S3 and what is
 * compatible with it take it: a request's method, path, query, some of its
 * headers and the hash of its body under one HMAC. The key of that is derived
 * from the secret once a day.
 */

#include "core/buffer.h"

#include <time.h>

#define SIGV4_TIME_SIZE 17 /* "20130524T000000Z" with the end */
#define SIGV4_DAY_LEN 8
#define SIGV4_KEY_SIZE 32
#define SIGV4_HASH_SIZE 65                 /* SHA-256 in hex with the end */
#define SIGV4_REQUEST_SIZE_MAX (64u << 10) /* bytes of what is signed */

/* SHA-256 of a body without a byte, and what says that none is signed. */
#define SIGV4_HASH_OF_NOTHING \
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/* Who signs. The bytes are the caller's and outlive this. Only one thread at a
 * time may sign with it. */
struct sigv4_signer {
    struct bytes access_key, secret_key;
    struct bytes region, service; /* "s3" */
    char day[SIGV4_DAY_LEN + 1];  /* that `key` is for; empty: for none yet */
    uint8_t key[SIGV4_KEY_SIZE];
};

struct sigv4_header {
    const char *name; /* in lower case */
    struct bytes value;
};

struct sigv4_request {
    struct bytes method;
    struct bytes path;         /* as in the request line: encoded */
    struct bytes query;        /* encoded, sorted by name, "name=" for an empty
                                  value; empty: none */
    struct bytes payload_hash; /* as in x-amz-content-sha256 */
    const struct sigv4_header *headers; /* host and x-amz-* at least, sorted by
                                           name */
    size_t header_count;
    const char *time; /* as in x-amz-date */
};

/* As x-amz-date has it. */
void sigv4_time(time_t now, char out[SIGV4_TIME_SIZE]);

/* The hash of a body in hex. */
void sigv4_hash(struct bytes body, char out[SIGV4_HASH_SIZE]);
void sigv4_hex(const uint8_t digest[SIGV4_KEY_SIZE], char out[SIGV4_HASH_SIZE]);

/* Appends the text percent-encoded, as paths and queries are signed. */
void sigv4_encode(struct bytes text, bool keeps_slashes, struct buffer *out);

/* Appends the value of the Authorization header. ERR_LIMIT (a request over
 * SIGV4_REQUEST_SIZE_MAX), ERR_MEMORY. */
int sigv4_sign(struct sigv4_signer *signer, const struct sigv4_request *request,
               struct buffer *out);

/* Wipes the key. */
void sigv4_fini(struct sigv4_signer *signer);

#endif
