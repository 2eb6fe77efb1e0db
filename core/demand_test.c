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
#include <unistd.h>

#include "core/classify.h"
#include "core/content.h"
#include "core/demand_private.h"
#include "core/err.h"

static uint64_t
random_next(uint64_t *state)
{
    uint64_t x = *state += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* A node as the tests see it: counts, and the reports of them. */
enum { CONTENTS = 12 };
struct origin {
    struct report_header header;
    struct counters_values values[CONTENTS];
};

static struct origin
origin_make(const char *name, enum node_role role)
{
    return (struct origin){.header = {
                               .node = bytes_of_text(name),
                               .url = BYTES_LITERAL("http://127.0.0.1:1"),
                               .role = role,
                               .weight = 100,
                               .capacity_milli = 100000,
                               .boot = 1,
                           }};
}

static struct bytes
content_name(unsigned i)
{
    static const char names[] = "abcdefghijkl";
    return bytes_of(&names[i], 1);
}

/* The next report, of the contents in the mask; builds on the one before. */
static struct buffer
origin_report(struct origin *o, bool is_full, unsigned mask)
{
    struct buffer b;
    buffer_init(&b, REPORT_SIZE_MAX);
    o->header.base = is_full ? 0 : o->header.sequence;
    o->header.sequence++;
    report_begin(&b, &o->header);
    for (unsigned i = 0; i < CONTENTS; i++) {
        struct report_entry entry = {content_name(i), o->values[i]};
        if (mask & 1u << i)
            report_add(&b, &entry);
    }
    assert_int_equal(report_finish(&b), 0);
    return b;
}

static struct demand_merge_result
merge(struct demand *d, const struct buffer *b, uint64_t now_ms)
{
    struct demand_merge_result result;
    assert_int_equal(demand_merge(d, buffer_bytes(b), now_ms, &result), 0);
    return result;
}

static struct demand_merge_result
report(struct demand *d, struct origin *o, bool is_full, uint64_t now_ms)
{
    struct buffer b = origin_report(o, is_full, (1u << CONTENTS) - 1);
    struct demand_merge_result result = merge(d, &b, now_ms);
    buffer_fini(&b);
    return result;
}

static struct demand_rate
rate_find(struct demand *d, const char *id)
{
    size_t count;
    const struct demand_rate *rates = demand_rates(d, &count);
    for (size_t i = 0; i < count; i++) {
        if (bytes_equal(rates[i].id, bytes_of_text(id)))
            return rates[i];
    }
    return (struct demand_rate){.rate = 0};
}

static struct counters_values
sums(const struct demand *d, const char *id)
{
    struct counters_values v = {0};
    if (demand_sums(d, bytes_of_text(id), &v) != 0)
        memset(&v, 0, sizeof v);
    return v;
}

#define START_MS 1000000u

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
    struct demand *d = demand_new(&demand_policy_default);
    struct origin o = origin_make("o1", NODE_ROLE_ORIGIN);
    struct demand_merge_result result;
    struct counters_values sums;
    for (unsigned i = 0; i < 3; i++)
        o.values[i].requests = 1;
    struct buffer b = origin_report(&o, true, 5); /* not of the second */
    assert_int_equal(demand_merge(d, buffer_bytes(&b), START_MS, &result), 0);
    buffer_fini(&b);
    const uint32_t count = d->contents.count;
    d->contents.count = CONTENTS_MAX;
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
    d->contents.count = count;
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
the_greatest_version_held_is_known(void **state)
{
    struct demand *d = demand_new(&demand_policy_default);
    struct origin o = origin_make("o1", NODE_ROLE_ORIGIN);
    o.header.held = (struct table_version){5, 9};
    report(d, &o, true, START_MS);
    o.header.held = (struct table_version){4, 99};
    report(d, &o, true, START_MS + 1);
    assert_int_equal(demand_held_version(d).term, 5);
    assert_int_equal(demand_held_version(d).sequence, 9);
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
            for (unsigned i = 0; is_last && i < CONTENTS; i++) {
                run->totals[i].requests += o.values[i].requests;
                run->totals[i].bytes += o.values[i].bytes;
                run->totals[i].starts += o.values[i].starts;
                run->totals[i].offloaded += o.values[i].offloaded;
            }
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
            unsigned n = (unsigned) (random_next(&random) % NODES);
            unsigned step = (unsigned) (random_next(&random) % STEPS);
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
table_of(struct demand *d, uint64_t now_ms, struct buffer *out)
{
    struct classify_policy policy = classify_policy_default;
    struct classify_input input = {.now_ms = now_ms};
    struct table_node nodes[NODES];
    struct table table = {.nodes = nodes};
    struct table_row *rows;
    policy.has_cdn = true;
    demand_advance(d, now_ms);
    input.rates = demand_rates(d, &input.rate_count);
    input.nodes = demand_nodes(d, &input.node_count);
    assert_int_equal(classify(&policy, &input, &rows, &table.row_count), 0);
    for (size_t i = 0; i < input.node_count; i++) {
        const struct demand_node *n = &input.nodes[i];
        nodes[table.node_count++] =
            (struct table_node){.name = n->last.node,
                                .url = n->last.url,
                                .weight = n->last.weight,
                                .load = n->load,
                                .state = n->state};
    }
    table.rows = rows;
    buffer_init(out, TABLE_SIZE_MAX);
    assert_int_equal(table_encode(&table, out), 0);
    free(rows);
}

static void
two_managers_with_the_same_reports_make_the_same_table(void **state)
{
    uint64_t random = 7;
    struct run run;
    run_make(&run, &random);
    struct demand *a = demand_new(&demand_policy_default);
    struct demand *b = demand_new(&demand_policy_default);
    uint64_t now = START_MS;
    struct buffer table_a, table_b;
    for (unsigned step = 0; step < STEPS; step++, now += 500) {
        for (unsigned n = 0; n < NODES; n++) {
            merge(a, &run.reports[n][step], now);
            merge(b, &run.reports[NODES - 1 - n][step], now);
            /* once more, which changes nothing */
            merge(b, &run.reports[NODES - 1 - n][step], now);
        }
        table_of(a, now, &table_a);
        table_of(b, now, &table_b);
        assert_true(
            bytes_equal(buffer_bytes(&table_a), buffer_bytes(&table_b)));
        buffer_fini(&table_a);
        buffer_fini(&table_b);
    }
    demand_free(a);
    demand_free(b);
    run_end(&run);
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
        cmocka_unit_test(a_surge_is_seen_within_a_second_or_two),
        cmocka_unit_test(a_report_that_comes_late_is_no_surge),
        cmocka_unit_test(
            a_node_that_ran_before_the_manager_is_asked_for_a_base),
        cmocka_unit_test(
            changes_on_top_of_what_another_manager_was_told_are_not_merged),
        cmocka_unit_test(
            a_full_report_overtaken_by_a_restart_is_not_built_on_later),
        cmocka_unit_test(an_agent_that_lost_its_count_begins_a_new_chain),
        cmocka_unit_test(a_base_in_parts_adds_nothing_to_rates),
        cmocka_unit_test(counts_of_a_long_absence_are_no_surge),
        cmocka_unit_test(a_first_report_counts_from_zero),
        cmocka_unit_test(a_repetition_changes_nothing),
        cmocka_unit_test(a_new_boot_starts_at_zero_and_the_old_ones_sums_stay),
        cmocka_unit_test(an_agent_that_lost_its_count_is_heard_again),
        cmocka_unit_test(
            plays_are_those_of_redirectors_and_offloaded_ones_are_demand),
        cmocka_unit_test(requests_per_play_are_learnt),
        cmocka_unit_test(rates_are_sorted_by_surge_then_id),
        cmocka_unit_test(
            a_selection_is_of_the_hottest_and_the_rest_is_summed_up),
        cmocka_unit_test(bad_bytes_change_nothing),
        cmocka_unit_test(of_too_many_contents_the_known_ones_are_counted_on),
        cmocka_unit_test(the_nodes_are_limited),
        cmocka_unit_test(the_greatest_version_held_is_known),
        cmocka_unit_test(sums_do_not_depend_on_order_repetition_or_loss),
        cmocka_unit_test(
            two_managers_with_the_same_reports_make_the_same_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
