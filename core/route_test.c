/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "core/content.h"
#include "core/err.h"
#include "core/route.h"

enum { NODES = 5 };

struct world {
    struct table_node nodes[NODES];
    char names[NODES][16];
    struct table_row row;
    bool is_cdn_forbidden; /* for all */
    struct table_snapshot *snapshot;
};

static const struct bytes film = {(const uint8_t *) "film", 4};

static void
world_make(struct world *w, enum level level, uint32_t k, uint32_t share)
{
    *w = (struct world){
        .row = {
            .id = film, .level = level, .owner_count = k, .cdn_share = share}};
    for (size_t i = 0; i < NODES; i++) {
        snprintf(w->names[i], sizeof w->names[i], "origin%zu", i + 1);
        w->nodes[i] = (struct table_node){
            .name = bytes_of_text(w->names[i]),
            .url = BYTES_LITERAL("http://127.0.0.1:80"),
            .weight = 100,
            .state = NODE_UP,
        };
    }
}

static void
world_publish(struct world *w)
{
    struct table table = {.nodes = w->nodes,
                          .node_count = NODES,
                          .rows = &w->row,
                          .row_count = w->row.owner_count ? 1 : 0,
                          .is_cdn_forbidden = w->is_cdn_forbidden};
    struct buffer b;
    buffer_init(&b, TABLE_SIZE_MAX);
    assert_int_equal(table_encode(&table, &b), 0);
    table_free(w->snapshot);
    assert_int_equal(table_decode(buffer_bytes(&b), &w->snapshot), 0);
    buffer_fini(&b);
}

static struct route_request
request_of(int self, uint64_t session)
{
    return (struct route_request){
        .content = film,
        .hash = content_hash(film),
        .session = session,
        .self = self,
        .hops_max = 2,
    };
}

static struct route_decision
decide(const struct world *w, int self, uint64_t session, unsigned hops,
       bool has_cdn)
{
    struct route_decision d;
    struct route_request request = request_of(self, session);
    request.hops = hops;
    request.has_cdn = has_cdn;
    route_decide(w->snapshot, &request, &d);
    return d;
}

static size_t
owners_of(const struct world *w, uint16_t owners[PLACEMENT_NODES_MAX])
{
    return route_owners(w->snapshot, film, content_hash(film), owners);
}

static void
a_calm_content_goes_to_its_one_owner(void **state)
{
    struct world w;
    uint16_t owners[PLACEMENT_NODES_MAX];
    world_make(&w, LEVEL_CALM, 0, 0);
    world_publish(&w);
    assert_int_equal(owners_of(&w, owners), 1);
    for (uint64_t session = 0; session < 100; session++) {
        struct route_decision d =
            decide(&w, ROUTE_SELF_REDIRECTOR, session, 0, true);
        assert_int_equal(d.action, ROUTE_NODE);
        assert_int_equal(d.node, owners[0]);
        assert_int_equal(d.rule, ROUTE_RULE_ONLY);
        assert_int_equal(d.level, LEVEL_CALM);
        assert_int_equal(d.owner_count, 1);
    }
    table_free(w.snapshot);
}

static void
sessions_spread_over_exactly_the_owner_set_and_stay(void **state)
{
    for (uint32_t k = 2; k <= NODES; k++) {
        struct world w;
        uint16_t owners[PLACEMENT_NODES_MAX];
        unsigned got[NODES] = {0};
        world_make(&w, LEVEL_NORMAL, k, 0);
        world_publish(&w);
        assert_int_equal(owners_of(&w, owners), k);
        for (uint64_t session = 0; session < 20000; session++) {
            struct route_decision d = decide(&w, -1, session, 0, true);
            assert_int_equal(d.rule, ROUTE_RULE_STICKY);
            got[d.node]++;
            assert_int_equal(decide(&w, -1, session, 1, false).node, d.node);
        }
        for (uint32_t i = 0; i < NODES; i++) {
            bool is_owner = false;
            for (uint32_t j = 0; j < k; j++)
                is_owner |= owners[j] == i;
            assert_int_equal(got[i] > 0, is_owner);
            assert_true(!is_owner || got[i] > 20000 / k * 0.95);
        }
        table_free(w.snapshot);
    }
}

