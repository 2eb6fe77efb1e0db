/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_CLASSIFY_H
#define CORE_CLASSIFY_H

/*
 * Rates in, levels out: builds the rows of the next load table. A pure
 * function of (rates, nodes, policy, previous rows, now), so two Managers with
 * the same reports publish the same table (rule 3).
 *
 *   k = clamp(ceil(L / (phi * C)), 1, N)
 *   calm k = 1, normal 1 < k < N, hot k = N;
 *   critical: contents, greatest demand first, that the CDN takes until the
 *   rest fits under target * sum of C
 *
 * At nodes that are more loaded than the others a content gets another owner
 * at a quarter of that demand (core/classify_even.c).
 *
 * L the content's demand, C the mean capacity of a node that is up, N how many
 * are up. Or by plain thresholds of L for each level, whatever the capacity.
 * Up at once; down after hold_ms below `down_ratio` of what the step up
 * needed. An operator's overrides go before either, at once both ways.
 */

#include "core/override.h"

enum classify_rule { CLASSIFY_CAPACITY, CLASSIFY_THRESHOLDS };

struct classify_thresholds { /* requests/s, from which on; not falling */
    double normal, hot, critical;
    uint32_t owner_count; /* of a normal content */
};

struct classify_policy {
    enum classify_rule rule;
    struct classify_thresholds thresholds;
    double spread;     /* phi: share of one node one content may take, 0.033 */
    double target;     /* utilisation of the own servers, 0.80 */
    double down_ratio; /* 0.70 */
    uint32_t hold_ms;  /* 30 s */
    bool cdn_by_share; /* offload only the share that does not fit; true */
    bool has_cdn;      /* false: nothing is ever critical */
};
extern const struct classify_policy classify_policy_default;

struct classify_input {
    /* as demand_rates() gives them, or classify_rates() */
    const struct demand_rate *rates;
    size_t rate_count;
    const struct demand_node *nodes; /* all; only origins are counted */
    size_t node_count;
    const struct table_row *previous; /* rows of the table before */
    size_t previous_count;
    uint64_t now_ms;
    double rest; /* requests/s of the contents whose rates are left out */
    const struct override *overrides; /* a list of core/override.h */
    size_t override_count;
    double requests_per_play; /* for a budget in plays */
};

/* Fills in the rates that make a difference: of contents that may leave calm,
 * of those that have, and of what the CDN may have to take; and the rest. All
 * else in the input is there before. They are valid as those of
 * demand_rates(). */
void classify_rates(const struct classify_policy *policy, struct demand *demand,
                    struct classify_input *input);

/*
 * Writes the rows that are not calm, or that an operator keeps from the CDN,
 * sorted by (hash, id), to *rows (caller frees with free(); ids point into
 * rates, previous or overrides). A row whose demand is gone and whose hold time
 * is over is dropped (rule 6). Of more than TABLE_ROWS_MAX the coldest have no
 * row, as if they were calm; those with an override always have theirs.
 * ERR_MEMORY.
 */
int classify(const struct classify_policy *policy,
             const struct classify_input *input, struct table_row **rows,
             size_t *row_count);

#endif
