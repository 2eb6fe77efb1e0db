/* SPDX-License-Identifier: Apache-2.0 */
/* Who publishes, and under which term. */

#include "programs/manager/manager.h"

#include "core/err.h"
#include "core/term.h"
#include "platform/clock.h"
#include "programs/manager/api.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

#include <cmocka.h>

static struct event_base *base;
static struct manager *manager;
static struct overrides *overrides; /* of the test; NULL: none */
static uint64_t sequence;

/* ---- a clock that can be set, in place of the C library's ---- */

static int set_forth_s;

int
clock_gettime(clockid_t clock, struct timespec *out)
{
    const long err = syscall(SYS_clock_gettime, clock, out);
    if (err == 0 && clock == CLOCK_REALTIME)
        out->tv_sec += set_forth_s;
    return (int) err;
}

static int
start(void **state)
{
    base = event_base_new();
    manager = NULL;
    overrides = NULL;
    set_forth_s = 0;
    sequence = 1;
    return base == NULL;
}

static int
stop(void **state)
{
    manager_free(manager);
    overrides_free(overrides);
    event_base_free(base);
    return 0;
}

static struct manager *
manager_make(uint64_t term, void (*outgrown)(void *context, uint64_t term))
{
    const struct manager_config config = {
        .demand = {.window_ms = 500,
                   .node_timeout_ms = 100,
                   .requests_per_play = 100},
        .classify = classify_policy_default,
        .overrides = overrides,
        .overrides_wait_ms = 700,
        .term = term,
        .outgrown = outgrown,
    };
    struct manager *m = manager_new(base, &config);
    assert_non_null(m);
    return m;
}

static void
loop_for(unsigned ms)
{
    const struct timeval wait = {.tv_usec = (suseconds_t) ms * 1000};
    event_base_loopexit(base, &wait);
    event_base_dispatch(base);
}

/* A report of a node that holds a table of that version. */
static int
report_of(struct manager *m, const char *node, struct table_version held)
{
    struct demand_merge_result result;
    struct buffer b;
    const struct report_header header = {.node = bytes_of_text(node),
                                         .url = BYTES_LITERAL("http://o:1"),
                                         .weight = 100,
                                         .capacity_milli = 100000,
                                         .boot = 7,
                                         .sequence = ++sequence,
                                         .held = held};
    buffer_init(&b, REPORT_SIZE_MAX);
    report_begin(&b, &header);
    assert_int_equal(report_finish(&b), 0);
    const int err = manager_report(m, buffer_bytes(&b), &result);
    buffer_fini(&b);
    return err;
}

static int
report(struct manager *m, struct table_version held)
{
    return report_of(m, "o1", held);
}

/* The version that the Manager publishes for a node that holds this one. */
static struct table_version
published_after(struct manager *m, struct table_version held)
{
    for (int i = 0; i < 4; i++) { /* longer than it settles */
        assert_int_equal(report(m, held), 0);
        loop_for(50);
    }
    return manager_version(m);
}

static const struct table_version none = {0, 0};

static void
no_two_runs_publish_under_one_version(void **state)
{
    struct manager *others[10];
    manager = manager_make(0, NULL);
    for (int i = 0; i < 10; i++) {
        others[i] = manager_make(0, NULL);
        assert_true(manager_term(others[i]) != manager_term(manager));
    }
    const uint64_t round = term_round(manager_term(manager));
    assert_true(clock_unix_s() - round <= 1);
    /* both outgrow the same table */
    const struct table_version held = {term_make(round + 10, 3), 5};
    const uint64_t ours = published_after(manager, held).term;
    const uint64_t other = published_after(others[0], held).term;
    assert_int_equal(term_round(ours), round + 11);
    assert_int_equal(term_round(other), round + 11);
    assert_true(ours != other);
    for (int i = 0; i < 10; i++)
        manager_free(others[i]);
}

static void
terms_stay_exact_in_json(void **state)
{
    const uint64_t in_100_years = clock_unix_s() + 100ull * 366 * 86400;
    assert_true(term_make(in_100_years, UINT64_MAX) < 1ull << 53);
    assert_true(term_make(5, UINT64_MAX) < term_make(6, 0));
}

