/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "core/content.h"
#include "core/err.h"
#include "core/steering.h"

enum { NODES = 8 };
#define NOW 1800000000u

struct world {
    struct table_node nodes[NODES];
    char names[NODES][16];
    struct table_row row;
    struct table_snapshot *snapshot;
    struct route_request request; /* as of a redirector */
    uint16_t owners[PLACEMENT_NODES_MAX];
};

static const struct bytes film = {(const uint8_t *) "film", 4};

static void
world_publish(struct world *w)
{
    struct table table = {.nodes = w->nodes,
                          .node_count = NODES,
                          .rows = &w->row,
                          .row_count = w->row.owner_count ? 1 : 0};
    struct buffer b;
    buffer_init(&b, TABLE_SIZE_MAX);
    assert_int_equal(table_encode(&table, &b), 0);
    table_free(w->snapshot);
    assert_int_equal(table_decode(buffer_bytes(&b), &w->snapshot), 0);
    buffer_fini(&b);
}

static void
world_make(struct world *w, enum level level, uint32_t k, uint32_t share)
{
    *w = (struct world){.row = {.id = film,
                                .level = level,
                                .owner_count = k,
                                .cdn_share = share},
                        .request = {.content = film,
                                    .hash = content_hash(film),
                                    .session = 1,
                                    .self = ROUTE_SELF_REDIRECTOR,
                                    .has_cdn = true}};
    for (size_t i = 0; i < NODES; i++) {
        snprintf(w->names[i], sizeof w->names[i], "origin%zu", i + 1);
        w->nodes[i] = (struct table_node){
            .name = bytes_of_text(w->names[i]),
            .url = BYTES_LITERAL("http://127.0.0.1:80"),
            .weight = 100,
            .state = NODE_UP,
        };
    }
    world_publish(w);
    placement_owners(w->snapshot->placement, NODES, w->request.hash, NODES,
                     w->owners);
}

/* The n-th node of the content's order. */
static struct bytes
nth(const struct world *w, size_t n)
{
    return bytes_of_text(w->names[w->owners[n]]);
}

static void
state_set(struct world *w, size_t n, enum node_state state)
{
    w->nodes[w->owners[n]].state = state;
    world_publish(w);
}

static void
parse(struct steering_query *query, const char *text)
{
    assert_int_equal(steering_query_parse(bytes_of_text(text), query), 0);
}

/* A query of the first `count` nodes of the order, and the CDN. */
static void
query_make(const struct world *w, size_t count, const char *more,
           struct steering_query *query)
{
    char text[512];
    size_t len = (size_t) snprintf(text, sizeof text, "pathways=");
    for (size_t i = 0; i < count; i++)
        len += (size_t) snprintf(text + len, sizeof text - len, "%.*s,",
                                 (int) nth(w, i).len, nth(w, i).ptr);
    snprintf(text + len, sizeof text - len, "cdn%s", more);
    parse(query, text);
}

static struct steering_order
decide(const struct world *w, const struct steering_query *query)
{
    struct steering_order order;
    assert_int_equal(
        steering_decide(w->snapshot, &w->request, query, NOW, &order), 0);
    assert_int_equal(order.pathways.count, query->pathways.count);
    return order;
}

/* Once more, as the player asks with the answer's own query. */
static struct steering_order
decide_again(const struct world *w, const struct steering_order *before,
             const char *more, struct steering_query *query)
{
    struct buffer text;
    buffer_init(&text, STEERING_QUERY_SIZE_MAX);
    steering_query_write(&before->pathways, before->pathways.names[0],
                         before->moved_s, &text);
    buffer_append_text(&text, more);
    assert_int_equal(steering_query_parse(buffer_bytes(&text), query), 0);
    buffer_fini(&text);
    return decide(w, query);
}

static void
assert_name(struct bytes got, struct bytes expected)
{
    if (!bytes_equal(got, expected))
        fail_msg("got %.*s, expected %.*s", (int) got.len, got.ptr,
                 (int) expected.len, expected.ptr);
}