static void
the_second_choice_is_taken_only_past_the_margin(void **state)
{
    struct world w;
    uint16_t owners[PLACEMENT_NODES_MAX];
    world_make(&w, LEVEL_HOT, NODES, 0);
    world_publish(&w);
    owners_of(&w, owners);
    size_t busy = owners[0];
    w.nodes[busy].load = ROUTE_LOAD_MARGIN;
    world_publish(&w);
    unsigned got = 0;
    for (uint64_t session = 0; session < 1000; session++)
        got += decide(&w, -1, session, 0, true).node == (int) busy;
    assert_true(got > 100);
    w.nodes[busy].load = ROUTE_LOAD_MARGIN + 1;
    world_publish(&w);
    unsigned moved = 0;
    for (uint64_t session = 0; session < 1000; session++) {
        struct route_decision d = decide(&w, -1, session, 0, true);
        assert_int_not_equal(d.node, busy);
        moved += d.rule == ROUTE_RULE_LESS_LOADED;
    }
    assert_int_equal(moved, got);
    table_free(w.snapshot);
}

static void
an_owner_serves_and_another_origin_redirects_until_the_hop_limit(void **state)
{
    struct world w;
    uint16_t owners[PLACEMENT_NODES_MAX];
    world_make(&w, LEVEL_NORMAL, 2, 0);
    world_publish(&w);
    owners_of(&w, owners);
    for (int self = ROUTE_SELF_UNLISTED; self < NODES; self++) {
        if (self == ROUTE_SELF_REDIRECTOR)
            continue;
        bool is_owner = self == owners[0] || self == owners[1];
        for (unsigned hops = 0; hops < 5; hops++) {
            struct route_decision d = decide(&w, self, 77, hops, true);
            if (is_owner || hops >= 2) {
                assert_int_equal(d.action, ROUTE_SERVE);
                assert_int_equal(d.node, -1);
                assert_int_equal(d.rule, is_owner ? ROUTE_RULE_OWNER
                                                  : ROUTE_RULE_HOP_LIMIT);
            } else {
                assert_int_equal(d.action, ROUTE_NODE);
                assert_int_equal(d.node, decide(&w, -1, 77, 0, true).node);
            }
        }
    }
    table_free(w.snapshot);
}

static void
the_share_of_a_critical_content_goes_to_the_cdn(void **state)
{
    static const uint32_t shares[] = {0, 1, 2500, 9999, 10000};
    for (size_t i = 0; i < sizeof shares / sizeof shares[0]; i++) {
        struct world w;
        unsigned offloaded = 0;
        enum { SESSIONS = 40000 };
        world_make(&w, LEVEL_CRITICAL, NODES, shares[i]);
        world_publish(&w);
        for (uint64_t session = 0; session < SESSIONS; session++) {
            struct route_decision d = decide(&w, -1, session, 0, true);
            offloaded += d.action == ROUTE_CDN;
            assert_int_equal(d.action == ROUTE_CDN,
                             d.rule == ROUTE_RULE_OFFLOAD);
            /* an origin never sends there, nor anyone without a CDN */
            assert_int_not_equal(decide(&w, 0, session, 0, true).action,
                                 ROUTE_CDN);
            assert_int_not_equal(decide(&w, -2, session, 0, true).action,
                                 ROUTE_CDN);
            assert_int_equal(decide(&w, -1, session, 0, false).action,
                             ROUTE_NODE);
        }
        double expected = shares[i] / 10000.0 * SESSIONS;
        assert_true(offloaded > expected * 0.95 - 8);
        assert_true(offloaded < expected * 1.05 + 8);
        if (shares[i] == 10000)
            assert_int_equal(offloaded, SESSIONS);
        table_free(w.snapshot);
    }
}

