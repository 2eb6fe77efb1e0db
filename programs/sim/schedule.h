/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_SIM_SCHEDULE_H
#define PROGRAMS_SIM_SCHEDULE_H

/* Events as they are written on the command line. Times are "90", "90s",
 * "1500ms", "5m", "1h". On failure the config is untouched. */

#include "programs/sim/config.h"

/* "at=60s,ramp=60s,share=0.2", in any order, each once. ERR_INVALID. */
int schedule_flash(const char *text, struct sim_config *config);
/* "3@90s": node 3, of config->nodes. ERR_INVALID. */
int schedule_kill(const char *text, struct sim_config *config);

#endif
