/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/publish.h"

static const struct table_node nodes[] = {
    {.name = BYTES_LITERAL("o1"),
     .url = BYTES_LITERAL("http://o1"),
     .weight = 100,
     .load = 5000},
    {.name = BYTES_LITERAL("o2"),
     .url = BYTES_LITERAL("http://o2"),
     .weight = 100},
};
static const struct table_row rows[] = {
    {.id = BYTES_LITERAL("a"), .level = LEVEL_NORMAL, .owner_count = 3},
    {.id = BYTES_LITERAL("b"),
     .level = LEVEL_CRITICAL,
     .owner_count = 9,
     .cdn_share = 500},
};

/* The table above, to be changed in one place. */
struct next {
    struct table table;
    struct table_node nodes[2];
    struct table_row rows[2];
};

static void
next_make(struct next *next)
{
    memcpy(next->nodes, nodes, sizeof nodes);
    memcpy(next->rows, rows, sizeof rows);
    next->table = (struct table){
        .version = {9, 9},
        .created_ms = 123,
        .nodes = next->nodes,
        .node_count = 2,
        .rows = next->rows,
        .row_count = 2,
    };
}

static bool
is_due(const struct next *next, uint64_t since_ms)
{
    const struct table last = {
        .nodes = nodes, .node_count = 2, .rows = rows, .row_count = 2};
    return publish_is_due(&last, &next->table, since_ms);
}

static void
the_same_again_is_not_published(void **state)
{
    struct next next;
    next_make(&next);
    assert_false(is_due(&next, 0));
    assert_false(is_due(&next, 3600000));
}

static void
what_spreads_viewers_is_published_at_once(void **state)
{
    for (int i = 0; i < 12; i++) {
        struct next next;
        next_make(&next);
        switch (i) {
        case 0:
            next.table.node_count = 1;
            break;
        case 1:
            next.nodes[1].name = BYTES_LITERAL("o3");
            break;
        case 2:
            next.nodes[1].url = BYTES_LITERAL("http://o3");
            break;
        case 3:
            next.nodes[0].weight = 99;
            break;
        case 4:
            next.nodes[0].state = NODE_DRAINING;
            break;
        case 5:
            next.rows[0].id = BYTES_LITERAL("c");
            break;
        case 6:
            next.rows[0].level = LEVEL_HOT;
            break;
        case 7:
            next.rows[0].owner_count = 4;
            break;
        case 8:
            next.rows[1].cdn_share = 501;
            break;
        case 9:
            next.rows[0].is_cdn_forbidden = true;
            break;
        case 10:
            next.table.is_cdn_forbidden = true;
            break;
        case 11: /* kept from the CDN, and calm */
            next.rows[0] = (struct table_row){.id = BYTES_LITERAL("c"),
                                              .owner_count = 1,
                                              .is_cdn_forbidden = true};
            break;
        }
        assert_true(is_due(&next, 0));
    }
}

static void
what_may_go_to_the_cdn_again_is_published_at_once(void **state)
{
    struct table_row row = {
        .id = BYTES_LITERAL("c"), .owner_count = 1, .is_cdn_forbidden = true};
    const struct table last = {.rows = &row, .row_count = 1}, next = {0};
    assert_true(publish_is_due(&last, &next, 0));
    row.is_cdn_forbidden = false;
    assert_false(publish_is_due(&last, &next, 0));
}

static void
loads_rates_and_narrower_sets_wait_a_second(void **state)
{
    for (int i = 0; i < 7; i++) {
        struct next next;
        next_make(&next);
        switch (i) {
        case 0:
            next.nodes[1].load = 1;
            break;
        case 1:
            next.rows[1].rate_milli = 1;
            break;
        case 2:
            next.rows[1].calmer_since_ms = 1;
            break;
        case 3:
            next.table.row_count = 1;
            break;
        case 4:
            next.rows[1].level = LEVEL_HOT;
            next.rows[1].cdn_share = 0;
            break;
        case 5:
            next.rows[0].owner_count = 2;
            break;
        case 6:
            next.rows[1].cdn_share = 499;
            break;
        }
        assert_false(is_due(&next, PUBLISH_LOAD_MS - 1));
        assert_true(is_due(&next, PUBLISH_LOAD_MS));
    }
}

static void
only_origins_are_listed(void **state)
{
    const struct demand_node all[] = {
        {.last = {.node = BYTES_LITERAL("o1"), .weight = 7},
         .state = NODE_DOWN,
         .load = 3},
        {.last = {.node = BYTES_LITERAL("r1"), .role = NODE_ROLE_REDIRECTOR}},
        {.last = {.node = BYTES_LITERAL("z")}},
    };
    struct table_node origins[3];
    assert_int_equal(publish_origins(all, 3, origins), 2);
    assert_true(bytes_equal(origins[0].name, BYTES_LITERAL("o1")));
    assert_int_equal(origins[0].weight, 7);
    assert_int_equal(origins[0].state, NODE_DOWN);
    assert_int_equal(origins[0].load, 3);
    assert_true(bytes_equal(origins[1].name, BYTES_LITERAL("z")));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_again_is_not_published),
        cmocka_unit_test(what_spreads_viewers_is_published_at_once),
        cmocka_unit_test(what_may_go_to_the_cdn_again_is_published_at_once),
        cmocka_unit_test(loads_rates_and_narrower_sets_wait_a_second),
        cmocka_unit_test(only_origins_are_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
