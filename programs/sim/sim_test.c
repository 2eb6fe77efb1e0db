/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "programs/sim/sim.h"

/* Small enough for a test: 10 nodes of 500 plays. */
static struct sim_config
small(void)
{
    return (struct sim_config){
        .seed = 1,
        .nodes = 10,
        .contents = 5000,
        .zipf = 1.0,
        .capacity = 500,
        .utilisation = 0.6,
        .warmup_ms = 20000,
        .duration_ms = 120000,
        .step_ms = 500,
        .interval_ms = 500,
        .segment_ms = 6000,
        .watch_ms = 300000,
        .tracks = 1,
        .table_delay_ms = 1000,
        .has_spill = true,
        .demand = demand_policy_default,
        .classify = classify_policy_default,
    };
}

static struct figures_values
run(const struct sim_config *config)
{
    struct figures_values values;
    assert_int_equal(sim_run(config, NULL, &values), 0);
    return values;
}

static void
the_same_seed_gives_the_same_figures(void **state)
{
    struct sim_config config = small();
    config.loss = 0.1;
    config.delay_ms = 700;
    struct figures_values a = run(&config), b = run(&config);
    assert_memory_equal(&a, &b, sizeof a);
    config.seed = 2;
    b = run(&config);
    assert_true(a.starts != b.starts);
}

static void
as_many_plays_run_as_were_asked_for(void **state)
{
    struct sim_config config = small();
    config.duration_ms = 600000; /* twice as long as a play */
    const struct figures_values values = run(&config);
    assert_true(fabs(values.plays / 3000 - 1) < 0.08);
    assert_true(fabs(values.starts / 6000 - 1) < 0.05);
    assert_true(values.refused == 0 && values.dead_requests == 0);
}

static struct sim_config
crowded(uint64_t table_delay_ms)
{
    struct sim_config config = small();
    config.flash_ms = 30000;
    config.flash_ramp_ms = 20000;
    config.flash_share = 0.2;
    config.table_delay_ms = table_delay_ms;
    return config;
}

static void
no_node_passes_its_capacity_however_old_the_table_is(void **state)
{
    static const uint64_t ages_ms[] = {0, 10000, 300000};
    for (size_t i = 0; i < sizeof ages_ms / sizeof ages_ms[0]; i++) {
        struct sim_config config = crowded(ages_ms[i]);
        struct figures_values values = run(&config);
        assert_true(values.load_peak <= 1);
        assert_true(values.plays > 3500);
        config.has_spill = false;
        values = run(&config);
        if (ages_ms[i] == 300000)
            assert_true(values.load_sustained > 1.5);
    }
}

static void
a_crowd_climbs_the_levels_after_the_table_s_age(void **state)
{
    struct sim_config config = crowded(5000);
    config.delay_ms = 200;
    const struct figures_values values = run(&config);
    assert_true(values.seconds_to_first_table <= 2);
    assert_true(values.seconds_to_normal >= 5);
    assert_true(values.seconds_to_hot >= values.seconds_to_normal);
    assert_true(values.seconds_to_hot <= 20);
    assert_true(isnan(values.seconds_to_critical));
}

static void
levels_are_reached_with_a_third_of_all_messages_lost(void **state)
{
    struct sim_config config = crowded(0);
    config.loss = 0.3;
    config.delay_ms = 1500; /* they overtake each other */
    const struct figures_values values = run(&config);
    assert_true(values.seconds_to_hot <= 20);
    assert_true(values.load_peak <= 1);
    assert_true(values.refused == 0);
}

static void
plays_of_a_dead_node_go_on_elsewhere(void **state)
{
    struct sim_config config = small();
    config.kill_node = 3;
    config.kill_ms = 40000;
    const struct figures_values values = run(&config);
    assert_true(values.dead_requests > 100);
    assert_true(fabs(values.plays / 3000 - 1) < 0.1);
    assert_true(values.refused == 0);
}

/* Tables say for a minute that it is up: who meets it says so and is led to
 * another, at once and not a segment later. */
static void
a_viewer_who_is_led_to_a_dead_node_says_so(void **state)
{
    struct sim_config config = small();
    config.table_delay_ms = 60000;
    config.kill_node = 3;
    config.kill_ms = 30000;
    const struct figures_values values = run(&config);
    /* some 300 plays, and in a minute some 60 that start; each twice */
    assert_true(values.dead_requests > 300);
    assert_true(values.dead_requests < 1200); /* and not one a segment: 3000 */
    assert_true(fabs(values.plays / 3000 - 1) < 0.1);
    assert_true(values.refused == 0);
}

