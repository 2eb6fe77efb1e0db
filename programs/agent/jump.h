/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_AGENT_JUMP_H
#define PROGRAMS_AGENT_JUMP_H

/* When an agent does not wait for its next report; the simulator's do the
 * same. */

#define JUMP_LOOK_MS 50    /* between looks for a jump */
#define JUMP_REPORT_MS 100 /* between reports while one goes on */
#define JUMP_MS 1700       /* that is how long after it was seen */
#define JUMP_REQUESTS 8    /* at least, and what 2 ms of all capacity are */

#endif