/* ---- the query ---- */

static void
a_query_is_read_whatever_players_make_of_it(void **state)
{
    struct steering_query q;
    parse(&q, "pathways=a%2Cb,cdn&told=b&moved=1800000000&_HLS_pathway=a"
              "&_HLS_throughput=5000000");
    assert_int_equal(q.pathways.count, 3);
    assert_name(q.pathways.names[1], BYTES_LITERAL("b"));
    assert_name(q.current, BYTES_LITERAL("a"));
    assert_name(q.told, BYTES_LITERAL("b"));
    assert_int_equal(q.moved_s, 1800000000);
    /* dash.js when it has changed from a to b, and Shaka Player */
    parse(&q, "_DASH_pathway=%22a%2Cb%22&_DASH_throughput=115631000%2C");
    assert_name(q.current, BYTES_LITERAL("b"));
    parse(&q, "_DASH_pathway=a&_DASH_throughput=33564486");
    assert_name(q.current, BYTES_LITERAL("a"));
    parse(&q, "");
    assert_int_equal(q.pathways.count, 0);
    assert_int_equal(q.current.len, 0);
    parse(&q, "&&a&=b&pathways=&_HLS_pathway=%20%20&_HLS_pathway");
    assert_int_equal(q.pathways.count, 0);
    assert_int_equal(q.current.len, 0);
}

static void
a_query_that_is_none_is_refused(void **state)
{
    static char long_text[STEERING_QUERY_SIZE_MAX + 2];
    static const struct {
        const char *text;
        int err;
    } cases[] = {
        {"pathways=a,,b", ERR_INVALID},
        {"pathways=a,b,a", ERR_INVALID},
        {"pathways=a%22,b", ERR_INVALID},
        {"pathways=a,b,c,d,e,f,g", ERR_LIMIT},
        {"pathways=a%2", ERR_INVALID},
        {"x=%zz", ERR_INVALID},
        {"told=", ERR_INVALID},
        {"told=a/b", ERR_INVALID},
        {"moved=", ERR_INVALID},
        {"moved=-1", ERR_INVALID},
        {"moved=9999999999999", ERR_INVALID},
    };
    struct steering_query q;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(steering_query_parse(bytes_of_text(cases[i].text), &q),
                         cases[i].err);
    memset(long_text, 'a', sizeof long_text - 1);
    assert_int_equal(steering_query_parse(bytes_of_text(long_text), &q),
                     ERR_LIMIT);
}

/* ---- what is declared ---- */

static void
a_calm_film_has_two_nodes_and_the_cdn(void **state)
{
    struct world w;
    struct steering_pathways p;
    world_make(&w, LEVEL_CALM, 0, 0);
    steering_declare(w.snapshot, &w.request, nth(&w, 0), &p);
    assert_int_equal(p.count, 3);
    assert_name(p.names[0], nth(&w, 0));
    assert_name(p.names[1], nth(&w, 1));
    assert_name(p.names[2], STEERING_CDN);
    /* one that was passed on, and one that plays from the CDN */
    steering_declare(w.snapshot, &w.request, nth(&w, 5), &p);
    assert_int_equal(p.count, 4);
    assert_name(p.names[0], nth(&w, 5));
    steering_declare(w.snapshot, &w.request, STEERING_CDN, &p);
    assert_int_equal(p.count, 3);
    assert_name(p.names[0], STEERING_CDN);
    /* without a CDN still two */
    w.request.has_cdn = false;
    steering_declare(w.snapshot, &w.request, nth(&w, 0), &p);
    assert_int_equal(p.count, 2);
    table_free(w.snapshot);
}

