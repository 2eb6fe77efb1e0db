/* SPDX-License-Identifier: Apache-2.0 */
/* Classes of demand that comes by reports, with its noise, for long. */

#include "core/classify_world.h"
#include "core/test_random.h"

#include <math.h>
#include <stdio.h>

static double
random_unit(uint64_t *state)
{
    return ((double) (random_next(state) >> 11) + 0.5) / 9007199254740992.0;
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

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_share_the_cdn_gets_hardly_more_than_the_least),
        cmocka_unit_test(steady_demand_with_noise_does_not_flap),
        cmocka_unit_test(
            levels_rise_within_two_seconds_and_fall_when_the_demand_is_gone),
        cmocka_unit_test(what_cannot_matter_may_be_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
