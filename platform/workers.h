/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PLATFORM_WORKERS_H
#define PLATFORM_WORKERS_H

/*
 * Threads that do what waits (a database over the network) for a loop that must
 * not. Work is done by whichever thread is free, in the order it came; what it
 * led to is told in the loop's thread.
 */

#include <stdbool.h>

struct event_base;
struct workers;

/* First in whatever the work needs. */
struct work {
    void (*run)(struct work *work, void *state); /* in a worker's thread */
    void (*done)(struct work *work); /* in the loop's, never from submit */
    struct work *next;
};

/* Each thread has one of the states to itself. ERR_MEMORY, ERR_IO. */
int workers_new(struct event_base *base, void *const *states, unsigned count,
                unsigned waiting_max, struct workers **out);

/* False where `waiting_max` wait already: nothing was taken. */
bool workers_submit(struct workers *workers, struct work *work);

/* Waits for what is under way; all that was submitted is done by then. */
void workers_free(struct workers *workers); /* NULL is fine */

#endif
