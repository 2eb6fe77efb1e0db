/* SPDX-License-Identifier: Apache-2.0 */
/* Which reports a demand takes in, and that neither their order, nor
 * repetition, nor loss matters. */

#include "core/content.h"
#include "core/demand_private.h"
#include "core/demand_world.h"
#include "core/err.h"
#include "core/test_random.h"

#include <math.h>
#include <stdio.h>

static void
a_node_that_ran_before_the_manager_is_asked_for_a_base(void **state)
{
    struct demand *d = demand_new(&demand_policy_default);
    struct origin o = origin_make("o1", NODE_ROLE_ORIGIN);
    size_t count;
    o.values[0].requests = 1000000;
    o.header.sequence = 500;
    struct demand_merge_result r = report(d, &o, false, START_MS);
    assert_true(r.wants_full && !r.is_new);
    assert_int_equal(sums(d, "a").requests, 0);
    r = report(d, &o, true, START_MS + 500);
    assert_true(!r.wants_full && r.is_new);
    demand_advance(d, START_MS + 600);
    demand_rates(d, &count);
    assert_int_equal(count, 0);
    assert_int_equal(sums(d, "a").requests, 1000000);
    o.values[0].requests += 50;
    r = report(d, &o, false, START_MS + 1000);
    assert_true(!r.wants_full && r.is_new);
    demand_advance(d, START_MS + 1000);
    assert_true(fabs(rate_find(d, "a").rate - 5) < 0.5);
    demand_free(d);
}

/* "xxx...", of as many bytes. */
static struct bytes
id_of(size_t len)
{
    static uint8_t text[CONTENT_ID_LEN_MAX];
    memset(text, 'x', sizeof text);
    return bytes_of(text, len);
}

/* Short ones lie elsewhere than long ones. */
static void
ids_of_all_lengths_are_told_apart_and_stay_where_they_are(void **state)
{
    struct demand *d = demand_new(&demand_policy_default);
    struct origin o = origin_make("o1", NODE_ROLE_ORIGIN);
    struct buffer b;
    struct counters_values found;
    size_t count;
    buffer_init(&b, REPORT_SIZE_MAX);
    o.header.sequence = 1;
    report_begin(&b, &o.header);
    for (size_t len = 1; len <= CONTENT_ID_LEN_MAX; len++) {
        const struct report_entry entry = {id_of(len), {.requests = len}};
        report_add(&b, &entry);
    }
    assert_int_equal(report_finish(&b), 0);
    merge(d, &b, START_MS);
    buffer_fini(&b);
    for (size_t len = 1; len <= CONTENT_ID_LEN_MAX; len++) {
        assert_int_equal(demand_sums(d, id_of(len), &found), 0);
        assert_int_equal(found.requests, len);
    }
    demand_advance(d, START_MS);
    const struct demand_rate *rates = demand_rates(d, &count);
    assert_int_equal(count, CONTENT_ID_LEN_MAX);
    const struct bytes longest = rates[0].id, shortest = rates[count - 1].id;
    for (unsigned i = 0; i < CONTENTS; i++)
        o.values[i].requests = 1;
    report(d, &o, false, START_MS);
    assert_true(bytes_equal(longest, id_of(CONTENT_ID_LEN_MAX)));
    assert_true(bytes_equal(shortest, id_of(1)));
    demand_free(d);
}

/* What every Manager that has merged the reports in full would say. */
static void
assert_asks_for_all(struct demand *d, const struct buffer *report)
{
    const struct counters_values before = sums(d, "a");
    struct demand_merge_result r = merge(d, report, START_MS + 5000);
    assert_true(r.wants_full && !r.is_new);
    assert_int_equal(sums(d, "a").requests, before.requests);
}

static void
changes_on_top_of_what_another_manager_was_told_are_not_merged(void **state)
{
    struct demand *first = demand_new(&demand_policy_default);
    struct demand *second = demand_new(&demand_policy_default);
    struct origin o = origin_make("o1", NODE_ROLE_ORIGIN);
    o.values[0].requests = 10;
    report(first, &o, true, START_MS);
    /* the first one does not answer for a while */
    o.values[1].requests = 7;
    report(second, &o, true, START_MS + 1000);
    o.values[0].requests = 20;
    struct buffer changes = origin_report(&o, false, 1);
    assert_asks_for_all(first, &changes);
    assert_false(merge(second, &changes, START_MS + 5000).wants_full);
    assert_false(report(first, &o, true, START_MS + 6000).wants_full);
    assert_int_equal(sums(first, "a").requests, 20);
    assert_int_equal(sums(first, "b").requests, 7);
    assert_false(report(first, &o, false, START_MS + 6500).wants_full);
    buffer_fini(&changes);
    demand_free(first);
    demand_free(second);
}

