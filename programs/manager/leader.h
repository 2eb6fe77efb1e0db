/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_MANAGER_LEADER_H
#define PROGRAMS_MANAGER_LEADER_H

/*
 * One leading Manager of several, by Consul: registers this one as a service,
 * goes for the lock, and while it is ours runs a Manager under the lock's term
 * and puts its tables into the KV. Else it stands by, and says who leads.
 */

#include "platform/consul.h"
#include "programs/manager/api.h"

struct leader_config {
    struct consul *consul;
    const char *prefix;                  /* of keys and events */
    const char *url;                     /* where agents reach this Manager */
    const struct manager_config *policy; /* its term is not used */
};

struct leader;

/* Copies the config. ERR_MEMORY. */
int leader_new(struct event_base *base, const struct leader_config *config,
               struct api *api, struct leader **out);
/* Hands over in order: gives the lock back, so that the next one leads at
 * once. Runs the loop for a moment. */
void leader_free(struct leader *leader);

#endif
