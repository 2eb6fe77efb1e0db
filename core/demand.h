/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_DEMAND_H
#define CORE_DEMAND_H

/*
 * Demand: the Manager's picture of who asks for what. Reports are merged into
 * sums per content; sliding windows turn sums into rates. Time comes in as an
 * argument, in ms of any clock that never goes back.
 *
 * Merging keeps, per (node, boot, content), the largest cumulative value seen,
 * so order, repetition and loss do not matter (rule 2). What a report adds to
 * a sum is spread over the time since the node's report before it: one that
 * comes late is no surge, nor is a node that comes back from another Manager.
 *
 * Own requests are those of origins; plays are counted by the redirectors, or
 * by the origins while no redirector is heard.
 */

#include "core/report.h"

struct demand_policy {
    uint32_t window_ms;       /* the long window; 10 s by default */
    uint32_t node_timeout_ms; /* no report for so long: the node is down */
    double requests_per_play; /* assumed until enough plays were seen */
    uint32_t contents_max;    /* that are counted; 0, or more: 2^24 */
};
extern const struct demand_policy demand_policy_default;

struct demand; /* one thread */
struct demand *demand_new(
    const struct demand_policy *policy); /* NULL: memory */
void demand_free(struct demand *d);

struct demand_merge_result {
    bool wants_full; /* this Manager lacks the report's base: send all */
    bool is_new;     /* it changed something: not a repetition */
    struct table_version held; /* by the node, as the report says */
};

/* Nodes that say nothing for so long are dropped from the list. */
#define DEMAND_NODE_FORGET_MS (60u * 60 * 1000)

/*
 * Merges one encoded report. One that builds on what this Manager has not
 * merged (of this node and boot, up to the report's base) only gets
 * `wants_full`. The first full report of a node that ran before this Manager
 * did (sequence > 1), with all that follows while it has_more, adds nothing to
 * the rates; one with sequence 1 counts from zero, and so does a new boot of a
 * node that is known. Bad bytes change nothing; ERR_LIMIT: too many nodes. Of
 * more contents than the policy allows the later ones are not counted.
 */
int demand_merge(struct demand *d, struct bytes report, uint64_t now_ms,
                 struct demand_merge_result *out);

/* The demanded rate of one content, in requests/s on own origins:
 * served = requests origins answered; offloaded = plays sent to the CDN, as
 * the requests they would have made (plays/s times requests per play). */
struct demand_rate {
    struct bytes id; /* its text lives as long as the demand */
    uint64_t hash;
    double rate;       /* served + offloaded over the long window */
    double rate_surge; /* lower confidence bound over the shorter windows, where
                        * greater than `rate`; else `rate`: what "up at once"
                        * goes by without taking noise for demand */
    double starts;     /* plays/s over the long window */
};

#define DEMAND_STEADY_MS 120000

struct demand_node {
    struct report_header last; /* texts owned by the demand */
    uint64_t heard_ms;
    uint64_t since_ms;     /* it has reported without being down */
    enum node_state state; /* last.state, or down when silent */
    double rate;           /* requests/s it answers, over the long window */
    double steady;         /* the same over DEMAND_STEADY_MS */
    double steady_least;   /* lower confidence bound of it */
    bool is_young;         /* has not reported for so long: steady is too low */
    uint32_t load;         /* 1/10000 of its capacity, saturating */
};

/* Moves the windows to now_ms; forgets contents without requests. */
void demand_advance(struct demand *d, uint64_t now_ms);

/* After demand_advance; valid until the next call that changes the demand.
 * Only contents with a rate; sorted by rate_surge, greatest first, ties by id,
 * so that equal demands give equal tables (rule 3). */
const struct demand_rate *demand_rates(struct demand *d, size_t *count);

/* The same of some contents: those that matter are few, and to find them costs
 * far less than to sort all. */
struct demand_selection {
    double surge_min;  /* of a rate_surge of that at least, or of less where */
    double colder_max; /* all colder ones would add up to more than this, */
    size_t count_min;  /* or fewer than so many are selected */
    const struct table_row *rows; /* and these, whatever their rate */
    size_t row_count;
    bool skips_calm; /* of the rows */
};
const struct demand_rate *demand_rates_select(
    struct demand *d, const struct demand_selection *selection, size_t *count,
    double *rest);
/* Sorted by name; redirectors included. */
const struct demand_node *demand_nodes(struct demand *d, size_t *count);
double demand_requests_per_play(const struct demand *d);

/* Sums over all nodes and boots this Manager heard of, bases included, for one
 * content (tests, status). ERR_NOT_FOUND. */
int demand_sums(const struct demand *d, struct bytes id,
                struct counters_values *out);
/* Entries of reports that were not counted, being of too many contents. */
uint64_t demand_left_out(const struct demand *d);

#endif
