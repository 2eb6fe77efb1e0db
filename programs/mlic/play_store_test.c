/* SPDX-License-Identifier: Apache-2.0 */
#include "programs/mlic/store.h"

#include "core/err.h"
#include "platform/database_testing.h"
#include "platform/files.h"
#include "platform/log.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define NOW 1000
#define THREADS 4
#define TRIES 50 /* of each */

static char folder[64], place[512];
static struct store *store;

static int
place_open(void)
{
    log_init("play_store_test", LOG_LEVEL_ERROR);
    return store_open(place, NULL, &store); /* no key is asked for */
}

static int
file_setup(void **state)
{
    snprintf(folder, sizeof folder, "/tmp/play_store_test.XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(place, sizeof place, "%s/db", folder);
    return place_open();
}

static int
schema_setup(void **state)
{
    static unsigned number;
    folder[0] = '\0';
    if (database_testing_schema("p", ++number, place, sizeof place) != 0)
        return -1;
    return place_open();
}

static int
teardown(void **state)
{
    store_close(store);
    return folder[0] != '\0' ? folder_remove(folder) : 0;
}

static int
lease(const char *viewer, const char *play, unsigned max, uint64_t now_s)
{
    const struct lease asked = {viewer, play, now_s + 60};
    return play_store_lease(store->plays, &asked, max, now_s);
}

static void
as_many_play_as_may(void **state)
{
    assert_int_equal(lease("v", "a", 2, NOW), 0);
    assert_int_equal(lease("v", "b", 2, NOW), 0);
    assert_int_equal(lease("v", "c", 2, NOW), ERR_LIMIT);
    assert_int_equal(lease("v", "a", 2, NOW), 0); /* it plays already */
    assert_int_equal(lease("w", "c", 2, NOW), 0); /* another viewer */
    const struct lease over = {"v", "b", 0};
    assert_int_equal(play_store_release(store->plays, &over), 0);
    assert_int_equal(play_store_release(store->plays, &over), 0);
    assert_int_equal(lease("v", "c", 2, NOW), 0);
    assert_int_equal(lease("v", "b", 0, NOW), ERR_LIMIT);
}

static void
a_play_that_died_frees_its_place(void **state)
{
    assert_int_equal(lease("v", "a", 1, NOW), 0);
    assert_int_equal(lease("v", "b", 1, NOW + 59), ERR_LIMIT);
    assert_int_equal(lease("v", "b", 1, NOW + 60), 0);
    const struct lease late = {"v", "a", NOW + 200};
    assert_int_equal(play_store_renew(store->plays, &late, NOW + 60),
                     ERR_NOT_FOUND);
}

static void
a_play_that_is_renewed_lasts(void **state)
{
    const struct lease longer = {"v", "a", NOW + 100};
    assert_int_equal(play_store_renew(store->plays, &longer, NOW),
                     ERR_NOT_FOUND);
    assert_int_equal(lease("v", "a", 1, NOW), 0);
    assert_int_equal(play_store_renew(store->plays, &longer, NOW + 59), 0);
    assert_int_equal(lease("v", "b", 1, NOW + 99), ERR_LIMIT);
    assert_int_equal(play_store_sweep(store->plays, NOW + 99), 0);
    assert_int_equal(lease("v", "b", 1, NOW + 99), ERR_LIMIT);
    assert_int_equal(play_store_sweep(store->plays, NOW + 100), 0);
    assert_int_equal(play_store_renew(store->plays, &longer, NOW),
                     ERR_NOT_FOUND); /* it was forgotten */
}

static void
an_entitlement_gives_a_key_once(void **state)
{
    assert_int_equal(play_store_use(store->plays, "s/1", "k1", NOW), 0);
    assert_int_equal(play_store_use(store->plays, "s/1", "k2", NOW), 0);
    assert_int_equal(play_store_use(store->plays, "s/1", "k1", NOW), ERR_STALE);
    assert_int_equal(play_store_use(store->plays, "s/2", "k1", NOW), 0);
    assert_int_equal(play_store_sweep(store->plays, NOW - 1), 0);
    assert_int_equal(play_store_use(store->plays, "s/1", "k1", NOW), ERR_STALE);
    assert_int_equal(play_store_sweep(store->plays, NOW), 0);
    assert_int_equal(play_store_use(store->plays, "s/1", "k1", NOW), 0);
}

static void
viewers_are_hashed_with_one_key(void **state)
{
    struct store *other;
    assert_int_equal(play_store_key_agree(store->plays, "first", false), 0);
    assert_int_equal(play_store_key_agree(store->plays, "first", false), 0);
    assert_int_equal(store_open(place, NULL, &other), 0);
    assert_int_equal(play_store_key_agree(other->plays, "second", false),
                     ERR_CHECKSUM);
    assert_int_equal(play_store_key_agree(other->plays, "second", true), 0);
    assert_int_equal(play_store_key_agree(other->plays, "second", true), 0);
    assert_int_equal(play_store_key_agree(store->plays, "first", false),
                     ERR_CHECKSUM);
    store_close(other);
}

/* ---- several at once ---- */

static void *
takes(void *number)
{
    struct store *own;
    size_t taken = 0;
    if (store_open(place, NULL, &own) != 0)
        return (void *) (size_t) 1000;
    for (unsigned i = 0; i < TRIES; i++) {
        char play[32];
        snprintf(play, sizeof play, "%zu-%u", (size_t) number, i);
        const struct lease asked = {"crowd", play, NOW + 60};
        const int err = play_store_lease(own->plays, &asked, 7, NOW);
        if (err == 0)
            taken++;
        else if (err != ERR_LIMIT)
            taken += 1000;
    }
    store_close(own);
    return (void *) taken;
}

static void
a_limit_holds_for_several_at_once(void **state)
{
    pthread_t threads[THREADS];
    size_t taken = 0;
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, takes, (void *) i),
                         0);
    for (size_t i = 0; i < THREADS; i++) {
        void *count;
        pthread_join(threads[i], &count);
        taken += (size_t) count;
    }
    assert_int_equal(taken, 7);
}

#define CASE(setup, name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define CASES(setup)                                   \
    CASE(setup, as_many_play_as_may),                  \
        CASE(setup, a_play_that_died_frees_its_place), \
        CASE(setup, a_play_that_is_renewed_lasts),     \
        CASE(setup, an_entitlement_gives_a_key_once),  \
        CASE(setup, viewers_are_hashed_with_one_key),  \
        CASE(setup, a_limit_holds_for_several_at_once)

int
main(void)
{
    const struct CMUnitTest tests[] = {CASES(file_setup), CASES(schema_setup)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