static void
a_wild_term_is_not_followed(void **state)
{
    const uint64_t now = clock_unix_s();
    const uint64_t wild[] = {
        UINT64_MAX,
        ((1ull << 40) - 1) << TERM_TAG_BITS,
        term_make(now + TERM_AHEAD_MAX + 60, 1),
    };
    for (size_t i = 0; i < sizeof wild / sizeof wild[0]; i++) {
        manager = manager_make(0, NULL);
        const uint64_t term = manager_term(manager);
        const struct table_version lie = {wild[i], 1};
        assert_int_equal(published_after(manager, lie).term, term);
        assert_false(manager_wants_table(manager, lie));
        /* nor does it hide the word of others */
        assert_int_equal(report_of(manager, "liar", lie), 0);
        const struct table_version held = {term_make(now + 10, 3), 5};
        assert_int_equal(report_of(manager, "o2", held), 0);
        assert_int_equal(term_round(manager_term(manager)), now + 11);
        manager_free(manager);
    }
    manager = NULL;
}

/* One lie may be believed, but leaves terms to those that come after. */
static void
a_term_at_the_limit_is_followed_after_a_restart_as_well(void **state)
{
    const struct table_version lie = {
        term_make(clock_unix_s() + TERM_AHEAD_MAX, 1), 1};
    manager = manager_make(0, NULL);
    assert_int_equal(report_of(manager, "liar", lie), 0);
    const struct table_version held = published_after(manager, none);
    assert_true(table_version_compare(held, lie) > 0);
    manager_free(manager);
    loop_for(900);
    manager = manager_make(0, NULL);
    for (int i = 0;
         i < 20 && table_version_compare(manager_version(manager), held) <= 0;
         i++)
        published_after(manager, held);
    assert_true(table_version_compare(manager_version(manager), held) > 0);
}

static void
who_follows_another_manager_waits_for_all_nodes(void **state)
{
    manager = manager_make(0, NULL);
    report_of(manager, "o1", none);
    report_of(manager, "o2", none);
    loop_for(100);
    const struct table_version ours = manager_version(manager);
    assert_true(ours.sequence > 0);
    loop_for(200); /* both go to another one, and come back */
    const struct table_version held = {ours.term + (9 << TERM_TAG_BITS), 5};
    assert_int_equal(report_of(manager, "o1", held), 0);
    assert_true(manager_wants_table(manager, held));
    loop_for(50);
    assert_null(manager_table(manager));
    while (manager_table(manager) == NULL) {
        assert_int_equal(report_of(manager, "o1", held), 0);
        assert_int_equal(report_of(manager, "o2", held), 0);
        loop_for(20);
    }
    const struct table *table = &manager_table(manager)->table;
    assert_int_equal(table->node_count, 2);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(table->nodes[i].state, NODE_UP);
}

static uint64_t told;

static void
outgrown(void *context, uint64_t term)
{
    told = term;
}

static void
a_leader_does_not_raise_its_term_by_itself(void **state)
{
    const struct table_version held = {80, 3}, newer = {81, 1};
    told = 0;
    manager = manager_make(77, outgrown);
    assert_int_equal(published_after(manager, none).term, 77);
    assert_int_equal(told, 0);
    assert_int_equal(published_after(manager, held).term, 77);
    assert_int_equal(told, 80);
    published_after(manager, newer);
    assert_int_equal(told, 81);
    told = 0;
    manager_set_term(manager, 82);
    assert_int_equal(published_after(manager, newer).term, 82);
    assert_int_equal(told, 0);
}

static void
put_answered(const struct http_response *response, void *context)
{
    *(int *) context = response->status;
}

