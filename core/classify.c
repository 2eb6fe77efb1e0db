/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Classification, see core/classify.h. Every content that has a rate or a row
 * becomes a plan; the plans get owner counts, then CDN shares, and those that
 * are not calm become rows.
 *
 * Two measures of a content's demand are used: what it surely is by now (its
 * surge, where that would need a second owner) for steps up, and the long
 * window's rate for steps down.
 */

#include "core/classify.h"
#include "core/content.h"
#include "core/err.h"

#include <math.h>
#include <stdlib.h>

#define RATE_FLOOR 0.001 /* requests/s; less is nothing */

const struct classify_policy classify_policy_default = {
    .spread = 0.10,
    .target = 0.80,
    .down_ratio = 0.70,
    .hold_ms = 30000,
};

struct plan {
    struct bytes id;
    uint64_t hash;
    double rate;       /* long window */
    double rate_up;    /* what steps up go by */
    uint32_t k, share; /* as before, then as decided */
    uint64_t calmer_since_ms;
};

struct cluster {
    uint32_t count;  /* N: origins that are up */
    double capacity; /* of all of them, requests/s */
    double unit;     /* phi * C: what one more owner stands for */
};

static struct cluster
cluster_of(const struct classify_policy *policy,
           const struct classify_input *input)
{
    struct cluster cluster = {.count = 0};
    for (size_t i = 0; i < input->node_count; i++) {
        const struct demand_node *node = &input->nodes[i];
        if (node->last.role != NODE_ROLE_ORIGIN || node->state != NODE_UP)
            continue;
        cluster.count++;
        cluster.capacity += (double) node->last.capacity_milli / 1000;
    }
    if (cluster.count > 0)
        cluster.unit = policy->spread * cluster.capacity / cluster.count;
    return cluster;
}

static uint32_t
owners_for(double rate, double unit, uint32_t count)
{
    double k = ceil(rate / unit);
    if (!(k > 1))
        return 1;
    return k < count ? (uint32_t) k : count;
}

/* True when a step down that has been possible since *since_ms may be made
 * now; starts the time when it was not running. */
static bool
hold_is_over(uint64_t *since_ms, uint64_t now_ms, uint32_t hold_ms)
{
    /* a time to come is of another Manager's clock */
    if (*since_ms == 0 || *since_ms > now_ms)
        *since_ms = now_ms;
    return now_ms - *since_ms >= hold_ms;
}

static void
plan_owners(struct plan *plan, const struct classify_policy *policy,
            const struct cluster *cluster, uint64_t now_ms)
{
    double unit = cluster->unit;
    uint32_t k_up = owners_for(plan->rate_up, unit, cluster->count);
    uint32_t k_down =
        owners_for(plan->rate, unit * policy->down_ratio, cluster->count);
    if (k_down < k_up)
        k_down = k_up;
    if (k_up > plan->k) {
        plan->k = k_up;
        plan->calmer_since_ms = 0;
    } else if (k_down >= plan->k) {
        plan->calmer_since_ms = 0;
    } else if (hold_is_over(&plan->calmer_since_ms, now_ms, policy->hold_ms)) {
        plan->k = k_down;
        plan->calmer_since_ms = 0;
    }
}

static double
offloaded(const struct plan *plan, double rate)
{
    return rate * plan->share / TABLE_SHARE_ONE;
}

/* The share of rate that takes `excess` away, rounded so that it does. */
static uint32_t
share_for(double excess, double rate)
{
    double share = ceil(excess / rate * TABLE_SHARE_ONE);
    return share < TABLE_SHARE_ONE ? (uint32_t) share : TABLE_SHARE_ONE;
}

