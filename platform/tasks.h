/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PLATFORM_TASKS_H
#define PLATFORM_TASKS_H

/*
 * Questions to a database on behalf of HTTP requests: of a file at once, in the
 * loop's thread, which it answers in microseconds; of a server in a thread that
 * may wait.
 */

#include "platform/http.h"
#include "platform/workers.h"

struct tasks {
    struct workers *workers; /* each with a state of its own; or NULL */
    void *state;             /* what is asked where there are no workers */
    /* Replies to a request whose question failed, or (ERR_LIMIT) could not be
     * put, as too many wait. */
    void (*failed)(struct http_request *request, int err, void *context);
    void *context;
};

/* First in whatever a question needs, which is all copied, as the client may
 * leave meanwhile. */
struct task {
    struct work work;
    struct tasks *tasks;
    struct http_request *request; /* NULL: the client left */
    int (*query)(struct task *task, void *state);
    /* of ERR_NOT_FOUND and ERR_STALE too; other errors are answered before */
    void (*answer)(struct task *task);
    void (*fini)(struct task *task); /* NULL: nothing to free */
    int err;                         /* of the query */
    bool is_watched;                 /* for the client to leave */
};

/* Zeroed; NULL: the request is answered. Then task_ask takes it over. */
void *task_new(struct tasks *tasks, struct http_request *request, size_t size,
               int (*query)(struct task *task, void *state),
               void (*answer)(struct task *task));
void task_ask(struct task *task);
/* For a task that waits for something else before it is asked: `request` is
 * NULL once the client has left. */
void task_watch(struct task *task);
void task_free(struct task *task); /* which is not asked */

#endif
