/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Evening: calm contents lie where the hash puts them, however loaded that
 * node is, and only those with a choice of owners go to the less loaded. So at
 * a node that is hot contents get another owner at a lower demand than
 * elsewhere, and keep it until one of their owners is cool.
 */

#include "core/classify_private.h"

#include <math.h>

/* Of the mean load of all: from here on a node is hot, */
#define HOT_RATIO 1.04
/* and up to here cool. Far apart, as a play that began at a node stays there:
 * what is decided now shows half a film later. */
#define COOL_RATIO 0.90
/* Of its capacity: a node with less to do is cool beside whomever. */
#define COOL_LOAD 0.5

/* Contents that have as many already are led to whoever is least loaded. */
#define EVEN_OWNERS_MAX 4

static enum warmth
warmth_of(const struct demand_node *node, double mean)
{
    const double capacity = (double) node->last.capacity_milli / 1000;
    if (node->steady <= fmax(COOL_RATIO * mean, COOL_LOAD) * capacity)
        return WARMTH_COOL;
    /* what it surely is, as steps up go by */
    return node->steady_least > HOT_RATIO * mean * capacity ? WARMTH_HOT
                                                            : WARMTH_WARM;
}

/* While nodes begin to report, those that did first would look hot beside the
 * others. */
static bool
is_measured(const struct demand_node *node)
{
    return node_is_counted(node) && !node->is_young;
}

/* None of the content's first k owners is less warm. */
static bool
owners_are(const struct evening *evening, const struct plan *plan, uint32_t k,
           enum warmth least)
{
    uint16_t owners[EVEN_OWNERS_MAX];
    const size_t count =
        placement_owners(evening->nodes, evening->count, plan->hash, k, owners);
    for (size_t i = 0; i < count; i++)
        if (evening->warmth[owners[i]] < least)
            return false;
    return count > 0;
}

void
evening_begin(struct evening *evening, const struct classify_policy *policy,
              const struct classify_input *input)
{
    double rate = 0, capacity = 0;
    *evening = (struct evening){.has_hot = false};
    if (policy->rule != CLASSIFY_CAPACITY)
        return;
    for (size_t i = 0; i < input->node_count; i++) {
        const struct demand_node *node = &input->nodes[i];
        if (!is_measured(node))
            continue;
        rate += node->steady;
        capacity += (double) node->last.capacity_milli / 1000;
    }
    for (size_t i = 0; i < input->node_count && capacity > 0; i++) {
        const struct demand_node *node = &input->nodes[i];
        if (!node_is_counted(node))
            continue;
        const enum warmth warmth =
            is_measured(node) ? warmth_of(node, rate / capacity) : WARMTH_WARM;
        evening->has_hot |= warmth == WARMTH_HOT;
        evening->warmth[evening->count] = warmth;
        evening->nodes[evening->count++] = (struct placement_node){
            .hash = placement_node_hash(node->last.node),
            .weight = node->last.weight,
        };
    }
}

bool
evening_is_due(const struct evening *evening, const struct plan *plan,
               double unit)
{
    return evening->has_hot && plan->k < EVEN_OWNERS_MAX
           && plan->k < evening->count && plan->rate_up >= EVEN_PART * unit
           && owners_are(evening, plan, plan->k, WARMTH_HOT);
}

uint32_t
evening_owners_down(const struct evening *evening, const struct plan *plan,
                    uint32_t k, double unit)
{
    if (plan->rate < EVEN_PART * unit)
        return k;
    while (k < plan->k && k < EVEN_OWNERS_MAX
           && owners_are(evening, plan, k, WARMTH_WARM))
        k++;
    return k;
}