/* Hottest first, until the rest fits. */
static void
offload_more(struct plan *plans, size_t count, double rest,
             const struct classify_policy *policy, double limit)
{
    double own = rest;
    for (size_t i = 0; i < count; i++)
        own += plans[i].rate_up - offloaded(&plans[i], plans[i].rate_up);
    for (size_t i = 0; i < count && own > limit; i++) {
        struct plan *plan = &plans[i];
        double left = plan->rate_up - offloaded(plan, plan->rate_up);
        if (plan->share == TABLE_SHARE_ONE || left < RATE_FLOOR)
            continue;
        uint32_t share = TABLE_SHARE_ONE;
        if (policy->cdn_by_share) {
            double wanted = offloaded(plan, plan->rate_up) + own - limit;
            share = share_for(wanted, plan->rate_up);
        }
        own -= plan->rate_up * (share - plan->share) / TABLE_SHARE_ONE;
        plan->share = share;
        plan->calmer_since_ms = 0;
    }
}

/* The share that would do for the plan when `room` requests/s may come back. */
static uint32_t
share_with_room(const struct plan *plan, const struct classify_policy *policy,
                double room)
{
    double back = offloaded(plan, plan->rate);
    if (back < RATE_FLOOR || back <= room)
        return 0;
    if (!policy->cdn_by_share || room <= 0)
        return plan->share;
    return share_for(back - room, plan->rate);
}

/* Coolest first, while with it back everything fits under the lower limit. */
static void
offload_less(struct plan *plans, size_t count, double rest,
             const struct classify_policy *policy, double limit,
             uint64_t now_ms)
{
    double own = rest;
    for (size_t i = 0; i < count; i++)
        own += plans[i].rate - offloaded(&plans[i], plans[i].rate);
    for (size_t i = count; i-- > 0;) {
        struct plan *plan = &plans[i];
        if (plan->share == 0)
            continue;
        uint32_t share = share_with_room(plan, policy, limit - own);
        if (share >= plan->share) {
            plan->calmer_since_ms = 0;
            continue;
        }
        /* counted as back while it is held, too: the room is given once */
        own += plan->rate * (plan->share - share) / TABLE_SHARE_ONE;
        if (hold_is_over(&plan->calmer_since_ms, now_ms, policy->hold_ms)) {
            plan->share = share;
            /* back as a whole: its owners were held as long as its share */
            if (share > 0)
                plan->calmer_since_ms = 0;
        }
    }
}

/* Shares first: what is critical has all nodes for owners and its hold time
 * is that of its share. */
static void
plans_decide(struct plan *plans, size_t count, double rest,
             const struct classify_policy *policy,
             const struct cluster *cluster, uint64_t now_ms)
{
    double limit = policy->target * cluster->capacity;
    for (size_t i = 0; i < count; i++) {
        if (!policy->has_cdn && plans[i].share > 0) {
            plans[i].share = 0;
            plans[i].calmer_since_ms = 0;
        }
    }
    if (policy->has_cdn) {
        offload_more(plans, count, rest, policy, limit);
        offload_less(plans, count, rest, policy, limit * policy->down_ratio,
                     now_ms);
    }
    for (size_t i = 0; i < count; i++) {
        struct plan *plan = &plans[i];
        if (plan->k > cluster->count)
            plan->k = cluster->count;
        if (plan->share > 0)
            plan->k = cluster->count;
        else
            plan_owners(plan, policy, cluster, now_ms);
    }
}

static void
plan_take_row(struct plan *plan, const struct table_row *row)
{
    plan->k = row->owner_count;
    plan->share = row->level == LEVEL_CRITICAL ? row->cdn_share : 0;
    plan->calmer_since_ms = row->calmer_since_ms;
}

/*
 * One plan a rate, in their order, then one for each row without a rate.
 * Returns how many; seen has a place for each row.
 */
