/* SPDX-License-Identifier: Apache-2.0 */
/* Plays that go on, or end. */

#include "programs/mlic/server_private.h"

#include "core/err.h"

#include <stdio.h>

struct play_task {
    struct asker_task asker;
    bool is_over;
};

static int
play_query(struct task *task, void *store)
{
    const struct play_task *play = (struct play_task *) task;
    const struct license_asker *asker = &play->asker.asker;
    struct play_store *plays = ((struct store *) store)->plays;
    const struct lease lease = {asker->viewer, asker->entitlement.play,
                                asker->now_s + asker->lease_s};
    return play->is_over ? play_store_release(plays, &lease)
                         : play_store_renew(plays, &lease, asker->now_s);
}

static void
play_answer(struct task *task)
{
    const struct play_task *play = (struct play_task *) task;
    char text[64];
    if (task->err != 0) {
        http_reply_error(task->request, ERR_NOT_FOUND,
                         "the play has ended: ask for its license again");
        return;
    }
    if (play->is_over) {
        http_reply(task->request, 204, NULL, bytes_of(NULL, 0));
        return;
    }
    server_count(server_of(task), SERVER_METRIC_HEARTBEATS);
    snprintf(text, sizeof text, "{\"lease_s\":%llu}",
             (unsigned long long) play->asker.asker.lease_s);
    http_reply(task->request, 200, "application/json", bytes_of_text(text));
}

static void
play_ready(struct asker_task *asker)
{
    if (asker->asker.entitlement.play[0] != '\0') {
        task_ask(&asker->task);
        return;
    }
    server_reply_invalid(server_of(&asker->task), asker->task.request,
                         ERR_INVALID, "the entitlement names no play");
    task_free(&asker->task);
}

static void
play_ask(struct http_request *request, struct server *server, bool is_over)
{
    struct play_task *play = task_new(&server->tasks, request, sizeof *play,
                                      play_query, play_answer);
    if (play == NULL)
        return;
    play->is_over = is_over;
    play->asker.system = LICENSE_CLEARKEY;
    play->asker.ready = play_ready;
    asker_start(&play->asker);
}

void
play_put(struct http_request *request, void *context)
{
    play_ask(request, context, false);
}

void
play_delete(struct http_request *request, void *context)
{
    play_ask(request, context, true);
}
