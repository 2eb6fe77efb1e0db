/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_SIM_TRAFFIC_PRIVATE_H
#define PROGRAMS_SIM_TRAFFIC_PRIVATE_H

/* For programs/sim/traffic*.c alone: a play, and where its requests are led. */

#include "core/route.h"
#include "programs/sim/traffic.h"

#define HOPS_MAX 2
#define NOWHERE UINT16_MAX

/* What its player knows, and what its home's nginx remembers of it. */
struct play {
    uint32_t content;
    uint32_t pair; /* unless NOWHERE */
    uint16_t home; /* whom the player asks: where its playlists come from */
    uint16_t node; /* who serves it: the home, or where that redirects to */
    uint16_t left; /* segments */
    bool is_spilled, has_moved;
    int32_t since_s; /* it is where it is */
};

/* Steps are lumps: what is asked in one lies before its end. */
static inline uint64_t
pace_ms(const struct traffic *t)
{
    return t->now_ms - 1;
}

uint32_t node_of_name(const struct sim_config *config, struct bytes name);
/* The node's place in a table, or ROUTE_SELF_UNLISTED. */
int place_in_table(const struct traffic *t, const struct table_snapshot *table,
                   uint32_t node);
bool is_full(const struct traffic *t, uint32_t node);

/* What the URL of a redirect says. */
void redirect_count(struct route_request *request,
                    const struct route_decision *decision);
/* Follows a play that is new to `node` until one keeps it: that one. */
uint32_t follow(struct traffic *t, struct route_request *request,
                uint32_t node);
/* From the redirector on, which decides first; NOWHERE: there is no node. One
 * that is dead may be found, where viewers tried often enough. */
uint32_t play_find_node(struct traffic *t, struct play *play,
                        struct route_decision *first);

#endif
