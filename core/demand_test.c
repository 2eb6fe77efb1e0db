/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked of a demand: rates, their order, and what it costs. */

#include "core/demand_world.h"

#include <math.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

/* Reports come in the middle of a bucket, and each content of the long tail
 * once in a while: what belongs before the window must not count. */
static void
single_requests_are_spread_over_the_time_they_came_in(void **state)
{
    enum { REPORTS = 30, TAIL = 1000 };
    struct demand *d = demand_new(&demand_policy_default);
    struct origin o = origin_make("o1", NODE_ROLE_ORIGIN);
    uint64_t now = START_MS + 150;
    double sum = 0;
    size_t count;
    for (int i = 0; i < REPORTS; i++, now += 500) {
        struct buffer b;
        buffer_init(&b, REPORT_SIZE_MAX);
        o.header.base = o.header.sequence++;
        report_begin(&b, &o.header);
        for (int j = 0; j < TAIL; j++) {
            char id[16];
            snprintf(id, sizeof id, "%d-%d", i, j);
            const struct report_entry entry = {bytes_of_text(id),
                                               {.requests = 1}};
            report_add(&b, &entry);
        }
        assert_int_equal(report_finish(&b), 0);
        merge(d, &b, now);
        buffer_fini(&b);
    }
    demand_advance(d, now - 500);
    const struct demand_rate *rates = demand_rates(d, &count);
    for (size_t i = 0; i < count; i++)
        sum += rates[i].rate;
    assert_true(fabs(sum / (2 * TAIL) - 1) < 0.005);
    assert_true(fabs(demand_nodes(d, &count)[0].rate / (2 * TAIL) - 1) < 0.005);
    demand_free(d);
}

static void
a_steady_rate_is_found_and_forgotten_again(void **state)
{
    struct demand *d = demand_new(&demand_policy_default);
    struct origin o = origin_make("o1", NODE_ROLE_ORIGIN);
    uint64_t now = START_MS;
    for (int i = 0; i < 60; i++, now += 500) {
        o.values[0].requests += 25; /* 50/s */
        report(d, &o, true, now);
    }
    demand_advance(d, now);
    struct demand_rate r = rate_find(d, "a");
    assert_true(fabs(r.rate - 50) < 3);
    assert_true(r.rate_surge >= r.rate && r.rate_surge < 55);
    size_t count;
    const struct demand_node *nodes = demand_nodes(d, &count);
    assert_int_equal(count, 1);
    assert_true(fabs(nodes[0].rate - 50) < 3);
    assert_true(nodes[0].load > 4700 && nodes[0].load < 5300);
    assert_int_equal(nodes[0].state, NODE_UP);
    demand_advance(d, now + 11000);
    demand_rates(d, &count);
    assert_int_equal(count, 0);
    assert_int_equal(sums(d, "a").requests, 60 * 25);
    nodes = demand_nodes(d, &count);
    assert_int_equal(nodes[0].state, NODE_DOWN);
    assert_int_equal(nodes[0].load, 0);
    demand_advance(d, now + DEMAND_NODE_FORGET_MS + 20000);
    demand_nodes(d, &count);
    assert_int_equal(count, 0);
    demand_free(d);
}

static struct demand_node
first_node(struct demand *d, uint64_t now)
{
    size_t count;
    demand_advance(d, now);
    return demand_nodes(d, &count)[0];
}

static void
a_steady_rate_takes_two_minutes(void **state)
{
    struct demand *d = demand_new(&demand_policy_default);
    struct origin o = origin_make("o1", NODE_ROLE_ORIGIN);
    uint64_t now = START_MS;
    for (int silence = 0; silence < 2; silence++) {
        now += 5000;
        for (int i = 0; i < 2 * 140; i++, now += 500) {
            o.values[0].requests += 25; /* 50/s */
            report(d, &o, true, now);
            if (i < 2 * 119)
                assert_true(first_node(d, now).is_young);
        }
        const struct demand_node node = first_node(d, now);
        assert_false(node.is_young);
        assert_true(fabs(node.steady - 50) < 0.5);
        /* n - 2 sqrt(n) of 6000 to 6500 */
        assert_in_range((node.steady - node.steady_least) * 100, 123, 130);
    }
    /* half as much for a minute is three quarters of it */
    for (int i = 0; i < 2 * 60; i++, now += 500) {
        o.values[0].requests += i % 2 ? 25 : 0;
        report(d, &o, true, now);
    }
    assert_true(fabs(first_node(d, now).steady - 37.5) < 1.5);
    demand_free(d);
}

