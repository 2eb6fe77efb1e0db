/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/classify.h"
#include "core/content.h"
#include "core/err.h"

enum { NODES = 5, CONTENTS = 6 };

/* A Manager's classification from round to round; contents "a" to "f", nodes
 * of 100 requests/s, so one more owner for each 10 requests/s. */
struct world {
    struct classify_policy policy;
    struct demand_node nodes[NODES + 1];
    size_t node_count;
    double rates[CONTENTS];
    double surges[CONTENTS]; /* where greater than the rate */
    struct table_row *rows;
    size_t row_count;
    uint64_t now_ms;
    struct override overrides[CONTENTS];
    size_t override_count;
};

static void
world_make(struct world *w)
{
    *w = (struct world){.policy = classify_policy_default,
                        .node_count = NODES,
                        .now_ms = 1000000};
    w->policy.has_cdn = true;
    w->policy.spread = 0.10; /* ten requests/s an owner */
    for (size_t i = 0; i <= NODES; i++) {
        w->nodes[i].last.role = NODE_ROLE_ORIGIN;
        w->nodes[i].last.capacity_milli = 100000;
        w->nodes[i].state = NODE_UP;
    }
}

static void
world_end(struct world *w)
{
    free(w->rows);
}

static struct bytes
content_name(size_t i)
{
    static const char names[] = "abcdef";
    return bytes_of(&names[i], 1);
}

static int
rate_compare(const void *a_void, const void *b_void)
{
    const struct demand_rate *a = a_void, *b = b_void;
    if (a->rate_surge != b->rate_surge)
        return a->rate_surge > b->rate_surge ? -1 : 1;
    return a->id.ptr[0] - b->id.ptr[0];
}

static void
step(struct world *w, uint32_t ms)
{
    struct demand_rate rates[CONTENTS];
    struct classify_input input = {
        .rates = rates,
        .nodes = w->nodes,
        .node_count = w->node_count,
        .previous = w->rows,
        .previous_count = w->row_count,
        .overrides = w->overrides,
        .override_count = w->override_count,
        .requests_per_play = 100,
    };
    w->now_ms += ms;
    input.now_ms = w->now_ms;
    for (size_t i = 0; i < CONTENTS; i++) {
        if (w->rates[i] <= 0)
            continue;
        rates[input.rate_count++] = (struct demand_rate){
            .id = content_name(i),
            .hash = content_hash(content_name(i)),
            .rate = w->rates[i],
            .rate_surge =
                w->surges[i] > w->rates[i] ? w->surges[i] : w->rates[i],
        };
    }
    qsort(rates, input.rate_count, sizeof rates[0], rate_compare);
    struct table_row *rows;
    assert_int_equal(classify(&w->policy, &input, &rows, &w->row_count), 0);
    free(w->rows);
    w->rows = rows;
    for (size_t i = 1; i < w->row_count; i++)
        assert_true(rows[i - 1].hash < rows[i].hash);
    for (size_t i = 0; i < w->row_count; i++) {
        assert_int_not_equal(rows[i].level, LEVEL_CALM);
        rows[i].id = content_name((size_t) (rows[i].id.ptr[0] - 'a'));
    }
}

static struct table_row
row(const struct world *w, size_t content)
{
    struct table t = {.rows = w->rows, .row_count = w->row_count};
    struct bytes id = content_name(content);
    const struct table_row *r = table_find(&t, content_hash(id), id);
    return r ? *r : (struct table_row){.level = LEVEL_CALM, .owner_count = 1};
}