static void
an_override_for_a_time_is_taken_by_the_clock_on_the_wall(void **state)
{
    size_t count;
    char url[64];
    int status = 0;
    struct api *api = NULL;
    assert_int_equal(overrides_new(NULL, &overrides), 0);
    manager = manager_make(0, NULL);
    set_forth_s = 7200;
    assert_int_equal(api_new(base, "127.0.0.1:0", &api), 0);
    api_lead(api, manager);
    struct http_client *client = http_client_new(base, 1);
    snprintf(url, sizeof url, "http://127.0.0.1:%u/v1/overrides/nodes/o1",
             api_port(api));
    const struct http_fetch_config put = {.method = "PUT",
                                          .url = url,
                                          .body =
                                              BYTES_LITERAL("{\"for_s\":60}"),
                                          .done = put_answered,
                                          .context = &status};
    assert_non_null(http_fetch(client, &put));
    for (int i = 0; i < 100 && status == 0; i++)
        loop_for(20);
    assert_int_equal(status, 200);
    const struct override *list = overrides_list(overrides, &count);
    assert_int_equal(count, 1);
    assert_in_range(list->until_ms, clock_unix_ms() + 50000,
                    clock_unix_ms() + 60000);
    http_client_free(client);
    api_stand_by(api, NULL);
    api_free(api);
}

static void
nothing_is_published_before_the_overrides_are_read(void **state)
{
    assert_int_equal(overrides_new(NULL, &overrides), 0);
    overrides_set_ready(overrides, false);
    manager = manager_make(77, outgrown);
    assert_int_equal(published_after(manager, none).sequence, 0);
    assert_int_equal(
        overrides_replace(overrides,
                          BYTES_LITERAL("[{\"target\":\"node\",\"name\":"
                                        "\"o1\",\"until\":99999999999}]")),
        0);
    overrides_set_ready(overrides, true);
    manager_overrides_changed(manager);
    loop_for(60);
    assert_int_equal(manager_version(manager).sequence, 1);
    assert_int_equal(manager_table(manager)->table.nodes[0].state,
                     NODE_DRAINING);
}

static void
overrides_that_cannot_be_read_are_not_waited_for_forever(void **state)
{
    assert_int_equal(overrides_new(NULL, &overrides), 0);
    overrides_set_ready(overrides, false);
    manager = manager_make(77, outgrown);
    const uint64_t from = clock_now_ms();
    while (manager_version(manager).sequence == 0
           && clock_now_ms() - from < 3000)
        published_after(manager, none);
    assert_in_range(clock_now_ms() - from, 700, 1500);
}

/* As where the Manager starts before NTP has set the clock. */
static void
overrides_end_by_the_clock_on_the_wall(void **state)
{
    size_t count;
    struct override o = {.target = OVERRIDE_NODE, .name = "o1"};
    assert_int_equal(overrides_new(NULL, &overrides), 0);
    manager = manager_make(0, NULL);
    set_forth_s = 7200;
    o.until_ms = clock_unix_ms() + 900;
    assert_int_equal(overrides_put(overrides, &o), 0);
    report(manager, none);
    loop_for(100);
    assert_int_equal(manager_table(manager)->table.nodes[0].state,
                     NODE_DRAINING);
    loop_for(600);
    loop_for(600);
    (void) overrides_list(overrides, &count);
    assert_int_equal(count, 0);
    set_forth_s = 0;
    o.until_ms = clock_unix_ms() + 3600000;
    assert_int_equal(overrides_put(overrides, &o), 0);
    set_forth_s = 3601;
    loop_for(300);
    (void) overrides_list(overrides, &count);
    assert_int_equal(count, 0);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)
    const struct CMUnitTest tests[] = {
        TEST(no_two_runs_publish_under_one_version),
        TEST(terms_stay_exact_in_json),
        TEST(a_wild_term_is_not_followed),
        TEST(a_term_at_the_limit_is_followed_after_a_restart_as_well),
        TEST(who_follows_another_manager_waits_for_all_nodes),
        TEST(a_leader_does_not_raise_its_term_by_itself),
        TEST(overrides_end_by_the_clock_on_the_wall),
        TEST(an_override_for_a_time_is_taken_by_the_clock_on_the_wall),
        TEST(nothing_is_published_before_the_overrides_are_read),
        TEST(overrides_that_cannot_be_read_are_not_waited_for_forever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
