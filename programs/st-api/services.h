/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_ST_API_SERVICES_H
#define PROGRAMS_ST_API_SERVICES_H

/*
 * Services (those that sell plays, and ask for them) as they are held in memory:
 * a play's service is found by its key without asking the database. One state of
 * them, which is replaced as a whole.
 *
 * A key is KEY_ID.SECRET, 16 and 64 hex digits, or the public half of one that
 * the service signs JWTs with.
 */

#include "programs/st-api/service_jwt.h"

#define SERVICE_KEY_LEN (CATALOGUE_KEY_ID_LEN + 1 + 64)

struct services;

struct service {
    struct catalogue_service known;
    /* how many requests it may make now, and when that was so */
    double allowance;
    uint64_t allowance_ms;
};

/* As they are in the catalogue now; may be read in any thread. */
int services_load(struct catalogue *catalogue, struct services **out);
void services_free(struct services *services); /* NULL is fine */

/* Goes up with every change. */
uint64_t services_number(const struct services *services);

/* Takes over what each may still do now. NULL is fine. */
void services_inherit(struct services *services, const struct services *before);

/* In order of id. */
const struct catalogue_service *services_at(const struct services *services,
                                            unsigned i); /* NULL: no more */
const struct catalogue_service *services_find(const struct services *services,
                                              struct bytes id);
/* The i-th key of a service; NULL: no more. */
const struct catalogue_service_key *services_key_at(
    const struct services *services, struct bytes service, unsigned i);

/* Whose key or JWT this is, and what may be asked for with it. Takes as long
 * whatever the secret. ERR_DENIED; ERR_EXPIRED: its time is not now. */
int services_authenticate(struct services *services, struct bytes text,
                          uint64_t now_s, struct service **out,
                          struct service_grant *grant);

/* True: it may make a request now, and has made it. Else *wait_s is when it
 * may again. */
bool service_may_ask(struct service *service, uint64_t now_ms,
                     unsigned *wait_s);

/* Makes a key: the text for whoever is to have it, and what is kept. */
void service_key_make(char text[SERVICE_KEY_LEN + 1],
                      struct catalogue_service_key *out);

#endif