static void
a_full_report_overtaken_by_a_restart_is_not_built_on_later(void **state)
{
    struct demand *d = demand_new(&demand_policy_default);
    struct origin o = origin_make("o1", NODE_ROLE_ORIGIN);
    o.header.sequence = 500;
    o.values[0].requests = 10;
    struct buffer late = origin_report(&o, true, 1);
    o.values[1].requests = 7;
    report(d, &o, true, START_MS);
    demand_free(d); /* the Manager is restarted, then the first one arrives */
    d = demand_new(&demand_policy_default);
    assert_true(merge(d, &late, START_MS + 1000).is_new);
    o.values[0].requests = 20;
    struct buffer changes = origin_report(&o, false, 1);
    assert_asks_for_all(d, &changes);
    report(d, &o, true, START_MS + 6000);
    assert_int_equal(sums(d, "b").requests, 7);
    buffer_fini(&late);
    buffer_fini(&changes);
    demand_free(d);
}

static void
an_agent_that_lost_its_count_begins_a_new_chain(void **state)
{
    struct demand *d = demand_new(&demand_policy_default);
    struct origin o = origin_make("o1", NODE_ROLE_ORIGIN);
    o.header.sequence = 1000;
    report(d, &o, true, START_MS);
    o.header.sequence = 5;
    report(d, &o, true, START_MS + 500);
    o.header.sequence = 9; /* of which others were acknowledged elsewhere */
    o.values[0].requests = 20;
    struct buffer changes = origin_report(&o, false, 1);
    assert_asks_for_all(d, &changes);
    buffer_fini(&changes);
    demand_free(d);
}

/* One of the parts, with has_more as given. */
static void
part(struct demand *d, struct origin *o, unsigned mask, bool has_more,
     uint64_t now_ms)
{
    o->header.has_more = has_more;
    struct buffer b = origin_report(o, mask == 1, mask);
    assert_false(merge(d, &b, now_ms).wants_full);
    buffer_fini(&b);
}

static void
a_base_in_parts_adds_nothing_to_rates(void **state)
{
    struct demand *d = demand_new(&demand_policy_default);
    struct origin o = origin_make("o1", NODE_ROLE_ORIGIN);
    size_t count;
    o.header.sequence = 500;
    for (unsigned i = 0; i < 3; i++)
        o.values[i].requests = 1000000;
    for (unsigned i = 0; i < 3; i++)
        part(d, &o, 1u << i, i < 2, START_MS + i);
    demand_advance(d, START_MS + 10);
    demand_rates(d, &count);
    assert_int_equal(count, 0);
    assert_int_equal(sums(d, "c").requests, 1000000);
    o.values[0].requests += 50;
    report(d, &o, false, START_MS + 500);
    demand_advance(d, START_MS + 500);
    assert_true(fabs(rate_find(d, "a").rate - 5) < 0.5);
    demand_free(d);
}

static void
counts_of_a_long_absence_are_no_surge(void **state)
{
    for (unsigned new_boot = 0; new_boot < 2; new_boot++) {
        struct demand *d = demand_new(&demand_policy_default);
        struct origin o = origin_make("o1", NODE_ROLE_ORIGIN);
        uint64_t now = START_MS;
        report(d, &o, true, now);
        /* five minutes with another Manager, at 10/s and 20/s */
        now += 300000;
        o.header.boot += new_boot;
        o.values[0].requests += 3000;
        o.values[1].requests += 6000;
        o.values[1].starts += 600;
        part(d, &o, 1, true, now);
        part(d, &o, 2, false, now + 1);
        demand_advance(d, now + 1);
        assert_true(fabs(rate_find(d, "a").rate - 10) < 1);
        assert_true(fabs(rate_find(d, "b").rate - 20) < 2);
        assert_true(rate_find(d, "b").rate_surge < 22);
        assert_true(fabs(rate_find(d, "b").starts - 2) < 0.3);
        assert_int_equal(sums(d, "b").requests, 6000);
        size_t count;
        assert_true(fabs(demand_nodes(d, &count)[0].rate - 30) < 3);
        demand_free(d);
    }
}

