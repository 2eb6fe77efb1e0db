/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_VODST_SUPERVISE_H
#define PROGRAMS_VODST_SUPERVISE_H

/*
 * Child processes: started in order, awaited, started again when they die,
 * ended in reverse order. Each leads a process group of its own, so that the
 * terminal's Ctrl-C reaches only this program, and gets SIGTERM from the
 * kernel if this program is killed. One supervisor a program, one thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define PROCESSES_MAX 128
#define PROCESS_ARGUMENTS_MAX 64

struct process_config {
    const char *name;        /* "origin1", for logs and vodst.json */
    const char *const *argv; /* argv[0] is the program's path; NULL ends */
    const char *log_path;    /* standard output and error */
    const char *health_url;  /* ready when it answers 200; NULL: once started */
    unsigned ready_ms_max;
};

struct supervisor;

/* Blocks SIGINT, SIGTERM, SIGHUP and SIGCHLD for this process and handles them
 * from here on. `changed` is called when a process got a new id, and again
 * each second until it returns 0. NULL when out of memory or descriptors. */
struct supervisor *supervisor_new(bool restart, int (*changed)(void *context),
                                  void *context);
/* Everything must be stopped. */
void supervisor_free(struct supervisor *supervisor);

/* Copies the config. ERR_LIMIT, ERR_MEMORY. */
int supervisor_add(struct supervisor *supervisor,
                   const struct process_config *config);

/*
 * Starts all and waits until each is ready, in the order they were added. Logs
 * what failed with the last lines of its log. ERR_UNAVAILABLE (one ended or
 * did not get ready), ERR_IO, ERR_TIMEOUT (told to stop meanwhile). What was
 * started keeps running: call supervisor_stop.
 */
int supervisor_start(struct supervisor *supervisor);

/* Looks after the processes until `done` says so: 0; or ERR_TIMEOUT after
 * `timeout_ms`, ERR_UNAVAILABLE when one ended, or told to stop. */
int supervisor_wait(struct supervisor *supervisor, bool (*done)(void *context),
                    void *context, unsigned timeout_ms);

/* Looks after the processes until SIGINT or SIGTERM comes. */
void supervisor_run(struct supervisor *supervisor);

/* Ends all, the last added first. */
void supervisor_stop(struct supervisor *supervisor);

size_t supervisor_count(const struct supervisor *supervisor);
const char *supervisor_name(const struct supervisor *supervisor, size_t i);
/* 0 while it does not run. */
pid_t supervisor_pid(const struct supervisor *supervisor, const char *name);

#endif
