/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_SIM_CONFIG_H
#define PROGRAMS_SIM_CONFIG_H

/* What a simulation is asked to do. Times are virtual, from 0 on. */

#include "core/classify.h"

#define SIM_ORIGINS_MAX (PLACEMENT_NODES_MAX - 2)
#define SIM_CONTENTS_MAX 50000000
#define SIM_NODE_NAME_SIZE 16

struct sim_config {
    uint64_t seed;
    uint32_t nodes, contents;
    double zipf;
    double capacity;    /* plays a node, on average */
    double uneven;      /* of two nodes the second has so many times the first's
                         * capacity and weight; 0: all are alike */
    uint64_t name_set;  /* of the nodes: where they lie follows from it */
    double utilisation; /* of all capacity, without the crowd */
    uint64_t warmup_ms, duration_ms; /* measured after the warm-up */
    uint64_t step_ms;                /* virtual time goes in steps */
    uint64_t interval_ms;            /* between reports: a multiple of it */

    uint64_t segment_ms, watch_ms; /* the segment: a multiple of the step */
    uint64_t buffer_ms;            /* fetched as a play starts */
    uint32_t opening, tracks;      /* requests: at the start, a segment */

    /* An audience instead of the Zipf law: contents with names and weights,
     * plays that start at a rate, and all last as long. */
    const char *const *names; /* NULL: there is none */
    const double *weights;
    double rate; /* plays/s */
    uint64_t audience_seed;
    uint64_t ramp_ms;

    double loss;             /* of reports, their answers and tables */
    uint64_t delay_ms;       /* of reports, half to one and a half times */
    uint64_t table_delay_ms; /* age of the tables that are acted on */
    bool is_exact;           /* the Manager knows the demand itself */
    bool has_spill;

    uint64_t flash_ms, flash_ramp_ms;
    double flash_share; /* of all capacity, 0: no crowd */
    uint64_t swap_ms;   /* 0: never */
    uint32_t kill_node; /* from 0 */
    uint64_t kill_ms;   /* 0: never */

    struct demand_policy demand;
    struct classify_policy classify;
};

static inline uint64_t
sim_end_ms(const struct sim_config *config)
{
    return config->warmup_ms + config->duration_ms;
}

/* A node's part of the capacity, 1 on average; its weight is in proportion. */
static inline double
sim_node_part(const struct sim_config *config, uint32_t node)
{
    if (config->uneven == 0 || node >= config->nodes / 2 * 2)
        return 1;
    return 2 * (node % 2 ? config->uneven : 1) / (1 + config->uneven);
}

static inline double
sim_node_capacity(const struct sim_config *config, uint32_t node)
{
    return config->capacity * sim_node_part(config, node);
}

/* That as it is reported: every play asks once a segment and track. */
static inline double
sim_capacity_requests(const struct sim_config *config, uint32_t node)
{
    return sim_node_capacity(config, node) * config->tracks * 1000
           / (double) config->segment_ms;
}

#endif