static void
owners_follow_demand_up_at_once(void **state)
{
    static const struct {
        double rate, surge;
        uint32_t owner_count;
        enum level level;
    } cases[] = {
        {0, 0, 1, LEVEL_CALM},    {0.5, 0, 1, LEVEL_CALM},
        {10, 0, 1, LEVEL_CALM},   {10.5, 0, 2, LEVEL_NORMAL},
        {20, 0, 2, LEVEL_NORMAL}, {35, 0, 4, LEVEL_NORMAL},
        {41, 0, 5, LEVEL_HOT},    {300, 0, 5, LEVEL_HOT},
        {1, 35, 4, LEVEL_NORMAL}, {1, 9, 1, LEVEL_CALM},
        {15, 300, 5, LEVEL_HOT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct world w;
        world_make(&w);
        w.rates[0] = cases[i].rate;
        w.surges[0] = cases[i].surge;
        step(&w, 250);
        assert_int_equal(row(&w, 0).owner_count, cases[i].owner_count);
        assert_int_equal(row(&w, 0).level, cases[i].level);
        assert_int_equal(row(&w, 0).cdn_share, 0);
        world_end(&w);
    }
}

static void
owners_go_down_after_the_hold_time_below_the_lower_threshold(void **state)
{
    struct world w;
    world_make(&w);
    w.rates[0] = 25;
    step(&w, 250);
    assert_int_equal(row(&w, 0).owner_count, 3);
    /* under 20, but over 0.7 * 20: never */
    w.rates[0] = 15;
    for (int i = 0; i < 100; i++)
        step(&w, 1000);
    assert_int_equal(row(&w, 0).owner_count, 3);
    assert_int_equal(row(&w, 0).calmer_since_ms, 0);
    w.rates[0] = 13;
    step(&w, 1000);
    assert_int_equal(row(&w, 0).calmer_since_ms, w.now_ms);
    step(&w, 29000);
    assert_int_equal(row(&w, 0).owner_count, 3);
    /* back for a moment: the time starts anew */
    w.rates[0] = 15;
    step(&w, 500);
    assert_int_equal(row(&w, 0).calmer_since_ms, 0);
    w.rates[0] = 13;
    step(&w, 500);
    step(&w, 29999);
    assert_int_equal(row(&w, 0).owner_count, 3);
    step(&w, 1);
    assert_int_equal(row(&w, 0).owner_count, 2);
    assert_int_equal(row(&w, 0).calmer_since_ms, 0);
    world_end(&w);
}

static void
a_content_without_requests_returns_to_calm(void **state)
{
    struct world w;
    world_make(&w);
    w.rates[0] = 1000; /* critical */
    w.rates[1] = 30;
    step(&w, 250);
    assert_int_equal(row(&w, 0).level, LEVEL_CRITICAL);
    assert_int_equal(row(&w, 1).level, LEVEL_NORMAL);
    memset(w.rates, 0, sizeof w.rates);
    step(&w, 250);
    assert_int_equal(w.row_count, 2);
    step(&w, 29999);
    assert_int_equal(w.row_count, 2);
    step(&w, 1);
    assert_int_equal(w.row_count, 0);
    world_end(&w);
}

static void
the_cdn_takes_the_hottest_until_the_rest_fits(void **state)
{
    struct world w;
    world_make(&w); /* own servers: 500, target 400 */
    w.rates[0] = 100;
    w.rates[1] = 250;
    w.rates[2] = 40;
    step(&w, 250);
    assert_int_equal(row(&w, 1).level, LEVEL_HOT);
    w.rates[2] = 60;
    step(&w, 250);
    assert_int_equal(row(&w, 1).level, LEVEL_CRITICAL);
    assert_int_equal(row(&w, 1).cdn_share, TABLE_SHARE_ONE);
    assert_int_equal(row(&w, 1).owner_count, NODES);
    assert_int_equal(row(&w, 0).level, LEVEL_HOT);
    /* more still: the next one, too */
    w.rates[0] = 380;
    w.rates[1] = 200;
    step(&w, 250);
    assert_int_equal(row(&w, 0).level, LEVEL_CRITICAL);
    assert_int_equal(row(&w, 1).level, LEVEL_CRITICAL);
    assert_int_equal(row(&w, 2).level, LEVEL_HOT);
    world_end(&w);
}

static void
the_cdn_gives_back_when_all_fits_under_the_lower_limit(void **state)
{
    struct world w;
    world_make(&w); /* in over 400, out under 280 */
    w.rates[0] = 350;
    w.rates[1] = 60;
    step(&w, 250);
    assert_int_equal(row(&w, 0).level, LEVEL_CRITICAL);
    w.rates[0] = 230; /* 290 with it back */
    for (int i = 0; i < 100; i++)
        step(&w, 1000);
    assert_int_equal(row(&w, 0).level, LEVEL_CRITICAL);
    w.rates[0] = 210; /* 270 */
    step(&w, 0);
    step(&w, 29999);
    assert_int_equal(row(&w, 0).level, LEVEL_CRITICAL);
    step(&w, 1);
    assert_int_equal(row(&w, 0).level, LEVEL_HOT);
    assert_int_equal(row(&w, 0).cdn_share, 0);
    world_end(&w);
}

static void
room_is_given_back_once(void **state)
{
    struct world w;
    world_make(&w);
    w.rates[0] = 500;
    w.rates[1] = 500;
    step(&w, 250);
    w.rates[0] = 200;
    w.rates[1] = 150; /* only one fits under 280 */
    step(&w, 250);
    step(&w, 30000);
    assert_int_equal(row(&w, 0).level, LEVEL_CRITICAL);
    assert_int_equal(row(&w, 1).level, LEVEL_HOT);
    world_end(&w);
}

static void
by_share_the_cdn_takes_what_does_not_fit(void **state)
{
    struct world w;
    world_make(&w);
    w.policy.cdn_by_share = true;
    w.rates[0] = 400;
    w.rates[1] = 100; /* 100 too many: a quarter of the hottest */
    step(&w, 250);
    assert_int_equal(row(&w, 0).level, LEVEL_CRITICAL);
    assert_int_equal(row(&w, 0).cdn_share, 2500);
    assert_int_equal(row(&w, 1).level, LEVEL_HOT);
    w.rates[0] = 800; /* 500 too many */
    step(&w, 250);
    assert_int_equal(row(&w, 0).cdn_share, 6250);
    w.rates[1] = 1000; /* more than the hottest: 800 and 1000 */
    step(&w, 250);
    assert_int_equal(row(&w, 1).level, LEVEL_CRITICAL);
    double own = w.rates[0] * (1 - row(&w, 0).cdn_share / 1e4)
                 + w.rates[1] * (1 - row(&w, 1).cdn_share / 1e4);
    assert_true(own <= 400 && own > 399);
    /* and back, step by step, at last wholly */
    w.rates[0] = 100;
    w.rates[1] = 100;
    for (int i = 0; i < 200; i++)
        step(&w, 1000);
    assert_int_equal(row(&w, 0).cdn_share, 0);
    assert_int_equal(row(&w, 1).cdn_share, 0);
    world_end(&w);
}

static void
without_a_cdn_nothing_is_critical(void **state)
{
    struct world w;
    world_make(&w);
    w.rates[0] = 5000;
    step(&w, 250);
    assert_int_equal(row(&w, 0).level, LEVEL_CRITICAL);
    w.policy.has_cdn = false;
    step(&w, 250);
    assert_int_equal(row(&w, 0).level, LEVEL_HOT);
    assert_int_equal(row(&w, 0).cdn_share, 0);
    world_end(&w);
}

static void
only_origins_that_are_up_count(void **state)
{
    struct world w;
    world_make(&w);
    w.rates[0] = 45;
    step(&w, 250);
    assert_int_equal(row(&w, 0).owner_count, 5);
    w.nodes[0].state = NODE_DOWN;
    w.nodes[1].state = NODE_FULL;
    step(&w, 250);
    assert_int_equal(row(&w, 0).owner_count, 3);
    assert_int_equal(row(&w, 0).level, LEVEL_HOT);
    w.node_count = NODES + 1;
    w.nodes[NODES].last.role = NODE_ROLE_REDIRECTOR;
    w.nodes[0].state = NODE_UP;
    step(&w, 250);
    assert_int_equal(row(&w, 0).owner_count, 4);
    /* one node: it owns all, and nothing is out of the ordinary */
    for (size_t i = 1; i < NODES; i++)
        w.nodes[i].state = NODE_DRAINING;
    step(&w, 250);
    assert_int_equal(w.row_count, 0);
    world_end(&w);
}

static void
with_no_node_up_the_rows_stay(void **state)
{
    struct world w;
    world_make(&w);
    w.rates[0] = 45;
    w.rates[1] = 25;
    step(&w, 250);
    for (size_t i = 0; i < NODES; i++)
        w.nodes[i].state = NODE_DOWN;
    memset(w.rates, 0, sizeof w.rates);
    step(&w, 100000);
    assert_int_equal(w.row_count, 2);
    assert_int_equal(row(&w, 0).owner_count, 5);
    assert_int_equal(row(&w, 1).owner_count, 3);
    world_end(&w);
}

static void
a_hold_time_of_another_clock_starts_anew(void **state)
{
    struct world w;
    world_make(&w);
    w.rates[0] = 45;
    step(&w, 250);
    w.rates[0] = 1;
    step(&w, 250);
    w.now_ms -= 100000; /* the next Manager's clock is behind */
    step(&w, 0);
    assert_int_equal(row(&w, 0).calmer_since_ms, w.now_ms);
    step(&w, 30000);
    assert_int_equal(w.row_count, 0);
    world_end(&w);
}

/* ---- by thresholds */

static void
by_thresholds_levels_follow_plain_rates(void **state)
{
    static const struct {
        double rate;
        uint32_t owner_count;
        enum level level;
    } cases[] = {
        {9.9, 1, LEVEL_CALM},    {10, 2, LEVEL_NORMAL},
        {49, 2, LEVEL_NORMAL},   {50, NODES, LEVEL_HOT},
        {199, NODES, LEVEL_HOT}, {200, NODES, LEVEL_CRITICAL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct world w;
        world_make(&w);
        w.policy.rule = CLASSIFY_THRESHOLDS;
        for (size_t n = 0; n < NODES; n++) /* whatever the nodes can do */
            w.nodes[n].last.capacity_milli = n % 2 == 0 ? 1000 : 0;
        w.rates[0] = cases[i].rate;
        step(&w, 250);
        assert_int_equal(row(&w, 0).owner_count, cases[i].owner_count);
        assert_int_equal(row(&w, 0).level, cases[i].level);
        assert_int_equal(row(&w, 0).cdn_share, cases[i].level == LEVEL_CRITICAL
                                                   ? TABLE_SHARE_ONE
                                                   : 0);
        w.policy.has_cdn = false;
        step(&w, 250);
        assert_int_not_equal(row(&w, 0).level, LEVEL_CRITICAL);
        world_end(&w);
    }
}

static void
by_thresholds_levels_fall_one_by_one_after_the_hold_time(void **state)
{
    /* under 0.7 of 200, 50 and 10 */
    static const struct {
        double stays, falls;
        enum level level;
    } cases[] = {
        {141, 139, LEVEL_HOT}, {36, 34, LEVEL_NORMAL}, {8, 6, LEVEL_CALM}};
    enum level before = LEVEL_CRITICAL;
    struct world w;
    world_make(&w);
    w.policy.rule = CLASSIFY_THRESHOLDS;
    w.rates[0] = 1000;
    step(&w, 250);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        w.rates[0] = cases[i].stays;
        for (int n = 0; n < 100; n++)
            step(&w, 1000);
        assert_int_equal(row(&w, 0).level, before);
        w.rates[0] = cases[i].falls;
        step(&w, 1000);
        step(&w, 29999);
        assert_int_equal(row(&w, 0).level, before);
        step(&w, 1);
        before = cases[i].level;
        assert_int_equal(row(&w, 0).level, before);
    }
    world_end(&w);
}

/* ---- the operator's word */

static void
override_content(struct world *w, size_t content, enum level level, uint32_t k)
{
    struct override o = {.target = OVERRIDE_CONTENT,
                         .is_pinned = true,
                         .level = level,
                         .owner_count = k};
    o.name[0] = (char) content_name(content).ptr[0];
    assert_int_equal(override_put(w->overrides, &w->override_count, &o), 0);
}

static void
a_pinned_level_holds_whatever_the_demand(void **state)
{
    static const struct {
        enum level level;
        uint32_t k, owner_count, cdn_share;
    } cases[] = {
        {LEVEL_CALM, 0, 1, 0},
        {LEVEL_NORMAL, 0, 2, 0},
        {LEVEL_NORMAL, 3, 3, 0},
        {LEVEL_HOT, 0, NODES, 0},
        {LEVEL_CRITICAL, 0, NODES, TABLE_SHARE_ONE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int rule = 0; rule < 2; rule++) {
            struct world w;
            world_make(&w);
            w.policy.rule = (enum classify_rule) rule;
            w.rates[1] = 1000; /* critical by itself */
            step(&w, 250);
            /* one without demand, one with too much: at once, both ways */
            override_content(&w, 0, cases[i].level, cases[i].k);
            override_content(&w, 1, cases[i].level, cases[i].k);
            step(&w, 250);
            for (size_t content = 0; content < 2; content++) {
                const struct table_row r = row(&w, content);
                assert_int_equal(r.level, cases[i].level);
                assert_int_equal(r.owner_count, cases[i].owner_count);
                assert_int_equal(r.cdn_share, cases[i].cdn_share);
            }
            /* when it is over, up at once, down after the hold time */
            w.override_count = 0;
            step(&w, 250);
            assert_int_equal(row(&w, 1).level, LEVEL_CRITICAL);
            assert_int_equal(row(&w, 0).level, cases[i].level);
            step(&w, 30000);
            assert_int_equal(row(&w, 0).level, LEVEL_CALM);
            world_end(&w);
        }
    }
}

static void
the_hold_time_begins_when_a_pin_is_over(void **state)
{
    struct world w;
    world_make(&w);
    w.rates[0] = 25;
    step(&w, 250);
    w.rates[0] = 1; /* it begins to be held */
    step(&w, 250);
    override_content(&w, 0, LEVEL_HOT, 0);
    step(&w, 60000);
    w.override_count = 0;
    step(&w, 250);
    step(&w, 29999);
    assert_int_equal(row(&w, 0).level, LEVEL_HOT);
    step(&w, 1);
    assert_int_equal(row(&w, 0).level, LEVEL_CALM);
    world_end(&w);
}

static void
a_content_kept_from_the_cdn_leaves_it_at_once(void **state)
{
    struct world w;
    world_make(&w); /* own servers: 500, target 400 */
    w.rates[0] = 350;
    w.rates[1] = 300;
    step(&w, 250);
    assert_int_equal(row(&w, 0).level, LEVEL_CRITICAL);
    assert_int_equal(row(&w, 1).level, LEVEL_HOT);
    struct override o = {
        .target = OVERRIDE_CONTENT, .name = "a", .is_cdn_forbidden = true};
    assert_int_equal(override_put(w.overrides, &w.override_count, &o), 0);
    step(&w, 250);
    assert_int_equal(row(&w, 0).level, LEVEL_HOT);
    /* the next hottest goes instead */
    assert_int_equal(row(&w, 1).level, LEVEL_CRITICAL);
    o = (struct override){.target = OVERRIDE_CDN, .is_cdn_forbidden = true};
    assert_int_equal(override_put(w.overrides, &w.override_count, &o), 0);
    step(&w, 250);
    assert_int_equal(row(&w, 1).level, LEVEL_HOT);
    world_end(&w);
}

/* Requests/s that the CDN gets. */
static double
offloaded(const struct world *w)
{
    double sum = 0;
    for (size_t i = 0; i < CONTENTS; i++)
        sum += w->rates[i] * row(w, i).cdn_share / TABLE_SHARE_ONE;
    return sum;
}

static void
the_cdn_gets_no_more_than_its_budget(void **state)
{
    static const struct {
        double share, plays, most;
    } cases[] = {{0.2, 0, 200}, {1, 1.5, 150}, {0.1, 1.5, 100}, {0, 0, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int by = 0; by < 4; by++) {
            struct world w;
            world_make(&w);
            w.policy.cdn_by_share = by % 2 == 1;
            w.policy.rule = by < 2 ? CLASSIFY_CAPACITY : CLASSIFY_THRESHOLDS;
            w.rates[0] = 400;
            w.rates[1] = 350;
            w.rates[2] = 250;
            step(&w, 250);
            assert_true(offloaded(&w) > 400);
            const struct override o = {.target = OVERRIDE_CDN,
                                       .has_budget = true,
                                       .budget_share = cases[i].share,
                                       .budget_plays = cases[i].plays};
            assert_int_equal(override_put(w.overrides, &w.override_count, &o),
                             0);
            for (int n = 0; n < 3; n++) {
                step(&w, 250);
                assert_true(offloaded(&w) <= cases[i].most);
                assert_true(offloaded(&w) >= 0.94 * cases[i].most);
            }
            /* the hottest first */
            if (cases[i].most > 0)
                assert_true(row(&w, 0).cdn_share > 0);
            assert_int_equal(row(&w, 2).cdn_share, 0);
            /* noise changes no share */
            const uint32_t before = row(&w, 0).cdn_share;
            w.rates[0] = 405;
            step(&w, 250);
            assert_int_equal(row(&w, 0).cdn_share, before);
            world_end(&w);
        }
    }
}

static double
random_unit(uint64_t *state)
{
    uint64_t x = *state += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return ((double) ((x ^ x >> 31) >> 11) + 0.5) / 9007199254740992.0;
}

static unsigned
poisson(uint64_t *state, double mean)
{
    double p = random_unit(state), limit = exp(-mean);
    unsigned n = 0;
    for (; p > limit; n++)
        p *= random_unit(state);
    return n;
}

/* One node's requests into a real demand, classified every 500 ms. */
struct load {
    struct demand *demand;
    struct report_header header;
    uint64_t requests[CONTENTS];
    uint64_t random;
    unsigned left_out; /* how often rates were */
};

static void
rows_are_equal(const struct table_row *a, size_t a_count,
               const struct table_row *b, size_t b_count)
{
    assert_int_equal(a_count, b_count);
    for (size_t i = 0; i < a_count; i++) {
        assert_true(bytes_equal(a[i].id, b[i].id));
        assert_int_equal(a[i].level, b[i].level);
        assert_int_equal(a[i].owner_count, b[i].owner_count);
        assert_int_equal(a[i].cdn_share, b[i].cdn_share);
        assert_int_equal(a[i].rate_milli, b[i].rate_milli);
        assert_int_equal(a[i].calmer_since_ms, b[i].calmer_since_ms);
    }
}

/* By all rates, and that it makes no difference to leave out what may be. */
static void
load_classify(struct load *load, struct world *w, struct classify_input *input)
{
    struct table_row *rows, *selected;
    size_t count;
    classify_rates(&w->policy, load->demand, input);
    load->left_out += input->rest > 0;
    assert_int_equal(classify(&w->policy, input, &selected, &count), 0);
    input->rates = demand_rates(load->demand, &input->rate_count);
    input->rest = 0;
    assert_int_equal(classify(&w->policy, input, &rows, &w->row_count), 0);
    rows_are_equal(rows, w->row_count, selected, count);
    free(selected);
    /* ids point into the rates: their text lives as long as the demand */
    free(w->rows);
    w->rows = rows;
}

static void
load_step(struct load *load, struct world *w, const double *means)
{
    struct demand_merge_result result;
    struct buffer b;
    w->now_ms += 500;
    load->header.sequence++;
    buffer_init(&b, REPORT_SIZE_MAX);
    report_begin(&b, &load->header);
    for (size_t i = 0; i < CONTENTS; i++) {
        load->requests[i] += poisson(&load->random, means[i] / 2);
        struct report_entry e = {content_name(i),
                                 {.requests = load->requests[i]}};
        report_add(&b, &e);
    }
    assert_int_equal(report_finish(&b), 0);
    assert_int_equal(
        demand_merge(load->demand, buffer_bytes(&b), w->now_ms, &result), 0);
    buffer_fini(&b);
    demand_advance(load->demand, w->now_ms);
    struct classify_input input = {
        .nodes = w->nodes,
        .node_count = w->node_count,
        .previous = w->rows,
        .previous_count = w->row_count,
        .now_ms = w->now_ms,
        .overrides = w->overrides,
        .override_count = w->override_count,
    };
    load_classify(load, w, &input);
}

static struct load
load_make(void)
{
    return (struct load){
        .demand = demand_new(&demand_policy_default),
        .header = {.node = BYTES_LITERAL("o1"),
                   .url = BYTES_LITERAL("http://o1"),
                   .weight = 1,
                   .boot = 1},
        .random = 99,
    };
}

/* What the CDN gets is little more than the least that keeps the own servers
 * under their target, also after a peak. */
static void
by_share_the_cdn_gets_hardly_more_than_the_least(void **state)
{
    uint64_t random = 5;
    for (int round = 0; round < 200; round++) {
        struct world w;
        double all = 0;
        world_make(&w);
        w.policy.cdn_by_share = true;
        for (size_t i = 0; i < CONTENTS; i++)
            all += w.rates[i] = exp(6 * random_unit(&random));
        /* 1.1 to 3 times the target, after up to twice that */
        const double level = 400 * (1.1 + 1.9 * random_unit(&random)) / all;
        const double peak = 1 + random_unit(&random);
        for (size_t i = 0; i < CONTENTS; i++)
            w.rates[i] *= level * peak;
        step(&w, 250);
        for (size_t i = 0; i < CONTENTS; i++)
            w.rates[i] /= peak;
        for (int n = 0; n < 4 * 32 * CONTENTS; n++)
            step(&w, 250);
        const double least = all * level - 400;
        assert_true(offloaded(&w) >= least);
        if (offloaded(&w) > 1.10 * least)
            fail_msg("round %d: %.1f where %.1f would do", round, offloaded(&w),
                     least);
        world_end(&w);
    }
}

static void
steady_demand_with_noise_does_not_flap(void **state)
{
    /* on both sides of thresholds, and under one */
    static const double means[CONTENTS] = {9, 10.5, 19.5, 30, 60, 2};
    struct world w;
    struct load load = load_make();
    uint32_t k[CONTENTS] = {0};
    enum level levels[CONTENTS] = {0};
    unsigned downs[CONTENTS] = {0}, changes[CONTENTS] = {0};
    world_make(&w);
    for (int i = 0; i < 7200; i++) { /* an hour */
        load_step(&load, &w, means);
        for (size_t c = 0; c < CONTENTS; c++) {
            struct table_row r = row(&w, c);
            if (i > 0) {
                downs[c] += r.owner_count < k[c];
                changes[c] += r.owner_count != k[c] || r.level != levels[c];
            }
            k[c] = r.owner_count;
            levels[c] = r.level;
        }
    }
    for (size_t c = 0; c < CONTENTS; c++) {
        printf("mean %.1f: %u changes, %u down in an hour, k %u\n", means[c],
               changes[c], downs[c], k[c]);
        assert_true(downs[c] <= 2);
        assert_true(changes[c] <= 8);
        assert_true(k[c] >= fmin(ceil(means[c] / 10), NODES));
        assert_true(k[c] <= ceil(means[c] / 10) + 2);
    }
    demand_free(load.demand);
    world_end(&w);
}

static void
levels_rise_within_two_seconds_and_fall_when_the_demand_is_gone(void **state)
{
    double means[CONTENTS] = {1, 1, 1, 1, 1, 1};
    struct world w;
    struct load load = load_make();
    world_make(&w);
    for (int i = 0; i < 60; i++)
        load_step(&load, &w, means);
    assert_int_equal(w.row_count, 0);
    static const struct {
        double mean;
        enum level level;
    } steps[] = {{40, LEVEL_NORMAL}, {150, LEVEL_HOT}, {800, LEVEL_CRITICAL}};
    for (size_t s = 0; s < 3; s++) {
        means[2] = steps[s].mean;
        int i = 0;
        while (row(&w, 2).level != steps[s].level && i < 100) {
            load_step(&load, &w, means);
            i++;
        }
        printf("%s after %.1f s\n", level_name(steps[s].level), i * 0.5);
        assert_true(i <= 4);
        assert_int_equal(w.row_count, 1);
        for (i = 0; i < 20; i++)
            load_step(&load, &w, means);
    }
    means[2] = 1;
    int i = 0;
    while (w.row_count > 0 && i < 1000) {
        load_step(&load, &w, means);
        i++;
    }
    printf("calm after %.1f s\n", i * 0.5);
    assert_true(i * 0.5 <= 45);
    demand_free(load.demand);
    world_end(&w);
}

static void
what_cannot_matter_may_be_left_out(void **state)
{
    static const struct override kept = {.target = OVERRIDE_CONTENT,
                                         .name = "a",
                                         .until_ms = UINT64_MAX,
                                         .is_cdn_forbidden = true};
    for (unsigned i = 0; i < 16; i++) {
        struct world w;
        struct load load = load_make();
        double means[CONTENTS] = {0};
        world_make(&w);
        w.policy.has_cdn = i % 2;
        w.policy.cdn_by_share = i & 2;
        w.policy.hold_ms = 2000;
        /* with a node's worth alone, most of the demand is of calm contents */
        w.policy.spread = i & 4 ? 1 : 0.1;
        /* and where it is not the CDN's, colder ones must go there */
        w.policy.target = i & 8 ? 0.2 : 0.8;
        w.override_count = i & 8 ? 1 : 0;
        w.overrides[0] = kept;
        for (unsigned j = 0; j < 1000; j++) {
            if (j % 20 == 0)
                means[(j / 20) % CONTENTS] =
                    200 * pow(random_unit(&load.random), 3);
            load_step(&load, &w, means);
        }
        assert_true(load.left_out > 300);
        demand_free(load.demand);
        world_end(&w);
    }
}

static void
equal_input_gives_equal_rows_and_is_left_alone(void **state)
{
    struct demand_rate rates[3] = {
        {.id = BYTES_LITERAL("c"), .rate = 300, .rate_surge = 900},
        {.id = BYTES_LITERAL("a"), .rate = 200, .rate_surge = 200},
        {.id = BYTES_LITERAL("b"), .rate = 15, .rate_surge = 15},
    };
    struct demand_rate rates_before[3];
    struct demand_node nodes[2] = {
        {.last = {.capacity_milli = 100000}},
        {.last = {.capacity_milli = 300000}},
    };
    struct table_row previous[1] = {{.id = BYTES_LITERAL("z"),
                                     .level = LEVEL_HOT,
                                     .owner_count = 2,
                                     .calmer_since_ms = 5}};
    struct classify_policy policy = classify_policy_default;
    struct table_row *a, *b;
    size_t count_a, count_b;
    policy.has_cdn = true;
    for (size_t i = 0; i < 3; i++)
        rates[i].hash = content_hash(rates[i].id);
    previous[0].hash = content_hash(previous[0].id);
    memcpy(rates_before, rates, sizeof rates);
    const struct classify_input input = {.rates = rates,
                                         .rate_count = 3,
                                         .nodes = nodes,
                                         .node_count = 2,
                                         .previous = previous,
                                         .previous_count = 1,
                                         .now_ms = 1000};
    assert_int_equal(classify(&policy, &input, &a, &count_a), 0);
    assert_int_equal(classify(&policy, &input, &b, &count_b), 0);
    assert_int_equal(count_a, count_b);
    assert_memory_equal(a, b, count_a * sizeof *a);
    assert_memory_equal(rates, rates_before, sizeof rates);
    assert_int_equal(previous[0].owner_count, 2);
    free(a);
    free(b);
}

static void
more_rows_than_a_table_holds_are_refused(void **state)
{
    size_t count = TABLE_ROWS_MAX + 1;
    struct demand_rate *rates = calloc(count, sizeof *rates);
    char(*ids)[12] = calloc(count, sizeof *ids);
    struct demand_node nodes[2] = {{.last = {.capacity_milli = 1000}},
                                   {.last = {.capacity_milli = 1000}}};
    struct table_row *rows;
    size_t row_count;
    for (size_t i = 0; i < count; i++) {
        snprintf(ids[i], sizeof ids[i], "c%zu", i);
        rates[i] = (struct demand_rate){
            .id = bytes_of_text(ids[i]), .rate = 5, .rate_surge = 5};
        rates[i].hash = content_hash(rates[i].id);
    }
    struct classify_input input = {.rates = rates,
                                   .rate_count = count,
                                   .nodes = nodes,
                                   .node_count = 2,
                                   .now_ms = 1};
    assert_int_equal(
        classify(&classify_policy_default, &input, &rows, &row_count),
        ERR_LIMIT);
    input.rate_count--;
    assert_int_equal(
        classify(&classify_policy_default, &input, &rows, &row_count), 0);
    assert_int_equal(row_count, TABLE_ROWS_MAX);
    free(rows);
    free(rates);
    free(ids);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(owners_follow_demand_up_at_once),
        cmocka_unit_test(
            owners_go_down_after_the_hold_time_below_the_lower_threshold),
        cmocka_unit_test(a_content_without_requests_returns_to_calm),
        cmocka_unit_test(the_cdn_takes_the_hottest_until_the_rest_fits),
        cmocka_unit_test(
            the_cdn_gives_back_when_all_fits_under_the_lower_limit),
        cmocka_unit_test(room_is_given_back_once),
        cmocka_unit_test(by_share_the_cdn_takes_what_does_not_fit),
        cmocka_unit_test(without_a_cdn_nothing_is_critical),
        cmocka_unit_test(only_origins_that_are_up_count),
        cmocka_unit_test(with_no_node_up_the_rows_stay),
        cmocka_unit_test(a_hold_time_of_another_clock_starts_anew),
        cmocka_unit_test(by_thresholds_levels_follow_plain_rates),
        cmocka_unit_test(
            by_thresholds_levels_fall_one_by_one_after_the_hold_time),
        cmocka_unit_test(a_pinned_level_holds_whatever_the_demand),
        cmocka_unit_test(the_hold_time_begins_when_a_pin_is_over),
        cmocka_unit_test(a_content_kept_from_the_cdn_leaves_it_at_once),
        cmocka_unit_test(the_cdn_gets_no_more_than_its_budget),
        cmocka_unit_test(by_share_the_cdn_gets_hardly_more_than_the_least),
        cmocka_unit_test(steady_demand_with_noise_does_not_flap),
        cmocka_unit_test(
            levels_rise_within_two_seconds_and_fall_when_the_demand_is_gone),
        cmocka_unit_test(what_cannot_matter_may_be_left_out),
        cmocka_unit_test(equal_input_gives_equal_rows_and_is_left_alone),
        cmocka_unit_test(more_rows_than_a_table_holds_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
