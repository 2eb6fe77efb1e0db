/* SPDX-License-Identifier: Apache-2.0 */
/* Demand as it is, see programs/sim/knowledge.h. */

#include "programs/sim/knowledge.h"

#include "core/content.h"
#include "programs/sim/reports.h"

#include <math.h>
#include <stdlib.h>

/* Of the demand that needs a second owner: a content of less never has one. */
#define RANK_PART 0.1

struct knowledge {
    const struct sim_config *config;
    const struct audience *audience;
    const struct traffic *traffic;

    struct demand_rate *rates; /* room for one more: the crowd's */
    uint32_t rate_count;
    double rest;                /* of the contents without one */
    bool is_filled, is_swapped; /* with the ranks as they were */
    uint8_t (*names)[CONTENT_NAME_LEN];

    uint64_t dead_since_ms[PLACEMENT_NODES_MAX];
    struct demand_node nodes[PLACEMENT_NODES_MAX];
    char node_names[PLACEMENT_NODES_MAX][SIM_NODE_NAME_SIZE];
};

static double
requests_of(const struct knowledge *k, double plays)
{
    return plays * 1000 / (double) k->config->segment_ms;
}

/* Of a rate as reports would tell it. */
static double
steady_least(double rate)
{
    const double seconds = DEMAND_STEADY_MS / 1000.0;
    return fmax(0, rate - 2 * sqrt(rate / seconds));
}

/* Ranks that leave so few plays to the colder ones that the CDN need take none
 * of these, nor of a crowd, and what it has comes back before. */
static uint32_t
ranks_for_cdn(const struct knowledge *k)
{
    const struct sim_config *config = k->config;
    const double room = config->classify.target * config->classify.down_ratio
                        * config->capacity * config->nodes;
    double colder = audience_plays(k->audience);
    uint32_t count = 0;
    while (count < config->contents && colder > room)
        colder -= k->audience->shares[count++] * audience_plays(k->audience);
    return count;
}

/* Ranks from which on a content matters to nobody. */
static uint32_t
ranks_that_matter(const struct knowledge *k)
{
    const struct sim_config *config = k->config;
    const double least = config->classify.spread * config->capacity
                         * config->classify.down_ratio * RANK_PART;
    const double plays = audience_plays(k->audience);
    uint32_t count = config->contents;
    for (uint32_t low = 0; low < count;) {
        const uint32_t middle = low + (count - low) / 2;
        if (k->audience->shares[middle] * plays < least)
            count = middle;
        else
            low = middle + 1;
    }
    const uint32_t for_cdn = config->classify.has_cdn ? ranks_for_cdn(k) : 0;
    return count > for_cdn ? count : for_cdn;
}

static void
rate_set(struct knowledge *k, uint32_t at, uint32_t content, double plays)
{
    const struct bytes id = content_name(k->config, content, k->names[at]);
    const double rate = requests_of(k, plays);
    k->rates[at] = (struct demand_rate){
        .id = id,
        .hash = content_hash(id),
        .rate = rate,
        .rate_surge = rate,
        .starts = plays * 1000 / (double) k->config->watch_ms,
    };
}

static void
rates_fill(struct knowledge *k)
{
    const double plays = audience_plays(k->audience);
    k->rate_count = ranks_that_matter(k);
    k->rest = requests_of(k, plays);
    for (uint32_t i = 0; i < k->rate_count; i++) {
        rate_set(k, i, audience_content(k->audience, i),
                 k->audience->shares[i] * plays);
        k->rest -= k->rates[i].rate;
    }
    k->is_filled = true;
    k->is_swapped = k->audience->is_swapped;
}

/* The crowd's content among the others, by its plays now; the name of the
 * last place is its own. */
static void
crowd_insert(struct knowledge *k, uint32_t plays)
{
    const uint32_t content = audience_crowd_content(k->audience);
    uint32_t at = k->rate_count;
    rate_set(k, at, content, plays);
    const struct demand_rate crowd = k->rates[at];
    for (; at > 0 && k->rates[at - 1].rate < crowd.rate; at--)
        k->rates[at] = k->rates[at - 1];
    k->rates[at] = crowd;
}

struct knowledge *
knowledge_new(const struct sim_config *config, const struct audience *audience,
              const struct traffic *traffic)
{
    struct knowledge *k = calloc(1, sizeof *k);
    if (k == NULL)
        return NULL;
    k->config = config;
    k->audience = audience;
    k->traffic = traffic;
    const size_t count = (size_t) ranks_that_matter(k) + 1;
    k->rates = calloc(count, sizeof *k->rates);
    k->names = calloc(count, sizeof *k->names);
    if (k->rates == NULL || k->names == NULL) {
        knowledge_free(k);
        return NULL;
    }
    return k;
}

void
knowledge_free(struct knowledge *k)
{
    if (k == NULL)
        return;
    free(k->rates);
    free(k->names);
    free(k);
}

const struct demand_rate *
knowledge_rates(struct knowledge *k, size_t *count, double *rest)
{
    const uint32_t plays = k->traffic->crowd_plays;
    if (!k->is_filled || k->is_swapped != k->audience->is_swapped || plays > 0)
        rates_fill(k);
    *count = k->rate_count;
    *rest = k->rest > 0 ? k->rest : 0;
    if (plays > 0) {
        crowd_insert(k, plays);
        ++*count;
    }
    return k->rates;
}

const struct demand_node *
knowledge_nodes(struct knowledge *k, uint64_t now_ms, size_t *count)
{
    const struct sim_config *config = k->config;
    for (uint32_t i = 0; i < config->nodes; i++) {
        const struct traffic_node *node = &k->traffic->nodes[i];
        if (!node->is_dead)
            k->dead_since_ms[i] = now_ms;
        const bool is_down =
            now_ms - k->dead_since_ms[i] > config->demand.node_timeout_ms;
        k->nodes[i] = (struct demand_node){
            .last = node_header(config, i, k->node_names[i]),
            .heard_ms = k->dead_since_ms[i],
            .state = is_down ? NODE_DOWN : NODE_UP,
            .rate = requests_of(k, node->plays),
            .steady = requests_of(k, node->plays),
            .steady_least = steady_least(requests_of(k, node->plays)),
            .load = (uint32_t) (node->plays * (double) TABLE_SHARE_ONE
                                / sim_node_capacity(config, i)),
        };
    }
    *count = config->nodes;
    return k->nodes;
}
