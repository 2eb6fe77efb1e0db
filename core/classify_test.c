/* SPDX-License-Identifier: Apache-2.0 */
/* The rules, one by one, on demand as exact as the test says. */

#include "core/classify_world.h"

#include "core/err.h"

#include <stdio.h>

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
a_rate_beyond_reason_is_told_as_a_great_one(void **state)
{
    struct world w;
    world_make(&w);
    w.policy.has_cdn = false;
    w.rates[0] = 1e30;
    step(&w, 250);
    assert_int_equal(row(&w, 0).level, LEVEL_HOT);
    assert_int_equal(row(&w, 0).rate_milli, 1000000000000000);
    world_end(&w);
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

/* At the CDN it is seen by its starts alone: some come a minute apart. */
static void
a_content_at_the_cdn_may_go_unseen_for_a_while(void **state)
{
    struct world w;
    world_make(&w);
    w.policy.cdn_by_share = true;
    w.rates[0] = 460;
    w.rates[1] = 400; /* as much as fits */
    step(&w, 250);
    assert_int_equal(row(&w, 0).level, LEVEL_CRITICAL);
    w.rates[0] = 0;
    for (int i = 0; i < 290; i++)
        step(&w, 1000);
    assert_int_equal(row(&w, 0).level, LEVEL_CRITICAL);
    w.rates[0] = 20; /* as its next plays show */
    step(&w, 1000);
    w.rates[0] = 0;
    for (int i = 0; i < 300; i++)
        step(&w, 1000);
    assert_int_equal(row(&w, 0).level, LEVEL_CRITICAL);
    step(&w, 1000);
    assert_int_equal(row(&w, 0).cdn_share, 0);
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

static void
with_no_node_up_the_operators_word_on_the_cdn_holds(void **state)
{
    struct world w;
    world_make(&w); /* own servers: 500, target 400 */
    w.rates[0] = 450;
    w.rates[1] = 25;
    step(&w, 250);
    assert_int_equal(row(&w, 0).level, LEVEL_CRITICAL);
    for (size_t i = 0; i < NODES; i++)
        w.nodes[i].state = i % 2 == 0 ? NODE_DOWN : NODE_DRAINING;
    /* one that is critical, a normal one, and one without a row */
    for (size_t i = 0; i < 3; i++) {
        struct override o = {.target = OVERRIDE_CONTENT,
                             .is_cdn_forbidden = true};
        o.name[0] = (char) content_name(i).ptr[0];
        assert_int_equal(override_put(w.overrides, &w.override_count, &o), 0);
    }
    for (int n = 0; n < 2; n++) {
        step(&w, 250);
        assert_int_equal(w.row_count, 3);
        for (size_t i = 0; i < 3; i++) {
            assert_true(row(&w, i).is_cdn_forbidden);
            assert_int_equal(row(&w, i).cdn_share, 0);
        }
        assert_int_equal(row(&w, 0).level, LEVEL_HOT);
        assert_int_equal(row(&w, 0).owner_count, NODES);
        assert_int_equal(row(&w, 1).level, LEVEL_NORMAL);
        assert_int_equal(row(&w, 2).level, LEVEL_CALM);
        assert_int_equal(row(&w, 2).owner_count, 1);
    }
    /* when it is over, only what is not calm stays */
    w.override_count = 0;
    step(&w, 250);
    assert_int_equal(w.row_count, 2);
    assert_false(row(&w, 0).is_cdn_forbidden);
    assert_int_equal(row(&w, 0).level, LEVEL_HOT);
    assert_false(row(&w, 1).is_cdn_forbidden);
    world_end(&w);
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

/* As the nodes would read it. */
static void
assert_encodes(const struct table_row *rows, size_t count)
{
    const struct table table = {
        .version = {1, 1}, .rows = rows, .row_count = count};
    struct table_snapshot *snapshot;
    struct buffer encoded;
    buffer_init(&encoded, TABLE_SIZE_MAX);
    assert_int_equal(table_encode(&table, &encoded), 0);
    assert_int_equal(table_decode(buffer_bytes(&encoded), &snapshot), 0);
    assert_int_equal(snapshot->table.row_count, count);
    table_free(snapshot);
    buffer_fini(&encoded);
}

static const struct table_row *
row_of(const struct table_row *rows, size_t count, const char *name)
{
    const struct table table = {.rows = rows, .row_count = count};
    const struct bytes id = bytes_of_text(name);
    return table_find(&table, content_hash(id), id);
}

static void
of_more_rows_than_a_table_holds_the_coldest_are_left_out(void **state)
{
    enum { MORE = 5, SPOKEN_OF = 3 };
    const size_t count = TABLE_ROWS_MAX + MORE;
    struct demand_rate *rates = calloc(count, sizeof *rates);
    char(*ids)[12] = calloc(count, sizeof *ids);
    struct demand_node nodes[2] = {{.last = {.capacity_milli = 1000}},
                                   {.last = {.capacity_milli = 1000}}};
    struct override overrides[SPOKEN_OF] = {
        {.name = "kept", .is_cdn_forbidden = true},
        {.name = "pinned", .is_pinned = true, .level = LEVEL_HOT},
        {.is_pinned = true, .level = LEVEL_HOT}, /* the coldest */
    };
    struct table_row *rows, *kept;
    size_t row_count;
    for (size_t i = 0; i < count; i++) {
        const double rate = 5 + (double) (count - i);
        snprintf(ids[i], sizeof ids[i], "c%zu", i);
        rates[i] = (struct demand_rate){
            .id = bytes_of_text(ids[i]), .rate = rate, .rate_surge = rate};
        rates[i].hash = content_hash(rates[i].id);
    }
    struct override list[SPOKEN_OF], longer[SPOKEN_OF + 1];
    struct classify_input input = {.rates = rates,
                                   .rate_count = count,
                                   .nodes = nodes,
                                   .node_count = 2,
                                   .overrides = list,
                                   .now_ms = 1};
    memcpy(overrides[2].name, ids[count - 1], sizeof ids[count - 1]);
    for (size_t i = 0; i < SPOKEN_OF; i++)
        assert_int_equal(
            override_put(list, &input.override_count, &overrides[i]), 0);
    assert_int_equal(
        classify(&classify_policy_default, &input, &rows, &row_count), 0);
    assert_int_equal(row_count, TABLE_ROWS_MAX);
    assert_encodes(rows, row_count);
    for (size_t i = 0; i < count - 1; i++)
        assert_true((row_of(rows, row_count, ids[i]) != NULL)
                    == (i < TABLE_ROWS_MAX - SPOKEN_OF));
    for (size_t i = 0; i < SPOKEN_OF; i++)
        assert_non_null(row_of(rows, row_count, overrides[i].name));
    /* as well when there is no node to count on, and another one is kept */
    nodes[0].state = nodes[1].state = NODE_DOWN;
    memcpy(longer, list, sizeof list);
    input.overrides = longer;
    memcpy(overrides[0].name, "more", sizeof "more");
    assert_int_equal(override_put(longer, &input.override_count, &overrides[0]),
                     0);
    input.previous = rows;
    input.previous_count = row_count;
    assert_int_equal(
        classify(&classify_policy_default, &input, &kept, &row_count), 0);
    assert_int_equal(row_count, TABLE_ROWS_MAX);
    assert_non_null(row_of(kept, row_count, "more"));
    assert_null(row_of(kept, row_count, ids[TABLE_ROWS_MAX - SPOKEN_OF - 1]));
    free(kept);
    free(rows);
    free(rates);
    free(ids);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(owners_follow_demand_up_at_once),
        cmocka_unit_test(a_rate_beyond_reason_is_told_as_a_great_one),
        cmocka_unit_test(
            owners_go_down_after_the_hold_time_below_the_lower_threshold),
        cmocka_unit_test(a_content_without_requests_returns_to_calm),
        cmocka_unit_test(the_cdn_takes_the_hottest_until_the_rest_fits),
        cmocka_unit_test(
            the_cdn_gives_back_when_all_fits_under_the_lower_limit),
        cmocka_unit_test(room_is_given_back_once),
        cmocka_unit_test(by_share_the_cdn_takes_what_does_not_fit),
        cmocka_unit_test(a_content_at_the_cdn_may_go_unseen_for_a_while),
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
        cmocka_unit_test(with_no_node_up_the_operators_word_on_the_cdn_holds),
        cmocka_unit_test(the_cdn_gets_no_more_than_its_budget),
        cmocka_unit_test(equal_input_gives_equal_rows_and_is_left_alone),
        cmocka_unit_test(
            of_more_rows_than_a_table_holds_the_coldest_are_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