static void
a_share_is_for_critical_contents_only(void **state)
{
    struct world w;
    world_make(&w, LEVEL_HOT, NODES, 10000);
    world_publish(&w);
    for (uint64_t session = 0; session < 100; session++)
        assert_int_equal(decide(&w, -1, session, 0, true).action, ROUTE_NODE);
    table_free(w.snapshot);
}

static void
nobody_is_sent_to_a_node_that_is_not_up_while_another_is(void **state)
{
    static const enum node_state bad[] = {NODE_DRAINING, NODE_FULL, NODE_DOWN};
    for (unsigned mask = 1; mask < (1u << NODES) - 1; mask++) {
        for (uint32_t k = 0; k <= NODES; k++) {
            struct world w;
            world_make(&w, k == NODES ? LEVEL_HOT : LEVEL_NORMAL, k, 0);
            for (unsigned i = 0; i < NODES; i++) {
                if (mask & 1u << i)
                    w.nodes[i].state = bad[(i + mask) % 3];
            }
            world_publish(&w);
            for (uint64_t session = 0; session < 50; session++) {
                for (int self = -2; self < NODES; self++) {
                    struct route_decision d =
                        decide(&w, self, session, 0, true);
                    if (d.action == ROUTE_NODE)
                        assert_int_equal(w.nodes[d.node].state, NODE_UP);
                }
                assert_int_equal(decide(&w, -1, session, 0, true).action,
                                 ROUTE_NODE);
            }
            table_free(w.snapshot);
        }
    }
}

static void
with_no_node_the_cdn_is_named_or_nothing(void **state)
{
    struct world w;
    world_make(&w, LEVEL_NORMAL, 2, 0);
    for (size_t i = 0; i < NODES; i++)
        w.nodes[i].state = NODE_DRAINING;
    world_publish(&w);
    struct route_decision d = decide(&w, -1, 5, 0, true);
    assert_int_equal(d.action, ROUTE_CDN);
    assert_int_equal(d.rule, ROUTE_RULE_NO_NODE);
    d = decide(&w, -1, 5, 0, false);
    assert_int_equal(d.action, ROUTE_SERVE);
    assert_int_equal(d.rule, ROUTE_RULE_NO_NODE);
    assert_int_equal(d.owner_count, 0);
    for (int self = -2; self < NODES; self++) {
        if (self == -1)
            continue;
        d = decide(&w, self, 5, 0, true);
        assert_int_equal(d.action, ROUTE_SERVE);
        assert_int_equal(d.node, -1);
    }
    table_free(w.snapshot);
}

static void
a_chain_of_redirects_ends(void **state)
{
    /* tables of two ages: each origin believes the other is the owner */
    struct world a, b;
    world_make(&a, LEVEL_CALM, 0, 0);
    world_make(&b, LEVEL_CALM, 0, 0);
    world_publish(&a);
    int owner = decide(&a, -1, 1, 0, false).node;
    b.nodes[owner].state = NODE_DOWN;
    world_publish(&b);
    int other = decide(&b, -1, 1, 0, false).node;
    int at = other;
    unsigned hops = 0;
    for (;; hops++) {
        assert_true(hops <= 2);
        struct route_decision d =
            decide(at == other ? &a : &b, at, 1, hops, false);
        if (d.action == ROUTE_SERVE)
            break;
        at = d.node;
    }
    assert_int_equal(hops, 2);
    table_free(a.snapshot);
    table_free(b.snapshot);
}

