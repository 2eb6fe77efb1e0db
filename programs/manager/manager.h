/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_MANAGER_MANAGER_H
#define PROGRAMS_MANAGER_MANAGER_H

/*
 * The Manager: merges reports into demand, classes the contents, publishes
 * load tables. It holds nothing that the nodes cannot tell it again in one
 * round: their counts, and the table that they go by. The demand and the
 * classification are core/'s; time, versions and when to publish are this
 * file's.
 */

#include "core/classify.h"
#include "programs/manager/overrides.h"

struct event_base;
struct manager;

struct manager_config {
    struct demand_policy demand;
    struct classify_policy classify;
    struct overrides *overrides; /* must outlive the Manager; or NULL */
    /* After which it publishes without overrides that are not ready. */
    uint32_t overrides_wait_ms;
    /* Of the leader of several: the term that it was given, greater than all
     * before and nobody else's (core/term.h), and what is called, again and
     * again, while a node holds a table of a greater one. It does not raise
     * its term by itself: whose table that is may be the rightful leader. To
     * be answered by manager_set_term, but not from inside the call. 0 and
     * NULL: the Manager takes its terms itself. */
    uint64_t term;
    void (*outgrown)(void *context, uint64_t term);
    void *context;
};

struct manager_stats { /* since the start */
    uint64_t reports;
    uint64_t reports_refused;
    uint64_t reports_repeated;
    uint64_t reports_full_asked;
    uint64_t tables_built;
    uint64_t tables_published;
    uint64_t level_changes;
    uint64_t build_ns; /* spent building tables */
};

/* NULL: memory. */
struct manager *manager_new(struct event_base *base,
                            const struct manager_config *config);
void manager_free(struct manager *manager);

/* Merges one report. Bad bytes change nothing (rule 10). */
int manager_report(struct manager *manager, struct bytes report,
                   struct demand_merge_result *out);

/*
 * After a restart: whether the node that holds this version is to tell it, and
 * the telling. The rows of the newest one are what the first turn goes on
 * from, so that what the Manager before held up is not let go. Bad bytes
 * change nothing; one that is not wanted is no error.
 */
bool manager_wants_table(const struct manager *manager,
                         struct table_version held);
int manager_adopt(struct manager *manager, struct bytes encoded);

/* The table in force, and its encoded form; NULL and empty until an origin has
 * reported. Valid until the next one is published. */
const struct table_snapshot *manager_table(const struct manager *manager);
struct bytes manager_table_encoded(const struct manager *manager);
/* 0.0 until an origin has reported. */
struct table_version manager_version(const struct manager *manager);
uint64_t manager_term(const struct manager *manager);
/* Go on under a greater term. */
void manager_set_term(struct manager *manager, uint64_t term);

/* `published` is called after each new table. */
void manager_on_publish(struct manager *manager,
                        void (*published)(void *context), void *context);

struct demand *manager_demand(struct manager *manager);
/* As of the last turn, with the operator's word on them; sorted by name. */
const struct demand_node *manager_nodes(const struct manager *manager,
                                        size_t *count);
/* To be told of each change. */
struct overrides *manager_overrides(const struct manager *manager);
void manager_overrides_changed(struct manager *manager);
const struct manager_stats *manager_stats(const struct manager *manager);

#endif
