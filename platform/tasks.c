/* SPDX-License-Identifier: Apache-2.0 */

#include "platform/tasks.h"

#include <stdlib.h>

void *
task_new(struct tasks *tasks, struct http_request *request, size_t size,
         int (*query)(struct task *task, void *state),
         void (*answer)(struct task *task))
{
    struct task *task = calloc(1, size);
    if (task == NULL) {
        tasks->failed(request, ERR_MEMORY, tasks->context);
        return NULL;
    }
    task->tasks = tasks;
    task->request = request;
    task->query = query;
    task->answer = answer;
    return task;
}

void
task_free(struct task *task)
{
    if (task->fini != NULL)
        task->fini(task);
    free(task);
}

static void
task_run(struct work *work, void *state)
{
    struct task *task = (struct task *) work;
    task->err = task->query(task, state);
}

static void
task_done(struct work *work)
{
    struct task *task = (struct task *) work;
    const struct tasks *tasks = task->tasks;
    const int err = task->err;
    if (task->request == NULL)
        ; /* nobody waits for it */
    else if (err != 0 && err != ERR_NOT_FOUND && err != ERR_STALE)
        tasks->failed(task->request, err, tasks->context);
    else
        task->answer(task);
    task_free(task);
}

static void
task_forsaken(void *context)
{
    struct task *task = context;
    task->request = NULL;
}

void
task_watch(struct task *task)
{
    if (!task->is_watched)
        http_request_on_close(task->request, task_forsaken, task);
    task->is_watched = true;
}

void
task_ask(struct task *task)
{
    const struct tasks *tasks = task->tasks;
    task->work.run = task_run;
    task->work.done = task_done;
    if (tasks->workers == NULL) {
        task_run(&task->work, tasks->state);
        task_done(&task->work);
    } else if (workers_submit(tasks->workers, &task->work)) {
        task_watch(task);
    } else {
        tasks->failed(task->request, ERR_LIMIT, tasks->context);
        task_free(task);
    }
}
