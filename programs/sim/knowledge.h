/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_SIM_KNOWLEDGE_H
#define PROGRAMS_SIM_KNOWLEDGE_H

/*
 * Demand as it is, for a Manager that need not measure it: what reports would
 * tell it with no noise, no loss and no delay. What differs from measuring is
 * placement's own.
 */

#include "core/demand.h"
#include "programs/sim/traffic.h"

struct knowledge;

/* NULL: memory. What is given must outlive it. */
struct knowledge *knowledge_new(const struct sim_config *config,
                                const struct audience *audience,
                                const struct traffic *traffic);
void knowledge_free(struct knowledge *knowledge);

/* As demand_rates() and demand_nodes(); valid until the next call. The rates
 * of contents that could have neither a second owner nor a share are left out;
 * `rest` is what they are together. */
const struct demand_rate *knowledge_rates(struct knowledge *knowledge,
                                          size_t *count, double *rest);
const struct demand_node *knowledge_nodes(struct knowledge *knowledge,
                                          uint64_t now_ms, size_t *count);

#endif
