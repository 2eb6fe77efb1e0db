/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>

#include "core/err.h"
#include "programs/sim/audience.h"
#include "programs/sim/pairs.h"
#include "programs/sim/random.h"

enum { DRAWS = 200000 };

static void
a_seed_gives_the_same_numbers_and_each_stream_others(void **state)
{
    struct rng a = rng_of(7, 1), b = rng_of(7, 1), c = rng_of(7, 2);
    for (int i = 0; i < 1000; i++) {
        const uint64_t x = rng_next(&a);
        assert_int_equal(x, rng_next(&b));
        assert_true(x != rng_next(&c));
    }
}

static void
poisson_numbers_have_their_mean_and_variance(void **state)
{
    static const double means[] = {0.3, 4, 29.5, 30, 100, 1234.5};
    for (size_t i = 0; i < sizeof means / sizeof means[0]; i++) {
        struct rng rng = rng_of(1, i);
        double sum = 0, squares = 0;
        enum { N = 20000 };
        for (int j = 0; j < N; j++) {
            const double n = (double) rng_poisson(&rng, means[i]);
            sum += n;
            squares += (n - means[i]) * (n - means[i]);
        }
        assert_true(fabs(sum / N - means[i]) < 4 * sqrt(means[i] / N));
        assert_true(fabs(squares / N / means[i] - 1) < 0.06);
    }
    struct rng rng = rng_of(1, 1);
    assert_int_equal(rng_poisson(&rng, 0), 0);
}

static void
geometric_numbers_have_their_mean_and_are_at_least_1(void **state)
{
    static const double means[] = {1, 1.5, 10, 300};
    for (size_t i = 0; i < sizeof means / sizeof means[0]; i++) {
        struct rng rng = rng_of(2, i);
        double sum = 0;
        for (int j = 0; j < DRAWS; j++) {
            const uint64_t n = rng_geometric(&rng, means[i]);
            assert_true(n >= 1);
            sum += (double) n;
        }
        assert_true(fabs(sum / DRAWS / means[i] - 1) < 0.02);
    }
}

static void
draws_follow_the_weights(void **state)
{
    double weights[] = {5, 0, 1, 0.5, 3.5};
    const double shares[] = {0.5, 0, 0.1, 0.05, 0.35};
    unsigned got[5] = {0};
    struct alias alias;
    struct rng rng = rng_of(3, 0);
    assert_int_equal(alias_init(&alias, weights, 5), 0);
    for (int i = 0; i < DRAWS; i++)
        got[alias_draw(&alias, &rng)]++;
    for (int i = 0; i < 5; i++)
        assert_true(fabs((double) got[i] / DRAWS - shares[i]) < 0.005);
    assert_int_equal(got[1], 0);
    alias_fini(&alias);
}

static void
a_swap_gives_every_content_one_rank(void **state)
{
    static const uint32_t counts[] = {1, 2, 10, 97, 360};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        const struct sim_config config = {
            .seed = i, .contents = counts[i], .zipf = 1};
        struct audience audience;
        bool seen[360] = {false};
        assert_int_equal(audience_init(&audience, &config), 0);
        for (uint32_t rank = 0; rank < counts[i]; rank++)
            assert_int_equal(audience_content(&audience, rank), rank);
        audience.is_swapped = true;
        for (uint32_t rank = 0; rank < counts[i]; rank++) {
            const uint32_t content = audience_content(&audience, rank);
            assert_true(content < counts[i]);
            assert_false(seen[content]);
            seen[content] = true;
        }
        audience_fini(&audience);
    }
}

static void
a_name_leads_back_to_its_content(void **state)
{
    static const uint32_t contents[] = {0, 9, 10, 15, 16, 370000, UINT32_MAX};
    uint8_t name[CONTENT_NAME_LEN];
    static const char *const names[] = {"popular", "quiet"};
    const struct sim_config catalogue = {0}, audience = {.names = names};
    for (size_t i = 0; i < sizeof contents / sizeof contents[0]; i++)
        assert_int_equal(
            content_of_name(&catalogue,
                            content_name(&catalogue, contents[i], name)),
            contents[i]);
    for (uint32_t i = 0; i < 2; i++)
        assert_int_equal(
            content_of_name(&audience, content_name(&audience, i, name)), i);
}

static void
viewers_come_at_a_rate_that_rises_and_by_weight(void **state)
{
    static const double weights[] = {3, 1};
    struct arrivals arrivals = {
        .rate = 100,
        .ramp_ms = 100000,
        .weights = weights,
        .content_count = 2,
        .rng = rng_of(1, 0),
    };
    struct arrivals again = arrivals;
    unsigned halves[2] = {0}, contents[2] = {0}, after = 0;
    for (;;) {
        const double before_ms = arrivals.at_ms;
        arrivals_next(&arrivals);
        arrivals_next(&again);
        assert_true(arrivals.at_ms > before_ms);
        assert_true(arrivals.at_ms == again.at_ms);
        assert_int_equal(arrivals.content, again.content);
        if (arrivals.at_ms > 200000)
            break;
        contents[arrivals.content]++;
        if (arrivals.at_ms > 100000)
            after++;
        else
            halves[arrivals.at_ms > 50000]++;
    }
    /* five standard deviations */
    assert_in_range(halves[0], 1250 - 177, 1250 + 177);
    assert_in_range(halves[1], 3750 - 306, 3750 + 306);
    assert_in_range(after, 10000 - 500, 10000 + 500);
    assert_true(fabs(contents[0] / 15000.0 - 0.75) < 0.02);
}

static void
a_weight_is_a_number_over_0(void **state)
{
    static const char *const wrong[] = {"a=",   "a=0",    "a=-1", "a=x",
                                        "a=1x", "a=1e10", "a=nan"};
    char text[16];
    double weight;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        snprintf(text, sizeof text, "%s", wrong[i]);
        assert_int_equal(arrivals_content(text, &weight), ERR_INVALID);
    }
    snprintf(text, sizeof text, "a=2.5");
    assert_int_equal(arrivals_content(text, &weight), 0);
    assert_true(weight == 2.5);
    assert_string_equal(text, "a");
    assert_int_equal(arrivals_content(text, &weight), 0);
    assert_true(weight == 1);
}

static void
a_pair_is_made_once(void **state)
{
    static struct pairs pairs;
    static uint32_t places[5000][3];
    for (unsigned round = 0; round < 2; round++) {
        for (uint32_t content = 0; content < 5000; content++)
            for (uint16_t node = 0; node < 3; node++) {
                const uint32_t at = pairs_at(&pairs, content, node);
                if (round == 0)
                    places[content][node] = at;
                assert_int_equal(at, places[content][node]);
                assert_int_equal(pairs.list[at].content, content);
                assert_int_equal(pairs.list[at].node, node);
            }
        assert_int_equal(pairs.count, 15000);
    }
    /* and beside those of its node, not those of its content */
    assert_int_equal(places[1][2], places[0][2] + 1);
    pairs_fini(&pairs);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_seed_gives_the_same_numbers_and_each_stream_others),
        cmocka_unit_test(poisson_numbers_have_their_mean_and_variance),
        cmocka_unit_test(geometric_numbers_have_their_mean_and_are_at_least_1),
        cmocka_unit_test(draws_follow_the_weights),
        cmocka_unit_test(a_swap_gives_every_content_one_rank),
        cmocka_unit_test(a_name_leads_back_to_its_content),
        cmocka_unit_test(viewers_come_at_a_rate_that_rises_and_by_weight),
        cmocka_unit_test(a_weight_is_a_number_over_0),
        cmocka_unit_test(a_pair_is_made_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
