/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_SIM_CONTROL_H
#define PROGRAMS_SIM_CONTROL_H

/*
 * The Manager's turn, from demand to the published table, and how tables come
 * to the nodes: late by a fixed age, and now and then not at all until the
 * next poll. Every table goes through its encoded form.
 */

#include "programs/sim/traffic.h"

struct control;

struct control_stats { /* since the start */
    uint64_t tables;
    uint64_t table_bytes_max;
    uint64_t rows;          /* of the last table */
    uint64_t level_changes; /* of contents, between tables */
    uint64_t report_bytes;
    /* by level: when the crowd's content first had it, in a table that is
     * published and one the redirector acts on; 0: never */
    uint64_t crowd_published_ms[LEVEL_CRITICAL + 1];
    uint64_t crowd_acted_ms[LEVEL_CRITICAL + 1];
};

/* ERR_MEMORY. What is given must outlive it. */
int control_new(const struct sim_config *config,
                const struct audience *audience, struct traffic *traffic,
                struct control **out);
void control_free(struct control *control);

/* A table by what is known exactly, to all nodes at once: what a simulation
 * begins with. */
int control_begin(struct control *control);
/* Reports, a turn, and tables that have arrived. */
int control_step(struct control *control, uint64_t now_ms);

const struct control_stats *control_stats(const struct control *control);
/* Owners of the crowd's content in the newest table, 1 when it is calm. */
uint32_t control_crowd_owners(const struct control *control);

#endif
