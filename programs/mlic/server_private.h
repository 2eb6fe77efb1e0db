/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_MLIC_SERVER_PRIVATE_H
#define PROGRAMS_MLIC_SERVER_PRIVATE_H

/* What the files of the license server's requests share. */

#include "programs/mlic/server.h"

static inline struct server *
server_of(const struct task *task)
{
    return task->tasks->context;
}

void server_count(struct server *server, enum server_metric metric);
void server_reply_invalid(struct server *server, struct http_request *request,
                          int err, const char *message);

/* What is sent as Authorization: Bearer TEXT; NULL: nothing is. */
const char *server_bearer(struct http_request *request);

/* Writes a decision down; false: that could not be done, and the request is
 * answered. */
bool server_note(struct server *server, struct http_request *request,
                 const struct audit_record *record);

/* RFC 9457, with the code as "reason" and what it is about, `more` (NULL is fine)
 * included, in "detail". */
void server_reply_refusal(struct http_request *request, enum refusal refusal,
                          const char *more);

/* ---- who asks ---- */

/* First in a request's task that an entitlement comes with. */
struct asker_task {
    struct task task;
    struct jwks_waiter waiter;
    uint64_t patience_ms; /* until when it may wait for keys; 0: it has not */
    enum license_system_id system;
    void (*ready)(struct asker_task *asker); /* with what follows */
    char issuer[JWT_ISSUER_LEN_MAX + 1];     /* by which services know it */
    struct license_asker asker;
};

/* Judges the entitlement, now or once the service's keys are had: the task is
 * ready, or the request answered and the task freed. */
void asker_start(struct asker_task *asker);

/* Refuses it as a whole, writes that down and frees the task. */
void asker_refuse(struct asker_task *asker, enum refusal refusal,
                  const char *more);

/* ---- a license ---- */

struct license_task {
    struct asker_task asker;
    struct vendors *vendors; /* held, of when it was asked */
    struct license_request request;
    struct license_key *keys; /* one for each that is asked for */
};

/* Decides, and answers. */
void license_take(struct license_task *license);
/* Asks the service, which has a callback; then as license_take, or refuses. */
void license_consult(struct license_task *license);

/* ---- the requests ---- */

void license_post(struct http_request *request, void *context);
void identity_key_get(struct http_request *request, void *context);
void play_put(struct http_request *request, void *context);
void play_delete(struct http_request *request, void *context);
void cpix_post(struct http_request *request, void *context);

#endif
