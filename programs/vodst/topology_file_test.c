/* SPDX-License-Identifier: Apache-2.0 */
#include "programs/vodst/topology.h"
#include "core/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define REST                            \
    "varnish varnish 127.0.0.1:6081\n"  \
    "cache cache1 10.0.0.21:80\n"       \
    "storage storage 10.0.0.31:80\n"    \
    "manager manager1 10.0.0.41:7100\n" \
    "manager manager2 10.0.0.42:7100\n" \
    "st-api st-api 10.0.0.51:7200\n"
#define WHOLE                                                     \
    "# the front\n\n"                                             \
    "redirector  redirector1\t10.0.0.1:80 http://vod.example\r\n" \
    "origin origin1 10.0.0.11:80\n"                               \
    "  # another\n"                                               \
    "origin origin2 10.0.0.12:8080\n"                             \
    "cdn cdn 10.0.0.2:80\n" REST

static struct topology topology;
static char error[512];

static int
cluster_read(const char *text)
{
    error[0] = '\0';
    return topology_read("cluster", bytes_of_text(text), &topology, error,
                         sizeof error);
}

static void
a_cluster_has_the_servers_of_its_file(void **state)
{
    assert_int_equal(cluster_read(WHOLE), 0);
    assert_int_equal(topology.count, 10);
    const struct node *node = topology_node(&topology, TIER_REDIRECTOR, 0);
    assert_string_equal(node->name, "redirector1");
    assert_string_equal(node->listen, "10.0.0.1:80");
    assert_string_equal(node->url, "http://vod.example");
    assert_true(node->is_public && node->runs_here);
    node = topology_node(&topology, TIER_ORIGIN, 1);
    assert_string_equal(node->url, "http://10.0.0.12:8080");
    assert_int_equal(node->port, 8080);
    node = topology_node(&topology, TIER_MANAGER, 1);
    assert_string_equal(node->name, "manager2");
    assert_false(node->is_public);
    assert_null(topology_node(&topology, TIER_MANAGER, 2));
}

static void
what_cannot_be_is_refused_with_its_line(void **state)
{
    static const struct {
        const char *text, *told;
    } cases[] = {
        {"origin origin1\n", "cluster:1: a server is TIER NAME"},
        {"\nweb a 10.0.0.1:80\n", "cluster:2: 'web' is no tier"},
        {"origin Origin 10.0.0.1:80\n", "cluster:1: 'Origin' is no name"},
        {"origin -a 10.0.0.1:80\n", "is no name"},
        {"origin a 10.0.0.1\n", "'10.0.0.1' is no IPv4 address and port"},
        {"origin a 10.0.0.1:0\n", "is no IPv4"},
        {"origin a 10.0.0.1:65536\n", "is no IPv4"},
        {"origin a 10.0.0.256:80\n", "is no IPv4"},
        {"origin a 0.0.0.0:80\n", "is no IPv4"},
        {"origin a 10.0.0.1:80x\n", "is no IPv4"},
        {"origin a 10.0.0.1:80 ftp://a\n", "'ftp://a' is no base URL"},
        {"origin a 10.0.0.1:80 http://a/\n", "is no base URL"},
        {"origin a 10.0.0.1:80 http://a b\n", "'b' is too much"},
        {"origin a 10.0.0.1:80\norigin a 10.0.0.2:80\n",
         "cluster:2: there is a server 'a' already"},
        {"origin a 10.0.0.1:80 http://a b c\n", "'b' is too much"},
        {"origin a s3://films http://a\n", "is no IPv4"},
        {"storage a s3://films\n", "a bucket needs its endpoint"},
        {"storage a s3://films ftp://a\n", "'ftp://a': expected an endpoint"},
        {"storage a s3://f http://a\n", "'s3://f' at 'http://a': expected s3"},
        {"storage a s3://films http://a r vhost\n", "an addressing of path"},
        {"storage a s3://films http://a r path x\n", "'x' is too much"},
        {"storage a 10.0.0.1:80\nstorage b 10.0.0.2:80\n",
         "cluster:2: there can be one storage only"},
        {"redirector redirector1 10.0.0.1:80\ncdn cdn 10.0.0.2:80\n" REST,
         "cluster: there is no origin"},
        {"", "cluster: there is no "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(cluster_read(cases[i].text), ERR_INVALID);
        assert_non_null(strstr(error, cases[i].told));
    }
    char text[4096] = "";
    for (int i = 0; i <= TOPOLOGY_TIER_NODES_MAX; i++) {
        const size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, "cache c%d 10.0.0.1:80\n", i);
    }
    assert_int_equal(cluster_read(text), ERR_INVALID);
    assert_non_null(strstr(error, "cluster:17: too many servers"));
    memset(text, 'a', 600);
    assert_int_equal(cluster_read(text), ERR_INVALID);
    assert_non_null(strstr(error, "line of text"));
    assert_int_equal(topology_read("cluster", bytes_of("cdn\0", 4), &topology,
                                   error, sizeof error),
                     ERR_INVALID);
}

