/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PLATFORM_CONSUL_LOCK_H
#define PLATFORM_CONSUL_LOCK_H

/*
 * One holder among several programs, by a Consul session that ends with the
 * holder's health check. Each taking of the lock has a term of its own
 * (core/term.h), greater than all before it: the key's value is a leader_value,
 * and taking the lock and counting the term up is one transaction.
 *
 * Losing Consul is not losing the lock: who held it last is told so only by
 * Consul. Two may therefore act for a while, which their terms put in order,
 * and what is written to the KV by consul_lock_put() is fenced: it is refused
 * when another one holds the lock.
 */

#include "platform/consul.h"
#include "platform/coordination_values.h"

struct consul_lock;

struct consul_lock_config {
    const char *key;   /* "vodst/leader" */
    const char *name;  /* of the session, for people */
    const char *check; /* the session ends with it: consul_service_check() */
    const char *url;   /* goes into the key's value */
    /* Never from inside a call of this header. The term's round is above the
     * one before, above what consul_lock_outgrow() asked, and at least the
     * Unix time in s. */
    void (*held)(void *context, uint64_t term);
    void (*lost)(void *context);
    /* Another one holds it, or did last. */
    void (*other)(void *context, const struct leader_value *leader);
    void *context;
};

/* Copies the config; goes for the lock at once, and again whenever it is free.
 * NULL: memory. */
struct consul_lock *consul_lock_new(struct consul *consul,
                                    struct event_base *base,
                                    const struct consul_lock_config *config);
/* The lock itself goes with the check: consul_service_leave() lets the next
 * one take it at once. */
void consul_lock_free(struct consul_lock *lock); /* NULL is fine */

/* A term of ours was overtaken by `term`: the holder gets a greater one, by
 * `held` again, or is told that it is `lost`. */
void consul_lock_outgrow(struct consul_lock *lock, uint64_t term);

/* Sets a key, provided that we hold the lock as far as Consul knows: else the
 * answer is ERR_STALE, which may come to the holder, too, as it takes a greater
 * term. ERR_LIMIT at once when the value is too large. */
#define CONSUL_LOCK_PUT_MAX \
    (380u << 10) /* bytes: 512 KiB of JSON, in base64 \
                                          */
int consul_lock_put(struct consul_lock *lock, const char *key,
                    struct bytes value, consul_done *done, void *context);

#endif
