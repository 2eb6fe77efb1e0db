/* SPDX-License-Identifier: Apache-2.0 */
#include "programs/vodst/topology.h"
#include "core/err.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

static struct topology topology;
static char error[512];

static int
plan(const char *address, const char *host, const char *port)
{
    const struct topology_config config = {2, 3, 2, address, host, port};
    error[0] = '\0';
    return topology_plan(&config, &topology, error, sizeof error);
}

static void
ports_follow_the_front_in_a_row(void **state)
{
    static const char *const names[] = {
        "redirector1", "redirector2", "origin1", "origin2", "origin3",
        "cdn",         "varnish",     "cache1",  "cache2",  "storage",
        "manager",     "st-api",      "mlic"};
    assert_int_equal(plan("127.0.0.1", NULL, "auto"), 0);
    assert_int_equal(topology.count, sizeof names / sizeof *names);
    for (size_t i = 0; i < topology.count; i++) {
        char url[64];
        assert_string_equal(topology.nodes[i].name, names[i]);
        assert_int_equal(topology.nodes[i].port, topology.nodes[0].port + i);
        snprintf(url, sizeof url, "http://127.0.0.1:%u",
                 topology.nodes[i].port);
        assert_string_equal(topology.nodes[i].url, url);
    }
    assert_string_equal(topology_node(&topology, TIER_ORIGIN, 2)->name,
                        "origin3");
    assert_null(topology_node(&topology, TIER_ORIGIN, 3));
}

static void
only_what_viewers_reach_gets_the_public_address(void **state)
{
    assert_int_equal(plan("0.0.0.0", "vod.example", "auto"), 0);
    for (size_t i = 0; i < topology.count; i++) {
        const struct node *node = &topology.nodes[i];
        assert_memory_equal(node->listen,
                            node->is_public ? "0.0.0.0:" : "127.0.0.1:", 8);
        assert_memory_equal(
            node->url,
            node->is_public ? "http://vod.example:" : "http://127.0.0.1:", 17);
    }
}

static void
a_taken_port_is_named_with_its_node(void **state)
{
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char first[16], told[64];
    assert_int_equal(plan("127.0.0.1", NULL, "auto"), 0);
    const unsigned port = topology.nodes[0].port;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    in.sin_port = htons((uint16_t) (port + 3));
    assert_int_equal(bind(fd, (struct sockaddr *) &in, sizeof in), 0);
    assert_int_equal(listen(fd, 1), 0);
    snprintf(first, sizeof first, "%u", port);
    snprintf(told, sizeof told, "port %u is taken (needed by origin2)",
             port + 3);
    assert_int_equal(plan("127.0.0.1", NULL, first), ERR_UNAVAILABLE);
    assert_non_null(strstr(error, told));
    close(fd);
    assert_int_equal(plan("127.0.0.1", NULL, first), 0);
}

static void
values_that_cannot_be_are_refused(void **state)
{
    static const struct {
        const char *address, *host, *port, *told;
    } cases[] = {
        {"127.0.0.1", NULL, "0", "--port"},
        {"127.0.0.1", NULL, "65530", "--port"},
        {"127.0.0.1", NULL, "8080x", "--port"},
        {"127.0.0.1", NULL, "-8080", "--port"},
        {"127.0.0.1", NULL, "", "--port"},
        {"here", NULL, "8080", "--address"},
        {"::1", NULL, "8080", "--address"},
        {"0.0.0.0", NULL, "8080", "--host"},
        {"127.0.0.1", "", "8080", "--host"},
        {"127.0.0.1", "a b", "8080", "--host"},
        {"127.0.0.1", "a;b", "8080", "--host"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(plan(cases[i].address, cases[i].host, cases[i].port),
                         ERR_INVALID);
        assert_non_null(strstr(error, cases[i].told));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ports_follow_the_front_in_a_row),
        cmocka_unit_test(only_what_viewers_reach_gets_the_public_address),
        cmocka_unit_test(a_taken_port_is_named_with_its_node),
        cmocka_unit_test(values_that_cannot_be_are_refused),
    };
    return cmocka_run_group_tests_name("topology", tests, NULL, NULL);
}
