/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_SIM_REPORTS_H
#define PROGRAMS_SIM_REPORTS_H

/*
 * The agents: at each interval, which begins for each node at a time of its
 * own, it reports what changed since the last report that the Manager
 * acknowledged. Reports and their answers get lost, and
 * reports are late, each by its own time, so that they overtake each other.
 */

#include "core/demand.h"
#include "programs/sim/traffic.h"

struct reports;

/* NULL: memory. What is given must outlive it. */
struct reports *reports_new(const struct sim_config *config,
                            struct traffic *traffic, struct demand *demand);
void reports_free(struct reports *reports);
/* Sends, and delivers what is due. The Manager's clock is given. */
int reports_step(struct reports *reports, uint64_t now_ms);
uint64_t reports_bytes(const struct reports *reports); /* sent so far */

/* A node's header as it reports it; texts into name. */
struct report_header node_header(const struct sim_config *config, uint32_t node,
                                 char name[SIM_NODE_NAME_SIZE]);

#endif
