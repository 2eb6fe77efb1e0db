/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_SIM_SIM_H
#define PROGRAMS_SIM_SIM_H

/*
 * A platform in virtual time: core/'s own code for demand, levels, tables and
 * routes, with plays and a network that come from a seed. No clock, no
 * threads: the same config gives the same figures.
 */

#include "programs/sim/figures.h"

/* Runs it from begin to end. `plot` may be NULL. ERR_MEMORY, ERR_LIMIT. */
int sim_run(const struct sim_config *config, FILE *plot,
            struct figures_values *out);

#endif
