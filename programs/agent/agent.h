/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_AGENT_AGENT_H
#define PROGRAMS_AGENT_AGENT_H

/*
 * The node agent, beside each nginx: reports what nginx counted, installs the
 * load table and the list of revoked plays, and looks whether nginx is well. It
 * shares three files with nginx and nothing else.
 *
 *   counter file -> report_sender -> Manager -> table_fetcher -> table file
 *                        ^ state
 *                     health  <- nginx
 *                           st-api -> revocation_fetcher -> list of revoked
 */

#include "core/report.h"
#include "platform/coordination_consul.h"
#include "platform/http.h"

#include <event2/event.h>
#include <event2/event_struct.h>

struct agent_config {
    const char *node, *url, *counters, *table, *check; /* check: NULL: none */
    enum node_role role;
    uint32_t weight;
    uint64_t capacity_milli;
    unsigned interval_ms;
    const char *const *managers;
    size_t manager_count;
    const char *manager_key; /* what they know this system's nodes by; NULL */
    const char *revoked;     /* NULL: no st-api is asked */
    const char *const *apis;
    size_t api_count;
    struct consul *consul; /* NULL: the static way; must outlive the agent */
    const char *consul_prefix;
};

struct agent;

/* Starts everything. ERR_INVALID when no Manager would take this node's
 * reports (its name or URL), ERR_MEMORY. */
int agent_new(struct event_base *base, const struct agent_config *config,
              struct agent **out);
void agent_free(struct agent *agent);

/* ---- for the files of this folder ---- */

/* What the parts share. */
struct agent_shared {
    struct event_base *base;
    struct http_client *client; /* of Managers */
    struct http_client *local;  /* of the nginx beside */
    struct http_client *api;    /* of st-api; NULL: it is not asked */
    struct coordination *coordination;
    struct table_fetcher *fetcher; /* told of Managers left, and of tables */
    const struct agent_config *config;
    enum node_state state;     /* set by health */
    struct table_version held; /* set by table_fetcher */
};

/* The wait before the next try: doubled from first_ms for each failure, at
 * most 1 s, and spread so that nodes do not come together. */
struct timeval back_off(unsigned failure_count, unsigned first_ms);

/* A file that nginx reads, which goes on with the one that is there. It is tried
 * again with every answer, so only the change of *cannot_write is told. `what`
 * is what stays. */
int held_write(const char *path, struct bytes encoded, const char *what,
               bool *cannot_write);

#define MANAGER_URL_SIZE 512 /* with its end */
#define MANAGER_PATH_SIZE 128

/* "http://m:1", "v1/reports" -> "http://m:1/v1/reports". */
void manager_url(char out[MANAGER_URL_SIZE + MANAGER_PATH_SIZE],
                 const char *manager, const char *path);

/* The Manager at `url` answered with a redirect: to the leader. */
void manager_redirected(struct agent_shared *shared, const char *url,
                        const struct http_response *response);

struct health;
/* `changed` is called after the first answer and after each change of
 * shared->state. */
struct health *health_new(struct agent_shared *shared,
                          void (*changed)(void *context), void *context);
void health_free(struct health *health);

struct report_sender;
struct report_sender *report_sender_new(struct agent_shared *shared);
void report_sender_free(struct report_sender *sender);
/* Reports now, or as soon as the report under way to this Manager is through.
 */
void report_sender_send(struct report_sender *sender);

struct table_fetcher;
/* Reads the table file of the run before into shared->held. */
struct table_fetcher *table_fetcher_new(struct agent_shared *shared);
void table_fetcher_free(struct table_fetcher *fetcher);
void table_fetcher_start(struct table_fetcher *fetcher);
/* Asks the Manager now, unless this Manager is being asked. */
void table_fetcher_ask(struct table_fetcher *fetcher);
/* There is such a table: asks anew if the question that waits does not bring it
 * within seconds. */
void table_fetcher_hint(struct table_fetcher *fetcher,
                        struct table_version version);
/* A question that waits at a Manager that is not talked to any more is asked
 * of the one that is. */
void table_fetcher_move(struct table_fetcher *fetcher);

struct revocation_fetcher;
struct revocation_fetcher *revocation_fetcher_new(struct agent_shared *shared);
void revocation_fetcher_free(struct revocation_fetcher *fetcher);

#endif
