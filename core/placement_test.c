/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "core/content.h"
#include "core/placement.h"

static void
nodes_make(struct placement_node *nodes, size_t count, uint32_t weight)
{
    char name[32];
    for (size_t i = 0; i < count; i++) {
        snprintf(name, sizeof name, "origin%zu", i + 1);
        nodes[i].hash = placement_node_hash(bytes_of_text(name));
        nodes[i].weight = weight;
    }
}

static uint64_t
hash_of(unsigned i)
{
    char id[32];
    snprintf(id, sizeof id, "film-%u", i);
    return content_hash(bytes_of_text(id));
}

static void
equal_nodes_get_equal_parts(void **state)
{
    static const size_t counts[] = {2, 3, 5, 20, 100};
    enum { CONTENTS = 200000 };
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        struct placement_node nodes[100];
        unsigned got[100] = {0};
        uint16_t owner;
        nodes_make(nodes, counts[c], 100);
        for (unsigned i = 0; i < CONTENTS; i++) {
            assert_int_equal(
                placement_owners(nodes, counts[c], hash_of(i), 1, &owner), 1);
            got[owner]++;
        }
        unsigned most = 0;
        for (size_t i = 0; i < counts[c]; i++)
            most = got[i] > most ? got[i] : most;
        double mean = (double) CONTENTS / (double) counts[c];
        printf("%zu nodes: max/mean %.4f\n", counts[c], most / mean);
        /* five standard deviations of a fair throw */
        assert_true(most < mean + 5 * sqrt(mean));
    }
}

static void
parts_are_in_proportion_to_weights(void **state)
{
    static const uint32_t weights[] = {1, 10, 50, 100, 100, 200, 65535};
    enum { COUNT = 6, CONTENTS = 400000 };
    struct placement_node nodes[COUNT];
    unsigned got[COUNT] = {0};
    double sum = 0;
    nodes_make(nodes, COUNT, 1);
    for (size_t i = 0; i < COUNT; i++) {
        nodes[i].weight = weights[i];
        sum += weights[i];
    }
    for (unsigned i = 0; i < CONTENTS; i++) {
        uint16_t owner;
        placement_owners(nodes, COUNT, hash_of(i), 1, &owner);
        got[owner]++;
    }
    for (size_t i = 0; i < COUNT; i++) {
        double expected = CONTENTS * weights[i] / sum;
        printf("weight %u: %u of %.0f\n", weights[i], got[i], expected);
        assert_true(fabs(got[i] - expected)
                    < 5 * sqrt(expected) + 0.003 * expected);
    }
}

static void
owner_sets_are_prefixes_of_each_other(void **state)
{
    static const size_t counts[] = {1, 3, 20, 64, 200, 1024};
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        size_t count = counts[c];
        static struct placement_node nodes[PLACEMENT_NODES_MAX];
        nodes_make(nodes, count, 100);
        for (int weighted = 0; weighted < 2; weighted++) {
            if (weighted)
                nodes[0].weight = 150;
            for (unsigned i = 0; i < 20; i++) {
                uint16_t all[PLACEMENT_NODES_MAX], some[PLACEMENT_NODES_MAX];
                assert_int_equal(
                    placement_owners(nodes, count, hash_of(i), 5000, all),
                    count);
                for (size_t k = 0; k <= count; k += k < 70 ? 1 : 101) {
                    assert_int_equal(
                        placement_owners(nodes, count, hash_of(i), k, some), k);
                    assert_memory_equal(some, all, k * sizeof some[0]);
                }
            }
        }
    }
}

