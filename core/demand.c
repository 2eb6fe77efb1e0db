/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rates out of the windows, and what else is asked of a demand. Its parts:
 *
 *   demand_merge.c      reports come in
 *   demand_contents.c   ids, sums, and a ring while requests lie in the window
 *   demand_rings.c      the rings: what is asked of contents over time
 *   demand_nodes.c      nodes, their boots, and the maxima of each boot
 *   demand_windows.c    counts over time, and the clock of all
 *   demand_index.c      arrays and hash indexes under these
 */

#include "core/content.h"
#include "core/demand_private.h"
#include "core/err.h"

#include <math.h>
#include <stdlib.h>

#define SHORTEST_BUCKETS (WINDOW_BUCKETS / 10)  /* of the surge's windows */
#define UNTOLD_BUCKETS_MAX (WINDOW_BUCKETS / 4) /* one with more is too old */
#define NEWEST_BUCKETS (UNTOLD_BUCKETS_MAX + WINDOW_BUCKETS / 2)
#define RATE_TINY 1e-6   /* requests/s; as good as none */
#define PRIOR_PLAYS 50.0 /* weight of the assumed requests per play */
#define PLAYS_MEMORY 1e5 /* plays after which what was learnt is halved */

const struct demand_policy demand_policy_default = {
    .window_ms = 10000,
    .node_timeout_ms = 3000,
    .requests_per_play = 100,
};

/* The role whose counts of plays are gone by. */
static enum node_role
plays_role(const struct demand *d)
{
    return d->nodes.has_redirector ? NODE_ROLE_REDIRECTOR : NODE_ROLE_ORIGIN;
}

/* What was learnt long ago counts less and less. */
static void
plays_fade(struct demand *d)
{
    if (d->plays_seen[plays_role(d)] <= PLAYS_MEMORY)
        return;
    for (int role = 0; role < ROLE_COUNT; role++)
        d->plays_seen[role] /= 2;
    d->requests_seen /= 2;
}

/* What was asked of one content over the long window. */
struct asked {
    double served, offloaded; /* requests, the latter as plays times theirs */
};

static struct asked
asked_of(const struct demand *d, uint32_t ring, double requests_per_play)
{
    const struct rings *rings = &d->contents.rings;
    return (struct asked){
        .served = rings_total(rings, RING_SERVED, ring),
        .offloaded = rings_total(rings, RING_OFFLOADED + plays_role(d), ring)
                     * requests_per_play,
    };
}

/* Of what was asked in the newest buckets, as rings_newest() gives it: what
 * came between two of them, as n - 2 sigma of requests/s. */
struct newest {
    double requests_per_play;
    double served[NEWEST_BUCKETS + 1], plays[NEWEST_BUCKETS + 1];
};

static double
least_rate(const struct newest *newest, unsigned from, unsigned until,
           double seconds)
{
    const double per_play = newest->requests_per_play;
    double served = newest->served[until] - newest->served[from];
    double plays = newest->plays[until] - newest->plays[from];
    double n = served + plays * per_play;
    double variance = served + plays * per_play * per_play;
    return (n - 2 * sqrt(variance)) / seconds;
}

/*
 * What the demand is at least, by the shorter windows. Those up to now see a
 * great jump early, but miss what the nodes have not reported yet: one that is
 * little above a limit would stay unseen. Those of whole buckets that all nodes
 * have told of miss nothing.
 */
