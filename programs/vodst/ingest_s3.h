/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_VODST_INGEST_S3_H
#define PROGRAMS_VODST_INGEST_S3_H

/*
 * One request to S3-compatible storage: signed with the hash of its body, so
 * that what arrives otherwise than it was sent is refused, and sent again with
 * pauses while the storage is down, overloaded, or got other bytes.
 */

#include "core/s3.h"
#include "core/sigv4.h"
#include "programs/vodst/ingest_s3_answer.h"
#include "programs/vodst/ingest_transfer.h"

#define S3_PROBLEM_SIZE 1024

struct s3_client {
    const struct s3_place *place;
    const struct s3_credentials *credentials;
    const char *ca_file; /* NULL: none of its own */
    struct sigv4_signer signer;
};

struct s3_request {
    const char *method;
    const char *object;    /* behind the place's prefix; NULL: the bucket */
    const char *query;     /* as it is signed (core/sigv4.h); NULL: none */
    struct bytes xml;      /* the body, or empty */
    const char *file;      /* the body, or NULL */
    uint64_t offset, size; /* of the file; 0 bytes: all */
    bool is_once;          /* is not sent again */
    bool is_cleanup;       /* goes on when this program is told to stop */
    void (*sent)(uint64_t bytes, void *context);
    void *context;
};

struct s3_result {
    struct transfer_answer http;
    struct s3_answer answer;
};

/* What it is given must outlive it. */
void s3_client_init(struct s3_client *client, const struct s3_place *place,
                    const struct s3_credentials *credentials,
                    const char *ca_file);
void s3_client_fini(struct s3_client *client); /* wipes */

/* As transfer_run: 0 when an answer came, which may say no. */
int s3_client_run(struct s3_client *client, const struct s3_request *request,
                  struct s3_result *out);

/* It was done. (A 200 may hold an error.) */
bool s3_is_done(const struct s3_result *result);

/* The storage's own code for why it was not, as "NoSuchKey". */
bool s3_is_code(const struct s3_result *result, const char *code);

/* Why not, as the storage puts it, and what to do. */
const char *s3_problem(const struct s3_client *client,
                       const struct s3_result *result,
                       char out[S3_PROBLEM_SIZE]);

#endif