static void
a_repetition_changes_nothing(void **state)
{
    struct demand *d = demand_new(&demand_policy_default);
    struct origin o = origin_make("o1", NODE_ROLE_ORIGIN);
    o.values[0].requests = 100;
    struct buffer first = origin_report(&o, true, 1);
    o.values[0].requests = 150;
    o.header.state = NODE_DRAINING;
    struct buffer second = origin_report(&o, true, 1);
    assert_true(merge(d, &first, START_MS).is_new);
    assert_false(merge(d, &first, START_MS + 100).is_new);
    assert_true(merge(d, &second, START_MS + 200).is_new);
    assert_false(merge(d, &first, START_MS + 300).is_new);
    assert_false(merge(d, &second, START_MS + 400).is_new);
    assert_int_equal(sums(d, "a").requests, 150);
    size_t count;
    demand_advance(d, START_MS + 500);
    assert_int_equal(demand_nodes(d, &count)[0].state, NODE_DRAINING);
    buffer_fini(&first);
    buffer_fini(&second);
    demand_free(d);
}

static void
a_new_boot_starts_at_zero_and_the_old_ones_sums_stay(void **state)
{
    struct demand *d = demand_new(&demand_policy_default);
    struct origin o = origin_make("o1", NODE_ROLE_ORIGIN);
    o.values[0].requests = 100;
    report(d, &o, true, START_MS);
    o.values[0].requests = 130;
    struct buffer late = origin_report(&o, true, 1);
    for (unsigned boot = 2; boot < 40; boot++) {
        o.header.boot = boot;
        o.header.sequence = 0;
        o.values[0].requests = 10;
        report(d, &o, true, START_MS + boot * 500);
        assert_int_equal(sums(d, "a").requests,
                         100 + (boot >= 3 ? 30 : 0) + (boot - 1) * 10);
        if (boot == 2 || boot > 7) {
            /* merged while the boot is remembered, dropped after */
            assert_int_equal(merge(d, &late, START_MS + boot * 500).is_new,
                             boot == 2);
        }
        if (boot == 20)
            break; /* sooner than it is forgotten that it was forgotten */
    }
    buffer_fini(&late);
    demand_free(d);
}

static void
an_agent_that_lost_its_count_is_heard_again(void **state)
{
    struct demand *d = demand_new(&demand_policy_default);
    struct origin o = origin_make("o1", NODE_ROLE_ORIGIN);
    size_t count;
    o.header.sequence = 1000;
    report(d, &o, true, START_MS);
    o.header.sequence = 0;
    o.header.state = NODE_FULL;
    for (int i = 1; i < 10; i++) {
        report(d, &o, true, START_MS + (uint64_t) i * 500);
        demand_advance(d, START_MS + (uint64_t) i * 500);
        demand_nodes(d, &count);
    }
    assert_int_equal(demand_nodes(d, &count)[0].state, NODE_FULL);
    demand_free(d);
}

/* It counts its reports from its clock on, and its counter file is the same. */
static void
an_agent_whose_clock_was_set_back_is_measured_on(void **state)
{
    struct demand *d = demand_new(&demand_policy_default);
    struct origin o = origin_make("o1", NODE_ROLE_ORIGIN);
    uint64_t now = START_MS;
    size_t count;
    o.header.sequence = START_MS + 7200000;
    for (int i = 0; i < 240; i++, now += 500) {
        if (i == 40)
            o.header.sequence = now;
        o.values[0].requests += 50;
        report(d, &o, i == 0 || i == 40, now);
    }
    demand_advance(d, now - 500);
    assert_true(fabs(rate_find(d, "a").rate - 100) < 5);
    assert_true(fabs(demand_nodes(d, &count)[0].rate - 100) < 5);
    demand_free(d);
}

static void
bad_bytes_change_nothing(void **state)
{
    struct demand *d = demand_new(&demand_policy_default);
    struct origin o = origin_make("o1", NODE_ROLE_ORIGIN);
    struct demand_merge_result result = {.is_new = true, .wants_full = true};
    struct buffer b = origin_report(&o, true, 1);
    size_t count;
    b.ptr[30] ^= 1;
    assert_int_equal(demand_merge(d, buffer_bytes(&b), START_MS, &result),
                     ERR_CHECKSUM);
    assert_true(result.is_new && result.wants_full);
    demand_advance(d, START_MS);
    demand_nodes(d, &count);
    assert_int_equal(count, 0);
    buffer_fini(&b);
    demand_free(d);
}

