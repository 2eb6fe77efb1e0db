/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_VODST_UP_H
#define PROGRAMS_VODST_UP_H

/* What the parts of `vodst up` share: the options and the one run. */

#include "programs/vodst/places.h"
#include "programs/vodst/state.h"
#include "programs/vodst/supervise.h"
#include "programs/vodst/topology.h"
#include "platform/options.h"

#include <stdbool.h>
#include <stdint.h>

struct up_options {
    const char *coordination, *consul;
    const char *dir, *port, *address, *host, *share, *cluster;
    struct option_list nodes;
    int64_t redirectors, origins, caches, workers, cache_size, plain_size;
    const char *interval;
    bool no_restart, detach;
    /* handed on as they are: the manager, the agents and st-api judge them */
    const char *capacity, *spread, *target, *down_ratio, *hold, *window,
        *node_timeout, *requests_per_play, *token_ttl, *token_form,
        *token_network;
    const char *policy, *normal, *normal_owners, *hot, *critical;
    bool cdn_whole, is_private;
};

struct up {
    struct up_options options;
    struct places places;
    struct state state;
    struct topology topology;
    struct supervisor *supervisor;
    int ready_fd;       /* the process that waits in the terminal; -1: none */
    bool cannot_report; /* as was told */
};

/* Adds the processes of every node to the supervisor, those first that others
 * read from. Logs the reason on failure. */
int up_processes_add(struct up *up);

/* Writes vodst.json, whole or not at all. Logs the reason on failure, once
 * until it can be written again. */
int up_report_write(struct up *up);
void up_report_remove(const struct up *up);

/* Tells the person at the terminal what runs where. */
void up_report_print(const struct up *up);

#endif
