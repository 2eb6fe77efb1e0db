/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_VODST_INGEST_PROGRESS_H
#define PROGRAMS_VODST_INGEST_PROGRESS_H

/*
 * Tells how far an ingest, or what takes versions away, is: a bar on a terminal, a line every few seconds
 * elsewhere, or JSON lines for scripts. People's lines go to standard error,
 * JSON lines to standard output.
 */

#include <stdbool.h>
#include <stdint.h>

struct json_t;

struct progress {
    const char *program; /* "vodst ingest": errors begin with it */
    bool is_json;
    bool is_terminal;
    bool is_optional; /* what is an error is a note: the step goes on */
    const char *step; /* NULL between steps */
    uint64_t started_ms, shown_ms;
    double done_before; /* of this step, by a run before this one */
    char speed[32];     /* as shown last */
};

void progress_init(struct progress *progress, const char *program,
                   bool is_json);

/* A step begins, and ends well; a failed one is ended by progress_error. */
void progress_begin(struct progress *progress, const char *step);
void progress_end(struct progress *progress);

/* done is 0 to 1, or negative: not known. speed is for people ("2.1x"), or
 * empty. Called as often as one likes. */
void progress_update(struct progress *progress, double done, const char *speed);

/* A line about what was found out, and the one that says why it ended. */
void progress_note(struct progress *progress, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void progress_error(struct progress *progress, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* One JSON line: {"event":event, ...fields}. Nothing unless is_json. Takes
 * `fields` over. */
void progress_event(struct progress *progress, const char *event,
                    struct json_t *fields);

/* A transfer_waits (ingest_transfer.h): a note about it; its context is the
 * progress. */
void progress_waiting(const char *url, const char *reason, uint64_t pause_ms,
                      uint64_t left_ms, void *context);

/* "1:02:03", "0:07" */
const char *time_text(double seconds, char out[32]);

#endif
