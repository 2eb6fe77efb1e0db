/* SPDX-License-Identifier: Apache-2.0 */
/* The leader's overrides against a Consul whose answers the test chooses. It
 * makes no sessions: whether the lock is held is its answer to a write. */

#include "programs/manager/leader_overrides.h"

#include "core/err.h"
#include "platform/clock.h"
#include "platform/http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <event2/event.h>

#include <cmocka.h>

static struct {
    struct http_server *server;
    int read_status, write_status;
    const char *list; /* what is read with status 200 */
    unsigned reads, writes;
} fake;

static struct event_base *base;
static struct consul *consul;
static struct consul_lock *lock;
static struct overrides *overrides;
static struct leader_overrides *kept;
static struct manager *manager;

/* ---- Consul ---- */

static void
reply_json(struct http_request *request, int status, const char *text)
{
    http_reply(request, status, "application/json", bytes_of_text(text));
}

static void
handle_read(struct http_request *request, void *context)
{
    fake.reads++;
    reply_json(request, fake.read_status,
               fake.read_status == 200 ? fake.list : "");
}

static void
handle_txn(struct http_request *request, void *context)
{
    const struct bytes body = http_request_body(request);
    const bool is_write =
        memmem(body.ptr, body.len, "check-session", 13) != NULL;
    fake.writes += is_write;
    reply_json(request, is_write ? fake.write_status : 200, "{}");
}

/* ---- running ---- */

static void
lock_held(void *context, uint64_t term)
{
}

static void
lock_lost(void *context)
{
}

static void
lock_other(void *context, const struct leader_value *leader)
{
}

static void
loop_for(unsigned ms)
{
    const struct timeval wait = {.tv_usec = (suseconds_t) ms * 1000};
    event_base_loopexit(base, &wait);
    event_base_dispatch(base);
}

static void
loop_until_kept(unsigned timeout_ms)
{
    const uint64_t end = clock_now_ms() + timeout_ms;
    while (clock_now_ms() < end && !overrides_are_kept(overrides))
        loop_for(10);
}

static int
start_consul(void)
{
    static const struct http_route routes[] = {
        {"GET", "/v1/kv/test/overrides", handle_read},
        {"PUT", "/v1/txn", handle_txn},
    };
    const struct http_server_config serve = {.listen = "127.0.0.1:0",
                                             .body_size_max = 65536,
                                             .routes = routes,
                                             .route_count = sizeof routes
                                                            / sizeof *routes};
    static const struct consul_lock_config lock_config = {
        .key = "test/leader",
        .name = "test",
        .check = "test-alive",
        .url = "http://127.0.0.1:1",
        .held = lock_held,
        .lost = lock_lost,
        .other = lock_other};
    char url[64];
    if (http_server_new(base, &serve, &fake.server) != 0)
        return -1;
    snprintf(url, sizeof url, "http://127.0.0.1:%u",
             http_server_port(fake.server));
    if (consul_new(base, &(struct consul_config){.url = url}, &consul) != 0)
        return -1;
    lock = consul_lock_new(consul, base, &lock_config);
    return lock == NULL ? -1 : 0;
}

static int
start(void **state)
{
    memset(&fake, 0, sizeof fake);
    fake.read_status = 404;
    fake.write_status = 200;
    base = event_base_new();
    if (base == NULL || start_consul() != 0
        || overrides_new(NULL, &overrides) != 0)
        return -1;
    const struct leader_overrides_config config = {.consul = consul,
                                                   .lock = lock,
                                                   .prefix = "test",
                                                   .overrides = overrides};
    kept = leader_overrides_new(base, &config);
    const struct manager_config policy = {
        .demand = {.window_ms = 500,
                   .node_timeout_ms = 100,
                   .requests_per_play = 100},
        .classify = classify_policy_default,
        .overrides = overrides,
        .term = 7,
    };
    manager = manager_new(base, &policy);
    return kept == NULL || manager == NULL ? -1 : 0;
}

static int
stop(void **state)
{
    leader_overrides_free(kept);
    manager_free(manager);
    overrides_free(overrides);
    consul_lock_free(lock);
    consul_free(consul);
    http_server_free(fake.server);
    event_base_free(base);
    return 0;
}

/* ---- tests ---- */

static int
drain(const char *node)
{
    struct override o = {.target = OVERRIDE_NODE,
                         .until_ms = (clock_unix_s() + 60) * 1000};
    snprintf(o.name, sizeof o.name, "%s", node);
    return overrides_put(overrides, &o);
}

static void
lead(void)
{
    overrides_set_kept(overrides, false);
    leader_overrides_lead(kept, manager);
    loop_until_kept(2000);
    assert_int_equal(fake.writes, 1); /* there were none */
}

static void
what_is_refused_under_a_session_that_changes_is_written_again(void **state)
{
    lead();
    fake.write_status = 409;
    assert_int_equal(drain("o1"), 0);
    for (int i = 0; i < 200 && fake.writes < 2; i++)
        loop_for(10);
    loop_for(20);
    assert_false(overrides_are_kept(overrides));
    fake.write_status = 200;
    loop_until_kept(2000);
    assert_true(overrides_are_kept(overrides));
    assert_int_equal(fake.writes, 3);
}

static void
who_leads_no_more_writes_no_more(void **state)
{
    lead();
    fake.write_status = 409;
    assert_int_equal(drain("o1"), 0);
    for (int i = 0; i < 200 && fake.writes < 2; i++)
        loop_for(10);
    leader_overrides_stand_by(kept);
    loop_for(600);
    assert_int_equal(fake.writes, 2);
    assert_int_equal(drain("o2"), ERR_UNAVAILABLE);
}

static void
tries_become_rare(void **state)
{
    fake.read_status = 500;
    overrides_set_kept(overrides, false);
    leader_overrides_lead(kept, manager);
    for (int i = 0; i < 4; i++)
        loop_for(900);
    /* after 0.1 to 0.3 s, 0.2 to 0.6, 0.4 to 1.2, 0.8 to 2.4, 1 to 3 */
    assert_in_range(fake.reads, 4, 7);
    fake.read_status = 200;
    fake.list = "[]";
    loop_until_kept(4000);
    assert_true(overrides_are_kept(overrides));
    assert_int_equal(fake.writes, 0);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)
    const struct CMUnitTest tests[] = {
        TEST(what_is_refused_under_a_session_that_changes_is_written_again),
        TEST(who_leads_no_more_writes_no_more),
        TEST(tries_become_rare),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
