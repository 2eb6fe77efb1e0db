/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_VODST_INGEST_TRANSFER_H
#define PROGRAMS_VODST_INGEST_TRANSFER_H

/*
 * One HTTP request, waited for, with a body from memory or streamed from a
 * file of any size. Never through a proxy: storage and st-api are inner tiers.
 */

#include "core/bytes.h"

#include <stdio.h>

#define TRANSFER_BODY_SIZE 16384 /* bytes kept of an answer */
#define TRANSFER_ETAG_SIZE 128

struct transfer {
    const char *method; /* "PUT", "HEAD", ... */
    const char *url;
    const char *user, *password;     /* NULL: none */
    const char *bearer;              /* NULL: none */
    const char *fill_secret;         /* NULL: none */
    struct bytes json;               /* a JSON body, or empty */
    struct bytes body;               /* another, of a type among the headers */
    const char *file;                /* a body from this file, or NULL */
    uint64_t file_offset, file_size; /* a part of it; 0 bytes: all of it */
    const char *const *headers;      /* further ones, "Name: value", a NULL
                                        ends; NULL: none */
    const char *ca_file; /* who vouches for the other side; NULL: whom this
                            machine trusts */
    bool is_cleanup;     /* goes on when this program is told to stop */
    void (*sent)(uint64_t bytes, void *context); /* from the body so far */
    void *context;
};

struct transfer_answer {
    int status;       /* HTTP */
    int64_t size;     /* Content-Length, -1: not told */
    bool was_refused; /* no connection was made: nothing was asked */
    char etag[TRANSFER_ETAG_SIZE]; /* as it was sent; empty: none */
    char body[TRANSFER_BODY_SIZE]; /* its beginning, as text */
    char reason[256];              /* why there is no answer */
};

/* 0: an answer came, whatever its status. ERR_UPSTREAM with `reason` and
 * `was_refused` set; ERR_TIMEOUT: told to stop; ERR_IO: the file; ERR_MEMORY.
 */
int transfer_run(const struct transfer *transfer, struct transfer_answer *out);

/* As transfer_run, and tries again a few times, with pauses, when the
 * connection breaks or the other side says 502, 503 or 504. For requests that
 * may be repeated. */
int transfer_run_stubborn(const struct transfer *transfer,
                          struct transfer_answer *out);

/* What an answer says went wrong: a problem's detail, else its status in
 * words. */
const char *transfer_problem(const struct transfer_answer *answer,
                             char out[512]);

#endif
