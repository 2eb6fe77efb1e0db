/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_ST_API_REVOKED_H
#define PROGRAMS_ST_API_REVOKED_H

/*
 * The revoked plays as they are held in memory for the agents, which ask for
 * them every second: one state, encoded, which is replaced as a whole.
 */

#include "programs/st-api/catalogue.h"

struct revoked;

/* As they are in the catalogue now; may be read in any thread. */
int revoked_load(struct catalogue *catalogue, struct revoked **out);
void revoked_free(struct revoked *revoked); /* NULL is fine */

/* Goes up with every change. */
uint64_t revoked_number(const struct revoked *revoked);

/* As core/revocations.h has them. */
struct bytes revoked_list(const struct revoked *revoked);

#endif
