/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PLATFORM_CONSUL_SERVICE_H
#define PLATFORM_CONSUL_SERVICE_H

/*
 * One service in Consul's catalogue, with a check that goes critical when the
 * program falls silent. Registered again whenever the agent has lost it.
 */

#include "platform/consul.h"

struct consul_service;

struct consul_service_config {
    const char *name;   /* "vodst-manager" */
    const char *id;     /* unique in the datacenter; its check is "ID-alive" */
    const char *url;    /* http://HOST:PORT: address, port, and Meta "url"; "":
                         * it has none */
    unsigned weight;    /* Meta "weight"; 0: none */
    unsigned silence_s; /* the check is critical after so long */
    /* What a run before this one registered is dropped first, and with it the
     * locks it held: else a program that is killed and starts again keeps its
     * check alive, and a lock that nobody holds. */
    bool drops_former;
};

enum consul_health { CONSUL_PASSING, CONSUL_WARNING, CONSUL_CRITICAL };

/* Copies the config. NULL: memory, or the URL is bad. */
struct consul_service *consul_service_new(
    struct consul *consul, struct event_base *base,
    const struct consul_service_config *config);
/* The note is for people, and copied. */
void consul_service_set(struct consul_service *service,
                        enum consul_health health, const char *note);
/* Leaves the catalogue; a call that consul_drain() waits for. */
void consul_service_leave(struct consul_service *service);
void consul_service_free(struct consul_service *service); /* NULL is fine */

/* "ID-alive", for a session that is to end with it. */
const char *consul_service_check(const struct consul_service *service);

#endif