static void
equal_weights_give_the_order_of_the_general_way(void **state)
{
    enum { COUNT = 40 };
    struct placement_node equal[COUNT], mixed[COUNT + 1];
    nodes_make(equal, COUNT, 7);
    nodes_make(mixed, COUNT, 7);
    /* of another weight, so little that it is always last, or nearly */
    mixed[COUNT] = (struct placement_node){.hash = 99, .weight = 1};
    for (size_t i = 0; i < COUNT; i++)
        mixed[i].weight = equal[i].weight = 60000;
    for (unsigned i = 0; i < 20000; i++) {
        uint16_t a[COUNT], b[COUNT + 1];
        size_t k = i % 2 ? 3 : COUNT;
        assert_int_equal(placement_owners(equal, COUNT, hash_of(i), k, a), k);
        size_t n = placement_owners(mixed, COUNT + 1, hash_of(i), k + 1, b);
        size_t at = 0;
        for (size_t j = 0; j < n && at < k; j++) {
            if (b[j] != COUNT)
                assert_int_equal(b[j], a[at++]);
        }
        assert_int_equal(at, k);
    }
}

static void
a_node_that_joins_or_leaves_moves_its_own_part_only(void **state)
{
    enum { COUNT = 20, CONTENTS = 100000 };
    struct placement_node nodes[COUNT];
    unsigned moved = 0;
    nodes_make(nodes, COUNT, 100);
    for (unsigned i = 0; i < CONTENTS; i++) {
        uint16_t with, without;
        placement_owners(nodes, COUNT, hash_of(i), 1, &with);
        nodes[7].weight = 0;
        placement_owners(nodes, COUNT, hash_of(i), 1, &without);
        nodes[7].weight = 100;
        assert_int_not_equal(without, 7);
        if (with == without)
            continue;
        assert_int_equal(with, 7);
        moved++;
    }
    printf("moved %.4f of the contents, 1/N = %.4f\n",
           (double) moved / CONTENTS, 1.0 / COUNT);
    assert_true(moved > CONTENTS / COUNT * 0.93);
    assert_true(moved < CONTENTS / COUNT * 1.07);
}

static void
the_order_does_not_depend_on_the_order_of_nodes(void **state)
{
    enum { COUNT = 50 };
    struct placement_node nodes[COUNT], reversed[COUNT];
    nodes_make(nodes, COUNT, 100);
    for (size_t i = 0; i < COUNT; i++) {
        nodes[i].weight = 50 + (uint32_t) (i * 37 % 100);
        reversed[COUNT - 1 - i] = nodes[i];
    }
    for (size_t i = 0; i < COUNT; i++)
        reversed[i] = nodes[COUNT - 1 - i];
    for (unsigned i = 0; i < 2000; i++) {
        uint16_t a[COUNT], b[COUNT];
        size_t k = i % 2 ? 4 : COUNT;
        placement_owners(nodes, COUNT, hash_of(i), k, a);
        placement_owners(reversed, COUNT, hash_of(i), k, b);
        for (size_t j = 0; j < k; j++)
            assert_int_equal(a[j], COUNT - 1 - b[j]);
    }
}

static void
the_order_is_the_same_for_ever(void **state)
{
    struct placement_node nodes[6];
    uint16_t owners[6];
    nodes_make(nodes, 6, 100);
    nodes[2].weight = 200;
    nodes[4].weight = 0;
    size_t n = placement_owners(nodes, 6, content_hash(BYTES_LITERAL("demo")),
                                6, owners);
    assert_int_equal(n, 5);
    static const uint16_t expected[] = {3, 1, 0, 2, 5};
    assert_memory_equal(owners, expected, sizeof expected);
}

static void
nodes_of_weight_0_own_nothing(void **state)
{
    struct placement_node nodes[3];
    uint16_t owners[3];
    nodes_make(nodes, 3, 0);
    assert_int_equal(placement_owners(nodes, 3, 1, 3, owners), 0);
    assert_int_equal(placement_owners(nodes, 0, 1, 3, owners), 0);
    nodes[1].weight = 5;
    assert_int_equal(placement_owners(nodes, 3, 1, 3, owners), 1);
    assert_int_equal(owners[0], 1);
    assert_int_equal(placement_owners(nodes, 3, 1, 0, owners), 0);
}

