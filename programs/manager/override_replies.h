/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_MANAGER_OVERRIDE_REPLIES_H
#define PROGRAMS_MANAGER_OVERRIDE_REPLIES_H

/*
 * The answers to changes of overrides. A change is answered when it is kept: at
 * once, or, of several Managers, when the KV has it. What is not kept within
 * some seconds is answered 202: it holds here, and is written as soon as that
 * works, but a Manager that came to lead before would not know of it.
 */

#include "platform/http.h"
#include "programs/manager/overrides.h"

struct event_base;
struct override_replies;

/* NULL: memory. */
struct override_replies *override_replies_new(struct event_base *base);
void override_replies_free(struct override_replies *replies);

/* Answers now or later, 200 with the JSON, or 204 where it is NULL. */
void override_reply(struct override_replies *replies,
                    const struct overrides *overrides,
                    struct http_request *request, const char *json);

/* All changes are kept. */
void override_replies_kept(struct override_replies *replies);
/* This Manager leads no more: whether a change is kept is not known. */
void override_replies_lost(struct override_replies *replies);

#endif