/* Follows a play from the node that the redirector names; the last word. */
static int
spill_from(const struct world *w, uint64_t session, const bool full[NODES],
           unsigned *spills)
{
    int at = decide(w, -1, session, 0, false).node;
    struct route_request request = request_of(at, session);
    for (*spills = 0;; ++*spills) {
        struct route_decision d;
        request.self = at;
        request.hops++;
        request.self_full = full[at];
        request.spills = *spills;
        route_decide(w->snapshot, &request, &d);
        if (d.action == ROUTE_SERVE) {
            assert_true(*spills > 0 || d.rule == ROUTE_RULE_OWNER);
            return at;
        }
        assert_int_equal(d.action, ROUTE_NODE);
        assert_int_equal(d.rule, ROUTE_RULE_SPILL);
        assert_int_not_equal(d.node, at);
        at = d.node;
    }
}

static void
a_full_owner_passes_new_plays_on_and_the_next_node_keeps_them(void **state)
{
    for (uint32_t k = 1; k <= NODES; k++) {
        struct world w;
        bool full[NODES] = {false};
        uint16_t owners[PLACEMENT_NODES_MAX];
        unsigned spills;
        world_make(&w, k < NODES ? LEVEL_NORMAL : LEVEL_HOT, k, 0);
        world_publish(&w);
        owners_of(&w, owners);
        for (uint32_t i = 0; i < k; i++)
            full[owners[i]] = k < NODES || i > 0;
        for (uint64_t session = 0; session < 500; session++) {
            int at = spill_from(&w, session, full, &spills);
            if (k < NODES) /* the first try finds one that is not full */
                assert_int_equal(spills, 1);
            assert_true(!full[at] || spills == ROUTE_SPILLS_MAX);
            assert_int_equal(spill_from(&w, session, full, &spills), at);
        }
        table_free(w.snapshot);
    }
}

static void
with_all_nodes_full_a_play_is_served_after_the_last_spill(void **state)
{
    struct world w;
    const bool full[NODES] = {true, true, true, true, true};
    unsigned spills;
    world_make(&w, LEVEL_CALM, 0, 0);
    world_publish(&w);
    for (uint64_t session = 0; session < 100; session++) {
        spill_from(&w, session, full, &spills);
        assert_int_equal(spills, ROUTE_SPILLS_MAX);
    }
    table_free(w.snapshot);
}

static void
a_node_that_is_alone_serves_though_it_is_full(void **state)
{
    struct world w;
    const bool full[NODES] = {true, true, true, true, true};
    unsigned spills;
    world_make(&w, LEVEL_CALM, 0, 0);
    for (size_t i = 1; i < NODES; i++)
        w.nodes[i].state = NODE_DOWN;
    world_publish(&w);
    assert_int_equal(spill_from(&w, 3, full, &spills), 0);
    assert_int_equal(spills, 0);
    table_free(w.snapshot);
}

static void
a_spilled_play_stays_where_it_was_taken(void **state)
{
    struct world w;
    struct route_decision d;
    world_make(&w, LEVEL_CALM, 0, 0);
    world_publish(&w);
    int owner = decide(&w, -1, 1, 0, false).node;
    struct route_request request = request_of((owner + 1) % NODES, 1);
    route_decide(w.snapshot, &request, &d);
    assert_int_equal(d.node, owner);
    request.spills = 1;
    route_decide(w.snapshot, &request, &d);
    assert_int_equal(d.action, ROUTE_SERVE);
    assert_int_equal(d.rule, ROUTE_RULE_SPILLED);
    table_free(w.snapshot);
}

