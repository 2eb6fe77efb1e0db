/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_SIM_TRAFFIC_H
#define PROGRAMS_SIM_TRAFFIC_H

/*
 * The plays and the nodes that serve them. A play asks for a segment, all in
 * its time, until it is over; between two requests nothing happens to it. So
 * all plays of one phase lie in one list, and a step walks one list, in which
 * those of a content at a node lie side by side and are counted at once. Where
 * a play goes is route_decide()'s word, by the table that each node holds.
 */

#include "core/pace.h"
#include "core/table.h"
#include "programs/sim/audience.h"
#include "programs/sim/pairs.h"

/* A play may be moved once in so long. */
#define MOVE_GAP_S (5 * 60)

#define RECHECKED_BITS 65536 /* so few that they stay near the processor */

struct play;

struct phase {
    struct play *list;
    uint32_t count, capacity;
    uint32_t sorted; /* so that those of a pair lie together */
};

struct traffic_node {
    const struct table_snapshot *table; /* what it acts on */
    uint32_t plays;
    bool is_dead;
    struct pace pace;
    uint64_t served, started;   /* requests, and plays that began here */
    uint32_t acknowledged_step; /* what changed until then is known */
    uint32_t *changed;          /* pairs whose counts changed since */
    uint32_t changed_count, changed_capacity;
};

struct traffic_stats { /* since the start */
    uint64_t starts;
    uint64_t moves;
    uint64_t moves_too_soon; /* within MOVE_GAP_S of the one before */
    uint64_t spills;
    uint64_t redirects_max; /* between two nodes, for one play */
    uint64_t dead_requests; /* went to a dead node, and then elsewhere */
    uint64_t refused;       /* found nobody at all */
    uint64_t fills;         /* contents that came to a node */
    uint64_t fills_least;   /* had none but owners got them */
};

/* What is known of a content; side by side, as it lies anywhere. */
struct traffic_content {
    uint32_t plays;          /* on origins */
    uint16_t owners, starts; /* most owners; saturating */
};

/* A content that is looked at until a step. */
struct rechecked {
    uint32_t content, until;
};

struct traffic {
    const struct sim_config *config;
    struct audience *audience;
    struct rng rng;
    uint32_t step; /* from 1 */
    uint64_t now_ms;
    bool is_counting; /* not before time runs, nor when nobody reads it */
    bool is_trial;    /* of the plays that start, only where they go counts */
    struct pairs pairs;
    struct phase *phases;
    uint32_t phase_count;
    struct play *sorting; /* room for those of a phase that are sorted in */
    uint32_t sorting_capacity;
    struct traffic_node nodes[PLACEMENT_NODES_MAX];
    uint32_t node_count; /* origins, a redirector, the CDN: in this order */
    bool has_dead;       /* one of them */

    struct traffic_content *contents;
    uint32_t active_contents, active_pairs; /* with plays on origins */
    uint32_t crowd_plays;                   /* the CDN's too */

    uint64_t *rechecked; /* bits: contents whose owners changed lately, */
    uint64_t maybe_rechecked[RECHECKED_BITS / 64]; /* modulo their number, */
    struct rechecked *rechecked_list;              /* oldest first */
    uint32_t rechecked_count, rechecked_capacity;
    uint32_t *changed_step, *shrunk_step; /* by content: when; 0: never */
    struct traffic_stats stats;
};

/* ERR_MEMORY. Config and audience must outlive it; the caller gives every node
 * a table before there are plays. */
int traffic_init(struct traffic *traffic, const struct sim_config *config,
                 struct audience *audience);
void traffic_fini(struct traffic *traffic);

static inline uint32_t
traffic_redirector(const struct traffic *traffic)
{
    return traffic->config->nodes;
}

static inline uint32_t
traffic_cdn(const struct traffic *traffic)
{
    return traffic->config->nodes + 1;
}

/* As many plays as are under way at any moment, in one of `parts` parts. */
void traffic_populate(struct traffic *traffic, uint32_t parts);
/* Ends the trial: no play is under way. */
void traffic_begin(struct traffic *traffic);
void traffic_step(struct traffic *traffic, uint64_t now_ms);
/* The content's owners changed: its plays may be led elsewhere, each at its
 * next request or when it is no longer held. */
void traffic_recheck(struct traffic *traffic, uint32_t content, bool is_shrunk);

/* As they sort by number: "n0000", of another set of names "n0000-1234abcd", or
 * where an audience comes as `vodst up` names its own: "origin1" to "origin9".
 */
struct bytes node_name(const struct sim_config *config, uint32_t node,
                       char name[SIM_NODE_NAME_SIZE]);

#endif
