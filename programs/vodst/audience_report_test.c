/* SPDX-License-Identifier: Apache-2.0 */

#include "programs/vodst/audience_report.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <jansson.h>
#include <cmocka.h>

static const char *const ids[] = {"a", "b"};

static json_t *
told(const struct audience_report *report)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    assert_int_equal(audience_report_json(report, out), 0);
    fclose(out);
    json_t *root = json_loadb(text, size, 0, NULL);
    free(text);
    assert_non_null(root);
    return root;
}

static json_int_t
number(json_t *root, const char *object, const char *name)
{
    return json_integer_value(
        json_object_get(json_object_get(root, object), name));
}

static void
percentiles_are_times_that_were_seen(void **state)
{
    struct audience_report report;
    assert_int_equal(audience_report_init(&report, ids, 2), 0);
    for (unsigned i = 2000; i > 0; i--)
        audience_report_start(&report, i);
    json_t *root = told(&report);
    assert_int_equal(number(root, "start_ms", "p50"), 1000);
    assert_int_equal(number(root, "start_ms", "p95"), 1900);
    assert_int_equal(number(root, "start_ms", "p99"), 1980);
    assert_int_equal(number(root, "start_ms", "max"), 2000);
    json_decref(root);
    audience_report_fini(&report);

    assert_int_equal(audience_report_init(&report, ids, 2), 0);
    audience_report_start(&report, 7);
    root = told(&report);
    assert_int_equal(number(root, "start_ms", "p50"), 7);
    assert_int_equal(number(root, "start_ms", "p99"), 7);
    json_decref(root);
    audience_report_fini(&report);
}

static void
nodes_are_counted_for_each_content_and_for_all(void **state)
{
    struct audience_report report;
    assert_int_equal(audience_report_init(&report, ids, 2), 0);
    audience_report_serve(&report, 0, "origin1", 100);
    audience_report_play(&report, 0, "origin1");
    audience_report_serve(&report, 1, "cdn", 10);
    audience_report_play(&report, 1, "cdn");
    audience_report_serve(&report, 1, "origin1", 1);
    json_t *root = told(&report);
    json_int_t requests = 0, bytes = 0, plays = 0, cdn = 0, a = 0, b = 0;
    assert_int_equal(
        json_unpack(root, "{s{s{sI sI sI}} s{s{sI}} s{s{sI s{s{sI}}} s{sI}}}",
                    "nodes", "origin1", "requests", &requests, "bytes", &bytes,
                    "plays", &plays, "tiers", "cdn", "bytes", &cdn, "contents",
                    "a", "plays", &a, "nodes", "origin1", "bytes", &bytes, "b",
                    "plays", &b),
        0);
    assert_int_equal(requests, 2);
    assert_int_equal(bytes, 100);
    assert_int_equal(plays, 1);
    assert_int_equal(cdn, 10);
    assert_int_equal(a, 1);
    assert_int_equal(b, 1);
    json_decref(root);
    audience_report_fini(&report);
}

static void
nodes_past_the_limit_are_counted_as_other(void **state)
{
    struct audience_report report;
    assert_int_equal(audience_report_init(&report, ids, 1), 0);
    for (unsigned i = 0; i < 3 * AUDIENCE_NODES_MAX; i++) {
        char name[32];
        snprintf(name, sizeof name, "node%u", i);
        audience_report_serve(&report, 0, name, 1);
    }
    json_t *root = told(&report);
    json_t *nodes = json_object_get(root, "nodes");
    assert_int_equal(json_object_size(nodes), AUDIENCE_NODES_MAX);
    assert_int_equal(number(nodes, "other", "requests"),
                     2 * AUDIENCE_NODES_MAX + 1);
    json_decref(root);
    audience_report_fini(&report);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(percentiles_are_times_that_were_seen),
        cmocka_unit_test(nodes_are_counted_for_each_content_and_for_all),
        cmocka_unit_test(nodes_past_the_limit_are_counted_as_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
