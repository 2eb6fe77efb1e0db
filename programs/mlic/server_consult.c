/* SPDX-License-Identifier: Apache-2.0 */
/* The service has its say before a license is given. */

#include "programs/mlic/server_private.h"

#include "platform/clock.h"

static uint32_t
shorter(uint32_t a, uint32_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

static void
callback_answered(enum callback_outcome outcome,
                  const struct callback_answer *answer, void *context)
{
    struct license_task *license = context;
    struct license_asker *asker = &license->asker.asker;
    if (license->asker.task.request == NULL) {
        task_free(&license->asker.task);
        return;
    }
    switch (outcome) {
    case CALLBACK_ALLOWED:
        asker->now_s = clock_unix_s(); /* leases begin now */
        asker->classes = answer->classes;
        asker->entitlement.license_s =
            shorter(asker->entitlement.license_s, answer->license_s);
        asker->entitlement.playback_s =
            shorter(asker->entitlement.playback_s, answer->playback_s);
        license_take(license);
        break;
    case CALLBACK_REFUSED:
        asker_refuse(&license->asker, REFUSAL_REFUSED,
                     answer->reason[0] != '\0' ? answer->reason : NULL);
        break;
    case CALLBACK_UNREACHABLE:
        asker_refuse(&license->asker, REFUSAL_UNREACHABLE, NULL);
        break;
    case CALLBACK_GONE:
        asker_start(&license->asker);
        break;
    }
}

static void
callback_consult(struct license_task *license,
                 const struct license_prospect *prospect)
{
    const struct server *server = server_of(&license->asker.task);
    const struct entitlement *entitlement = &license->asker.asker.entitlement;
    const struct service *service =
        services_find(server->services, license->asker.issuer);
    const struct callback_question question = {
        .content = entitlement->content,
        .viewer = entitlement->viewer,
        .version = prospect->version,
        .play = entitlement->play,
        .classes = prospect->classes,
        .network = &entitlement->network,
    };
    if (service == NULL || service->callback == NULL) {
        asker_start(&license->asker); /* the services were read again */
        return;
    }
    callback_ask(service->callback, &question, callback_answered, license);
}

/* Asked before, as the service is told which classes it is about. */
struct prospect_task {
    struct task task;
    struct license_task *license; /* NULL: it went on */
    struct license_prospect prospect;
};

static int
prospect_query(struct task *task, void *store)
{
    struct prospect_task *prospect = (struct prospect_task *) task;
    const struct license_task *license = prospect->license;
    return license_foresee(store, &license->request, &license->asker.asker,
                           &prospect->prospect);
}

static void
prospect_answer(struct task *task)
{
    struct prospect_task *prospect = (struct prospect_task *) task;
    struct license_task *license = prospect->license;
    if (task->err != 0) {
        server_failed(task->request, task->err, server_of(task));
        return;
    }
    prospect->license = NULL;
    license->asker.task.is_watched = false; /* the prospect was, instead */
    task_watch(&license->asker.task);
    if (prospect->prospect.classes == 0) /* it is refused anyway */
        license_take(license);
    else
        callback_consult(license, &prospect->prospect);
}

static void
prospect_forget(struct task *task)
{
    struct prospect_task *prospect = (struct prospect_task *) task;
    if (prospect->license != NULL)
        task_free(&prospect->license->asker.task);
}

void
license_consult(struct license_task *license)
{
    struct task *task = &license->asker.task;
    struct prospect_task *prospect =
        task_new(task->tasks, task->request, sizeof *prospect, prospect_query,
                 prospect_answer);
    if (prospect == NULL) {
        task_free(task);
        return;
    }
    prospect->license = license;
    prospect->task.fini = prospect_forget;
    task_ask(&prospect->task);
}