static void
only_what_is_named_runs_here(void **state)
{
    static const char *const names[] = {"origin2", "manager1"};
    static const char *const unknown[] = {"origin3"};
    assert_int_equal(cluster_read(WHOLE), 0);
    assert_int_equal(topology_select(&topology, names, 2, error, sizeof error),
                     0);
    for (size_t i = 0; i < topology.count; i++)
        assert_int_equal(topology.nodes[i].runs_here,
                         strcmp(topology.nodes[i].name, "origin2") == 0
                             || strcmp(topology.nodes[i].name, "manager1")
                                    == 0);
    assert_int_equal(topology_select(&topology, NULL, 0, error, sizeof error),
                     0);
    assert_true(topology.nodes[0].runs_here);
    assert_int_equal(
        topology_select(&topology, unknown, 1, error, sizeof error),
        ERR_NOT_FOUND);
    assert_non_null(strstr(error, "'origin3'"));
}

/* In the place of the server. */
#define BUCKET                                                               \
    "redirector r 10.0.0.1:80\norigin o 10.0.0.11:80\ncdn cdn 10.0.0.2:80\n" \
    "varnish v 127.0.0.1:6081\ncache cache1 10.0.0.21:80\n"                  \
    "manager m 10.0.0.41:7100\nst-api a 10.0.0.51:7200\n"                    \
    "storage bucket s3://films/vod https://s3.example.org eu-1 "             \
    "virtual-hosted\n"

static void
storage_may_be_a_bucket_that_runs_nowhere(void **state)
{
    static const char *const names[] = {"bucket"};
    assert_int_equal(cluster_read(BUCKET), 0);
    assert_true(topology.has_s3);
    assert_string_equal(topology.s3.host, "films.s3.example.org");
    assert_string_equal(topology.s3.region, "eu-1");
    assert_string_equal(topology.s3_endpoint, "https://s3.example.org");
    assert_string_equal(topology.s3_addressing, "virtual-hosted");
    const struct node *node = topology_node(&topology, TIER_STORAGE, 0);
    assert_string_equal(node->url, "s3://films/vod/");
    assert_false(node->runs_here);
    assert_int_equal(topology_select(&topology, NULL, 0, error, sizeof error),
                     0);
    assert_false(node->runs_here);
    assert_int_equal(topology_select(&topology, names, 1, error, sizeof error),
                     ERR_INVALID);
    assert_non_null(strstr(error, "'bucket', which is a bucket"));
    assert_int_equal(cluster_read(WHOLE), 0);
    assert_false(topology.has_s3);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cluster_has_the_servers_of_its_file),
        cmocka_unit_test(what_cannot_be_is_refused_with_its_line),
        cmocka_unit_test(only_what_is_named_runs_here),
        cmocka_unit_test(storage_may_be_a_bucket_that_runs_nowhere),
    };
    return cmocka_run_group_tests_name("topology_file", tests, NULL, NULL);
}
