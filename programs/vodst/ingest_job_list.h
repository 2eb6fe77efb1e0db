/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_VODST_INGEST_JOB_LIST_H
#define PROGRAMS_VODST_INGEST_JOB_LIST_H

/* What is to be ingested, and what came of it: a list and its results, both
 * JSON lines. */

#include "core/content.h"
#include "platform/options.h"
#include "programs/vodst/ingest_progress.h"

#define JOBS_MAX 100000

struct json_t;

#define JOB_KEY_SIZE 33 /* 32 hex digits and the end */
#define JOB_MESSAGE_SIZE 1024

enum job_state { JOB_WAITS, JOB_RUNS, JOB_DONE, JOB_FAILED };

struct job {
    struct json_t *fields; /* as listed */
    char id[CONTENT_ID_LEN_MAX + 1];
    char key[JOB_KEY_SIZE]; /* of what it says and of the film as it is */
    enum job_state state;
    unsigned attempts;
    uint64_t next_ms;               /* not tried again before */
    double done;                    /* 0 to 1 */
    struct json_t *result;          /* the last "done" event; or NULL */
    char message[JOB_MESSAGE_SIZE]; /* why it failed last */
};

struct job_list {
    struct progress *progress;
    const char *path;
    const struct program *program; /* whose options a job may have */
    struct job *jobs;
    size_t count;
    size_t before; /* done by another run */
    int results;   /* -1: not open */
};

/* Reads all of it, or tells what is wrong in which line: ERR_INVALID,
 * ERR_MEMORY. job_list_free whatever comes of it. */
int job_list_read(struct progress *progress, const char *path,
                  const struct program *program, struct job_list *out);
void job_list_free(struct job_list *list);

/* The i-th film of a job, or NULL. */
const char *job_film(const struct job *job, size_t i);

/* Opens the results at `path`, NULL: beside the list, locks them, and marks
 * what is done there. ERR_IO, ERR_UNAVAILABLE: these jobs are being done. */
int job_results_open(struct job_list *list, const char *path);

/* Appends what came of a job, and tells it as an event. */
void job_result_write(struct job_list *list, const struct job *job,
                      uint64_t seconds);

#endif
