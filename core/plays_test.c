/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "core/plays.h"

enum { BUCKETS = 64 };

static struct plays *
plays_new(void)
{
    struct plays *plays = calloc(
        1, sizeof *plays + BUCKETS * PLAYS_BUCKET * sizeof *plays->slots);
    assert_non_null(plays);
    plays->bucket_count = BUCKETS;
    return plays;
}

static struct play_memory
find(const struct plays *plays, uint64_t key, uint32_t now_s)
{
    struct play_memory memory;
    plays_find(plays, key, now_s, &memory);
    return memory;
}

static void
a_play_is_new_until_it_is_noted_and_after_it_fell_silent(void **state)
{
    struct plays *plays = plays_new();
    assert_false(find(plays, 42, 1000).is_known);
    plays_note(plays, 42, 1000, PLAY_HERE);
    assert_true(find(plays, 42, 1000).is_known);
    assert_false(find(plays, 43, 1000).is_known);
    assert_true(find(plays, 42, 1000 + PLAYS_SEEN_S).is_known);
    assert_false(find(plays, 42, 1001 + PLAYS_SEEN_S).is_known);
    free(plays);
}

static void
a_play_is_held_from_when_it_came_however_often_it_asks(void **state)
{
    struct plays *plays = plays_new();
    for (uint32_t now = 1000; now < 1000 + PLAYS_HOLD_S; now += 4) {
        plays_note(plays, 42, now, PLAY_HERE);
        assert_true(find(plays, 42, now).is_held);
    }
    plays_note(plays, 42, 1000 + PLAYS_HOLD_S, PLAY_HERE);
    assert_true(find(plays, 42, 1000 + PLAYS_HOLD_S).is_known);
    assert_false(find(plays, 42, 1000 + PLAYS_HOLD_S).is_held);
    /* a move holds it anew */
    plays_note(plays, 42, 2000, PLAY_HERE);
    plays_note(plays, 42, 2010, play_place_of(77));
    assert_true(find(plays, 42, 2010).is_held);
    assert_int_equal(find(plays, 42, 2010).place, play_place_of(77));
    free(plays);
}

static void
a_worker_whose_clock_is_behind_knows_the_play_as_well(void **state)
{
    struct plays *plays = plays_new();
    plays_note(plays, 42, 1001, play_place_of(77));
    assert_true(find(plays, 42, 1000).is_known);
    assert_true(find(plays, 42, 1000).is_held);
    /* and does not take another slot for it, in which it came just now */
    plays_note(plays, 42, 1000, play_place_of(77));
    plays_note(plays, 42, 1200, play_place_of(77));
    assert_true(find(plays, 42, 1000 + PLAYS_HOLD_S).is_held);
    assert_false(find(plays, 42, 1001 + PLAYS_HOLD_S).is_held);
    free(plays);
}

static void
places_of_nodes_are_never_taken_for_here(void **state)
{
    for (uint64_t hash = 0; hash < 10; hash++)
        assert_true(play_place_of(hash) >= PLAY_ELSEWHERE);
    assert_true(play_place_of(UINT64_MAX) >= PLAY_ELSEWHERE);
}

static void
of_too_many_the_one_not_seen_for_longest_is_forgotten(void **state)
{
    struct plays *plays = plays_new();
    /* all in one bucket */
    for (uint32_t i = 1; i <= PLAYS_BUCKET + 1; i++)
        plays_note(plays, 5 + ((uint64_t) i << 32), 1000 + i, PLAY_HERE);
    assert_false(find(plays, 5 + (1ull << 32), 1010).is_known);
    for (uint64_t i = 2; i <= PLAYS_BUCKET + 1; i++)
        assert_true(find(plays, 5 + (i << 32), 1010).is_known);
    free(plays);
}

static void
a_full_table_keeps_the_plays_that_go_on(void **state)
{
    struct plays *plays = plays_new();
    unsigned kept = 0;
    srand(1);
    for (uint32_t now = 1000; now < 1200; now++) {
        for (uint64_t play = 1; play <= BUCKETS; play++)
            plays_note(plays, play * 0x9e3779b97f4a7c15u, now, PLAY_HERE);
        /* as many again that ask once */
        for (uint64_t i = 0; i < BUCKETS / 4; i++)
            plays_note(plays, (uint64_t) rand() << 32 | (uint64_t) rand(), now,
                       PLAY_HERE);
    }
    for (uint64_t play = 1; play <= BUCKETS; play++)
        kept += find(plays, play * 0x9e3779b97f4a7c15u, 1200).is_known;
    assert_true(kept > BUCKETS * 9 / 10);
    free(plays);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            a_play_is_new_until_it_is_noted_and_after_it_fell_silent),
        cmocka_unit_test(
            a_play_is_held_from_when_it_came_however_often_it_asks),
        cmocka_unit_test(a_worker_whose_clock_is_behind_knows_the_play_as_well),
        cmocka_unit_test(places_of_nodes_are_never_taken_for_here),
        cmocka_unit_test(of_too_many_the_one_not_seen_for_longest_is_forgotten),
        cmocka_unit_test(a_full_table_keeps_the_plays_that_go_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
