/* SPDX-License-Identifier: Apache-2.0 */
#include "programs/vodst/ingest_ladder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct source
film(unsigned width, unsigned height)
{
    return (struct source){.has_video = true,
                           .width = width,
                           .height = height,
                           .frame_rate_num = 25,
                           .frame_rate_den = 1};
}

static void
candidates_are_not_above_the_film(void **state)
{
    struct encode_plan plan = {0};
    const struct source large = film(3840, 2160), small = film(160, 90);
    ladder_candidates(&large, &plan);
    assert_int_equal(plan.rung_count, 8);
    assert_int_equal(plan.rungs[0].height, 2160);
    assert_int_equal(plan.rungs[7].height, 216);
    const struct source odd = film(480, 270);
    ladder_candidates(&odd, &plan);
    assert_int_equal(plan.rung_count, 2);
    assert_int_equal(plan.rungs[0].height, 270);
    assert_int_equal(plan.rungs[1].height, 216);
    ladder_candidates(&small, &plan);
    assert_int_equal(plan.rung_count, 1);
    assert_int_equal(plan.rungs[0].height, 90);
}

static void
rungs_that_make_no_difference_are_left_out(void **state)
{
    static const struct {
        const char *film;
        struct rung_need needs[6]; /* 1080 720 540 432 288 216 */
        const char *heights;
    } cases[] = {
        {"black", {{12, 15}, {8, 9}, {6, 7}, {5, 6}, {4, 5}, {3, 4}}, "1080"},
        {"a talk",
         {{700, 900}, {400, 500}, {290, 350}, {220, 260}, {140, 170}, {90, 99}},
         "1080 720 432 288"},
        {"sport",
         {{9000, 12000},
          {5000, 7000},
          {3400, 4700},
          {2500, 3400},
          {1400, 2000},
          {900, 1300}},
         "1080 720 540 288 216"},
        {"upscaled, nothing in it",
         {{400, 500},
          {390, 480},
          {380, 460},
          {370, 440},
          {270, 300},
          {180, 200}},
         "1080 288 216"},
    };
    const struct source source = film(1920, 1080);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct encode_plan plan = {0};
        char heights[64] = "";
        ladder_candidates(&source, &plan);
        assert_int_equal(plan.rung_count, 6);
        ladder_choose(cases[i].needs, &plan);
        for (unsigned r = 0; r < plan.rung_count; r++) {
            const size_t len = strlen(heights);
            snprintf(heights + len, sizeof heights - len, "%s%u",
                     r > 0 ? " " : "", plan.rungs[r].height);
        }
        assert_string_equal(heights, cases[i].heights);
    }
}

static void
peaks_have_room_and_a_limit(void **state)
{
    const struct source source = film(1280, 720);
    struct encode_plan plan = {0}, usual = {0};
    const struct rung_need needs[LADDER_RUNGS_MAX] = {
        {9000, 20000}, {600, 700}, {100, 100}, {1, 1}, {1, 1}};
    ladder_candidates(&source, &plan);
    usual = plan;
    ladder_choose(needs, &plan);
    assert_int_equal(plan.rung_count, 3);
    /* never above what such a picture may take */
    assert_int_equal(plan.rungs[0].bitrate_kbps_max,
                     usual.rungs[0].bitrate_kbps_max);
    assert_int_equal(plan.rungs[1].bitrate_kbps_max, 1400);
    /* nor far below */
    assert_int_equal(plan.rungs[2].bitrate_kbps_max,
                     usual.rungs[2].bitrate_kbps_max / 4);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(candidates_are_not_above_the_film),
        cmocka_unit_test(rungs_that_make_no_difference_are_left_out),
        cmocka_unit_test(peaks_have_room_and_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
