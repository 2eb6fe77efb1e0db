/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the CDN takes: by capacity, the hottest contents until the rest fits
 * under the target; by thresholds, those above one. An operator may fix the
 * share of a content, forbid the CDN, or give it a budget.
 */

#include "core/classify_private.h"

#include <math.h>

/* A share cut down to the budget leaves this much of it, so that noise in the
 * demand does not cut it again at once. */
#define BUDGET_PART 0.95

/* A share goes down where the rest then stays under this much of the target:
 * what goes to the CDN is paid for, and a share changes no level. */
#define SHARE_DOWN_RATIO 0.99

/* Of a content that is at the CDN only play starts are seen: few, and long
 * apart. While the own servers are not under the lower limit there must have
 * been none for so many hold times before it is taken for one that nobody asks
 * for: or it would come back, be seen, and go there again. */
#define UNSEEN_HOLDS 10

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

/* The operator has said what the CDN gets of it. */
static bool
is_fixed(const struct plan *plan)
{
    return plan->override != NULL
           && (plan->override->is_pinned || plan->override->is_cdn_forbidden);
}

/* ---- the operator's word */

static const struct override *
cdn_override(const struct classification *c)
{
    return override_find(c->input->overrides, c->input->override_count,
                         OVERRIDE_CDN, bytes_of("", 0));
}

static bool
has_cdn(const struct classification *c)
{
    return c->policy->has_cdn
           && !override_forbids_cdn(c->input->overrides,
                                    c->input->override_count);
}

static void
fix_shares(struct classification *c, bool cdn_allowed)
{
    for (size_t i = 0; i < c->count; i++) {
        struct plan *plan = &c->plans[i];
        const bool was_offloaded = plan->share > 0;
        if (is_fixed(plan))
            plan->share = cdn_allowed && plan->override->is_pinned
                                  && plan->override->level == LEVEL_CRITICAL
                                  && !plan->override->is_cdn_forbidden
                              ? TABLE_SHARE_ONE
                              : 0;
        else if (!cdn_allowed)
            plan->share = 0;
        if (was_offloaded && plan->share == 0)
            plan->calmer_since_ms = 0;
    }
}

/* ---- the budget */

/* What the CDN may get at most, in requests/s. */
static double
budget_of(const struct classification *c)
{
    const struct override *o = cdn_override(c);
    double all = c->input->rest, most;
    if (o == NULL || !o->has_budget)
        return INFINITY;
    for (size_t i = 0; i < c->count; i++)
        all += c->plans[i].rate_up;
    most = o->budget_share * all;
    if (o->budget_plays > 0
        && o->budget_plays * c->input->requests_per_play < most)
        most = o->budget_plays * c->input->requests_per_play;
    return most;
}

static double
all_offloaded(const struct classification *c)
{
    double sum = 0;
    for (size_t i = 0; i < c->count; i++)
        sum += offloaded(&c->plans[i], c->plans[i].rate_up);
    return sum;
}

/* Coolest first, at once: it is money. What is left of the budget. */
static double
cut_to_budget(struct classification *c)
{
    const double budget = budget_of(c);
    double sum = all_offloaded(c);
    if (isinf(budget))
        return budget;
    if (sum > budget) {
        for (size_t i = c->count; i-- > 0 && sum > BUDGET_PART * budget;) {
            struct plan *plan = &c->plans[i];
            const double part = offloaded(plan, plan->rate_up);
            if (is_fixed(plan) || part <= 0)
                continue;
            const double stays = part - (sum - BUDGET_PART * budget);
            plan->share =
                stays > 0 ? (uint32_t) (stays / plan->rate_up * TABLE_SHARE_ONE)
                          : 0;
            plan->calmer_since_ms = 0;
            sum += offloaded(plan, plan->rate_up) - part;
        }
    }
    return BUDGET_PART * budget - sum;
}

/* Raises the share to what is wanted, as far as the budget goes; returns the
 * requests/s that go to the CDN by it. */
static double
share_raise(struct plan *plan, uint32_t wanted, double *budget)
{
    const double before = offloaded(plan, plan->rate_up);
    const double most = (before + *budget) / plan->rate_up * TABLE_SHARE_ONE;
    if (most < wanted)
        wanted = most > 0 ? (uint32_t) most : 0;
    if (wanted <= plan->share)
        return 0;
    plan->share = wanted;
    plan->calmer_since_ms = 0;
    const double more = offloaded(plan, plan->rate_up) - before;
    *budget -= more;
    return more;
}

/* ---- by capacity */

