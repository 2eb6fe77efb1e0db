/* SPDX-License-Identifier: Apache-2.0 */
/* Keys at a URL that answers, changes and fails, on loopback, by a clock that is
 * the test's. */

#include "platform/jwks.h"

#include "core/err.h"
#include "platform/http_testing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define EC(kid)                                              \
    "{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"" kid "\"," \
    "\"x\":\"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4\"," \
    "\"y\":\"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM\"" /* } */

static struct http_server *keys_server;
static struct jwks *jwks;
static const char *body;
static int status;
static unsigned served_count, told_count;

static void
keys_get(struct http_request *request, void *context)
{
    served_count++;
    http_reply(request, status, "application/json", bytes_of_text(body));
}

static int
start(void **state)
{
    static const struct http_route routes[] = {{"GET", "/keys", keys_get}};
    const struct http_server_config config = {
        .listen = "127.0.0.1:0", .routes = routes, .route_count = 1};
    char url[64];
    if (http_testing_start(state) != 0
        || http_server_new(base, &config, &keys_server) != 0)
        return -1;
    snprintf(url, sizeof url, "http://127.0.0.1:%u/keys",
             http_server_port(keys_server));
    const struct jwks_config of = {.url = url,
                                   .name = "kino",
                                   .refresh_s = 60,
                                   .pause_s = 5,
                                   .grace_s = 30};
    status = 200;
    body = "{\"keys\":[" EC("1") "}]}";
    served_count = told_count = 0;
    return jwks_new(client, &of, &jwks);
}

static int
stop(void **state)
{
    jwks_free(jwks);
    http_server_free(keys_server);
    return http_testing_stop(state);
}

static void
told(struct jwks_waiter *waiter)
{
    told_count++;
}

static unsigned
tick(uint64_t now_ms)
{
    struct jwk *const *keys;
    jwks_tick(jwks, now_ms);
    loop_for(30);
    return jwks_keys(jwks, now_ms, &keys);
}

static void
it_is_asked_by_interval(void **state)
{
    assert_int_equal(tick(1000), 1);
    body = "{\"keys\":[" EC("2") "}," EC("3") "}]}";
    assert_int_equal(tick(60999), 1);
    assert_int_equal(served_count, 1);
    assert_int_equal(tick(61000), 2); /* and "1" is no more */
    assert_int_equal(served_count, 2);
}

static void
keys_stay_for_a_grace_when_it_fails(void **state)
{
    static const char *const bodies[] = {"", "[]", "{\"keys\":[]}",
                                         "{\"keys\":7}", "<html>"};
    assert_int_equal(tick(1000), 1);
    for (unsigned i = 0; i < 5; i++) {
        body = bodies[i];
        assert_int_equal(tick(61000 + 5000 * i), 1);
        assert_int_equal(served_count, 2 + i);
    }
    status = 500;
    body = "{\"keys\":[" EC("1") "}]}";
    assert_int_equal(tick(90999), 1);
    assert_int_equal(tick(91000), 0);
    assert_int_equal(jwks_counts(jwks).failed, 6);
    status = 200;
    assert_int_equal(tick(96000), 1);
}

static void
who_waits_makes_it_be_asked_once_in_a_pause(void **state)
{
    struct jwks_waiter waiters[3] = {{told, NULL}, {told, NULL}, {told, NULL}};
    assert_int_equal(tick(1000), 1);
    assert_false(jwks_wait(jwks, &waiters[0], 5999));
    assert_true(jwks_wait(jwks, &waiters[0], 6000));
    assert_true(jwks_wait(jwks, &waiters[1], 6001));
    assert_int_equal(told_count, 0);
    loop_for(30);
    assert_int_equal(told_count, 2);
    assert_int_equal(served_count, 2);
    assert_false(jwks_wait(jwks, &waiters[0], 10999));
    assert_true(jwks_wait(jwks, &waiters[2], 11000));
    jwks_free(jwks); /* tells */
    jwks = NULL;
    assert_int_equal(told_count, 3);
}

static void
keys_that_are_not_ours_are_passed_over(void **state)
{
    static const struct {
        const char *text;
        unsigned count, passed;
    } cases[] = {
        {"{\"keys\":[" EC("1") "}],\"more\":1}", 1, 0},
        {"{\"keys\":[" EC("1") ",\"use\":\"sig\",\"alg\":\"ES256\"}]}", 1, 0},
        {"{\"keys\":[" EC("1") "}," EC("2") ",\"use\":\"enc\"}]}", 1, 1},
        {"{\"keys\":[" EC("1") "}," EC("2") ",\"alg\":\"none\"}]}", 1, 1},
        {"{\"keys\":[" EC("1") "}," EC("2") ",\"alg\":\"HS256\"}]}", 1, 1},
        {"{\"keys\":[" EC("1") "}," EC("2") ",\"d\":\"AA\"}]}", 1, 1},
        {"{\"keys\":[" EC("1") "},{\"kty\":\"oct\",\"k\":\"AAAA\"}]}", 1, 1},
        {"{\"keys\":[" EC("1") "},7,null,{},[]]}", 1, 4},
        {"{\"keys\":[{\"kty\":\"oct\",\"kid\":\"1\",\"k\":\"AAAA\"}]}", 0, 1},
        {"{\"keys\":[" EC("1") ",\"alg\":\"none\"}]}", 0, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct jwk *keys[JWKS_KEYS_MAX];
        unsigned count = 0, passed;
        const char *reason = NULL;
        const int err = jwks_read(bytes_of_text(cases[i].text), "kino", keys,
                                  &count, &passed, &reason);
        assert_int_equal(err, cases[i].count == 0 ? ERR_INVALID : 0);
        assert_int_equal(count, cases[i].count);
        assert_int_equal(passed, cases[i].passed);
        if (passed > 0)
            assert_non_null(reason);
        while (count > 0)
            jwk_free(keys[--count]);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_is_asked_by_interval, start, stop),
        cmocka_unit_test_setup_teardown(keys_stay_for_a_grace_when_it_fails,
                                        start, stop),
        cmocka_unit_test_setup_teardown(
            who_waits_makes_it_be_asked_once_in_a_pause, start, stop),
        cmocka_unit_test(keys_that_are_not_ours_are_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