/* The best one, then the best without it, and so on. */
static void
a_long_order_is_that_of_one_choice_after_another(void **state)
{
    static const uint32_t weights[][3] = {
        {100, 100, 100}, {100, 0, 100}, {100, 150, 0}, {1, 65535, 7}};
    static const size_t counts[] = {33, 64, 200, 1024};
    for (size_t c = 0; c < 16; c++) {
        static struct placement_node nodes[PLACEMENT_NODES_MAX];
        const size_t count = counts[c / 4];
        uint16_t all[PLACEMENT_NODES_MAX], most[PLACEMENT_NODES_MAX], next;
        nodes_make(nodes, count, 100);
        for (size_t i = 0; i < count; i++)
            nodes[i].weight = weights[c % 4][i % 3];
        const size_t found =
            placement_owners(nodes, count, hash_of(9), count, all);
        const size_t k = count * 3 / 5 < found ? count * 3 / 5 : found;
        assert_int_equal(placement_owners(nodes, count, hash_of(9), k, most),
                         k);
        assert_memory_equal(most, all, k * sizeof most[0]);
        for (size_t i = 0; i < found; i++) {
            assert_int_equal(
                placement_owners(nodes, count, hash_of(9), 1, &next), 1);
            assert_int_equal(all[i], next);
            nodes[next].weight = 0;
        }
        assert_int_equal(placement_owners(nodes, count, hash_of(9), 1, &next),
                         0);
    }
}

static void
the_extremes_of_the_hash_are_in_order(void **state)
{
    /* the mixing is one to one and 0 goes to 0: hashes that equal the
     * content's mix to 0, whose logarithm is taken for that of 1 */
    struct placement_node nodes[3] = {{.hash = 5, .weight = 1},
                                      {.hash = 6, .weight = 2},
                                      {.hash = 7, .weight = 65535}};
    for (uint64_t content = 0; content < 20; content++) {
        uint16_t owners[3];
        assert_int_equal(placement_owners(nodes, 3, content, 3, owners), 3);
        assert_true(owners[0] != owners[1] && owners[1] != owners[2]
                    && owners[0] != owners[2]);
    }
}

static void
a_choice_takes_well_under_a_microsecond(void **state)
{
    enum { ROUNDS = 300000 };
    struct placement_node nodes[20];
    for (int weighted = 0; weighted < 2; weighted++) {
        nodes_make(nodes, 20, 100);
        if (weighted)
            nodes[3].weight = 50;
        for (size_t k = 1; k <= 3; k += 2) {
            struct timespec a, b;
            uint16_t owners[3];
            unsigned sum = 0;
            clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
            for (unsigned i = 0; i < ROUNDS; i++) {
                placement_owners(nodes, 20, i * 0x9e3779b97f4a7c15u, k, owners);
                sum += owners[0];
            }
            clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
            printf("20 nodes, %s weights, k %zu: %.0f ns (%u)\n",
                   weighted ? "different" : "equal", k,
                   ((double) (b.tv_sec - a.tv_sec) * 1e9
                    + (double) (b.tv_nsec - a.tv_nsec))
                       / ROUNDS,
                   sum);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_nodes_get_equal_parts),
        cmocka_unit_test(parts_are_in_proportion_to_weights),
        cmocka_unit_test(owner_sets_are_prefixes_of_each_other),
        cmocka_unit_test(equal_weights_give_the_order_of_the_general_way),
        cmocka_unit_test(a_node_that_joins_or_leaves_moves_its_own_part_only),
        cmocka_unit_test(the_order_does_not_depend_on_the_order_of_nodes),
        cmocka_unit_test(the_order_is_the_same_for_ever),
        cmocka_unit_test(nodes_of_weight_0_own_nothing),
        cmocka_unit_test(a_long_order_is_that_of_one_choice_after_another),
        cmocka_unit_test(the_extremes_of_the_hash_are_in_order),
        cmocka_unit_test(a_choice_takes_well_under_a_microsecond),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
