/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_VODST_INGEST_CHILD_H
#define PROGRAMS_VODST_INGEST_CHILD_H

/*
 * Runs one program to its end and reads what it says, and notices when this
 * program is told to stop: then the child is stopped first.
 */

#include <stdbool.h>

#define CHILD_ERRORS_SIZE 4096 /* bytes kept of its standard error */

/* From here on SIGINT, SIGTERM and SIGHUP only set what stop_signal says. */
void stop_signals_catch(void);
int stop_signal(void); /* 0: nobody asked to stop */

struct child_config {
    const char *const *argv; /* argv[0] is looked for in PATH; NULL ends */
    const char *folder;      /* where it runs; NULL: here */
    /* Each line of its standard output, without the line's end. */
    void (*line)(const char *line, void *context);
    void *context;
};

struct child_result {
    int exit_status; /* 0 to 255; 128 + the signal that killed it */
    char errors[CHILD_ERRORS_SIZE]; /* the end of its standard error,
                                     * without the last line's end */
};

/*
 * 0 when it ran to its end, whatever its exit status. ERR_NOT_FOUND: there is
 * no such program; ERR_TIMEOUT: told to stop meanwhile; ERR_IO. The child dies
 * with this program.
 */
int child_run(const struct child_config *config, struct child_result *out);

/* The last `lines` lines of a text. */
const char *text_last_lines(const char *text, unsigned lines);

#endif