static void
a_cdn_that_is_forbidden_is_no_pathway_and_is_left(void **state)
{
    struct world w;
    struct steering_pathways p;
    struct steering_query q;
    world_make(&w, LEVEL_CALM, 1, 0);
    w.row.is_cdn_forbidden = true;
    world_publish(&w);
    steering_declare(w.snapshot, &w.request, nth(&w, 0), &p);
    assert_int_equal(p.count, 2);
    /* a play that is there, and came just now */
    query_make(&w, 2, "&told=cdn&_HLS_pathway=cdn&moved=1799999999", &q);
    const struct steering_order order = decide(&w, &q);
    assert_name(order.pathways.names[0], nth(&w, 0));
    assert_name(order.pathways.names[2], STEERING_CDN);
    table_free(w.snapshot);
}

static void
the_owners_are_declared_as_far_as_there_is_room(void **state)
{
    struct world w;
    struct steering_pathways p;
    unsigned seen[NODES] = {0};
    world_make(&w, LEVEL_NORMAL, 4, 0);
    steering_declare(w.snapshot, &w.request, nth(&w, 2), &p);
    assert_int_equal(p.count, 5);
    table_free(w.snapshot);
    world_make(&w, LEVEL_HOT, NODES, 0);
    for (w.request.session = 0; w.request.session < 100; w.request.session++) {
        steering_declare(w.snapshot, &w.request, nth(&w, 0), &p);
        assert_int_equal(p.count, STEERING_PATHWAYS_MAX);
        assert_name(p.names[p.count - 1], STEERING_CDN);
        for (size_t i = 1; i < p.count - 1; i++)
            seen[table_node_find(&w.snapshot->table, p.names[i])]++;
    }
    for (size_t i = 1; i < NODES; i++) /* not the same ones for all */
        assert_true(seen[w.owners[i]] > 10);
    table_free(w.snapshot);
}

static void
no_node_that_is_not_up_is_declared(void **state)
{
    struct world w;
    struct steering_pathways p;
    world_make(&w, LEVEL_CALM, 0, 0);
    state_set(&w, 1, NODE_DRAINING);
    steering_declare(w.snapshot, &w.request, nth(&w, 0), &p);
    assert_int_equal(p.count, 3);
    assert_name(p.names[1], nth(&w, 2));
    table_free(w.snapshot);
}

/* ---- the order ---- */

static void
a_play_at_an_owner_stays_whatever_the_loads(void **state)
{
    struct world w;
    struct steering_query q;
    world_make(&w, LEVEL_NORMAL, 3, 0);
    w.nodes[w.owners[1]].load = 9000;
    world_publish(&w);
    for (w.request.session = 0; w.request.session < 50; w.request.session++) {
        query_make(&w, 3, "", &q);
        q.current = nth(&w, 1);
        q.told = nth(&w, 1);
        struct steering_order order = decide(&w, &q);
        assert_name(order.pathways.names[0], nth(&w, 1));
        assert_name(order.pathways.names[3], STEERING_CDN);
        assert_int_equal(order.moved_s, 0);
    }
    table_free(w.snapshot);
}

static void
a_play_leaves_a_node_that_drains_or_is_down_even_if_it_just_came(void **state)
{
    static const enum node_state leaving[] = {NODE_DRAINING, NODE_DOWN};
    for (size_t i = 0; i < 2; i++) {
        struct world w;
        struct steering_query q;
        world_make(&w, LEVEL_CALM, 0, 0);
        query_make(&w, 2, "&moved=1799999999", &q);
        assert_name(decide(&w, &q).pathways.names[0], nth(&w, 0));
        state_set(&w, 0, leaving[i]);
        struct steering_order order = decide(&w, &q);
        assert_name(order.pathways.names[0], nth(&w, 1));
        assert_name(order.pathways.names[2], nth(&w, 0));
        assert_int_equal(order.moved_s, NOW);
        table_free(w.snapshot);
    }
}

