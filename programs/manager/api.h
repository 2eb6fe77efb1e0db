/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_MANAGER_API_H
#define PROGRAMS_MANAGER_API_H

/*
 * The Manager over HTTP:
 *
 *   POST /v1/reports           a report (core/report.h)
 *   GET  /v1/table?after=V&wait_ms=N   the table when newer, else 204 later
 *                              409: the Manager was restarted and has none
 *                              yet, and asks for the one that is held
 *   PUT  /v1/table             the held one
 *   GET  /v1/status            all of it for people and programs, JSON
 *   GET  /v1/contents/{id}     one content, as in the status, calm or not
 *   GET  /v1/overrides         what operators have overridden, JSON
 *   GET, PUT, DELETE /v1/overrides/contents/{id}, .../nodes/{name}, .../cdn
 *                              one of them (programs/manager/override_json.h);
 *                              202: it holds, and is not kept yet
 *   GET  /metrics, /healthz
 *
 * Of several Managers one leads. One that stands by answers all but the last
 * with a redirect (307) to the leader, or 503 while it knows of none.
 */

#include "core/buffer.h"
#include "platform/http.h"
#include "programs/manager/manager.h"
#include "programs/manager/override_replies.h"

struct api;

/* Stands by. Logs the reason on failure. */
int api_new(struct event_base *base, const char *listen, struct api **out);
void api_free(struct api *api); /* before the manager */
unsigned api_port(const struct api *api);

/* Leads: answers from this manager, until told otherwise. */
void api_lead(struct api *api, struct manager *manager);
/* Stands by; the leader's URL, or NULL, is copied. The manager is not looked
 * at any more. */
void api_stand_by(struct api *api, const char *leader_url);
/* The manager has a new table: answers those who wait for it. */
void api_published(struct api *api);

/* For the files of this folder. */

#define STATUS_SIZE_MAX (64u << 20) /* bytes */
/* The JSON of /v1/status. */
int status_write(struct manager *manager, struct buffer *out);
/* One content of it. ERR_NOT_FOUND when nobody ever asked for it. */
int content_write(struct manager *manager, struct bytes id, struct buffer *out);
/* The answers to requests for overrides. */
void overrides_handle_list(struct manager *manager,
                           struct http_request *request);
void overrides_handle(struct manager *manager, struct override_replies *replies,
                      struct http_request *request,
                      enum override_target target);
/* The text of /metrics: of any Manager, and what one that leads adds. */
void metrics_lead_write(bool leads, struct buffer *out);
void metrics_write(struct manager *manager, size_t waiting_count,
                   struct buffer *out);

#endif