static void
of_too_many_contents_the_known_ones_are_counted_on(void **state)
{
    struct demand_policy policy = demand_policy_default;
    policy.contents_max = 2;
    struct demand *d = demand_new(&policy);
    struct origin o = origin_make("o1", NODE_ROLE_ORIGIN);
    struct demand_merge_result result;
    struct counters_values sums;
    for (unsigned i = 0; i < 3; i++)
        o.values[i].requests = 1;
    struct buffer b = origin_report(&o, true, 5); /* not of the second */
    assert_int_equal(demand_merge(d, buffer_bytes(&b), START_MS, &result), 0);
    buffer_fini(&b);
    for (unsigned i = 0; i < 3; i++)
        o.values[i].requests = 7;
    b = origin_report(&o, false, 7);
    assert_int_equal(demand_merge(d, buffer_bytes(&b), START_MS, &result), 0);
    buffer_fini(&b);
    for (unsigned i = 0; i < 3; i += 2) {
        assert_int_equal(demand_sums(d, content_name(i), &sums), 0);
        assert_int_equal(sums.requests, 7);
    }
    assert_int_equal(demand_sums(d, content_name(1), &sums), ERR_NOT_FOUND);
    assert_int_equal(demand_left_out(d), 1);
    demand_free(d);
}

static void
the_nodes_are_limited(void **state)
{
    struct demand *d = demand_new(&demand_policy_default);
    struct demand_merge_result result;
    char name[16];
    size_t count;
    for (unsigned i = 0; i <= PLACEMENT_NODES_MAX; i++) {
        snprintf(name, sizeof name, "n%u", i * 7919 % 10007);
        struct origin o = origin_make(name, NODE_ROLE_ORIGIN);
        struct buffer b = origin_report(&o, true, 0);
        assert_int_equal(demand_merge(d, buffer_bytes(&b), START_MS, &result),
                         i < PLACEMENT_NODES_MAX ? 0 : ERR_LIMIT);
        buffer_fini(&b);
    }
    demand_advance(d, START_MS);
    const struct demand_node *nodes = demand_nodes(d, &count);
    assert_int_equal(count, PLACEMENT_NODES_MAX);
    for (size_t i = 1; i < count; i++) {
        struct bytes a = nodes[i - 1].last.node, b = nodes[i].last.node;
        size_t len = a.len < b.len ? a.len : b.len;
        int order = memcmp(a.ptr, b.ptr, len);
        assert_true(order < 0 || (order == 0 && a.len < b.len));
    }
    demand_free(d);
}

static void
the_version_that_the_node_holds_is_told(void **state)
{
    struct demand *d = demand_new(&demand_policy_default);
    struct origin o = origin_make("o1", NODE_ROLE_ORIGIN);
    for (uint64_t i = 0; i < 4; i++) { /* asked for all, then merged */
        o.header.held = (struct table_version){5 - i, 9 * i};
        o.header.sequence = 500 + i;
        const struct demand_merge_result r =
            report(d, &o, i >= 2, START_MS + i);
        assert_int_equal(r.wants_full, i < 2);
        assert_int_equal(r.held.term, 5 - i);
        assert_int_equal(r.held.sequence, 9 * i);
    }
    demand_free(d);
}

/* ---- rule 2 and rule 3 */

enum { NODES = 4, STEPS = 30, BOOTS = 3 };

/* Every report of a run of nodes that restart twice; the last of each boot is
 * of everything. */
struct run {
    struct buffer reports[NODES][STEPS];
    struct counters_values totals[CONTENTS];
};

static void
run_make(struct run *run, uint64_t *random)
{
    static const char *const names[NODES] = {"o1", "o2", "o3", "r1"};
    memset(run, 0, sizeof *run);
    for (unsigned n = 0; n < NODES; n++) {
        struct origin o = origin_make(names[n], n == 3 ? NODE_ROLE_REDIRECTOR
                                                       : NODE_ROLE_ORIGIN);
        for (unsigned step = 0; step < STEPS; step++) {
            if (step % (STEPS / BOOTS) == 0) {
                memset(o.values, 0, sizeof o.values);
                o.header.boot = 1 + random_next(random) % 1000000;
                o.header.sequence = 0;
            }
            for (unsigned i = 0; i < CONTENTS; i++) {
                o.values[i].requests += random_next(random) % 20;
                o.values[i].bytes += random_next(random) % 100000;
                o.values[i].starts += random_next(random) % 3;
                o.values[i].offloaded += random_next(random) % 2;
            }
            bool is_last = step % (STEPS / BOOTS) == STEPS / BOOTS - 1;
            unsigned mask = is_last ? ~0u : (unsigned) random_next(random);
            /* of some that list all the rest comes with the next */
            bool is_full = is_last || random_next(random) % 2 == 0;
            o.header.has_more = is_full && !is_last;
            run->reports[n][step] = origin_report(&o, is_full, mask);
            for (unsigned i = 0; is_last && i < CONTENTS; i++)
                values_add(&run->totals[i], &o.values[i]);
        }
    }
}

