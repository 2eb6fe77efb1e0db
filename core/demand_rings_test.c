/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/demand_rings.h"

#define RINGS 300 /* some blocks, the last of them not whole */

static struct spread
spread_in(uint64_t bucket, uint32_t n)
{
    return (struct spread){
        .at = (uint32_t) (bucket % BUCKETS), .count = 1, .parts = {n}};
}

static uint32_t
take(struct rings *rings, uint32_t content)
{
    uint32_t ring;
    assert_int_equal(rings_take(rings, content, &ring), 0);
    assert_int_equal(rings->contents[ring], content);
    return ring;
}

static double
newest(const struct rings *rings, enum ring_kind kind, uint32_t ring,
       uint64_t bucket, unsigned n)
{
    double sums[BUCKETS + 1];
    rings_newest(rings, kind, ring, bucket, n, sums);
    return sums[n];
}

static void
add(struct rings *rings, enum ring_kind kind, uint32_t ring, uint64_t bucket,
    uint32_t n)
{
    const struct spread spread = spread_in(bucket, n);
    assert_int_equal(rings_add(rings, kind, ring, &spread), 0);
}

static void
counts_are_there_for_as_long_as_the_window(void **state)
{
    struct rings rings = {.count = 0};
    for (uint32_t i = 0; i < RINGS; i++) {
        const uint32_t ring = take(&rings, i);
        add(&rings, RING_SERVED, ring, 100, i + 1);
        add(&rings, RING_SERVED, ring, 101, 1);
        add(&rings, RING_OFFLOADED, ring, 102, 7);
    }
    rings_rotate(&rings, 102, 100 + WINDOW_BUCKETS);
    for (uint32_t i = 0; i < RINGS; i++) {
        assert_int_equal(rings_total(&rings, RING_SERVED, i), i + 2);
        assert_int_equal(rings_total(&rings, RING_OFFLOADED, i), 7);
        assert_int_equal(rings_total(&rings, RING_STARTS, i), 0);
        assert_true(newest(&rings, RING_SERVED, i, 102, 2) == 1);
        assert_true(newest(&rings, RING_SERVED, i, 102, 3) == i + 2);
        assert_true(newest(&rings, RING_STARTS, i, 102, 3) == 0);
    }
    assert_int_equal(rings.counts[RING_SERVED].sum,
                     RINGS * (RINGS + 1) / 2 + RINGS);
    rings_rotate(&rings, 100 + WINDOW_BUCKETS, 101 + WINDOW_BUCKETS);
    for (uint32_t i = 0; i < RINGS; i++)
        assert_int_equal(rings_total(&rings, RING_SERVED, i), 1);
    assert_int_equal(rings.counts[RING_SERVED].sum, RINGS);
    assert_int_equal(rings.unused_count, 0);
    rings_rotate(&rings, 101 + WINDOW_BUCKETS, 9999); /* once round and more */
    assert_int_equal(rings.counts[RING_SERVED].sum, 0);
    assert_int_equal(rings.counts[RING_OFFLOADED].sum, 0);
    assert_int_equal(rings.unused_count, RINGS);
    rings_fini(&rings);
}

/* It has counts of one kind while those of another are gone; then it is
 * released once, and the next content that gets it begins with none. */
static void
a_ring_is_used_again_when_all_its_counts_are_gone(void **state)
{
    struct rings rings = {.count = 0};
    const uint32_t a = take(&rings, 10), b = take(&rings, 11);
    add(&rings, RING_SERVED, a, 100, 5);
    add(&rings, RING_STARTS + NODE_ROLE_REDIRECTOR, a, 103, 1);
    add(&rings, RING_SERVED, b, 110, 5);
    rings_rotate(&rings, 110, 100 + BUCKETS);
    assert_int_equal(rings.unused_count, 0);
    rings_rotate(&rings, 100 + BUCKETS, 103 + BUCKETS);
    assert_int_equal(rings.unused_count, 1);
    assert_int_equal(rings.unused[0], a);
    assert_int_equal(rings.contents[a], 10);
    rings.contents[a] = RING_UNUSED; /* as its user does */
    rings_rotate(&rings, 103 + BUCKETS, 110 + BUCKETS);
    assert_int_equal(rings.unused_count, 2);
    rings.contents[b] = RING_UNUSED;
    assert_int_equal(take(&rings, 12), b);
    assert_int_equal(take(&rings, 13), a);
    assert_int_equal(take(&rings, 14), 2);
    assert_int_equal(rings_total(&rings, RING_SERVED, a), 0);
    rings_fini(&rings);
}

static void
what_no_node_can_have_counted_does_not_wrap(void **state)
{
    struct rings rings = {.count = 0};
    const uint32_t ring = take(&rings, 0);
    uint32_t before = 0;
    for (uint64_t bucket = 0; bucket < BUCKETS; bucket++) {
        for (int i = 0; i < 2; i++) {
            add(&rings, RING_SERVED, ring, bucket, UINT32_MAX);
            assert_true(rings_total(&rings, RING_SERVED, ring) >= before);
            before = rings_total(&rings, RING_SERVED, ring);
        }
    }
    assert_true(newest(&rings, RING_SERVED, ring, BUCKETS - 1, BUCKETS)
                == before);
    rings_rotate(&rings, BUCKETS - 1, 2 * BUCKETS - 1);
    assert_int_equal(rings_total(&rings, RING_SERVED, ring), 0);
    rings_fini(&rings);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_are_there_for_as_long_as_the_window),
        cmocka_unit_test(a_ring_is_used_again_when_all_its_counts_are_gone),
        cmocka_unit_test(what_no_node_can_have_counted_does_not_wrap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