static void
a_play_that_moved_does_not_move_again_for_five_minutes(void **state)
{
    struct world w;
    struct steering_query q, again;
    world_make(&w, LEVEL_CALM, 0, 0);
    query_make(&w, 2, "", &q);
    state_set(&w, 0, NODE_DRAINING);
    struct steering_order order = decide(&w, &q);
    assert_name(order.pathways.names[0], nth(&w, 1));
    state_set(&w, 0, NODE_UP); /* the owner again */
    for (uint64_t ago = 0; ago < 2 * STEERING_HOLD_S; ago += 10) {
        order.moved_s = NOW - ago;
        const struct steering_order now = decide_again(&w, &order, "", &again);
        const bool is_back = bytes_equal(now.pathways.names[0], nth(&w, 0));
        assert_int_equal(is_back, ago >= STEERING_HOLD_S);
        assert_int_equal(now.moved_s, is_back ? NOW : NOW - ago);
    }
    table_free(w.snapshot);
}

static void
a_play_that_was_passed_on_goes_to_its_owner_only_after_a_while(void **state)
{
    struct world w;
    struct steering_query q;
    world_make(&w, LEVEL_CALM, 0, 0);
    struct steering_pathways declared;
    steering_declare(w.snapshot, &w.request, nth(&w, 5), &declared);
    const struct steering_order start = {declared, NOW - 100};
    assert_name(decide_again(&w, &start, "", &q).pathways.names[0], nth(&w, 5));
    const struct steering_order later = {declared, NOW - 300};
    assert_name(decide_again(&w, &later, "", &q).pathways.names[0], nth(&w, 0));
    table_free(w.snapshot);
}

static void
a_player_that_left_a_pathway_is_not_sent_back_at_once(void **state)
{
    struct world w;
    struct steering_query q;
    world_make(&w, LEVEL_CALM, 0, 0);
    query_make(&w, 2, "", &q);
    struct steering_order order = decide(&w, &q);
    assert_name(order.pathways.names[0], nth(&w, 0));
    char words[64];
    snprintf(words, sizeof words, "&_HLS_pathway=%.*s", (int) nth(&w, 1).len,
             nth(&w, 1).ptr);
    order = decide_again(&w, &order, words, &q);
    assert_name(order.pathways.names[0], nth(&w, 1));
    assert_int_equal(order.moved_s, NOW);
    assert_name(decide_again(&w, &order, words, &q).pathways.names[0],
                nth(&w, 1));
    table_free(w.snapshot);
}

static void
the_offloaded_share_goes_to_the_cdn_and_the_rest_does_not(void **state)
{
    struct world w;
    struct steering_query q;
    unsigned sent = 0;
    world_make(&w, LEVEL_CRITICAL, NODES, 3000);
    for (w.request.session = 0; w.request.session < 1000; w.request.session++) {
        struct route_decision d;
        query_make(&w, 3, "", &q);
        struct steering_order order = decide(&w, &q);
        route_decide(w.snapshot, &w.request, &d);
        const bool is_sent = bytes_equal(order.pathways.names[0], STEERING_CDN);
        assert_int_equal(is_sent, d.action == ROUTE_CDN);
        sent += is_sent;
        /* who is there stays for the five minutes, share or none */
        if (is_sent) {
            w.row.cdn_share = 0;
            world_publish(&w);
            order = decide_again(&w, &order, "", &q);
            assert_name(order.pathways.names[0], STEERING_CDN);
            order.moved_s = NOW - STEERING_HOLD_S;
            order = decide_again(&w, &order, "", &q);
            assert_false(bytes_equal(order.pathways.names[0], STEERING_CDN));
            w.row.cdn_share = 3000;
            world_publish(&w);
        }
    }
    assert_in_range(sent, 250, 350);
    table_free(w.snapshot);
}

static void
a_play_at_a_full_node_stays_and_none_is_sent_to_one(void **state)
{
    struct world w;
    struct steering_query q;
    world_make(&w, LEVEL_CALM, 0, 0);
    state_set(&w, 0, NODE_FULL);
    query_make(&w, 3, "", &q);
    assert_name(decide(&w, &q).pathways.names[0], nth(&w, 0));
    q.current = q.told = nth(&w, 2); /* is no owner */
    assert_name(decide(&w, &q).pathways.names[0], nth(&w, 1));
    state_set(&w, 1, NODE_DOWN);
    state_set(&w, 2, NODE_DOWN); /* the CDN before a full node */
    struct steering_order order = decide(&w, &q);
    assert_name(order.pathways.names[0], STEERING_CDN);
    assert_name(order.pathways.names[1], nth(&w, 0));
    table_free(w.snapshot);
}