/* Hottest first, until the rest fits. */
static void
offload_more(struct classification *c, double limit, double budget)
{
    double own = c->input->rest;
    for (size_t i = 0; i < c->count; i++)
        own +=
            c->plans[i].rate_up - offloaded(&c->plans[i], c->plans[i].rate_up);
    for (size_t i = 0; i < c->count && own > limit; i++) {
        struct plan *plan = &c->plans[i];
        double left = plan->rate_up - offloaded(plan, plan->rate_up);
        if (plan->share == TABLE_SHARE_ONE || left < RATE_FLOOR
            || is_fixed(plan))
            continue;
        uint32_t share = TABLE_SHARE_ONE;
        if (c->policy->cdn_by_share) {
            double wanted = offloaded(plan, plan->rate_up) + own - limit;
            share = share_for(wanted, plan->rate_up);
        }
        own -= share_raise(plan, share, &budget);
    }
}

/* What the CDN takes of it is no more than nothing. */
static bool
is_unseen(const struct plan *plan)
{
    return offloaded(plan, plan->rate) < RATE_FLOOR;
}

/* With it back as a whole the own servers, which carry `own`, are under the
 * lower limit. */
static bool
is_fitting(const struct plan *plan, const struct classify_policy *policy,
           double limit, double own)
{
    return offloaded(plan, plan->rate) <= policy->down_ratio * limit - own;
}

/*
 * The share that would do for the plan when the own servers carry `own`. It
 * comes back as a whole under the lower limit only, so that its level does not
 * flap; by share, what it is critical for need be no more than fits.
 */
static uint32_t
share_with_room(const struct plan *plan, const struct classify_policy *policy,
                double limit, double own)
{
    const double back = offloaded(plan, plan->rate);
    const double room = SHARE_DOWN_RATIO * limit - own;
    if (is_unseen(plan) || is_fitting(plan, policy, limit, own))
        return 0;
    if (!policy->cdn_by_share || room <= 0)
        return plan->share;
    return back > room ? share_for(back - room, plan->rate) : 1;
}

/* Coolest first, while with it back everything fits. */
static void
offload_less(struct classification *c, double limit)
{
    double own = c->input->rest;
    for (size_t i = 0; i < c->count; i++)
        own += c->plans[i].rate - offloaded(&c->plans[i], c->plans[i].rate);
    for (size_t i = c->count; i-- > 0;) {
        struct plan *plan = &c->plans[i];
        if (plan->share == 0 || is_fixed(plan))
            continue;
        uint32_t share = share_with_room(plan, c->policy, limit, own);
        if (share >= plan->share) {
            plan->calmer_since_ms = 0;
            continue;
        }
        const uint32_t holds =
            is_fitting(plan, c->policy, limit, own) || !is_unseen(plan)
                ? 1
                : UNSEEN_HOLDS;
        /* counted as back while it is held, too: the room is given once */
        own += plan->rate * (plan->share - share) / TABLE_SHARE_ONE;
        if (hold_is_over(&plan->calmer_since_ms, c->input->now_ms,
                         holds * c->policy->hold_ms)) {
            plan->share = share;
            /* back as a whole: its owners were held as long as its share */
            if (share > 0)
                plan->calmer_since_ms = 0;
        }
    }
}

/* ---- by thresholds */

static void
offload_by_threshold(struct classification *c, double budget)
{
    const double critical = c->policy->thresholds.critical;
    for (size_t i = 0; i < c->count; i++) {
        struct plan *plan = &c->plans[i];
        if (is_fixed(plan))
            continue;
        if (plan->rate_up >= critical) {
            share_raise(plan, TABLE_SHARE_ONE, &budget);
            plan->calmer_since_ms = 0;
        } else if (plan->share == 0) {
            continue;
        } else if (plan->rate >= critical * c->policy->down_ratio) {
            plan->calmer_since_ms = 0;
        } else if (hold_is_over(&plan->calmer_since_ms, c->input->now_ms,
                                c->policy->hold_ms)) {
            plan->share = 0;
        }
    }
}

bool
hold_is_over(uint64_t *since_ms, uint64_t now_ms, uint32_t hold_ms)
{
    /* a time to come is of another Manager's clock */
    if (*since_ms == 0 || *since_ms > now_ms)
        *since_ms = now_ms;
    return now_ms - *since_ms >= hold_ms;
}

void
offload(struct classification *c)
{
    const double limit = c->policy->target * c->cluster.capacity;
    const bool cdn_allowed = has_cdn(c);
    fix_shares(c, cdn_allowed);
    if (!cdn_allowed)
        return;
    const double budget = cut_to_budget(c);
    if (c->policy->rule == CLASSIFY_THRESHOLDS) {
        offload_by_threshold(c, budget);
    } else {
        offload_more(c, limit, budget);
        offload_less(c, limit);
    }
}