static void
a_node_that_will_report_in_a_moment_is_as_loaded_as_before(void **state)
{
    struct demand *d = demand_new(&demand_policy_default);
    struct origin o = origin_make("o1", NODE_ROLE_ORIGIN);
    uint64_t now = START_MS;
    size_t count;
    for (int i = 0; i < 60; i++, now += 500) {
        o.values[0].requests += 25; /* 50/s */
        report(d, &o, true, now);
    }
    for (int late_ms = 0; late_ms < 2500; late_ms += 100) {
        demand_advance(d, now - 500 + late_ms);
        assert_true(fabs(demand_nodes(d, &count)[0].rate - 50) < 0.8);
    }
    demand_free(d);
}

/* What was kept of a content goes to another that comes after it. */
static void
a_content_that_was_forgotten_is_counted_apart_from_then_on(void **state)
{
    struct demand *d = demand_new(&demand_policy_default);
    struct origin o = origin_make("o1", NODE_ROLE_ORIGIN);
    o.values[0].requests += 100;
    report(d, &o, true, START_MS);
    demand_advance(d, START_MS + 20000);
    o.values[1].requests += 40;
    report(d, &o, false, START_MS + 20000);
    o.values[0].requests += 80;
    report(d, &o, false, START_MS + 20500);
    demand_advance(d, START_MS + 20500);
    assert_true(fabs(rate_find(d, "a").rate - 8) < 0.5);
    assert_true(rate_find(d, "b").rate < 4.5);
    demand_advance(d, START_MS + 40000);
    assert_true(rate_find(d, "a").rate == 0);
    demand_free(d);
}

static void
a_surge_is_seen_within_a_second_or_two(void **state)
{
    struct demand *d = demand_new(&demand_policy_default);
    struct origin o = origin_make("o1", NODE_ROLE_ORIGIN);
    uint64_t now = START_MS;
    for (int i = 0; i < 40; i++, now += 500)
        report(d, &o, true, now);
    for (int i = 0; i < 3; i++, now += 500) {
        o.values[0].requests += 100; /* 200/s */
        report(d, &o, true, now);
    }
    demand_advance(d, now);
    struct demand_rate r = rate_find(d, "a");
    assert_true(r.rate < 35);
    assert_true(r.rate_surge > 100 && r.rate_surge <= 200);
    demand_free(d);
}

/* Three nodes answer a third each and report once a second, one after the
 * other: at no time has the last second been told whole. */
static void
a_surge_little_above_a_limit_is_seen_whoever_reports_when(void **state)
{
    enum { TICK_MS = 50, LIMIT = 1440 };
    for (uint64_t phase = 0; phase < 1000; phase += TICK_MS) {
        struct demand *d = demand_new(&demand_policy_default);
        struct origin origins[] = {origin_make("o1", NODE_ROLE_ORIGIN),
                                   origin_make("o2", NODE_ROLE_ORIGIN),
                                   origin_make("o3", NODE_ROLE_ORIGIN)};
        uint64_t jump_ms = START_MS + 20000 + phase, now = START_MS,
                 seen_ms = 0;
        for (; now < jump_ms + 6000; now += TICK_MS) {
            for (unsigned i = 0; i < 3; i++) {
                /* 240/s, then 1680/s */
                origins[i].values[0].requests += now < jump_ms ? 4 : 28;
                if ((now + i * 350) % 1000 == 0)
                    report(d, &origins[i], true, now);
            }
            demand_advance(d, now);
            if (seen_ms == 0 && rate_find(d, "a").rate_surge >= LIMIT)
                seen_ms = now;
        }
        assert_in_range(seen_ms, jump_ms, jump_ms + 2500);
        demand_free(d);
    }
}

static void
a_report_that_comes_late_is_no_surge(void **state)
{
    struct demand *d = demand_new(&demand_policy_default);
    struct origin o = origin_make("o1", NODE_ROLE_ORIGIN);
    uint64_t now = START_MS;
    for (int i = 0; i < 40; i++, now += 500) {
        o.values[0].requests += 50;
        report(d, &o, true, now);
    }
    now += 4000; /* nothing arrives, the requests go on */
    o.values[0].requests += 50 * 9;
    report(d, &o, true, now);
    demand_advance(d, now);
    struct demand_rate r = rate_find(d, "a");
    assert_true(fabs(r.rate - 100) < 8);
    assert_true(r.rate_surge < 110);
    demand_free(d);
}

static void
a_first_report_counts_from_zero(void **state)
{
    struct demand *d = demand_new(&demand_policy_default);
    struct origin o = origin_make("o1", NODE_ROLE_ORIGIN);
    o.values[0].requests = 100;
    struct demand_merge_result r = report(d, &o, false, START_MS);
    assert_true(!r.wants_full && r.is_new);
    demand_advance(d, START_MS);
    assert_true(rate_find(d, "a").rate > 9);
    demand_free(d);
}

