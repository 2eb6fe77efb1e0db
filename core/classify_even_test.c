/* SPDX-License-Identifier: Apache-2.0 */
/* What contents of nodes that are more loaded than the others become. */

#include "core/classify_world.h"

#include <stdio.h>

/* Of five nodes with 100 requests/s each, ten requests/s of a content need a
 * second owner; at a hot node 2.5 do. */
static void
loads_set(struct world *w, double all)
{
    for (size_t i = 0; i < NODES; i++)
        w->nodes[i].steady = w->nodes[i].steady_least = all;
}

static void
load_set(struct world *w, size_t node, double rate)
{
    w->nodes[node].steady = w->nodes[node].steady_least = rate;
}

/* The node where it is calm, or of its owners the one in that place. */
static size_t
owner_of(const struct world *w, size_t content, size_t place)
{
    struct placement_node nodes[NODES];
    uint16_t owners[NODES];
    for (size_t i = 0; i < NODES; i++)
        nodes[i] = (struct placement_node){
            .hash = placement_node_hash(w->nodes[i].last.node),
            .weight = w->nodes[i].last.weight,
        };
    placement_owners(nodes, NODES, content_hash(content_name(content)), NODES,
                     owners);
    return owners[place];
}

static void
at_a_hot_node_contents_get_another_owner(void **state)
{
    struct world w;
    unsigned elsewhere = 0;
    world_make(&w);
    loads_set(&w, 70);
    for (size_t i = 0; i < CONTENTS; i++)
        w.rates[i] = 3;
    step(&w, 250);
    assert_int_equal(w.row_count, 0);
    load_set(&w, owner_of(&w, 0, 0), 76); /* of 71.2 */
    w.rates[1] = 2;                       /* too few plays to be worth a copy */
    step(&w, 250);
    for (size_t i = 0; i < CONTENTS; i++) {
        const bool is_hot = owner_of(&w, i, 0) == owner_of(&w, 0, 0) && i != 1;
        assert_int_equal(row(&w, i).owner_count, is_hot ? 2 : 1);
        elsewhere += !is_hot;
    }
    assert_true(elsewhere > 1);
    world_end(&w);
}

static void
one_whose_owners_are_all_hot_gets_one_more(void **state)
{
    struct world w;
    world_make(&w);
    loads_set(&w, 60);
    load_set(&w, owner_of(&w, 0, 0), 80);
    load_set(&w, owner_of(&w, 0, 1), 80);
    w.rates[0] = 5;
    step(&w, 250);
    assert_int_equal(row(&w, 0).owner_count, 2);
    step(&w, 250);
    step(&w, 250);
    assert_int_equal(row(&w, 0).owner_count, 3);
    world_end(&w);
}

static void
it_keeps_them_until_one_of_its_owners_is_cool(void **state)
{
    struct world w;
    world_make(&w);
    loads_set(&w, 70);
    const size_t home = owner_of(&w, 0, 0);
    load_set(&w, home, 76);
    w.rates[0] = 3;
    step(&w, 250);
    load_set(&w, home, 66); /* 0.95 of the mean */
    for (int i = 0; i < 100; i++)
        step(&w, 1000);
    assert_int_equal(row(&w, 0).owner_count, 2);
    load_set(&w, home, 60);
    step(&w, 250);
    step(&w, 29999);
    assert_int_equal(row(&w, 0).owner_count, 2);
    step(&w, 1);
    assert_int_equal(w.row_count, 0);
    world_end(&w);
}

static void
it_loses_them_with_its_demand(void **state)
{
    struct world w;
    world_make(&w);
    loads_set(&w, 70);
    load_set(&w, owner_of(&w, 0, 0), 76);
    w.rates[0] = 3;
    step(&w, 250);
    w.rates[0] = 1.8; /* above 0.70 of what it got them by */
    for (int i = 0; i < 100; i++)
        step(&w, 1000);
    assert_int_equal(row(&w, 0).owner_count, 2);
    w.rates[0] = 1.7;
    step(&w, 250);
    step(&w, 30000);
    assert_int_equal(w.row_count, 0);
    world_end(&w);
}

static void
what_is_no_more_than_chance_makes_no_node_hot(void **state)
{
    struct world w;
    world_make(&w);
    loads_set(&w, 70);
    w.nodes[owner_of(&w, 0, 0)].steady = 90;
    w.nodes[owner_of(&w, 0, 0)].steady_least = 75;
    w.rates[0] = 9;
    step(&w, 250);
    assert_int_equal(w.row_count, 0);
    world_end(&w);
}

