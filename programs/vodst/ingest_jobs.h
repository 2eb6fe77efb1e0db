/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_VODST_INGEST_JOBS_H
#define PROGRAMS_VODST_INGEST_JOBS_H

/*
 * A list of films to ingest, each by a `vodst ingest` of its own, several at a
 * time. What came of each is kept in a file, so that the list goes on where it
 * was when it is run again.
 */

#include "programs/vodst/ingest_job_list.h"

#define JOB_WORKERS_MAX 64

struct jobs_config {
    const char *path;    /* JSON lines; "-": standard input */
    const char *results; /* NULL: path + ".results" */
    unsigned workers, retries;
    uint64_t pause_ms;             /* before the first of them; doubles */
    const struct program *program; /* whose options a job may have */
    char *const *argv; /* of this command line: what is said for all jobs */
};

/* The program's exit status: 0 all are playable, 1 some failed, 2 the list is
 * wrong and nothing was begun, 128 + signal. */
int jobs_run(struct progress *progress, const struct jobs_config *config);

#endif