static void
plays_are_those_of_redirectors_and_offloaded_ones_are_demand(void **state)
{
    struct demand_policy policy = demand_policy_default;
    policy.requests_per_play = 40;
    struct demand *d = demand_new(&policy);
    struct origin o = origin_make("o1", NODE_ROLE_ORIGIN);
    struct origin r = origin_make("r1", NODE_ROLE_REDIRECTOR);
    uint64_t now = START_MS;
    for (int i = 0; i < 60; i++, now += 500) {
        r.values[0].requests += 1;
        r.values[0].starts += 1; /* 2 plays/s, all to the CDN */
        r.values[0].offloaded += 1;
        o.values[0].starts += 5;    /* not counted a second time */
        o.values[0].requests += 10; /* 20/s on own servers */
        report(d, &r, true, now);
        report(d, &o, true, now);
    }
    demand_advance(d, now);
    struct demand_rate rate = rate_find(d, "a");
    assert_true(fabs(rate.starts - 2) < 0.3);
    assert_true(fabs(rate.rate - (20 + 2 * 40)) < 8);
    demand_free(d);
}

static void
requests_per_play_are_learnt(void **state)
{
    struct demand *d = demand_new(&demand_policy_default);
    struct origin o = origin_make("o1", NODE_ROLE_ORIGIN);
    uint64_t now = START_MS;
    assert_true(demand_requests_per_play(d) == 100);
    for (int i = 0; i < 2000; i++, now += 500) {
        o.values[0].requests += 30;
        o.values[0].starts += 3;
        o.values[0].offloaded += 1;
        report(d, &o, true, now);
    }
    assert_true(fabs(demand_requests_per_play(d) - 15) < 2);
    demand_free(d);
}

static void
false_counts_do_not_spoil_requests_per_play(void **state)
{
    static const struct counters_values cases[] = {
        {.requests = 1ull << 62},
        {.starts = 1ull << 62},
        {.starts = 1, .offloaded = 1 << 20},
        {.requests = UINT64_MAX, .starts = UINT64_MAX},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct demand *d = demand_new(&demand_policy_default);
        struct origin o = origin_make("o1", NODE_ROLE_ORIGIN);
        struct origin wrong = origin_make("o2", NODE_ROLE_ORIGIN);
        o.values[0].requests = 600;
        o.values[0].starts = 40;
        report(d, &o, true, START_MS);
        const double before = demand_requests_per_play(d);
        assert_true(before < 70);
        wrong.values[0] = cases[i];
        report(d, &wrong, true, START_MS + 1);
        assert_true(demand_requests_per_play(d) == before);
        /* and it goes on */
        o.values[0].requests += 6000;
        o.values[0].starts += 400;
        report(d, &o, true, START_MS + 500);
        assert_true(demand_requests_per_play(d) < 25);
        demand_free(d);
    }
}

static void
rates_are_sorted_by_surge_then_id(void **state)
{
    struct demand *d = demand_new(&demand_policy_default);
    struct origin o = origin_make("o1", NODE_ROLE_ORIGIN);
    size_t count;
    for (unsigned i = 0; i < CONTENTS; i++)
        o.values[i].requests = 1 + (i * 7 % 5) * 100;
    report(d, &o, true, START_MS);
    demand_advance(d, START_MS);
    const struct demand_rate *rates = demand_rates(d, &count);
    assert_int_equal(count, CONTENTS);
    for (size_t i = 1; i < count; i++)
        assert_true(rates[i - 1].rate_surge > rates[i].rate_surge
                    || (rates[i - 1].rate_surge == rates[i].rate_surge
                        && rates[i - 1].id.ptr[0] < rates[i].id.ptr[0]));
    demand_free(d);
}

static void
a_selection_is_of_the_hottest_and_the_rest_is_summed_up(void **state)
{
    struct demand *d = demand_new(&demand_policy_default);
    struct origin o = origin_make("o1", NODE_ROLE_ORIGIN);
    size_t all_count, count;
    double rest, sum = 0;
    for (unsigned i = 0; i < CONTENTS; i++)
        o.values[i].requests = 100u << i;
    report(d, &o, true, START_MS);
    demand_advance(d, START_MS);
    struct demand_rate all[CONTENTS];
    const struct demand_rate *rates = demand_rates(d, &all_count);
    assert_int_equal(all_count, CONTENTS);
    memcpy(all, rates, sizeof all);
    for (size_t hot = 1; hot <= CONTENTS; hot++) {
        /* by surge, by what the rest may be, by number: the same */
        const double surge = all[hot - 1].rate_surge;
        double left = 0;
        for (size_t i = hot; i < CONTENTS; i++)
            left += all[i].rate;
        const struct demand_selection selections[] = {
            {.surge_min = surge, .colder_max = INFINITY},
            {.surge_min = surge * 1000, .colder_max = left * 1.0001},
            {.surge_min = surge * 1000,
             .colder_max = INFINITY,
             .count_min = hot},
        };
        for (size_t i = 0; i < 3; i++) {
            rates = demand_rates_select(d, &selections[i], &count, &rest);
            assert_true(i == 0 ? count == hot : count >= hot);
            sum = rest;
            for (size_t j = 0; j < count; j++) {
                assert_memory_equal(&rates[j], &all[j], sizeof all[0]);
                sum += rates[j].rate;
            }
            for (size_t j = 0; j < CONTENTS; j++)
                sum -= all[j].rate;
            assert_true(fabs(sum) < 1e-6);
        }
    }
    /* and rows, however cold */
    const struct table_row row = {.id = all[CONTENTS - 1].id,
                                  .hash = all[CONTENTS - 1].hash};
    const struct demand_selection cold = {.surge_min = all[0].rate_surge,
                                          .colder_max = INFINITY,
                                          .rows = &row,
                                          .row_count = 1};
    rates = demand_rates_select(d, &cold, &count, &rest);
    assert_int_equal(count, 2);
    assert_memory_equal(&rates[1], &all[CONTENTS - 1], sizeof all[0]);
    demand_free(d);
}

