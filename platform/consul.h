/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PLATFORM_CONSUL_H
#define PLATFORM_CONSUL_H

/*
 * A client of a Consul agent's HTTP API on the daemons' loop: single calls,
 * and watches, which are blocking queries asked again and again. What the
 * answers say is read by consul_answer.h; the lock and the service are made of
 * these two in consul_lock.h and consul_service.h.
 */

#include "core/bytes.h"

struct event_base;
struct consul;

struct consul_config {
    const char *url;     /* "http://127.0.0.1:8500", "https://..." */
    const char *token;   /* ACL token; NULL: none */
    const char *ca_file; /* PEM files for https; each may be NULL */
    const char *certificate_file, *key_file;
};

/* Copies the config. Logs the reason on failure. ERR_INVALID (the URL, the
 * token, a file), ERR_MEMORY. */
int consul_new(struct event_base *base, const struct consul_config *config,
               struct consul **out);
/* After the watches, services and locks of it. Calls under way are dropped. */
void consul_free(struct consul *consul);

/* Runs the loop until every call is answered, or for so long: at the end, to
 * say goodbye. Nothing may watch any more. */
void consul_drain(struct consul *consul, unsigned timeout_ms);

struct consul_answer {
    /* 0; ERR_NOT_FOUND (404), ERR_DENIED (403, an ACL), ERR_STALE (409, the
     * transaction did not hold), ERR_LIMIT, ERR_TIMEOUT, ERR_UPSTREAM (no
     * agent, or its servers have no leader) */
    int err;
    struct bytes body; /* of an error too: what Consul says about it */
    uint64_t index;    /* X-Consul-Index; 0: none */
    bool has_leader;   /* false: a stale answer while the servers elect one */
};

typedef void consul_done(const struct consul_answer *answer, void *context);

/* ---- calls ---- */

struct consul_call;

/* `path` is what follows /v1/. `done` is called once, later, unless cancelled.
 * NULL: memory. */
struct consul_call *consul_call(struct consul *consul, const char *method,
                                const char *path, struct bytes body,
                                consul_done *done, void *context);
void consul_call_cancel(struct consul_call *call); /* NULL is fine */

/* ---- watches ---- */

struct consul_watch;

struct consul_watch_config {
    const char *path; /* "kv/x?stale" */
    unsigned wait_ms; /* Consul answers after so long, changed or not */
    bool is_event;    /* event/list: its index is no order */
    /* After every answer, an error too. `changed`: the first answer, or the
     * index is another one than before. Must not free the watch. */
    void (*answered)(const struct consul_answer *answer, bool changed,
                     void *context);
    void *context;
};

/* Begins at once, and goes on until freed: after errors with growing pauses,
 * and never faster than WATCH_RATE a second. NULL: memory. */
struct consul_watch *consul_watch_new(struct consul *consul,
                                      const struct consul_watch_config *config);
void consul_watch_free(struct consul_watch *watch); /* NULL is fine */
/* Asks anew, and is answered at once. */
void consul_watch_restart(struct consul_watch *watch);

/* The index of the next question after an answer: that of the answer, but for
 * events 0 (not blocking) where it went back, and at least 1. */
uint64_t consul_index_next(bool is_event, uint64_t before, uint64_t answered);

#endif
