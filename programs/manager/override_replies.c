/* SPDX-License-Identifier: Apache-2.0 */

#include "programs/manager/override_replies.h"

#include "platform/loop.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#define KEEP_MS 3000

struct reply {
    TAILQ_ENTRY(reply) entry;
    struct override_replies *replies;
    struct http_request *request;
    struct event timer;
    char *json; /* NULL: none */
};

struct override_replies {
    struct event_base *base;
    TAILQ_HEAD(, reply) waiting;
};

static void
reply_now(struct http_request *request, const char *json, bool is_kept)
{
    if (json == NULL)
        http_reply(request, is_kept ? 204 : 202, NULL, bytes_of("", 0));
    else
        http_reply(request, is_kept ? 200 : 202, "application/json",
                   bytes_of_text(json));
}

static void
reply_free(struct reply *r)
{
    TAILQ_REMOVE(&r->replies->waiting, r, entry);
    event_del(&r->timer);
    free(r->json);
    free(r);
}

static void
reply_send(struct reply *r, bool is_kept)
{
    reply_now(r->request, r->json, is_kept);
    reply_free(r);
}

static void
reply_over(evutil_socket_t fd, short what, void *arg)
{
    reply_send(arg, false);
}

static void
reply_closed(void *context)
{
    reply_free(context);
}

struct override_replies *
override_replies_new(struct event_base *base)
{
    struct override_replies *replies = calloc(1, sizeof *replies);
    if (replies == NULL)
        return NULL;
    replies->base = base;
    TAILQ_INIT(&replies->waiting);
    return replies;
}

void
override_replies_free(struct override_replies *replies)
{
    free(replies);
}

void
override_reply(struct override_replies *replies,
               const struct overrides *overrides, struct http_request *request,
               const char *json)
{
    const struct timeval wait = loop_ms(KEEP_MS);
    struct reply *r = NULL;
    if (overrides_are_kept(overrides)) {
        reply_now(request, json, true);
        return;
    }
    r = calloc(1, sizeof *r);
    if (r == NULL || (json != NULL && (r->json = strdup(json)) == NULL)) {
        free(r);
        reply_now(request, json, false);
        return;
    }
    r->replies = replies;
    r->request = request;
    TAILQ_INSERT_TAIL(&replies->waiting, r, entry);
    evtimer_assign(&r->timer, replies->base, reply_over, r);
    event_add(&r->timer, &wait);
    http_request_on_close(request, reply_closed, r);
}

void
override_replies_kept(struct override_replies *replies)
{
    struct reply *r;
    while ((r = TAILQ_FIRST(&replies->waiting)) != NULL)
        reply_send(r, true);
}

void
override_replies_lost(struct override_replies *replies)
{
    struct reply *r;
    while ((r = TAILQ_FIRST(&replies->waiting)) != NULL) {
        http_reply_error(r->request, ERR_UNAVAILABLE,
                         "another Manager leads: ask what is overridden");
        reply_free(r);
    }
}