/* ---- size */

static size_t
resident_bytes(void)
{
    unsigned long pages = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f != NULL && fscanf(f, "%lu %lu", &pages, &resident) != 2)
        resident = 0;
    if (f != NULL)
        fclose(f);
    return resident * (size_t) sysconf(_SC_PAGESIZE);
}

static double
cpu_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double) t.tv_sec * 1e3 + (double) t.tv_nsec / 1e6;
}

static struct buffer
catalogue_report(const char *name, unsigned sequence)
{
    struct origin o = origin_make(name, NODE_ROLE_ORIGIN);
    struct buffer b;
    char id[32];
    buffer_init(&b, REPORT_SIZE_MAX);
    o.header.sequence = sequence;
    report_begin(&b, &o.header);
    for (unsigned i = 0; i < 370000; i++) {
        int len = snprintf(id, sizeof id, "content-%012u", i);
        struct report_entry e = {
            .id = bytes_of(id, (size_t) len),
            .values = {sequence * 3, sequence * 1000000ull, sequence, 0}};
        report_add(&b, &e);
    }
    assert_int_equal(report_finish(&b), 0);
    return b;
}

static void
a_whole_catalogue_of_three_nodes_takes_under_256_mb(void **state)
{
    size_t before = resident_bytes(), count;
    struct demand *d = demand_new(&demand_policy_default);
    static const char *const names[] = {"o1", "o2", "o3"};
    double start = 0, spent = 0;
    for (unsigned sequence = 1; sequence <= 2; sequence++) {
        for (unsigned n = 0; n < 3; n++) {
            struct buffer b = catalogue_report(names[n], sequence);
            start = cpu_ms();
            merge(d, &b, START_MS + sequence * 500);
            spent += cpu_ms() - start;
            buffer_fini(&b);
        }
    }
    start = cpu_ms();
    demand_advance(d, START_MS + 1500);
    demand_rates(d, &count);
    double rates_ms = cpu_ms() - start;
    assert_int_equal(count, 370000);
    size_t used = resident_bytes() - before;
    printf("%.0f MB; merge %.0f ms a report, rates %.0f ms\n",
           (double) used / 1e6, spent / 6, rates_ms);
#ifndef __SANITIZE_ADDRESS__
    assert_true(used < 256u << 20);
#endif
    demand_free(d);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        /* first, while the heap is small */
        cmocka_unit_test(a_whole_catalogue_of_three_nodes_takes_under_256_mb),
        cmocka_unit_test(single_requests_are_spread_over_the_time_they_came_in),
        cmocka_unit_test(a_steady_rate_is_found_and_forgotten_again),
        cmocka_unit_test(a_steady_rate_takes_two_minutes),
        cmocka_unit_test(
            a_node_that_will_report_in_a_moment_is_as_loaded_as_before),
        cmocka_unit_test(
            a_content_that_was_forgotten_is_counted_apart_from_then_on),
        cmocka_unit_test(a_surge_is_seen_within_a_second_or_two),
        cmocka_unit_test(
            a_surge_little_above_a_limit_is_seen_whoever_reports_when),
        cmocka_unit_test(a_report_that_comes_late_is_no_surge),
        cmocka_unit_test(a_first_report_counts_from_zero),
        cmocka_unit_test(
            plays_are_those_of_redirectors_and_offloaded_ones_are_demand),
        cmocka_unit_test(requests_per_play_are_learnt),
        cmocka_unit_test(false_counts_do_not_spoil_requests_per_play),
        cmocka_unit_test(rates_are_sorted_by_surge_then_id),
        cmocka_unit_test(
            a_selection_is_of_the_hottest_and_the_rest_is_summed_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
