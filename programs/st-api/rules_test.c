/* SPDX-License-Identifier: Apache-2.0 */
/* Rules that answer and rules that hang, on loopback in one loop. */

#include "programs/st-api/rules.h"

#include "platform/http.h"
#include "platform/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <event2/event.h>

#include <cmocka.h>

static struct event_base *base;
static struct http_server *server;
static struct http_client *client;
static struct rules *rules;
static enum rule_verdict verdict;
static unsigned told_count;

static void
closed(void *context)
{
}

static void
hang(struct http_request *request, void *context)
{
    http_request_on_close(request, closed, NULL);
}

static void
allow(struct http_request *request, void *context)
{
    http_reply(request, 200, "application/json",
               bytes_of_text("{\"allow\": true, \"ttl_s\": 0}"));
}

static int
setup(void **state)
{
    static const struct http_route routes[] = {{"POST", "/hangs", hang},
                                               {"POST", "/allows", allow}};
    const struct http_server_config config = {.listen = "127.0.0.1:0",
                                              .body_size_max = 4096,
                                              .routes = routes,
                                              .route_count = 2};
    log_init("rules_test", LOG_LEVEL_ERROR);
    told_count = 0;
    base = event_base_new();
    client = http_client_new(base, 4);
    return http_server_new(base, &config, &server) != 0
                   || rules_new(client, &rules) != 0
               ? -1
               : 0;
}

static int
teardown(void **state)
{
    rules_free(rules);
    http_client_free(client);
    http_server_free(server);
    event_base_free(base);
    return 0;
}

static void
told(enum rule_verdict said, void *context)
{
    verdict = said;
    told_count++;
}

static struct catalogue_service
service_of(const char *id, const char *path, bool allows_silence)
{
    struct catalogue_service service = {.rule_timeout_ms = 10000,
                                        .rule_ttl_s = 60,
                                        .rule_allows_silence = allows_silence};
    snprintf(service.id, sizeof service.id, "%s", id);
    snprintf(service.rule_url, sizeof service.rule_url, "http://127.0.0.1:%u%s",
             http_server_port(server), path);
    return service;
}

/* True: told at once. */
static bool
ask(const struct catalogue_service *service, const char *viewer)
{
    const struct rule_question question = {
        .service = service, .content = "c", .viewer = viewer, .region = ""};
    const unsigned before = told_count;
    rules_ask(rules, &question, told, NULL);
    return told_count > before;
}

/* A thousand questions of a service whose rule hangs. */
static void
service_fill(const struct catalogue_service *service)
{
    for (unsigned i = 0; i < 1000; i++)
        assert_false(ask(service, ""));
}

static void
a_service_whose_rule_hangs_leaves_others_their_room(void **state)
{
    const struct catalogue_service hangs = service_of("a", "/hangs", true);
    const struct catalogue_service strict = service_of("b", "/allows", false);
    service_fill(&hangs);
    assert_true(ask(&hangs, ""));
    assert_int_equal(verdict, RULE_ALLOWS); /* its rule_default */
    assert_int_equal(rules_counts(rules).failed, 1);
    assert_int_equal(rules_counts(rules).asked, 1000);
    assert_false(ask(&strict, "")); /* it is asked for */
    assert_int_equal(rules_counts(rules).asked, 1001);
}

static void
where_all_room_is_taken_what_is_known_decides(void **state)
{
    const struct catalogue_service known = service_of("k", "/allows", false);
    const struct catalogue_service lenient = service_of("l", "/allows", true);
    assert_false(ask(&known, "anna"));
    while (told_count == 0)
        event_base_loop(base, EVLOOP_ONCE);
    assert_int_equal(verdict, RULE_ALLOWS);
    for (unsigned i = 0; i < 10; i++) {
        const char id[] = {(char) ('0' + i), '\0'};
        const struct catalogue_service hangs = service_of(id, "/hangs", false);
        service_fill(&hangs);
    }
    assert_true(ask(&known, "bob"));
    assert_int_equal(verdict, RULE_SILENT); /* its rule_default */
    assert_true(ask(&known, "anna"));
    assert_int_equal(verdict, RULE_ALLOWS); /* as before */
    assert_true(ask(&lenient, ""));
    assert_int_equal(verdict, RULE_ALLOWS); /* its rule_default */
    assert_int_equal(rules_counts(rules).failed, 3);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        CASE(a_service_whose_rule_hangs_leaves_others_their_room),
        CASE(where_all_room_is_taken_what_is_known_decides),
#undef CASE
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