static double
surge_of(const struct demand *d, uint32_t ring, const struct asked *asked,
         double requests_per_play)
{
    static const unsigned windows[] = {SHORTEST_BUCKETS, WINDOW_BUCKETS / 5,
                                       WINDOW_BUCKETS / 2};
    const struct window_clock *clock = &d->clock;
    const uint64_t told = d->nodes.heard_until_ms / clock->bucket_ms;
    const uint64_t untold = clock->bucket - told + 1; /* the newest buckets */
    struct newest newest;
    double greatest = 0;
    /* n - 2 sqrt(n) is above 0 from 5 on: most contents end here */
    if (asked->served + asked->offloaded < 5)
        return 0;
    newest.requests_per_play = requests_per_play;
    rings_newest(&d->contents.rings, RING_SERVED, ring, clock->bucket,
                 NEWEST_BUCKETS, newest.served);
    if (asked->offloaded == 0)
        memset(newest.plays, 0, sizeof newest.plays);
    else
        rings_newest(&d->contents.rings, RING_OFFLOADED + plays_role(d), ring,
                     clock->bucket, NEWEST_BUCKETS, newest.plays);
    for (size_t i = 0; i < sizeof windows / sizeof windows[0]; i++) {
        const unsigned n = windows[i];
        greatest = fmax(
            greatest, least_rate(&newest, 0, n + 1, window_seconds(clock, n)));
        if (untold <= UNTOLD_BUCKETS_MAX)
            greatest = fmax(greatest, least_rate(&newest, (unsigned) untold,
                                                 (unsigned) untold + n,
                                                 n * clock->bucket_ms / 1e3));
    }
    return greatest;
}

static int
rate_compare(const void *a_void, const void *b_void)
{
    const struct demand_rate *a = a_void, *b = b_void;
    if (a->rate_surge != b->rate_surge)
        return a->rate_surge > b->rate_surge ? -1 : 1;
    return bytes_compare(a->id, b->id);
}

struct select { /* what is selected, into contents.rates */
    double requests_per_play;
    double surge_min;
    size_t count;
    /* in the long window: whole numbers, whose sums no order changes */
    uint64_t served, offloaded;
};

/* Takes the ring when its surge is in the range. */
static void
select_ring(struct demand *d, struct select *select, uint32_t ring,
            double surge_from, double surge_until)
{
    const struct rings *rings = &d->contents.rings;
    const enum node_role role = plays_role(d);
    const struct asked asked = asked_of(d, ring, select->requests_per_play);
    const double seconds = window_seconds(&d->clock, WINDOW_BUCKETS);
    const double rate = (asked.served + asked.offloaded) / seconds;
    double surge = surge_of(d, ring, &asked, select->requests_per_play);
    if (surge < rate)
        surge = rate;
    if (rate <= 0 || surge < surge_from || surge >= surge_until)
        return;
    const struct bytes id =
        content_id(content_at(&d->contents, rings->contents[ring]));
    d->contents.rates[select->count++] = (struct demand_rate){
        .id = id,
        .hash = content_hash(id),
        .rate = rate,
        .rate_surge = surge,
        .starts = rings_total(rings, RING_STARTS + role, ring) / seconds,
    };
    select->served += rings_total(rings, RING_SERVED, ring);
    select->offloaded += rings_total(rings, RING_OFFLOADED + role, ring);
}

/* No surge is greater than if all of the long window lay in the shortest. */
static void
select_hot(struct demand *d, struct select *select)
{
    const struct rings *rings = &d->contents.rings;
    const unsigned offloaded = RING_OFFLOADED + plays_role(d);
    const double least =
        ceil(select->surge_min * d->clock.bucket_ms * SHORTEST_BUCKETS / 1000);
    const uint64_t served_least = least < 1e18 ? (uint64_t) least : UINT64_MAX;
    const bool has_offloaded = rings->counts[offloaded].sum > 0;
    select->count = 0;
    select->served = select->offloaded = 0;
    for (uint32_t ring = 0; ring < rings->count; ring++) {
        if (rings_total(rings, RING_SERVED, ring) >= served_least
            || (has_offloaded && rings_total(rings, offloaded, ring) > 0))
            select_ring(d, select, ring, select->surge_min, INFINITY);
    }
}

static void
select_rows(struct demand *d, struct select *select,
            const struct demand_selection *selection)
{
    for (size_t i = 0; i < selection->row_count; i++) {
        const struct table_row *row = &selection->rows[i];
        uint32_t position;
        if ((selection->skips_calm && row->level == LEVEL_CALM)
            || !contents_find(&d->contents, row->id, row->hash, &position)
            || content_at(&d->contents, position)->ring == 0)
            continue;
        select_ring(d, select, content_at(&d->contents, position)->ring - 1, 0,
                    select->surge_min);
    }
}

