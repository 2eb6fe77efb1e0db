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

/* ---- the requests ---- */

void license_post(struct http_request *request, void *context);
void identity_key_get(struct http_request *request, void *context);
void play_put(struct http_request *request, void *context);
void play_delete(struct http_request *request, void *context);
void cpix_post(struct http_request *request, void *context);

#endif
