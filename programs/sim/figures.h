/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_SIM_FIGURES_H
#define PROGRAMS_SIM_FIGURES_H

/* What comes out of a simulation: measured step by step, then put in words. */

#include <stdio.h>

#include "programs/sim/control.h"

/* X(name, sentence). All are numbers; NAN where there is nothing to measure. */
#define FIGURES(X)                                                         \
    X(most_loaded_to_mean, "most loaded node / mean, at the worst moment") \
    X(most_loaded_to_mean_average, "most loaded node / mean, over time")   \
    X(copies_per_content, "copies with plays / contents with plays")       \
    X(load_sustained, "worst node's load / capacity for over a segment")   \
    X(load_peak, "worst node's load / capacity, at the worst moment")      \
    X(level_changes_per_hour, "contents that changed level, an hour")      \
    X(fills_to_least, "fills / least possible")                            \
    X(cdn_to_least, "bytes from the CDN / least that was needed")          \
    X(cdn_share, "plays that are at the CDN")                              \
    X(moves_per_play, "moves of a play")                                   \
    X(moves_too_soon, "moves of a play within 5 minutes of another")       \
    X(spills_per_play, "spills by nodes at their limit, a play")           \
    X(redirects_max, "most redirects between nodes for one play")          \
    X(dead_requests, "requests to a dead node")                            \
    X(refused, "plays that found no node")                                 \
    X(seconds_to_normal, "from the demand to the level normal, acted on")  \
    X(seconds_to_hot, "to its level hot")                                  \
    X(seconds_to_critical, "to its level critical")                        \
    X(seconds_to_first_table, "to the first table that lists it")          \
    X(starts, "plays that started")                                        \
    X(plays, "plays under way at the end")                                 \
    X(tables, "tables published")                                          \
    X(rows, "contents in the last table")                                  \
    X(table_bytes_max, "bytes of the largest table")                       \
    X(report_bytes_per_second, "bytes of reports a second")

struct node_figures {
    uint64_t requests; /* served, what a play asks for as it starts included */
    uint64_t plays;    /* that started here */
};

struct figures_values {
#define FIGURE_FIELD(name, sentence) double name;
    FIGURES(FIGURE_FIELD)
#undef FIGURE_FIELD
    struct node_figures nodes[PLACEMENT_NODES_MAX]; /* the CDN last */
};

struct figures;

/* One line a second for gnuplot goes to `plot`, unless NULL. NULL: memory. */
struct figures *figures_new(const struct sim_config *config,
                            const struct traffic *traffic,
                            const struct control *control, FILE *plot);
void figures_free(struct figures *figures);
/* After each step; measured is what lies behind the warm-up. */
void figures_step(struct figures *figures, uint64_t now_ms);
void figures_get(const struct figures *figures, struct figures_values *out);

/* Of an audience also what each node served. */
void figures_print_table(const struct sim_config *config,
                         const struct figures_values *values, FILE *to);
void figures_print_json(const struct sim_config *config,
                        const struct figures_values *values, FILE *to);

#endif
