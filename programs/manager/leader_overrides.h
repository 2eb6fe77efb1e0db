/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_MANAGER_LEADER_OVERRIDES_H
#define PROGRAMS_MANAGER_LEADER_OVERRIDES_H

/*
 * The overrides of several Managers, in Consul's KV beside the lock: who comes
 * to lead goes on with what was told to the one before. Until that is read no
 * change is taken (ERR_UNAVAILABLE); every change after it is written.
 */

#include "platform/consul_lock.h"
#include "programs/manager/manager.h"

struct leader_overrides;

struct leader_overrides_config {
    struct consul *consul;
    struct consul_lock *lock;
    const char *prefix;          /* of keys */
    struct overrides *overrides; /* must outlive it */
};

/* Copies the config. NULL: memory. */
struct leader_overrides *leader_overrides_new(
    struct event_base *base, const struct leader_overrides_config *config);
void leader_overrides_free(struct leader_overrides *kept);

/* This Manager leads: reads them. */
void leader_overrides_lead(struct leader_overrides *kept,
                           struct manager *manager);
void leader_overrides_stand_by(struct leader_overrides *kept);

#endif
