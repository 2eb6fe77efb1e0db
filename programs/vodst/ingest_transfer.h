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
    /* All of the answer's body, as it comes, when its status is 200. */
    void (*received)(struct bytes piece, void *context);
    void (*again)(void *context); /* before another attempt; or NULL */
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

/* How long requests that may be repeated are, and who is told before each pause:
 * why, how long it is, and how long is left after it. For all requests of this
 * program. */
#define TRANSFER_PATIENCE_MS 300000
typedef void transfer_waits(const char *url, const char *reason,
                            uint64_t pause_ms, uint64_t left_ms, void *context);
void transfer_patience_set(uint64_t patience_ms, transfer_waits *waits,
                           void *context);

/* Of one request, zeroed at first. */
struct transfer_waiting {
    uint64_t waited_ms, pause_ms;
};

/* Waits before another attempt, longer each time: 0. ERR_UNAVAILABLE where
 * patience is over; ERR_TIMEOUT: told to stop. */
int transfer_wait(struct transfer_waiting *waiting, const char *url,
                  const char *reason);

/* As transfer_run, and tries again, with growing pauses, when the connection
 * breaks or the other side says 502, 503 or 504. For requests that may be
 * repeated: `received` may be given the beginning of an answer more than once,
 * after `again`. */
int transfer_run_stubborn(const struct transfer *transfer,
                          struct transfer_answer *out);

/* What an answer says went wrong: a problem's detail, else its status in
 * words. */
const char *transfer_problem(const struct transfer_answer *answer,
                             char out[512]);

/* What an answer that refuses is as an error: ERR_DENIED, ERR_UPSTREAM where it
 * may be another one later, ERR_INVALID where it will not. */
int transfer_err(const struct transfer_answer *answer);

#endif
