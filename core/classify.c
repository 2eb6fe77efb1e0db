/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Classification, see core/classify.h. Every content that has a rate or a row
 * becomes a plan; the plans get CDN shares (core/classify_offload.c), then
 * owner counts, and those that are not calm become rows.
 *
 * Two measures of a content's demand are used: what it surely is by now (its
 * surge, where that would need a second owner) for steps up, and the long
 * window's rate for steps down.
 */

#include "core/classify_private.h"
#include "core/content.h"
#include "core/err.h"

#include <math.h>
#include <stdlib.h>

#define OWNERS_NORMAL 2 /* of a content that an operator calls normal */
#define RATE_MAX 1e12   /* requests/s in a row: false counts may be any */

const struct classify_policy classify_policy_default = {
    .spread = 0.033,
    .target = 0.80,
    .down_ratio = 0.70,
    .hold_ms = 30000,
    .cdn_by_share = true,
    .thresholds = {.normal = 10, .hot = 50, .critical = 200, .owner_count = 2},
};

static struct cluster
cluster_of(const struct classify_policy *policy,
           const struct classify_input *input)
{
    struct cluster cluster = {.count = 0};
    for (size_t i = 0; i < input->node_count; i++) {
        const struct demand_node *node = &input->nodes[i];
        if (!node_is_counted(node))
            continue;
        cluster.count++;
        cluster.capacity += (double) node->last.capacity_milli / 1000;
    }
    if (cluster.count > 0)
        cluster.unit = policy->rule == CLASSIFY_THRESHOLDS
                           ? policy->thresholds.normal
                           : policy->spread * cluster.capacity / cluster.count;
    return cluster;
}

static uint32_t
at_most(uint32_t k, uint32_t count)
{
    return k < count ? k : count;
}

/* `factor` lowers all thresholds. */
static uint32_t
owners_for(const struct classification *c, double rate, double factor)
{
    const struct classify_thresholds *t = &c->policy->thresholds;
    const uint32_t count = c->cluster.count;
    if (c->policy->rule == CLASSIFY_THRESHOLDS) {
        if (rate >= t->hot * factor)
            return count;
        return rate >= t->normal * factor ? at_most(t->owner_count, count) : 1;
    }
    const double k = ceil(rate / (c->cluster.unit * factor));
    if (!(k > 1))
        return 1;
    return k < count ? (uint32_t) k : count;
}

static void
plan_owners(const struct classification *c, struct plan *plan)
{
    uint32_t k_up = owners_for(c, plan->rate_up, 1);
    uint32_t k_down = owners_for(c, plan->rate, c->policy->down_ratio);
    if (k_up <= plan->k && evening_is_due(&c->evening, plan, c->cluster.unit))
        k_up = plan->k + 1;
    if (k_down < k_up)
        k_down = k_up;
    if (k_down < plan->k)
        k_down = evening_owners_down(&c->evening, plan, k_down,
                                     c->policy->down_ratio * c->cluster.unit);
    if (k_up > plan->k) {
        plan->k = k_up;
        plan->calmer_since_ms = 0;
    } else if (k_down >= plan->k) {
        plan->calmer_since_ms = 0;
    } else if (hold_is_over(&plan->calmer_since_ms, c->input->now_ms,
                            c->policy->hold_ms)) {
        plan->k = k_down;
        plan->calmer_since_ms = 0;
    }
}

/* As the operator says; the hold time begins when that is over. */
static void
plan_pinned_owners(const struct classification *c, struct plan *plan)
{
    const struct override *o = plan->override;
    const uint32_t count = c->cluster.count;
    plan->calmer_since_ms = 0;
    switch (o->level) {
    case LEVEL_CALM:
        plan->k = 1;
        break;
    case LEVEL_NORMAL:
        plan->k =
            at_most(o->owner_count > 0 ? o->owner_count : OWNERS_NORMAL, count);
        break;
    case LEVEL_HOT:
    case LEVEL_CRITICAL:
        plan->k = count;
        break;
    }
}

/* Shares first: what is critical has all nodes for owners and its hold time
 * is that of its share. */