/* The rate of what is not selected. */
static double
rest_of(const struct demand *d, const struct select *select)
{
    const struct ring_counts *counts = d->contents.rings.counts;
    const uint64_t served = counts[RING_SERVED].sum - select->served;
    const uint64_t offloaded =
        counts[RING_OFFLOADED + plays_role(d)].sum - select->offloaded;
    return ((double) served + (double) offloaded * select->requests_per_play)
           / window_seconds(&d->clock, WINDOW_BUCKETS);
}

struct demand *
demand_new(const struct demand_policy *policy)
{
    struct demand *d = calloc(1, sizeof *d);
    if (d == NULL)
        return NULL;
    d->policy = *policy;
    d->contents.count_max =
        policy->contents_max > 0 && policy->contents_max < CONTENTS_MAX
            ? policy->contents_max
            : CONTENTS_MAX;
    d->clock.bucket_ms = policy->window_ms / WINDOW_BUCKETS;
    if (d->clock.bucket_ms == 0)
        d->clock.bucket_ms = 1;
    return d;
}

void
demand_free(struct demand *d)
{
    if (d == NULL)
        return;
    nodes_fini(&d->nodes);
    contents_fini(&d->contents);
    free(d);
}

void
demand_move(struct demand *d, uint64_t now_ms)
{
    struct window_clock *clock = &d->clock;
    if (now_ms <= clock->now_ms)
        return;
    uint64_t bucket = now_ms / clock->bucket_ms;
    if (bucket != clock->bucket)
        contents_rotate(&d->contents, clock->bucket, bucket);
    nodes_rotate(&d->nodes, clock, now_ms);
    clock->bucket = bucket;
    clock->now_ms = now_ms;
}

void
demand_advance(struct demand *d, uint64_t now_ms)
{
    demand_move(d, now_ms);
    nodes_refresh(&d->nodes, &d->clock, d->policy.node_timeout_ms);
    plays_fade(d);
}

const struct demand_rate *
demand_rates_select(struct demand *d, const struct demand_selection *selection,
                    size_t *count, double *rest)
{
    struct select select = {
        .requests_per_play = demand_requests_per_play(d),
        .surge_min = selection->surge_min,
    };
    select_hot(d, &select);
    while (select.surge_min > 0
           && (rest_of(d, &select) > selection->colder_max
               || select.count < selection->count_min)) {
        select.surge_min =
            select.surge_min > RATE_TINY ? select.surge_min / 4 : 0;
        select_hot(d, &select);
    }
    select_rows(d, &select, selection);
    *rest = rest_of(d, &select);
    if (select.count > 1)
        qsort(d->contents.rates, select.count, sizeof *d->contents.rates,
              rate_compare);
    *count = select.count;
    return d->contents.rates;
}

const struct demand_rate *
demand_rates(struct demand *d, size_t *count)
{
    static const struct demand_selection all = {.colder_max = INFINITY};
    double rest;
    return demand_rates_select(d, &all, count, &rest);
}

const struct demand_node *
demand_nodes(struct demand *d, size_t *count)
{
    *count = d->nodes.view_count;
    return d->nodes.views;
}

double
demand_requests_per_play(const struct demand *d)
{
    double plays = d->plays_seen[plays_role(d)];
    /* requests of plays whose start nobody counts would teach nonsense */
    if (plays <= 0)
        return d->policy.requests_per_play;
    return (d->policy.requests_per_play * PRIOR_PLAYS + d->requests_seen)
           / (PRIOR_PLAYS + plays);
}

int
demand_sums(const struct demand *d, struct bytes id,
            struct counters_values *out)
{
    uint32_t position;
    if (!contents_find(&d->contents, id, content_hash(id), &position))
        return ERR_NOT_FOUND;
    const struct totals *sums = &content_at(&d->contents, position)->sums;
    *out = (struct counters_values){
        .requests = sums->requests,
        .bytes = sums->bytes,
        .starts = sums->starts,
        .offloaded = sums->offloaded,
    };
    return 0;
}

uint64_t
demand_left_out(const struct demand *d)
{
    return d->left_out;
}
