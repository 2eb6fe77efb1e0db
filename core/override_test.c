/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>

#include "core/err.h"
#include "core/override.h"

static struct override list[OVERRIDES_MAX];
static size_t count;

static int
start(void **state)
{
    count = 0;
    return 0;
}

static struct override
drain_of(const char *node, uint64_t until_ms)
{
    struct override o = {.target = OVERRIDE_NODE, .until_ms = until_ms};
    snprintf(o.name, sizeof o.name, "%s", node);
    return o;
}

static void
what_makes_no_sense_is_refused(void **state)
{
    static const struct override good[] = {
        {.target = OVERRIDE_CONTENT, .name = "a", .is_pinned = true},
        {.target = OVERRIDE_CONTENT,
         .name = "a",
         .is_pinned = true,
         .level = LEVEL_NORMAL,
         .owner_count = 3},
        {.target = OVERRIDE_CONTENT, .name = "a", .is_cdn_forbidden = true},
        {.target = OVERRIDE_NODE, .name = "o1"},
        {.target = OVERRIDE_CDN, .is_cdn_forbidden = true},
        {.target = OVERRIDE_CDN, .has_budget = true, .budget_share = 1},
    };
    const struct override bad[] = {
        {.target = OVERRIDE_CONTENT, .name = "a"}, /* says nothing */
        {.target = OVERRIDE_CONTENT, .name = ".a", .is_pinned = true},
        {.target = OVERRIDE_CONTENT, .name = "", .is_pinned = true},
        {.target = OVERRIDE_CONTENT,
         .name = "a",
         .is_pinned = true,
         .level = (enum level) 4},
        {.target = OVERRIDE_CONTENT,
         .name = "a",
         .is_pinned = true,
         .level = LEVEL_HOT,
         .owner_count = 3},
        {.target = OVERRIDE_CONTENT,
         .name = "a",
         .is_pinned = true,
         .level = LEVEL_NORMAL,
         .owner_count = PLACEMENT_NODES_MAX + 1},
        {.target = OVERRIDE_CONTENT,
         .name = "a",
         .is_pinned = true,
         .has_budget = true},
        {.target = OVERRIDE_NODE, .name = "a/b"},
        {.target = OVERRIDE_NODE, .name = "o1", .is_cdn_forbidden = true},
        {.target = OVERRIDE_CDN},
        {.target = OVERRIDE_CDN, .name = "a", .is_cdn_forbidden = true},
        {.target = OVERRIDE_CDN, .is_cdn_forbidden = true, .has_budget = true},
        {.target = OVERRIDE_CDN, .has_budget = true, .budget_share = 1.1},
        {.target = OVERRIDE_CDN, .has_budget = true, .budget_share = -0.1},
        {.target = OVERRIDE_CDN, .has_budget = true, .budget_share = NAN},
        {.target = OVERRIDE_CDN, .has_budget = true, .budget_plays = INFINITY},
        {.target = OVERRIDE_CDN, .has_budget = true, .budget_plays = -1},
        {.target = (enum override_target) 3, .name = "a"},
    };
    struct override unending = {.target = OVERRIDE_NODE};
    memset(unending.name, 'a', sizeof unending.name);
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(override_is_valid(&good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(override_is_valid(&bad[i]));
        assert_int_equal(override_put(list, &count, &bad[i]), ERR_INVALID);
    }
    assert_false(override_is_valid(&unending));
    assert_int_equal(count, 0);
}

static void
each_name_is_there_once_and_is_found(void **state)
{
    char name[16];
    for (unsigned i = 0; i < OVERRIDES_MAX; i++) {
        snprintf(name, sizeof name, "o%u", i * 7919 % OVERRIDES_MAX);
        const struct override o = drain_of(name, 5);
        assert_int_equal(override_put(list, &count, &o), 0);
    }
    const struct override again = drain_of("o77", 9), more = drain_of("x", 5);
    assert_int_equal(override_put(list, &count, &again), 0);
    assert_int_equal(override_put(list, &count, &more), ERR_LIMIT);
    assert_int_equal(count, OVERRIDES_MAX);
    for (unsigned i = 0; i < OVERRIDES_MAX; i++) {
        snprintf(name, sizeof name, "o%u", i);
        const struct bytes id = bytes_of_text(name);
        assert_int_equal(
            override_find(list, count, OVERRIDE_NODE, id)->until_ms,
            i == 77 ? 9 : 5);
        assert_null(override_find(list, count, OVERRIDE_CONTENT, id));
    }
    assert_int_equal(
        override_remove(list, &count, OVERRIDE_NODE, BYTES_LITERAL("o5")), 0);
    assert_int_equal(
        override_remove(list, &count, OVERRIDE_NODE, BYTES_LITERAL("o5")),
        ERR_NOT_FOUND);
    assert_non_null(
        override_find(list, count, OVERRIDE_NODE, BYTES_LITERAL("o50")));
    assert_int_equal(count, OVERRIDES_MAX - 1);
}

static void
an_override_ends_when_its_time_is_over(void **state)
{
    const struct override first = drain_of("o1", 100),
                          second = drain_of("o2", 200);
    override_put(list, &count, &first);
    override_put(list, &count, &second);
    assert_false(override_expire(list, &count, 99));
    assert_true(override_expire(list, &count, 100));
    assert_int_equal(count, 1);
    assert_string_equal(list[0].name, "o2");
}

static void
a_drained_node_gets_nothing_new_and_a_dead_one_stays_dead(void **state)
{
    static const enum node_state states[] = {NODE_UP, NODE_FULL, NODE_DRAINING,
                                             NODE_DOWN};
    struct demand_node nodes[5];
    const struct override o = drain_of("o1", 100);
    override_put(list, &count, &o);
    for (size_t i = 0; i < 4; i++)
        nodes[i] = (struct demand_node){.last.node = BYTES_LITERAL("o1"),
                                        .state = states[i]};
    nodes[4] = (struct demand_node){.last.node = BYTES_LITERAL("o2")};
    override_nodes(list, count, nodes, 5);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(nodes[i].state, NODE_DRAINING);
    assert_int_equal(nodes[3].state, NODE_DOWN);
    assert_int_equal(nodes[4].state, NODE_UP);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, start)
    const struct CMUnitTest tests[] = {
        TEST(what_makes_no_sense_is_refused),
        TEST(each_name_is_there_once_and_is_found),
        TEST(an_override_ends_when_its_time_is_over),
        TEST(a_drained_node_gets_nothing_new_and_a_dead_one_stays_dead),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
