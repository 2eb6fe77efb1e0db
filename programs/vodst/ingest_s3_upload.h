/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_VODST_INGEST_S3_UPLOAD_H
#define PROGRAMS_VODST_INGEST_S3_UPLOAD_H

/*
 * A large file into S3-compatible storage, in parts. The object is there once
 * all of them are and have been put together, and before that it is not.
 */

#include "programs/vodst/ingest_s3.h"

#define S3_PART_SIZE_MIN (5ull << 20) /* bytes, of all but the last */
#define S3_PART_SIZE_MAX (5ull << 30) /* and of an object that is put at once */

/* Some stores take no more parts than this of one object, others ten times as
 * many; files that would need more get larger parts. */
#define S3_PARTS_MAX 1000

struct s3_upload_file {
    const char *object, *path;
    uint64_t size; /* bytes */
    uint64_t part_size;
    void (*sent)(uint64_t bytes, void *context); /* of the file so far */
    void *context;
};

/*
 * 0: an answer came to the last request, in `out`: s3_is_done says whether the
 * object is there. After anything else the parts that were put are taken away
 * again, as far as the storage can be reached. Else as s3_client_run.
 */
int s3_upload(struct s3_client *client, const struct s3_upload_file *file,
              struct s3_result *out);

/*
 * Takes away the parts that uploads of objects with this prefix have left which
 * were never ended: of a program that was killed. As far as it can. One that
 * runs at the same time finds its upload gone, and the object there.
 */
void s3_uploads_clear(struct s3_client *client, const char *prefix);

/* The size of parts for a file: `wanted`, or more if there were too many. */
uint64_t s3_part_size(uint64_t size, uint64_t wanted);

#endif
