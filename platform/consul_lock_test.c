/* SPDX-License-Identifier: Apache-2.0 */
/* The lock against a Consul of one key that says what the test wants. */

#include "platform/consul_lock.h"

#include "core/term.h"
#include "platform/clock.h"
#include "platform/http_testing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <event2/event.h>

#include <cmocka.h>

#define URL "http://127.0.0.1:1"

static struct {
    struct http_server *server;
    struct http_request *watching; /* NULL: nobody */
    unsigned sessions;             /* made so far; the last is "s<that>" */
    bool is_ill;                   /* the node, as Consul sees it */
    unsigned renewals;
    bool is_alive; /* is the last one? */
    bool is_locked;
    unsigned holder; /* the number of the session that locked it last */
    uint64_t index;
    char value[512]; /* in base64; "": there is no key */
    bool is_slow;    /* it lets the next handing over wait */
    struct http_request *handing_over;
} fake;

static struct consul *consul;
static struct consul_lock *lock;
static bool is_held, is_lost, was_lost_before_session;
static uint64_t term;

static void
reply_json(struct http_request *request, int status, const char *text)
{
    http_reply(request, status, "application/json", bytes_of_text(text));
}

static void
reply_key(struct http_request *request)
{
    char text[1024], index[32], session[16] = "";
    if (fake.is_locked)
        snprintf(session, sizeof session, "s%u", fake.holder);
    snprintf(index, sizeof index, "%llu", (unsigned long long) fake.index);
    http_reply_header(request, "X-Consul-Index", index);
    if (fake.value[0] == '\0') {
        reply_json(request, 404, "");
        return;
    }
    snprintf(text, sizeof text,
             "[{\"ModifyIndex\":%s,\"Value\":\"%s\",\"Session\":\"%s\"}]",
             index, fake.value, session);
    reply_json(request, 200, text);
}

static void
watching_closed(void *context)
{
    fake.watching = NULL;
}

static void
handle_key(struct http_request *request, void *context)
{
    uint64_t index = 0;
    const char *text = http_request_query(request, "index");
    if (text != NULL && bytes_number(bytes_of_text(text), &index)
        && index == fake.index) {
        fake.watching = request;
        http_request_on_close(request, watching_closed, NULL);
    } else {
        reply_key(request);
    }
}

static void
handle_session_create(struct http_request *request, void *context)
{
    char text[64];
    const struct bytes body = http_request_body(request);
    const bool is_firm =
        memmem(body.ptr, body.len, "[\"serfHealth\"]", 14) != NULL;
    if (is_firm && fake.is_ill) {
        reply_json(request, 500, "Check 'serfHealth' is in critical state");
        return;
    }
    assert_true(is_firm
                || memmem(body.ptr, body.len, "\"TTL\":\"10s\"", 11) != NULL);
    fake.sessions++;
    fake.is_alive = true;
    was_lost_before_session = is_lost;
    snprintf(text, sizeof text, "{\"ID\":\"s%u\"}", fake.sessions);
    reply_json(request, 200, text);
}

static void
handle_session_info(struct http_request *request, void *context)
{
    reply_json(request, 200, fake.is_alive ? "[{}]" : "[]");
}

static void
handle_session_renew(struct http_request *request, void *context)
{
    fake.renewals++;
    if (fake.is_alive)
        reply_json(request, 200, "[{}]");
    else
        reply_json(request, 404, "");
}

/* A write under the lock, by the session that it names. */
static void
reply_put(struct http_request *request)
{
    const struct bytes body = http_request_body(request);
    char holder[16];
    snprintf(holder, sizeof holder, "\"s%u\"", fake.holder);
    const bool is_by_holder =
        fake.is_locked
        && memmem(body.ptr, body.len, holder, strlen(holder)) != NULL;
    reply_json(request, is_by_holder ? 200 : 409, "{}");
}