static size_t
plans_fill(struct plan *plans, const struct classify_input *input,
           const struct cluster *cluster, bool *seen)
{
    const struct table previous = {
        .rows = input->previous,
        .row_count = input->previous_count,
    };
    size_t count = 0;
    for (size_t i = 0; i < input->rate_count; i++) {
        const struct demand_rate *rate = &input->rates[i];
        struct plan *plan = &plans[count++];
        *plan = (struct plan){
            .id = rate->id,
            .hash = rate->hash,
            .rate = rate->rate,
            .rate_up = rate->rate_surge > cluster->unit ? rate->rate_surge
                                                        : rate->rate,
            .k = 1,
        };
        const struct table_row *row =
            previous.row_count ? table_find(&previous, rate->hash, rate->id)
                               : NULL;
        if (row != NULL) {
            seen[row - previous.rows] = true;
            plan_take_row(plan, row);
        }
    }
    for (size_t i = 0; i < input->previous_count; i++) {
        const struct table_row *row = &input->previous[i];
        if (seen[i])
            continue;
        plans[count] = (struct plan){.id = row->id, .hash = row->hash};
        plan_take_row(&plans[count++], row);
    }
    return count;
}

static enum level
plan_level(const struct plan *plan, const struct cluster *cluster)
{
    if (plan->share > 0)
        return LEVEL_CRITICAL;
    if (plan->k <= 1)
        return LEVEL_CALM;
    return plan->k < cluster->count ? LEVEL_NORMAL : LEVEL_HOT;
}

static int
row_compare(const void *a_void, const void *b_void)
{
    const struct table_row *a = a_void, *b = b_void;
    if (a->hash != b->hash)
        return a->hash < b->hash ? -1 : 1;
    return bytes_compare(a->id, b->id);
}

static int
rows_from_plans(const struct plan *plans, size_t count,
                const struct cluster *cluster, struct table_row **rows,
                size_t *row_count)
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++)
        found += plan_level(&plans[i], cluster) != LEVEL_CALM;
    if (found > TABLE_ROWS_MAX)
        return ERR_LIMIT;
    struct table_row *list = calloc(found + 1, sizeof *list);
    if (list == NULL)
        return ERR_MEMORY;
    found = 0;
    for (size_t i = 0; i < count; i++) {
        enum level level = plan_level(&plans[i], cluster);
        if (level == LEVEL_CALM)
            continue;
        list[found++] = (struct table_row){
            .id = plans[i].id,
            .hash = plans[i].hash,
            .level = level,
            .owner_count = plans[i].k,
            .cdn_share = plans[i].share,
            .rate_milli = (uint64_t) (plans[i].rate * 1000),
            .calmer_since_ms = plans[i].calmer_since_ms,
        };
    }
    qsort(list, found, sizeof *list, row_compare);
    *rows = list;
    *row_count = found;
    return 0;
}

/* With no node to count on there is nothing to decide by. */
static int
rows_keep(const struct classify_input *input, struct table_row **rows,
          size_t *row_count)
{
    struct table_row *list = calloc(input->previous_count + 1, sizeof *list);
    if (list == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < input->previous_count; i++)
        list[i] = input->previous[i];
    *rows = list;
    *row_count = input->previous_count;
    return 0;
}

struct demand_selection
classify_selection(const struct classify_policy *policy,
                   const struct classify_input *input)
{
    const struct cluster cluster = cluster_of(policy, input);
    return (struct demand_selection){
        /* with no node there is nothing to decide by */
        .surge_min = cluster.unit > 0 ? cluster.unit : INFINITY,
        .rest_max = policy->has_cdn && cluster.unit > 0
                        ? policy->target * cluster.capacity
                        : INFINITY,
        .rows = input->previous,
        .row_count = input->previous_count,
    };
}

int
classify(const struct classify_policy *policy,
         const struct classify_input *input, struct table_row **rows,
         size_t *row_count)
{
    const struct cluster cluster = cluster_of(policy, input);
    int err = ERR_MEMORY;

    if (!(cluster.unit > 0))
        return rows_keep(input, rows, row_count);
    struct plan *plans =
        calloc(input->rate_count + input->previous_count + 1, sizeof *plans);
    bool *seen = calloc(input->previous_count + 1, sizeof *seen);
    if (plans == NULL || seen == NULL)
        goto done;
    size_t count = plans_fill(plans, input, &cluster, seen);
    plans_decide(plans, count, input->rest, policy, &cluster, input->now_ms);
    err = rows_from_plans(plans, count, &cluster, rows, row_count);
done:
    free(plans);
    free(seen);
    return err;
}