static void
run_end(struct run *run)
{
    for (unsigned n = 0; n < NODES; n++) {
        for (unsigned step = 0; step < STEPS; step++)
            buffer_fini(&run->reports[n][step]);
    }
}

static void
sums_do_not_depend_on_order_repetition_or_loss(void **state)
{
    uint64_t random = 2024;
    for (int round = 0; round < 200; round++) {
        struct run run;
        struct demand *d = demand_new(&demand_policy_default);
        uint64_t now = START_MS;
        run_make(&run, &random);
        for (unsigned i = 0; i < 400; i++) {
            /* any report at any time, many often, some never */
            unsigned n = random_below(&random, NODES);
            unsigned step = random_below(&random, STEPS);
            now += random_next(&random) % 1000;
            merge(d, &run.reports[n][step], now);
            if (i % 16 == 0)
                demand_advance(d, now);
        }
        /* at last the full ones arrive, too */
        for (unsigned n = 0; n < NODES; n++) {
            for (unsigned boot = 1; boot <= BOOTS; boot++)
                merge(d, &run.reports[n][boot * (STEPS / BOOTS) - 1], now);
        }
        for (unsigned i = 0; i < CONTENTS; i++) {
            struct counters_values v;
            assert_int_equal(demand_sums(d, content_name(i), &v), 0);
            assert_memory_equal(&v, &run.totals[i], sizeof v);
        }
        struct counters_values v;
        assert_int_equal(demand_sums(d, BYTES_LITERAL("zz"), &v),
                         ERR_NOT_FOUND);
        demand_free(d);
        run_end(&run);
    }
}

static void
two_managers_with_the_same_reports_make_the_same_table(void **state)
{
    uint64_t random = 7;
    struct run run;
    run_make(&run, &random);
    struct manager a, b;
    manager_make(&a, false);
    manager_make(&b, false);
    uint64_t now = START_MS;
    struct buffer table_a, table_b;
    for (unsigned step = 0; step < STEPS; step++, now += 500) {
        for (unsigned n = 0; n < NODES; n++) {
            merge(a.demand, &run.reports[n][step], now);
            merge(b.demand, &run.reports[NODES - 1 - n][step], now);
            /* once more, which changes nothing */
            merge(b.demand, &run.reports[NODES - 1 - n][step], now);
        }
        manager_turn(&a, now, &table_a);
        manager_turn(&b, now, &table_b);
        assert_true(
            bytes_equal(buffer_bytes(&table_a), buffer_bytes(&table_b)));
        buffer_fini(&table_a);
        buffer_fini(&table_b);
    }
    manager_end(&a);
    manager_end(&b);
    run_end(&run);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            a_node_that_ran_before_the_manager_is_asked_for_a_base),
        cmocka_unit_test(
            ids_of_all_lengths_are_told_apart_and_stay_where_they_are),
        cmocka_unit_test(
            changes_on_top_of_what_another_manager_was_told_are_not_merged),
        cmocka_unit_test(
            a_full_report_overtaken_by_a_restart_is_not_built_on_later),
        cmocka_unit_test(an_agent_that_lost_its_count_begins_a_new_chain),
        cmocka_unit_test(a_base_in_parts_adds_nothing_to_rates),
        cmocka_unit_test(counts_of_a_long_absence_are_no_surge),
        cmocka_unit_test(a_repetition_changes_nothing),
        cmocka_unit_test(a_new_boot_starts_at_zero_and_the_old_ones_sums_stay),
        cmocka_unit_test(an_agent_that_lost_its_count_is_heard_again),
        cmocka_unit_test(an_agent_whose_clock_was_set_back_is_measured_on),
        cmocka_unit_test(bad_bytes_change_nothing),
        cmocka_unit_test(of_too_many_contents_the_known_ones_are_counted_on),
        cmocka_unit_test(the_nodes_are_limited),
        cmocka_unit_test(the_version_that_the_node_holds_is_told),
        cmocka_unit_test(sums_do_not_depend_on_order_repetition_or_loss),
        cmocka_unit_test(
            two_managers_with_the_same_reports_make_the_same_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