static void
the_cdn_takes_what_is_over_the_target(void **state)
{
    struct sim_config config = small();
    config.utilisation = 1.2;
    config.is_exact = true;
    config.duration_ms = 1800000;
    config.classify.has_cdn = true;
    const struct figures_values values = run(&config);
    assert_true(values.cdn_share > 0.25);
    assert_true(values.cdn_to_least < 1.1);
    assert_true(values.load_sustained <= 1);
}

static void
a_swap_moves_the_levels_to_other_contents(void **state)
{
    struct sim_config config = small();
    config.duration_ms = 600000;
    config.swap_ms = 30000;
    const struct figures_values values = run(&config);
    assert_true(values.level_changes_per_hour > 0);
    assert_true(values.load_peak <= 1);
    /* what lost owners moves, and no play twice in 5 minutes */
    assert_true(values.moves_per_play > 0.01);
    assert_true(values.moves_per_play < 0.2);
    assert_true(values.moves_too_soon == 0);
}

static void
a_play_that_came_lately_stays_where_it_is(void **state)
{
    struct sim_config config = small();
    config.duration_ms = 280000;
    config.watch_ms = 60000; /* hardly one is under way for the hold time */
    config.swap_ms = 30000;
    const struct figures_values values = run(&config);
    assert_true(values.level_changes_per_hour > 0);
    assert_true(values.moves_per_play < 0.001);
}

/* As in tests/integration/test_sim_agrees.py, where a platform says the same.
 */
static void
an_audience_comes_to_nodes_of_vodst_up(void **state)
{
    static const char *const names[] = {"popular", "demo", "quiet"};
    static const double weights[] = {8, 1, 1};
    struct sim_config config = small();
    config.nodes = 4;
    config.capacity = 900;
    config.classify.spread = 0.33;
    config.names = names;
    config.weights = weights;
    config.contents = 3;
    config.rate = 40;
    config.ramp_ms = 0;
    config.warmup_ms = 0;
    config.step_ms = 100;
    config.segment_ms = 2000;
    config.watch_ms = 10000;
    config.buffer_ms = 4000;
    config.opening = 5;
    config.tracks = 2;
    const struct figures_values values = run(&config);
    uint64_t plays = 0, requests = 0;
    for (uint32_t i = 0; i < config.nodes + 2; i++) {
        plays += values.nodes[i].plays;
        requests += values.nodes[i].requests;
    }
    /* the first step is not measured; plays are under way at the end */
    assert_true(values.starts == plays);
    assert_true(fabs(plays / (40 * 120.0) - 1) < 0.08);
    assert_true(fabs((double) requests / (15 * plays) - 1) < 0.02);
    /* of 480 requests/s it has 384, and another owner for each 297 */
    assert_true(values.seconds_to_normal < 10);
    assert_true(isnan(values.seconds_to_hot));
    char name[SIM_NODE_NAME_SIZE];
    assert_true(
        bytes_equal(node_name(&config, 3, name), BYTES_LITERAL("origin4")));
    config.names = NULL;
    assert_true(
        bytes_equal(node_name(&config, 3, name), BYTES_LITERAL("n0003")));
}

static void
the_plot_has_a_line_a_second(void **state)
{
    struct sim_config config = small();
    struct figures_values values;
    char line[256];
    unsigned lines = 0;
    FILE *plot = tmpfile();
    assert_non_null(plot);
    assert_int_equal(sim_run(&config, plot, &values), 0);
    rewind(plot);
    while (fgets(line, sizeof line, plot) != NULL)
        lines += line[0] != '#';
    assert_int_equal(lines, 140);
    fclose(plot);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_seed_gives_the_same_figures),
        cmocka_unit_test(as_many_plays_run_as_were_asked_for),
        cmocka_unit_test(no_node_passes_its_capacity_however_old_the_table_is),
        cmocka_unit_test(a_crowd_climbs_the_levels_after_the_table_s_age),
        cmocka_unit_test(levels_are_reached_with_a_third_of_all_messages_lost),
        cmocka_unit_test(plays_of_a_dead_node_go_on_elsewhere),
        cmocka_unit_test(a_viewer_who_is_led_to_a_dead_node_says_so),
        cmocka_unit_test(the_cdn_takes_what_is_over_the_target),
        cmocka_unit_test(a_swap_moves_the_levels_to_other_contents),
        cmocka_unit_test(a_play_that_came_lately_stays_where_it_is),
        cmocka_unit_test(an_audience_comes_to_nodes_of_vodst_up),
        cmocka_unit_test(the_plot_has_a_line_a_second),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