static void
spills_stay_near_the_owner_while_there_is_room(void **state)
{
    enum { MANY = 200 };
    struct table_node nodes[MANY];
    static char names[MANY][8];
    struct table_snapshot *snapshot;
    uint16_t order[PLACEMENT_NODES_MAX];
    struct buffer b;
    for (size_t i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], "n%03zu", i);
        nodes[i] = (struct table_node){
            .name = bytes_of_text(names[i]),
            .url = BYTES_LITERAL("http://127.0.0.1:80"),
            .weight = 100,
            .state = NODE_UP,
        };
    }
    const struct table table = {.nodes = nodes, .node_count = MANY};
    buffer_init(&b, TABLE_SIZE_MAX);
    assert_int_equal(table_encode(&table, &b), 0);
    assert_int_equal(table_decode(buffer_bytes(&b), &snapshot), 0);
    buffer_fini(&b);
    const uint64_t hash = content_hash(film);
    placement_owners(snapshot->placement, MANY, hash, MANY, order);
    for (uint64_t session = 0; session < 300; session++) {
        size_t from = 1;
        for (unsigned spills = 0; spills < 3; spills++, from *= 8) {
            struct route_request request = {.content = film,
                                            .hash = hash,
                                            .session = session,
                                            .self = order[0],
                                            .self_full = true,
                                            .spills = spills};
            struct route_decision d;
            route_decide(snapshot, &request, &d);
            bool is_in_ring = false;
            for (size_t i = from; i < from * ROUTE_SPILL_STEP && i < MANY; i++)
                is_in_ring |= order[i] == d.node;
            assert_true(is_in_ring);
        }
    }
    table_free(snapshot);
}

/* A calm film, its owner and two others; what `at` does with a play. */
struct under_way {
    struct world w;
    int owner, other, third;
    struct route_request request;
};

static void
under_way_make(struct under_way *u, enum route_play play, bool is_held)
{
    world_make(&u->w, LEVEL_CALM, 0, 0);
    world_publish(&u->w);
    u->owner = decide(&u->w, -1, 1, 0, false).node;
    u->other = (u->owner + 1) % NODES;
    u->third = (u->owner + 2) % NODES;
    u->request = (struct route_request){
        .content = film,
        .hash = content_hash(film),
        .session = 1,
        .hops_max = 2,
        .play = play,
        .is_held = is_held,
        .moved_to = -1,
    };
}

static struct route_decision
under_way_at(struct under_way *u, int self)
{
    struct route_decision d;
    u->request.self = self;
    route_decide(u->w.snapshot, &u->request, &d);
    return d;
}

static void
a_play_that_came_lately_stays_at_a_node_that_owns_nothing(void **state)
{
    struct under_way u;
    under_way_make(&u, ROUTE_PLAY_HERE, true);
    assert_int_equal(under_way_at(&u, u.other).rule, ROUTE_RULE_STAY);
    assert_int_equal(under_way_at(&u, u.owner).rule, ROUTE_RULE_OWNER);
    u.request.is_held = false;
    assert_int_equal(under_way_at(&u, u.other).node, u.owner);
    u.request.is_held = true;
    u.request.play = ROUTE_PLAY_NEW;
    assert_int_equal(under_way_at(&u, u.other).node, u.owner);
    table_free(u.w.snapshot);
}

static void
a_play_leaves_a_node_that_drains_or_is_down_at_once(void **state)
{
    static const enum node_state leaving[] = {NODE_DRAINING, NODE_DOWN};
    for (size_t i = 0; i < 2; i++) {
        struct under_way u;
        under_way_make(&u, ROUTE_PLAY_HERE, true);
        u.w.nodes[u.other].state = leaving[i];
        world_publish(&u.w);
        assert_int_equal(under_way_at(&u, u.other).node, u.owner);
        u.request.spills = 1; /* also one that was passed on to it */
        assert_int_equal(under_way_at(&u, u.other).node, u.owner);
        u.request.spills = 0;
        /* and is not sent back to it */
        u.request.play = ROUTE_PLAY_MOVED;
        u.request.moved_to = u.other;
        assert_int_equal(under_way_at(&u, u.owner).rule, ROUTE_RULE_OWNER);
        assert_int_equal(under_way_at(&u, u.third).node, u.owner);
        table_free(u.w.snapshot);
    }
}