static void
plans_decide(struct classification *c)
{
    offload(c);
    for (size_t i = 0; i < c->count; i++) {
        struct plan *plan = &c->plans[i];
        plan->k = at_most(plan->k, c->cluster.count);
        if (plan->override != NULL && plan->override->is_pinned)
            plan_pinned_owners(c, plan);
        else if (plan->share > 0)
            plan->k = c->cluster.count;
        else
            plan_owners(c, plan);
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

/* Gives the plans their overrides, and contents that have one a plan. Room for
 * one more each. */
static void
plans_override(struct classification *c)
{
    const struct override *list = c->input->overrides;
    bool is_planned[OVERRIDES_MAX] = {false};
    if (c->input->override_count == 0)
        return;
    for (size_t i = 0; i < c->count; i++) {
        struct plan *plan = &c->plans[i];
        plan->override = override_find(list, c->input->override_count,
                                       OVERRIDE_CONTENT, plan->id);
        if (plan->override != NULL)
            is_planned[plan->override - list] = true;
    }
    for (size_t i = 0; i < c->input->override_count; i++) {
        const struct bytes id = bytes_of_text(list[i].name);
        if (list[i].target == OVERRIDE_CONTENT && !is_planned[i])
            c->plans[c->count++] = (struct plan){
                .id = id,
                .hash = content_hash(id),
                .k = 1,
                .override = &list[i],
            };
    }
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

static bool
is_cdn_forbidden(const struct plan *plan)
{
    return plan->override != NULL && plan->override->is_cdn_forbidden;
}

static bool
is_listed(const struct plan *plan, const struct cluster *cluster)
{
    return plan_level(plan, cluster) != LEVEL_CALM || is_cdn_forbidden(plan);
}

static uint64_t
rate_milli(double rate)
{
    return (uint64_t) (fmin(rate, RATE_MAX) * 1000);
}

/* Greatest demand first, ties in the order of the table. */
static int
row_rate_compare(const void *a_void, const void *b_void)
{
    const struct table_row *a = a_void, *b = b_void;
    if (a->rate_milli != b->rate_milli)
        return a->rate_milli > b->rate_milli ? -1 : 1;
    return table_row_compare(a, b);
}

/*
 * Puts the rows in their order. Of more than a table holds the coldest are
 * left out, as if they were calm, but none that the operator speaks of: those
 * are few. Returns how many are left.
 */
static size_t
rows_finish(const struct classify_input *input, struct table_row *list,
            size_t count)
{
    if (count > TABLE_ROWS_MAX) {
        size_t overridden = 0;
        for (size_t i = 0; i < count; i++) {
            const struct table_row row = list[i];
            if (override_find(input->overrides, input->override_count,
                              OVERRIDE_CONTENT, row.id)
                == NULL)
                continue;
            list[i] = list[overridden];
            list[overridden++] = row;
        }
        qsort(&list[overridden], count - overridden, sizeof *list,
              row_rate_compare);
        count = TABLE_ROWS_MAX;
    }
    qsort(list, count, sizeof *list, table_row_compare);
    return count;
}

static int
rows_from_plans(const struct classification *c, struct table_row **rows,
                size_t *row_count)
{
    size_t found = 0;
    for (size_t i = 0; i < c->count; i++)
        found += is_listed(&c->plans[i], &c->cluster);
    struct table_row *list = calloc(found + 1, sizeof *list);
    if (list == NULL)
        return ERR_MEMORY;
    found = 0;
    for (size_t i = 0; i < c->count; i++) {
        const struct plan *plan = &c->plans[i];
        const enum level level = plan_level(plan, &c->cluster);
        if (!is_listed(plan, &c->cluster))
            continue;
        list[found++] = (struct table_row){
            .id = plan->id,
            .hash = plan->hash,
            .level = level,
            .owner_count = plan->k,
            .cdn_share = plan->share,
            .is_cdn_forbidden = is_cdn_forbidden(plan),
            /* of calm contents the rates may be left out */
            .rate_milli = level != LEVEL_CALM ? rate_milli(plan->rate) : 0,
            .calmer_since_ms = plan->calmer_since_ms,
        };
    }
    *rows = list;
    *row_count = rows_finish(c->input, list, found);
    return 0;
}

/* As it was, but for what the operator says of the CDN by now. */
static struct table_row
row_keep(const struct table_row *before, bool is_forbidden)
{
    struct table_row row = *before;
    row.is_cdn_forbidden = is_forbidden;
    if (is_forbidden && row.level == LEVEL_CRITICAL) {
        row.level = LEVEL_HOT;
        row.cdn_share = 0;
        row.calmer_since_ms = 0;
    }
    return row;
}

/* Rows of contents that are kept from the CDN and have none. Returns how many
 * there are by now. */
static size_t
rows_forbid(const struct classify_input *input, struct table_row *list,
            size_t count)
{
    const struct table previous = {
        .rows = input->previous,
        .row_count = input->previous_count,
    };
    for (size_t i = 0; i < input->override_count; i++) {
        const struct override *o = &input->overrides[i];
        const struct bytes id = bytes_of_text(o->name);
        const uint64_t hash = content_hash(id);
        if (o->target != OVERRIDE_CONTENT || !o->is_cdn_forbidden
            || (previous.row_count > 0
                && table_find(&previous, hash, id) != NULL))
            continue;
        list[count++] = (struct table_row){
            .id = id, .hash = hash, .owner_count = 1, .is_cdn_forbidden = true};
    }
    return count;
}

/* With no node to count on there is nothing to decide by, but what is kept
 * from the CDN stays so: it would be the last resort for all. */
static int
rows_keep(const struct classify_input *input, struct table_row **rows,
          size_t *row_count)
{
    struct table_row *list =
        calloc(input->previous_count + input->override_count + 1, sizeof *list);
    size_t count = 0;
    if (list == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < input->previous_count; i++) {
        const struct table_row *row = &input->previous[i];
        const struct override *o = override_find(
            input->overrides, input->override_count, OVERRIDE_CONTENT, row->id);
        const bool is_forbidden = o != NULL && o->is_cdn_forbidden;
        if (row->level != LEVEL_CALM || is_forbidden)
            list[count++] = row_keep(row, is_forbidden);
    }
    count = rows_forbid(input, list, count);
    *rows = list;
    *row_count = rows_finish(input, list, count);
    return 0;
}

/* What the CDN does not get by an operator's word, in requests/s at most. */
static double
kept_from_cdn(const struct classify_input *input)
{
    double sum = 0;
    for (size_t i = 0; i < input->rate_count && input->override_count > 0; i++)
        if (override_find(input->overrides, input->override_count,
                          OVERRIDE_CONTENT, input->rates[i].id)
            != NULL)
            sum += input->rates[i].rate_surge;
    return sum;
}

void
classify_rates(const struct classify_policy *policy, struct demand *demand,
               struct classify_input *input)
{
    const struct cluster cluster = cluster_of(policy, input);
    struct evening evening;
    evening_begin(&evening, policy, input);
    const double least =
        evening.has_hot ? EVEN_PART * cluster.unit : cluster.unit;
    struct demand_selection selection = {
        /* with no node there is nothing to decide by */
        .surge_min = cluster.unit > 0 ? least : INFINITY,
        .colder_max = policy->has_cdn && policy->rule == CLASSIFY_CAPACITY
                              && cluster.unit > 0
                          ? policy->target * cluster.capacity
                          : INFINITY,
        .rows = input->previous,
        .row_count = input->previous_count,
        .skips_calm = true,
    };
    input->rates = demand_rates_select(demand, &selection, &input->rate_count,
                                       &input->rest);
    const double kept = kept_from_cdn(input);
    if (!(kept > 0))
        return;
    /* colder contents may have to go there instead */
    selection.colder_max = fmax(selection.colder_max - kept, 0);
    input->rates = demand_rates_select(demand, &selection, &input->rate_count,
                                       &input->rest);
}

int
classify(const struct classify_policy *policy,
         const struct classify_input *input, struct table_row **rows,
         size_t *row_count)
{
    struct classification c = {
        .policy = policy,
        .input = input,
        .cluster = cluster_of(policy, input),
    };
    int err = ERR_MEMORY;

    evening_begin(&c.evening, policy, input);
    if (!(c.cluster.unit > 0))
        return rows_keep(input, rows, row_count);
    c.plans = calloc(input->rate_count + input->previous_count
                         + input->override_count + 1,
                     sizeof *c.plans);
    bool *seen = calloc(input->previous_count + 1, sizeof *seen);
    if (c.plans == NULL || seen == NULL)
        goto done;
    c.count = plans_fill(c.plans, input, &c.cluster, seen);
    plans_override(&c);
    plans_decide(&c);
    err = rows_from_plans(&c, rows, row_count);
done:
    free(c.plans);
    free(seen);
    return err;
}
