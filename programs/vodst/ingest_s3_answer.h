/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_VODST_INGEST_S3_ANSWER_H
#define PROGRAMS_VODST_INGEST_S3_ANSWER_H

/*
 * What S3-compatible storage says in XML: why it refuses, the id of an upload
 * in parts, which of these are under way, and which objects are there. Texts are cut at their size and
 * hold printable characters only, so that they may be shown.
 */

#include "core/bytes.h"

#define S3_UPLOAD_ID_SIZE 1024
#define S3_OBJECT_SIZE 1025 /* the longest name of an object, with the end */
#define S3_UPLOADS_MAX 5
#define S3_OBJECTS_MAX 10

enum s3_answer_kind {
    S3_ANSWER_OTHER, /* nothing that is looked at */
    S3_ANSWER_ERROR,
    S3_ANSWER_STARTED, /* an upload in parts */
    S3_ANSWER_UPLOADS,
    S3_ANSWER_OBJECTS,
};

struct s3_upload {
    char object[S3_OBJECT_SIZE]; /* its name in the bucket */
    char id[S3_UPLOAD_ID_SIZE];
};

struct s3_answer {
    enum s3_answer_kind kind;
    char code[64], message[256]; /* of an error */
    char region[64];             /* that the bucket is in, if it says so */
    char server_time[40];
    char upload_id[S3_UPLOAD_ID_SIZE];
    struct s3_upload uploads[S3_UPLOADS_MAX]; /* the first of them */
    size_t upload_count;
    char objects[S3_OBJECTS_MAX][S3_OBJECT_SIZE]; /* names; the first of them */
    size_t object_count;
};

/* ERR_INVALID (no XML, with a document type, an id or a name too long), ERR_MEMORY; an
 * empty text is an answer of the kind OTHER. */
int s3_answer_read(struct bytes text, struct s3_answer *out);

#endif