static void
reply_lock(struct http_request *request)
{
    const struct bytes body = http_request_body(request);
    const char *value =
        memmem(body.ptr, body.len, "\"Value\":\"", sizeof "\"Value\":\"" - 1);
    /* the lock goes from session to session only if the former gives it up */
    const bool gives_up = memmem(body.ptr, body.len, "\"unlock\"", 8) != NULL;
    char former[16];
    snprintf(former, sizeof former, "\"s%u\"", fake.holder);
    if (!fake.is_alive || value == NULL
        || (fake.is_locked && fake.holder != fake.sessions && !gives_up)
        || (gives_up
            && memmem(body.ptr, body.len, former, strlen(former)) == NULL)) {
        reply_json(request, 409, "{}");
        return;
    }
    value += sizeof "\"Value\":\"" - 1;
    snprintf(fake.value, sizeof fake.value, "%.*s", (int) strcspn(value, "\""),
             value);
    fake.is_locked = true;
    fake.holder = fake.sessions;
    fake.index++;
    if (fake.watching != NULL) {
        struct http_request *watching = fake.watching;
        fake.watching = NULL;
        reply_key(watching);
    }
    reply_json(request, 200, "{}");
}

static void
handle_txn(struct http_request *request, void *context)
{
    const struct bytes body = http_request_body(request);
    if (memmem(body.ptr, body.len, "\"check-session\"", 15) != NULL) {
        reply_put(request);
    } else if (fake.is_slow
               && memmem(body.ptr, body.len, "\"unlock\"", 8) != NULL) {
        fake.is_slow = false;
        fake.handing_over = request;
    } else {
        reply_lock(request);
    }
}

static void
lock_held(void *context, uint64_t of)
{
    is_held = true;
    term = of;
}

static void
lock_lost(void *context)
{
    is_lost = true;
}

static void
lock_other(void *context, const struct leader_value *leader)
{
    assert_string_equal(leader->url, URL); /* nobody else is there */
}

static const struct consul_lock_config config = {.key = "leader",
                                                 .name = "test",
                                                 .check = "test-alive",
                                                 .url = URL,
                                                 .held = lock_held,
                                                 .lost = lock_lost,
                                                 .other = lock_other};

static int
start(void **state)
{
    static const struct http_route routes[] = {
        {"GET", "/v1/kv/{key}", handle_key},
        {"PUT", "/v1/session/create", handle_session_create},
        {"GET", "/v1/session/info/{id}", handle_session_info},
        {"PUT", "/v1/session/renew/{id}", handle_session_renew},
        {"PUT", "/v1/txn", handle_txn},
    };
    const struct http_server_config serve = {.listen = "127.0.0.1:0",
                                             .body_size_max = 65536,
                                             .routes = routes,
                                             .route_count = sizeof routes
                                                            / sizeof *routes};
    char url[64];
    memset(&fake, 0, sizeof fake);
    fake.index = 5;
    is_held = is_lost = false;
    if (http_testing_start(state) != 0
        || http_server_new(base, &serve, &fake.server) != 0)
        return -1;
    snprintf(url, sizeof url, "http://127.0.0.1:%u",
             http_server_port(fake.server));
    if (consul_new(base, &(struct consul_config){.url = url}, &consul) != 0)
        return -1;
    lock = consul_lock_new(consul, base, &config);
    return lock == NULL ? -1 : 0;
}

static int
stop(void **state)
{
    consul_lock_free(lock);
    consul_free(consul);
    http_server_free(fake.server);
    return http_testing_stop(state);
}

static void
a_greater_term_is_taken_by_the_same_holder(void **state)
{
    loop_until(&is_held, 5000);
    const uint64_t first = term, seen = term_make(term_round(term) + 9, 0);
    assert_true(clock_unix_s() - term_round(first) <= 5);
    is_held = false;
    consul_lock_outgrow(lock, first - 1); /* an old one: nothing to do */
    loop_for(200);
    assert_false(is_held);
    consul_lock_outgrow(lock, seen);
    loop_until(&is_held, 5000);
    assert_true(term > seen);
    assert_false(is_lost);
    assert_int_equal(fake.sessions, 1);
}

static void
a_term_beyond_reason_is_not_followed(void **state)
{
    /* the last that 2^40 rounds have: for ages no other could follow */
    static const uint64_t wild = ((1ull << 40) - 1) << TERM_TAG_BITS;
    static const char wild_in_base64[] =
        "MTE1MjkyMTUwNDYwNTc5ODQwMCBodHRwOi8vMTI3LjAuMC4xOjEK";
    loop_until(&is_held, 5000);
    is_held = false;
    consul_lock_outgrow(lock, wild);
    loop_for(200);
    assert_false(is_held);
    /* nor when it stands in the key */
    consul_lock_free(lock);
    memcpy(fake.value, wild_in_base64, sizeof wild_in_base64);
    fake.is_locked = false;
    fake.index++;
    lock = consul_lock_new(consul, base, &config);
    loop_until(&is_held, 5000);
    assert_true(clock_unix_s() - term_round(term) <= 5);
}