static void
at_least_two_pathways_are_told_whatever_is_left_of_the_query(void **state)
{
    static const char *const queries[] = {
        "", "pathways=origin3", "_HLS_pathway=origin3", "pathways=gone1,gone2"};
    struct world w;
    struct steering_query q;
    struct steering_order order;
    world_make(&w, LEVEL_CALM, 0, 0);
    for (size_t i = 0; i < 4; i++) {
        parse(&q, queries[i]);
        assert_int_equal(
            steering_decide(w.snapshot, &w.request, &q, NOW, &order), 0);
        assert_true(order.pathways.count >= 2);
    }
    table_free(w.snapshot);

    const struct table empty = {0};
    struct buffer b;
    buffer_init(&b, TABLE_SIZE_MAX);
    assert_int_equal(table_encode(&empty, &b), 0);
    assert_int_equal(table_decode(buffer_bytes(&b), &w.snapshot), 0);
    buffer_fini(&b);
    w.request.has_cdn = false;
    parse(&q, "");
    assert_int_equal(steering_decide(w.snapshot, &w.request, &q, NOW, &order),
                     ERR_UNAVAILABLE);
    table_free(w.snapshot);
}

static void
the_manifest_speaks_to_hls_and_dash(void **state)
{
    const struct steering_order order = {
        {{BYTES_LITERAL("origin2"), BYTES_LITERAL("cdn")}, 2}, NOW};
    struct buffer out;
    buffer_init(&out, 4096);
    steering_manifest_write(&order, BYTES_LITERAL("http://r/s/t/film"), 10,
                            &out);
    buffer_append_u8(&out, 0);
    assert_string_equal(
        (const char *) buffer_bytes(&out).ptr,
        "{\"VERSION\":1,\"TTL\":10,\"RELOAD-URI\":\"http://r/s/t/film?"
        "pathways=origin2,cdn&told=origin2&moved=1800000000\","
        "\"PATHWAY-PRIORITY\":[\"origin2\",\"cdn\"],"
        "\"SERVICE-LOCATION-PRIORITY\":[\"origin2\",\"cdn\"]}\n");
    buffer_fini(&out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_query_is_read_whatever_players_make_of_it),
        cmocka_unit_test(a_query_that_is_none_is_refused),
        cmocka_unit_test(a_calm_film_has_two_nodes_and_the_cdn),
        cmocka_unit_test(a_cdn_that_is_forbidden_is_no_pathway_and_is_left),
        cmocka_unit_test(the_owners_are_declared_as_far_as_there_is_room),
        cmocka_unit_test(no_node_that_is_not_up_is_declared),
        cmocka_unit_test(a_play_at_an_owner_stays_whatever_the_loads),
        cmocka_unit_test(
            a_play_leaves_a_node_that_drains_or_is_down_even_if_it_just_came),
        cmocka_unit_test(
            a_play_that_moved_does_not_move_again_for_five_minutes),
        cmocka_unit_test(
            a_play_that_was_passed_on_goes_to_its_owner_only_after_a_while),
        cmocka_unit_test(a_player_that_left_a_pathway_is_not_sent_back_at_once),
        cmocka_unit_test(
            the_offloaded_share_goes_to_the_cdn_and_the_rest_does_not),
        cmocka_unit_test(a_play_at_a_full_node_stays_and_none_is_sent_to_one),
        cmocka_unit_test(
            at_least_two_pathways_are_told_whatever_is_left_of_the_query),
        cmocka_unit_test(the_manifest_speaks_to_hls_and_dash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
