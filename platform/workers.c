/* SPDX-License-Identifier: Apache-2.0 */
/* Two queues behind one lock; an eventfd wakes the loop. */

#include "platform/workers.h"

#include "core/err.h"
#include "platform/log.h"

#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct queue {
    struct work *first, **end;
};

struct worker {
    struct workers *workers;
    void *state;
    pthread_t thread;
};

struct workers {
    pthread_mutex_t lock; /* of what follows up to the threads */
    pthread_cond_t has_work;
    struct queue waiting, ended;
    unsigned waiting_count, waiting_max;
    bool is_over;

    struct worker *list;
    unsigned count;
    int wake_fd;
    struct event *wake;
};

static void
queue_init(struct queue *queue)
{
    queue->first = NULL;
    queue->end = &queue->first;
}

static void
queue_add(struct queue *queue, struct work *work)
{
    work->next = NULL;
    *queue->end = work;
    queue->end = &work->next;
}

static struct work *
queue_take(struct queue *queue)
{
    struct work *work = queue->first;
    queue->first = work->next;
    if (queue->first == NULL)
        queue->end = &queue->first;
    return work;
}

static void *
worker_main(void *argument)
{
    struct worker *worker = argument;
    struct workers *workers = worker->workers;
    const uint64_t one = 1;
    pthread_mutex_lock(&workers->lock);
    for (;;) {
        while (workers->waiting.first == NULL && !workers->is_over)
            pthread_cond_wait(&workers->has_work, &workers->lock);
        if (workers->waiting.first == NULL)
            break;
        struct work *work = queue_take(&workers->waiting);
        workers->waiting_count--;
        pthread_mutex_unlock(&workers->lock);
        work->run(work, worker->state);
        pthread_mutex_lock(&workers->lock);
        bool was_empty = workers->ended.first == NULL;
        queue_add(&workers->ended, work);
        if (was_empty && write(workers->wake_fd, &one, sizeof one) < 0)
            log_error("workers: the loop cannot be woken (%s)",
                      strerror(errno));
    }
    pthread_mutex_unlock(&workers->lock);
    return NULL;
}

static void
ended_tell(evutil_socket_t fd, short events, void *context)
{
    struct workers *workers = context;
    uint64_t count;
    if (read(workers->wake_fd, &count, sizeof count) < 0)
        return; /* told already */
    pthread_mutex_lock(&workers->lock);
    struct work *work = workers->ended.first;
    queue_init(&workers->ended);
    pthread_mutex_unlock(&workers->lock);
    while (work != NULL) {
        struct work *next = work->next; /* done may free it */
        work->done(work);
        work = next;
    }
}

/* Signals are the loop's. */
static int
threads_start(struct workers *workers, void *const *states, unsigned count)
{
    sigset_t all, before;
    int err = 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (; workers->count < count && err == 0; workers->count += err == 0) {
        struct worker *worker = &workers->list[workers->count];
        worker->workers = workers;
        worker->state = states[workers->count];
        if (pthread_create(&worker->thread, NULL, worker_main, worker) != 0)
            err = ERR_IO;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return err;
}

int
workers_new(struct event_base *base, void *const *states, unsigned count,
            unsigned waiting_max, struct workers **out)
{
    struct workers *workers = calloc(1, sizeof *workers);
    if (workers == NULL)
        return ERR_MEMORY;
    pthread_mutex_init(&workers->lock, NULL);
    pthread_cond_init(&workers->has_work, NULL);
    queue_init(&workers->waiting);
    queue_init(&workers->ended);
    workers->waiting_max = waiting_max;
    workers->list = calloc(count, sizeof *workers->list);
    workers->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int err = workers->list == NULL  ? ERR_MEMORY
              : workers->wake_fd < 0 ? ERR_IO
                                     : 0;
    if (err == 0) {
        workers->wake = event_new(base, workers->wake_fd, EV_READ | EV_PERSIST,
                                  ended_tell, workers);
        if (workers->wake == NULL || event_add(workers->wake, NULL) != 0)
            err = ERR_MEMORY;
    }
    if (err == 0)
        err = threads_start(workers, states, count);
    if (err != 0) {
        workers_free(workers);
        return err;
    }
    *out = workers;
    return 0;
}

bool
workers_submit(struct workers *workers, struct work *work)
{
    pthread_mutex_lock(&workers->lock);
    bool has_room = workers->waiting_count < workers->waiting_max;
    if (has_room) {
        queue_add(&workers->waiting, work);
        workers->waiting_count++;
        pthread_cond_signal(&workers->has_work);
    }
    pthread_mutex_unlock(&workers->lock);
    return has_room;
}

void
workers_free(struct workers *workers)
{
    if (workers == NULL)
        return;
    pthread_mutex_lock(&workers->lock);
    workers->is_over = true;
    pthread_cond_broadcast(&workers->has_work);
    pthread_mutex_unlock(&workers->lock);
    for (unsigned i = 0; i < workers->count; i++)
        pthread_join(workers->list[i].thread, NULL);
    if (workers->wake != NULL) {
        ended_tell(-1, 0, workers);
        event_free(workers->wake);
    }
    if (workers->wake_fd >= 0)
        close(workers->wake_fd);
    free(workers->list);
    pthread_cond_destroy(&workers->has_work);
    pthread_mutex_destroy(&workers->lock);
    free(workers);
}