static void
a_play_at_a_full_node_stays(void **state)
{
    struct under_way u;
    under_way_make(&u, ROUTE_PLAY_HERE, false);
    u.w.nodes[u.owner].state = NODE_FULL;
    world_publish(&u.w);
    assert_int_equal(under_way_at(&u, u.owner).rule, ROUTE_RULE_STAY);
    u.request.play = ROUTE_PLAY_NEW;
    assert_int_equal(under_way_at(&u, u.owner).action, ROUTE_NODE);
    table_free(u.w.snapshot);
}

static void
a_play_that_went_lately_goes_on_where_it_went(void **state)
{
    struct under_way u;
    under_way_make(&u, ROUTE_PLAY_MOVED, true);
    u.request.moved_to = u.third;
    for (int self = 0; self < NODES; self++) {
        struct route_decision d = under_way_at(&u, self);
        if (self == u.third)
            continue;
        assert_int_equal(d.rule, ROUTE_RULE_MOVED);
        assert_int_equal(d.node, u.third);
    }
    /* past the hold time only to an owner, and never from one */
    u.request.is_held = false;
    assert_int_equal(under_way_at(&u, u.owner).rule, ROUTE_RULE_OWNER);
    assert_int_equal(under_way_at(&u, u.other).node, u.owner);
    u.request.moved_to = u.owner;
    assert_int_equal(under_way_at(&u, u.other).rule, ROUTE_RULE_MOVED);
    /* redirected often enough, or passed on: it is served */
    u.request.is_held = true;
    u.request.hops = 2;
    assert_int_equal(under_way_at(&u, u.other).action, ROUTE_SERVE);
    u.request.hops = 0;
    u.request.spills = 1;
    assert_int_equal(under_way_at(&u, u.other).rule, ROUTE_RULE_SPILLED);
    table_free(u.w.snapshot);
}

/* Where so many retries lead. */
static struct route_decision
retry_at(const struct world *w, uint64_t session, unsigned retries,
         bool has_cdn)
{
    struct route_decision d;
    struct route_request request = request_of(ROUTE_SELF_REDIRECTOR, session);
    request.has_cdn = has_cdn;
    request.retries = retries;
    route_decide(w->snapshot, &request, &d);
    return d;
}

static void
retries_name_every_place_once_owners_first(void **state)
{
    struct world w;
    for (uint32_t k = 1; k <= NODES; k++) {
        world_make(&w, k == 1 ? LEVEL_CALM : LEVEL_NORMAL, k == 1 ? 0 : k, 0);
        world_publish(&w);
        for (uint64_t session = 1; session < 20; session++) {
            bool is_named[NODES] = {false};
            const int first = retry_at(&w, session, 0, true).node;
            for (unsigned n = 0; n < NODES; n++) {
                struct route_decision d = retry_at(&w, session, n, true);
                assert_int_equal(d.action, ROUTE_NODE);
                assert_int_equal(d.is_passed_on, n >= k);
                assert_int_equal(d.rule == ROUTE_RULE_RETRY, n > 0);
                assert_false(is_named[d.node]);
                is_named[d.node] = true;
            }
            assert_int_equal(retry_at(&w, session, NODES, true).action,
                             ROUTE_CDN);
            assert_int_equal(retry_at(&w, session, NODES + 1, true).node,
                             first);
            assert_int_equal(retry_at(&w, session, NODES, false).node, first);
        }
        table_free(w.snapshot);
    }
    /* no node is named that is down, and none but the CDN when none is left */
    world_make(&w, LEVEL_CALM, 0, 0);
    for (size_t i = 0; i < NODES; i++)
        w.nodes[i].state = i == 0 ? NODE_UP : NODE_DOWN;
    world_publish(&w);
    assert_int_equal(retry_at(&w, 1, 1, false).node, 0);
    assert_int_equal(retry_at(&w, 1, 1, true).action, ROUTE_CDN);
    table_free(w.snapshot);
}

