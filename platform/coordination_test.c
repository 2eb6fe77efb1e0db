/* SPDX-License-Identifier: Apache-2.0 */
#include "platform/coordination.h"

#include "platform/clock.h"
#include "platform/http_testing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <event2/event.h>

#include <cmocka.h>

static char first[64];
static const char *const urls[] = {first, "http://127.0.0.1:1",
                                   "http://127.0.0.1:2"};
static struct coordination *c;
static struct http_server *manager; /* the first of the list */
static int status;                  /* that it answers */
static unsigned ask_count;
static bool is_asked;

static void
handle_table(struct http_request *request, void *context)
{
    http_reply(request, status, NULL, bytes_of("", 0));
}

static void
ask_now(void *context)
{
    ask_count++;
    is_asked = true;
}

static int
start(void **state)
{
    static const struct http_route routes[] = {
        {"GET", "/v1/table", handle_table}};
    if (http_testing_start(state) != 0)
        return -1;
    const struct http_server_config config = {
        .listen = "127.0.0.1:0", .routes = routes, .route_count = 1};
    status = 204;
    ask_count = 0;
    is_asked = false;
    if (http_server_new(base, &config, &manager) != 0)
        return -1;
    snprintf(first, sizeof first, "http://127.0.0.1:%u",
             http_server_port(manager));
    c = coordination_static_new(base, client, urls, 3);
    if (c == NULL)
        return -1;
    c->listener = (struct coordination_listener){.ask = ask_now};
    return 0;
}

static int
stop(void **state)
{
    c->free(c);
    http_server_free(manager);
    return http_testing_stop(state);
}

static void
a_manager_that_fails_is_followed_by_the_next(void **state)
{
    assert_string_equal(c->manager(c), urls[0]);
    c->manager_failed(c, urls[0]);
    assert_string_equal(c->manager(c), urls[1]);
    c->manager_failed(c, urls[1]);
    assert_string_equal(c->manager(c), urls[2]);
    c->manager_failed(c, urls[2]);
    assert_string_equal(c->manager(c), urls[0]);
}

static void
a_late_failure_of_the_one_before_moves_nothing(void **state)
{
    c->manager_failed(c, urls[0]);
    c->manager_failed(c, urls[0]);
    assert_string_equal(c->manager(c), urls[1]);
}

static void
a_redirect_is_followed_within_the_list_only(void **state)
{
    c->manager_moved(c, urls[0], "http://stranger:1");
    assert_string_equal(c->manager(c), urls[0]);
    c->manager_moved(c, urls[0], urls[1]);
    assert_string_equal(c->manager(c), urls[1]);
    c->manager_moved(c, urls[0], urls[0]); /* late: that one is left */
    assert_string_equal(c->manager(c), urls[1]);
}

/* How long until it is gone back to. */
static uint64_t
return_ms(void)
{
    const uint64_t from_ms = clock_now_ms();
    is_asked = false;
    loop_until(&is_asked, 10000);
    assert_string_equal(c->manager(c), urls[0]);
    return clock_now_ms() - from_ms;
}

static void
the_first_that_answers_again_is_gone_back_to(void **state)
{
    c->manager_failed(c, urls[0]);
    c->manager_failed(c, urls[1]);
    const uint64_t took_ms = return_ms();
    /* not at once, and before another Manager would publish without this
     * node, which is after 3 s */
    assert_in_range(took_ms, 1000, 3000);
    loop_for(1000);
    assert_int_equal(ask_count, 1);
}

static void
one_that_is_not_in_charge_is_not_gone_back_to(void **state)
{
    status = 503;
    c->manager_failed(c, urls[0]);
    loop_for(2500);
    assert_string_equal(c->manager(c), urls[1]);
    assert_int_equal(ask_count, 0);
}

static void
one_that_comes_and_goes_is_not_gone_back_to(void **state)
{
    c->manager_failed(c, urls[0]);
    for (int i = 0; i < 4; i++) {
        status = i % 2 == 0 ? 204 : 503;
        loop_for(700);
    }
    assert_string_equal(c->manager(c), urls[1]);
}

static void
each_failure_soon_after_a_return_doubles_the_wait(void **state)
{
    c->manager_failed(c, urls[0]);
    return_ms();
    c->manager_failed(c, urls[0]);
    assert_true(return_ms() >= 2000);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)
    const struct CMUnitTest tests[] = {
        TEST(a_manager_that_fails_is_followed_by_the_next),
        TEST(a_late_failure_of_the_one_before_moves_nothing),
        TEST(a_redirect_is_followed_within_the_list_only),
        TEST(the_first_that_answers_again_is_gone_back_to),
        TEST(one_that_is_not_in_charge_is_not_gone_back_to),
        TEST(one_that_comes_and_goes_is_not_gone_back_to),
        TEST(each_failure_soon_after_a_return_doubles_the_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