static void
nodes_with_little_to_do_are_left_alone(void **state)
{
    struct world w;
    world_make(&w);
    loads_set(&w, 10);
    load_set(&w, owner_of(&w, 0, 0), 50);
    w.rates[0] = 9;
    step(&w, 250);
    assert_int_equal(w.row_count, 0);
    world_end(&w);
}

/* Twice the capacity and weight, and twice the load: as hot as the others. */
static void
a_node_is_hot_for_its_capacity(void **state)
{
    struct world w;
    world_make(&w);
    loads_set(&w, 70);
    const size_t home = owner_of(&w, 0, 0);
    w.nodes[home].last.weight *= 2;
    w.nodes[home].last.capacity_milli *= 2;
    assert_int_equal(owner_of(&w, 0, 0), home);
    load_set(&w, home, 140);
    w.rates[0] = 9;
    step(&w, 250);
    assert_int_equal(w.row_count, 0);
    load_set(&w, home, 160);
    step(&w, 250);
    assert_int_equal(row(&w, 0).owner_count, 2);
    world_end(&w);
}

static void
by_thresholds_nothing_is_evened(void **state)
{
    struct world w;
    world_make(&w);
    w.policy.rule = CLASSIFY_THRESHOLDS;
    loads_set(&w, 60);
    load_set(&w, owner_of(&w, 0, 0), 90);
    w.rates[0] = 9;
    step(&w, 250);
    assert_int_equal(w.row_count, 0);
    world_end(&w);
}

/* Measured by reports: two of the five nodes are heard. */
static void
contents_of_a_hot_node_are_among_the_rates_that_matter(void **state)
{
    struct world w;
    struct demand *d = demand_new(&demand_policy_default);
    struct demand_merge_result result;
    world_make(&w);
    const size_t home = owner_of(&w, 0, 0);
    for (uint64_t at_ms = 0; at_ms <= 132000; at_ms += 500) {
        for (size_t n = 0; n < NODES; n++) {
            struct buffer b;
            struct report_header header = w.nodes[n].last;
            header.url = BYTES_LITERAL("http://o");
            header.boot = 1;
            header.base = at_ms / 500;
            header.sequence = at_ms / 500 + 1;
            buffer_init(&b, REPORT_SIZE_MAX);
            report_begin(&b, &header);
            /* 90 requests/s and 60, of contents with 6 each */
            for (unsigned i = 0; i < (n == home ? 15 : 10); i++) {
                char id[16] = "a";
                if (n != home || i > 0)
                    snprintf(id, sizeof id, "%zu-%u", n, i);
                const struct report_entry entry = {
                    bytes_of_text(id), {.requests = header.sequence * 3}};
                report_add(&b, &entry);
            }
            assert_int_equal(report_finish(&b), 0);
            assert_int_equal(
                demand_merge(d, buffer_bytes(&b), w.now_ms + at_ms, &result),
                0);
            buffer_fini(&b);
        }
    }
    demand_advance(d, w.now_ms + 132000);
    struct classify_input input = {.now_ms = w.now_ms + 132000};
    input.nodes = demand_nodes(d, &input.node_count);
    classify_rates(&w.policy, d, &input);
    assert_true(input.rate_count > 0);
    assert_int_equal(classify(&w.policy, &input, &w.rows, &w.row_count), 0);
    assert_int_equal(row(&w, 0).owner_count, 2);
    world_end(&w);
    demand_free(d);
}

/* The first two that report have all their load in view and the others half of
 * it: 70 of 49 would be hot. */
static void
nodes_that_just_began_to_report_make_no_other_hot(void **state)
{
    struct world w;
    world_make(&w);
    loads_set(&w, 70);
    for (size_t i = 0; i < CONTENTS; i++)
        w.rates[i] = 3;
    for (size_t i = 2; i < NODES; i++) {
        load_set(&w, i, 35);
        w.nodes[i].is_young = true;
    }
    step(&w, 250);
    assert_int_equal(w.row_count, 0);
    world_end(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(at_a_hot_node_contents_get_another_owner),
        cmocka_unit_test(nodes_that_just_began_to_report_make_no_other_hot),
        cmocka_unit_test(one_whose_owners_are_all_hot_gets_one_more),
        cmocka_unit_test(it_keeps_them_until_one_of_its_owners_is_cool),
        cmocka_unit_test(it_loses_them_with_its_demand),
        cmocka_unit_test(what_is_no_more_than_chance_makes_no_node_hot),
        cmocka_unit_test(nodes_with_little_to_do_are_left_alone),
        cmocka_unit_test(a_node_is_hot_for_its_capacity),
        cmocka_unit_test(by_thresholds_nothing_is_evened),
        cmocka_unit_test(
            contents_of_a_hot_node_are_among_the_rates_that_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