static void
retries_of_an_offloaded_play_begin_with_the_cdn(void **state)
{
    struct world w;
    world_make(&w, LEVEL_CRITICAL, NODES, TABLE_SHARE_ONE);
    world_publish(&w);
    assert_int_equal(retry_at(&w, 7, 0, true).action, ROUTE_CDN);
    for (unsigned n = 1; n <= NODES; n++)
        assert_int_equal(retry_at(&w, 7, n, true).action, ROUTE_NODE);
    assert_int_equal(retry_at(&w, 7, NODES + 1, true).action, ROUTE_CDN);
    table_free(w.snapshot);
}

static void
nobody_is_sent_to_a_cdn_that_is_forbidden(void **state)
{
    for (int for_all = 0; for_all < 2; for_all++) {
        struct world w;
        world_make(&w, LEVEL_CALM, 1, 0);
        w.is_cdn_forbidden = for_all;
        w.row.is_cdn_forbidden = !for_all;
        world_publish(&w);
        for (unsigned n = 0; n < 2 * NODES; n++)
            assert_int_equal(retry_at(&w, 7, n, true).node,
                             retry_at(&w, 7, n, false).node);
        for (size_t i = 0; i < NODES; i++)
            w.nodes[i].state = NODE_DRAINING;
        world_publish(&w);
        assert_int_equal(decide(&w, -1, 5, 0, true).action, ROUTE_SERVE);
        table_free(w.snapshot);
    }
    /* a share is of no use then */
    struct world w;
    world_make(&w, LEVEL_CRITICAL, NODES, TABLE_SHARE_ONE);
    w.is_cdn_forbidden = true;
    world_publish(&w);
    assert_int_equal(decide(&w, -1, 5, 0, true).action, ROUTE_NODE);
    table_free(w.snapshot);
}

static void
every_rule_has_a_name(void **state)
{
    assert_string_equal(route_rule_name(ROUTE_RULE_LESS_LOADED), "less-loaded");
    assert_string_equal(route_rule_name(ROUTE_RULE_NO_NODE), "no-node");
    assert_string_equal(route_rule_name((enum route_rule) 99), "unknown");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_calm_content_goes_to_its_one_owner),
        cmocka_unit_test(sessions_spread_over_exactly_the_owner_set_and_stay),
        cmocka_unit_test(the_second_choice_is_taken_only_past_the_margin),
        cmocka_unit_test(
            an_owner_serves_and_another_origin_redirects_until_the_hop_limit),
        cmocka_unit_test(the_share_of_a_critical_content_goes_to_the_cdn),
        cmocka_unit_test(a_share_is_for_critical_contents_only),
        cmocka_unit_test(
            nobody_is_sent_to_a_node_that_is_not_up_while_another_is),
        cmocka_unit_test(with_no_node_the_cdn_is_named_or_nothing),
        cmocka_unit_test(a_chain_of_redirects_ends),
        cmocka_unit_test(
            a_full_owner_passes_new_plays_on_and_the_next_node_keeps_them),
        cmocka_unit_test(
            with_all_nodes_full_a_play_is_served_after_the_last_spill),
        cmocka_unit_test(a_node_that_is_alone_serves_though_it_is_full),
        cmocka_unit_test(a_spilled_play_stays_where_it_was_taken),
        cmocka_unit_test(spills_stay_near_the_owner_while_there_is_room),
        cmocka_unit_test(
            a_play_that_came_lately_stays_at_a_node_that_owns_nothing),
        cmocka_unit_test(a_play_leaves_a_node_that_drains_or_is_down_at_once),
        cmocka_unit_test(a_play_at_a_full_node_stays),
        cmocka_unit_test(a_play_that_went_lately_goes_on_where_it_went),
        cmocka_unit_test(retries_name_every_place_once_owners_first),
        cmocka_unit_test(retries_of_an_offloaded_play_begin_with_the_cdn),
        cmocka_unit_test(nobody_is_sent_to_a_cdn_that_is_forbidden),
        cmocka_unit_test(every_rule_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
