/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_VODST_INGEST_SETTINGS_S3_H
#define PROGRAMS_VODST_INGEST_SETTINGS_S3_H

/* What an ingest is told of a storage that is a bucket. */

#include "core/s3.h"
#include "programs/vodst/ingest_progress.h"

/* NULL: not given; of what the state folder says, too. */
struct settings_s3_given {
    const char *endpoint, *region, *addressing, *credentials_file, *ca_file;
    int64_t part_size; /* bytes; 0: not given */
};

/*
 * Credentials are those of the file, else of the environment:
 * AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN. The region is
 * the one given, else AWS_REGION's, else the default. Tells what is wrong by
 * progress_error, as settings_read.
 */
int settings_s3_read(struct progress *progress, const char *url,
                     const struct settings_s3_given *given,
                     struct s3_place *place, struct s3_credentials *credentials,
                     uint64_t *part_size);

#endif