static void
a_term_that_is_just_credible_is_followed_once(void **state)
{
    loop_until(&is_held, 5000);
    const uint64_t ahead = term_make(clock_unix_s() + TERM_AHEAD_MAX, 0);
    is_held = false;
    consul_lock_outgrow(lock, ahead);
    loop_until(&is_held, 5000);
    assert_int_equal(term_round(term), term_round(ahead) + 1);
    is_held = false;
    loop_for(200);
    assert_false(is_held);
}

static void
with_its_session_the_lock_is_lost_before_another_is_made(void **state)
{
    loop_until(&is_held, 5000);
    const uint64_t first = term;
    is_held = false;
    loop_for(100);
    /* and the watch does not hear of it */
    assert_non_null(fake.watching);
    fake.is_alive = fake.is_locked = false;
    fake.index++;
    consul_lock_outgrow(lock, first);
    loop_until(&is_held, 5000);
    assert_true(is_lost && was_lost_before_session);
    assert_int_equal(fake.sessions, 2);
    assert_true(term > first);
}

static void
a_node_that_consul_calls_ill_holds_the_lock_until_it_is_well(void **state)
{
    consul_lock_free(lock);
    fake.is_ill = true;
    fake.sessions = 0;
    fake.is_locked = is_held = false;
    lock = consul_lock_new(consul, base, &config);
    loop_until(&is_held, 5000);
    const uint64_t first = term;
    is_held = false;
    loop_for(6500);
    assert_int_equal(fake.renewals, 2);
    assert_int_equal(fake.sessions, 1);
    assert_false(is_held);
    fake.is_ill = false;
    loop_until(&is_held, 5000);
    assert_true(term > first && !is_lost);
    assert_int_equal(fake.holder, 2);
    loop_for(3500); /* and nothing is renewed any more */
    assert_int_equal(fake.renewals, 3);
}

static void
a_lock_that_nobody_could_renew_is_lost(void **state)
{
    consul_lock_free(lock);
    fake.is_ill = true;
    fake.is_locked = is_held = false;
    lock = consul_lock_new(consul, base, &config);
    loop_until(&is_held, 5000);
    is_held = false;
    fake.is_alive = fake.is_locked = false;
    fake.index++;
    loop_until(&is_lost, 5000);
    loop_until(&is_held, 5000); /* by another session */
}

static bool is_put;
static int put_err;

static void
put_answered(const struct consul_answer *answer, void *context)
{
    is_put = true;
    put_err = answer->err;
}

static int
put(void)
{
    is_put = false;
    assert_int_equal(consul_lock_put(lock, "key", BYTES_LITERAL("value"),
                                     put_answered, NULL),
                     0);
    loop_until(&is_put, 2000);
    assert_true(is_put);
    return put_err;
}

static void
what_is_put_is_taken_while_the_lock_goes_to_another_session(void **state)
{
    consul_lock_free(lock);
    fake.is_ill = fake.is_slow = true;
    fake.is_locked = is_held = false;
    lock = consul_lock_new(consul, base, &config);
    loop_until(&is_held, 5000);
    assert_int_equal(put(), 0);
    loop_for(100); /* the watch sees it */
    is_held = fake.is_ill = false;
    for (int i = 0; i < 500 && fake.handing_over == NULL; i++)
        loop_for(10);
    assert_non_null(fake.handing_over);
    assert_int_equal(put(), 0);
    reply_lock(fake.handing_over);
    loop_until(&is_held, 2000);
    assert_true(is_held && !is_lost);
    assert_int_equal(put(), 0);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)
    const struct CMUnitTest tests[] = {
        TEST(a_greater_term_is_taken_by_the_same_holder),
        TEST(a_term_beyond_reason_is_not_followed),
        TEST(a_term_that_is_just_credible_is_followed_once),
        TEST(a_node_that_consul_calls_ill_holds_the_lock_until_it_is_well),
        TEST(a_lock_that_nobody_could_renew_is_lost),
        TEST(with_its_session_the_lock_is_lost_before_another_is_made),
        TEST(what_is_put_is_taken_while_the_lock_goes_to_another_session),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
