/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_ST_API_API_PRIVATE_H
#define PROGRAMS_ST_API_API_PRIVATE_H

/* What the files of st-api's requests share: tasks and answers. */

#include "programs/st-api/api.h"
#include "programs/st-api/body.h"

#include <jansson.h>

#define REPLY_SIZE_MAX (4u << 20) /* bytes */

static inline struct api *
api_of(const struct task *task)
{
    return task->tasks->context;
}

/* Answers a request whose question failed; the context is a struct api. */
void api_failed(struct http_request *request, int err, void *context);

void api_count(struct api *api, enum api_metric metric);
void api_reply_json(struct http_request *request, int status,
                    json_t *json); /* takes it */
void api_reply_invalid(struct api *api, struct http_request *request, int err,
                       const char *message);
void api_reply_unknown(struct http_request *request, const char *content);

/* True when the request may go on; else it is answered. */
bool api_is_admin(struct api *api, struct http_request *request);
bool api_has_admin_key(struct api *api, struct http_request *request);
bool api_may_read(struct api *api, struct http_request *request);
/* Who asks for a play, which counts as one of those that its service may ask
 * for. Until the handler returns. */
struct api_caller {
    const struct catalogue_service *service; /* NULL: somebody, where anybody
                                                may ask */
    struct service_grant grant;
};
bool api_caller_take(struct api *api, struct http_request *request,
                     struct api_caller *out);
bool api_has_json(struct api *api, struct http_request *request);
/* The n-th {x} of the path as an id, copied out. */
bool api_id_take(struct api *api, struct http_request *request, unsigned n,
                 char out[CONTENT_ID_LEN_MAX + 1]);
/* Where a page of a list begins, and how long it may be. */
bool api_page_take(struct api *api, struct http_request *request,
                   char after[CONTENT_ID_LEN_MAX + 1], unsigned *limit);

/* What is not empty or 0. */
void api_text_set(json_t *json, const char *name, const char *text);
void api_number_set(json_t *json, const char *name, uint64_t number);
void api_window_json(const struct catalogue_window *window, json_t *out);

/* What is held from now on, unless that is newer; NULL is fine. */
void api_services_install(struct api *api, struct services *loaded);
void api_revoked_install(struct api *api, struct revoked *loaded);

/* ---- the requests ---- */

void playback_create(struct http_request *request, void *context);
void playback_renew(struct http_request *request, void *context);
void playback_revoke(struct http_request *request, void *context);
void revocations_get(struct http_request *request, void *context);

void contents_list(struct http_request *request, void *context);
void content_get(struct http_request *request, void *context);
void content_put(struct http_request *request, void *context);
void content_delete(struct http_request *request, void *context);

void versions_list(struct http_request *request, void *context);
void version_get(struct http_request *request, void *context);
void version_delete(struct http_request *request, void *context);
void version_collect(struct http_request *request, void *context);
void version_release(struct http_request *request, void *context);
void version_keep(struct http_request *request, void *context);
void retired_list(struct http_request *request, void *context);

void campaigns_list(struct http_request *request, void *context);
void campaign_get(struct http_request *request, void *context);
void campaign_put(struct http_request *request, void *context);
void campaign_delete(struct http_request *request, void *context);

void services_list(struct http_request *request, void *context);
void service_get(struct http_request *request, void *context);
void service_put(struct http_request *request, void *context);
void service_delete(struct http_request *request, void *context);
void service_key_create(struct http_request *request, void *context);
void service_key_delete(struct http_request *request, void *context);

#endif
