/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules of the load loop over random schedules: reports that are lost, late,
 * doubled and out of order, agents that restart, and a second demand that
 * takes over from the first, as with a change of the leading Manager. Each
 * round has its seed, which a failure prints.
 */
#include "core/content.h"
#include "core/demand_world.h"
#include "core/err.h"
#include "core/route.h"
#include "core/test_random.h"

#include <stdio.h>

enum { NODES = 4, MANAGERS = 2, MAILS_MAX = 64 };

/* ---- a world of agents, a network and two Managers ---- */

struct mail { /* a report under way */
    struct buffer report;
    unsigned node, to;
    uint64_t sequence;
    unsigned listed; /* contents, as bits */
    struct counters_values values[CONTENTS];
};

struct agent {
    struct report_header header;
    struct counters_values values[CONTENTS];
    uint64_t acked[CONTENTS]; /* requests */
    unsigned to;
};

struct world {
    uint64_t random;
    uint64_t now_ms;
    struct agent agents[NODES];
    struct demand *demands[MANAGERS];
    struct mail mails[MAILS_MAX];
    size_t mail_count;
    unsigned leader;
};

static void
world_make(struct world *w, uint64_t seed)
{
    static const char *const names[NODES] = {"o1", "o2", "o3", "r1"};
    *w = (struct world){.random = seed, .now_ms = START_MS};
    for (unsigned i = 0; i < NODES; i++) {
        w->agents[i].header = (struct report_header){
            .node = bytes_of_text(names[i]),
            .url = BYTES_LITERAL("http://127.0.0.1:1"),
            .role = i == 3 ? NODE_ROLE_REDIRECTOR : NODE_ROLE_ORIGIN,
            .weight = 100,
            .capacity_milli = 100000,
            .boot = 1 + i,
            .sequence = 1000,
        };
    }
    for (unsigned m = 0; m < MANAGERS; m++)
        w->demands[m] = demand_new(&demand_policy_default);
}

static void
mail_remove(struct world *w, size_t i)
{
    buffer_fini(&w->mails[i].report);
    w->mails[i] = w->mails[--w->mail_count];
}

static void
world_end(struct world *w)
{
    while (w->mail_count > 0)
        mail_remove(w, 0);
    for (unsigned m = 0; m < MANAGERS; m++)
        demand_free(w->demands[m]);
}

/* As the agent does: what changed on top of the base, sometimes in parts. */
static void
agent_send(struct world *w, unsigned node)
{
    struct agent *a = &w->agents[node];
    if (w->mail_count == MAILS_MAX)
        mail_remove(w, random_below(&w->random, MAILS_MAX));
    struct mail *mail = &w->mails[w->mail_count++];
    a->header.sequence++;
    a->header.has_more = false;
    const unsigned cut = random_below(&w->random, 4) == 0 ? 1u << 3 : ~0u;
    *mail = (struct mail){
        .node = node, .to = a->to, .sequence = a->header.sequence};
    for (unsigned i = 0; i < CONTENTS; i++) {
        if (a->values[i].requests == a->acked[i])
            continue;
        if (mail->listed >= cut)
            a->header.has_more = true;
        else
            mail->listed |= 1u << i;
    }
    memcpy(mail->values, a->values, sizeof mail->values);
    mail->report = report_of(&a->header, a->values, mail->listed);
}

static void
acknowledge(struct agent *a, const struct mail *mail)
{
    a->header.base = mail->sequence;
    for (unsigned i = 0; i < CONTENTS; i++) {
        if (mail->listed & 1u << i)
            a->acked[i] = mail->values[i].requests;
    }
}

static void
agent_forget(struct agent *a)
{
    a->header.base = 0;
    memset(a->acked, 0, sizeof a->acked);
}

/* The answer counts only while the agent waits for it: for its last report. */
static void
mail_deliver(struct world *w, size_t i, bool is_answered)
{
    struct mail *mail = &w->mails[i];
    struct agent *a = &w->agents[mail->node];
    struct demand_merge_result result;
    assert_int_equal(demand_merge(w->demands[mail->to],
                                  buffer_bytes(&mail->report), w->now_ms,
                                  &result),
                     0);
    if (!is_answered || mail->sequence != a->header.sequence
        || mail->to != a->to)
        return;
    if (result.wants_full)
        agent_forget(a);
    else
        acknowledge(a, mail);
}

static void
agent_count(struct world *w, unsigned node)
{
    struct counters_values *values =
        &w->agents[node].values[random_below(&w->random, CONTENTS)];
    values->requests += 1 + random_below(&w->random, 20);
    values->bytes += random_below(&w->random, 100000);
    values->starts += random_below(&w->random, 3);
    values->offloaded += random_below(&w->random, 2);
}

/* A Manager that crashes takes the connections to it along. */
static void
manager_restart(struct world *w, unsigned m)
{
    for (size_t i = w->mail_count; i-- > 0;) {
        if (w->mails[i].to == m)
            mail_remove(w, i);
    }
    demand_free(w->demands[m]);
    w->demands[m] = demand_new(&demand_policy_default);
}

static void
agent_restart(struct world *w, unsigned node)
{
    struct agent *a = &w->agents[node];
    agent_forget(a);
    a->header.sequence += 1000;
}

static void
world_step(struct world *w)
{
    const unsigned node = random_below(&w->random, NODES);
    const unsigned chance = random_below(&w->random, 100);
    w->now_ms += random_below(&w->random, 300);
    if (chance < 35)
        agent_count(w, node);
    else if (chance < 60)
        agent_send(w, node);
    else if (chance < 64)
        w->agents[node].to = w->leader;
    else if (chance < 65)
        agent_restart(w, node);
    else if (chance < 66)
        w->leader = random_below(&w->random, MANAGERS);
    else if (chance < 67)
        manager_restart(w, random_below(&w->random, MANAGERS));
    else if (chance < 69)
        demand_advance(w->demands[w->leader], w->now_ms);
    else if (w->mail_count > 0) {
        const size_t i = random_below(&w->random, (unsigned) w->mail_count);
        if (chance < 96)
            mail_deliver(w, i, chance < 92);
        if (chance < 85 || chance >= 96) /* else it comes again */
            mail_remove(w, i);
    }
}

/* Every report and answer arrives, what is late among them. */
static void
world_settle(struct world *w)
{
    for (int round = 0; round < 6; round++) {
        for (unsigned node = 0; node < NODES; node++) {
            w->agents[node].to = w->leader;
            agent_send(w, node);
        }
        while (w->mail_count > 0) {
            const size_t i = random_below(&w->random, (unsigned) w->mail_count);
            mail_deliver(w, i, true);
            mail_remove(w, i);
        }
        w->now_ms += 500;
    }
}

static struct counters_values
counted(const struct world *w, unsigned content)
{
    struct counters_values sum = {0};
    for (unsigned node = 0; node < NODES; node++)
        values_add(&sum, &w->agents[node].values[content]);
    return sum;
}

static struct counters_values
known(const struct world *w, unsigned manager, unsigned content)
{
    struct counters_values v;
    if (demand_sums(w->demands[manager], content_name(content), &v) != 0)
        memset(&v, 0, sizeof v);
    return v;
}

static void
assert_no_more_than_counted(const struct world *w)
{
    for (unsigned m = 0; m < MANAGERS; m++) {
        for (unsigned i = 0; i < CONTENTS; i++) {
            const struct counters_values has = known(w, m, i),
                                         most = counted(w, i);
            assert_true(has.requests <= most.requests && has.bytes <= most.bytes
                        && has.starts <= most.starts
                        && has.offloaded <= most.offloaded);
        }
    }
}

/* rule 2 */
static void
no_count_is_lost_or_doubled_across_changes_of_leader(void **state)
{
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct world w;
        world_make(&w, seed);
        for (unsigned step = 0; step < 600; step++) {
            world_step(&w);
            if (step % 25 == 0)
                assert_no_more_than_counted(&w);
        }
        world_settle(&w);
        for (unsigned i = 0; i < CONTENTS; i++) {
            const struct counters_values has = known(&w, w.leader, i),
                                         all = counted(&w, i);
            if (memcmp(&has, &all, sizeof has) != 0)
                fail_msg("seed %llu: %llu of %llu requests for %u",
                         (unsigned long long) seed,
                         (unsigned long long) has.requests,
                         (unsigned long long) all.requests, i);
        }
        world_end(&w);
    }
}

/* ---- Managers from turn to turn ---- */

static void
shuffle(unsigned *list, unsigned count, uint64_t *random)
{
    for (unsigned i = count; i > 1; i--) {
        const unsigned j = random_below(random, i), kept = list[i - 1];
        list[i - 1] = list[j];
        list[j] = kept;
    }
}

enum { TURNS = 60 };

struct past { /* every report of every turn, for repetitions */
    struct buffer reports[TURNS][NODES];
    bool is_lost[TURNS][NODES];
};

static void
past_end(struct past *past)
{
    for (unsigned t = 0; t < TURNS; t++) {
        for (unsigned n = 0; n < NODES; n++)
            buffer_fini(&past->reports[t][n]);
    }
}

/* The reports of one turn in an order of its own, some twice, and old ones of
 * which it had a newer one. */
static void
manager_hear(struct manager *m, const struct past *past, unsigned turn,
             uint64_t now_ms, uint64_t *random)
{
    unsigned order[NODES] = {0, 1, 2, 3};
    shuffle(order, NODES, random);
    for (unsigned i = 0; i < NODES; i++) {
        const unsigned n = order[i];
        if (past->is_lost[turn][n])
            continue;
        merge(m->demand, &past->reports[turn][n], now_ms);
        const unsigned old = random_below(random, turn + 1);
        if (!past->is_lost[old][n])
            merge(m->demand, &past->reports[old][n], now_ms);
    }
}

/* Requests come in bursts, so that levels go up and down. */
static void
turn_count(struct world *w, unsigned turn)
{
    for (unsigned n = 0; n < NODES; n++) {
        for (unsigned i = 0; i < CONTENTS; i++) {
            struct counters_values *v = &w->agents[n].values[i];
            const unsigned most = (turn / 10 + i) % 4 == 0 ? 60 : 3;
            v->requests += random_below(&w->random, most);
            v->starts += random_below(&w->random, 2);
        }
    }
}

/* rule 3 */
static void
managers_that_hear_the_same_in_any_order_publish_the_same(void **state)
{
    for (uint64_t seed = 1; seed <= 30; seed++) {
        static struct past past;
        struct world w;
        struct manager a, b;
        size_t rows_seen = 0;
        world_make(&w, seed);
        manager_make(&a, true);
        manager_make(&b, true);
        for (unsigned turn = 0; turn < TURNS; turn++, w.now_ms += 500) {
            struct buffer table_a, table_b;
            turn_count(&w, turn);
            for (unsigned n = 0; n < NODES; n++) {
                struct agent *agent = &w.agents[n];
                agent->header.sequence++;
                agent->header.state =
                    random_below(&w.random, 20) == 0 ? NODE_FULL : NODE_UP;
                past.reports[turn][n] =
                    report_of(&agent->header, agent->values, ~0u);
                past.is_lost[turn][n] = random_below(&w.random, 4) == 0;
            }
            manager_hear(&a, &past, turn, w.now_ms, &w.random);
            manager_hear(&b, &past, turn, w.now_ms, &w.random);
            manager_turn(&a, w.now_ms, &table_a);
            manager_turn(&b, w.now_ms, &table_b);
            if (!bytes_equal(buffer_bytes(&table_a), buffer_bytes(&table_b)))
                fail_msg("seed %llu, turn %u", (unsigned long long) seed, turn);
            rows_seen += a.row_count;
            buffer_fini(&table_a);
            buffer_fini(&table_b);
        }
        assert_true(rows_seen > 0);
        past_end(&past);
        manager_end(&a);
        manager_end(&b);
        world_end(&w);
    }
}

/* rule 6 */
static void
no_repetition_of_old_reports_keeps_a_row_alive(void **state)
{
    for (uint64_t seed = 1; seed <= 30; seed++) {
        static struct past past;
        struct world w;
        struct manager m;
        struct buffer table;
        world_make(&w, seed);
        manager_make(&m, true);
        for (unsigned turn = 0; turn < TURNS; turn++, w.now_ms += 500) {
            turn_count(&w, turn);
            for (unsigned n = 0; n < NODES; n++) {
                struct agent *agent = &w.agents[n];
                agent->header.sequence++;
                past.reports[turn][n] =
                    report_of(&agent->header, agent->values, ~0u);
                past.is_lost[turn][n] = random_below(&w.random, 3) == 0;
            }
            /* the Manager that takes over knows neither rows nor rates */
            if (turn == TURNS / 2 && seed % 2 == 0) {
                manager_end(&m);
                manager_make(&m, true);
            }
            manager_hear(&m, &past, turn, w.now_ms, &w.random);
            manager_turn(&m, w.now_ms, &table);
            buffer_fini(&table);
        }
        assert_true(m.row_count > 0);
        /* what was lost comes late, and all of it again and again, for the
         * window and the hold time of a step down of share and one of k */
        const uint64_t end_ms = w.now_ms + demand_policy_default.window_ms
                                + 2 * classify_policy_default.hold_ms + 20000;
        for (unsigned i = 0; w.now_ms < end_ms; i++, w.now_ms += 500) {
            for (unsigned n = 0; n < NODES; n++) {
                const unsigned turn =
                    i == 0 ? TURNS - 1 : random_below(&w.random, TURNS);
                merge(m.demand, &past.reports[turn][n], w.now_ms);
            }
            manager_turn(&m, w.now_ms, &table);
            buffer_fini(&table);
        }
        if (m.row_count != 0)
            fail_msg("seed %llu: %zu rows stay", (unsigned long long) seed,
                     m.row_count);
        past_end(&past);
        manager_end(&m);
        world_end(&w);
    }
}

/* ---- rule 4 ---- */

/* Tables of several terms arrive in any order, some twice, some never; a node
 * takes what table_version_compare calls newer. */
static void
a_node_ends_with_the_newest_table_it_heard_of_and_never_goes_back(void **state)
{
    uint64_t random = 4;
    for (unsigned round = 0; round < 2000; round++) {
        struct table_version held = {0, 0}, newest = {0, 0};
        for (unsigned i = 0; i < 40; i++) {
            const struct table table = {
                .version = {1 + random_below(&random, 4),
                            random_next(&random) >> random_below(&random, 64)},
            };
            struct buffer encoded;
            struct table_snapshot *snapshot;
            struct table_version peeked;
            buffer_init(&encoded, TABLE_SIZE_MAX);
            assert_int_equal(table_encode(&table, &encoded), 0);
            assert_int_equal(table_decode(buffer_bytes(&encoded), &snapshot),
                             0);
            assert_int_equal(
                table_peek_version(buffer_bytes(&encoded), &peeked), 0);
            const struct table_version v = snapshot->table.version;
            assert_int_equal(table_version_compare(v, peeked), 0);
            if (table_version_compare(v, held) > 0) {
                assert_true(
                    v.term > held.term
                    || (v.term == held.term && v.sequence > held.sequence));
                held = v;
            }
            if (v.term > newest.term
                || (v.term == newest.term && v.sequence > newest.sequence))
                newest = v;
            table_free(snapshot);
            buffer_fini(&encoded);
        }
        assert_int_equal(table_version_compare(held, newest), 0);
    }
}

/* ---- rules 7 and 8, over random tables ---- */

enum { CLUSTER_MAX = 60 };

struct cluster {
    struct table_node nodes[CLUSTER_MAX];
    char names[CLUSTER_MAX][16];
    size_t count, up_count, full_count;
};

static void
cluster_make(struct cluster *c, uint64_t *random)
{
    static const uint32_t weights[] = {1, 50, 100, 100, 100, 400, 65535};
    static const enum node_state states[] = {NODE_UP, NODE_DRAINING, NODE_FULL,
                                             NODE_DOWN};
    const unsigned bad = random_below(random, 101); /* per cent */
    *c = (struct cluster){.count = 1 + random_below(random, CLUSTER_MAX)};
    for (size_t i = 0; i < c->count; i++) {
        snprintf(c->names[i], sizeof c->names[i], "o%03u", (unsigned) i % 1000);
        c->nodes[i] = (struct table_node){
            .name = bytes_of_text(c->names[i]),
            .url = BYTES_LITERAL("http://127.0.0.1:80"),
            .weight = weights[random_below(random, 7)],
            .load = random_below(random, 15000),
            .state = random_below(random, 100) < bad
                         ? states[random_below(random, 4)]
                         : NODE_UP,
        };
        c->up_count += c->nodes[i].state == NODE_UP;
        c->full_count += c->nodes[i].state == NODE_FULL;
    }
}

static struct table_snapshot *
cluster_publish(const struct cluster *c, const struct table_row *row)
{
    const struct table table = {.version = {1, 1},
                                .nodes = c->nodes,
                                .node_count = c->count,
                                .rows = row,
                                .row_count = row->owner_count > 1};
    struct table_snapshot *snapshot;
    struct buffer b;
    buffer_init(&b, TABLE_SIZE_MAX);
    assert_int_equal(table_encode(&table, &b), 0);
    assert_int_equal(table_decode(buffer_bytes(&b), &snapshot), 0);
    buffer_fini(&b);
    return snapshot;
}

/* rule 7 */
static void
an_owner_set_is_the_smaller_one_and_one_more_in_any_cluster(void **state)
{
    uint64_t random = 7;
    for (unsigned round = 0; round < 150; round++) {
        struct cluster c;
        uint16_t before[PLACEMENT_NODES_MAX], owners[PLACEMENT_NODES_MAX];
        size_t count_before = 0;
        cluster_make(&c, &random);
        const struct bytes id = content_name(random_below(&random, CONTENTS));
        for (uint32_t k = 1; k <= c.count; k++) {
            const struct table_row row = {
                .id = id, .level = LEVEL_NORMAL, .owner_count = k};
            struct table_snapshot *s = cluster_publish(&c, &row);
            const size_t count = route_owners(s, id, content_hash(id), owners);
            const size_t most = s->available_count;
            assert_int_equal(count, k < most ? k : most);
            assert_memory_equal(owners, before, count_before * sizeof *owners);
            memcpy(before, owners, sizeof owners);
            count_before = count;
            table_free(s);
        }
    }
}

/* Follows a request from node to node as nginx would. */
static void
follow(const struct cluster *c, const struct table_snapshot *s,
       struct route_request *request)
{
    struct route_decision d;
    for (request->hops = 0; request->hops <= 4; request->hops++) {
        route_decide(s, request, &d);
        if (d.action != ROUTE_NODE)
            return;
        const enum node_state to = c->nodes[d.node].state;
        assert_int_not_equal(to, NODE_DRAINING);
        if (c->up_count > 0)
            assert_int_equal(to, NODE_UP);
        else if (c->full_count > 0)
            assert_int_equal(to, NODE_FULL);
        request->self = d.node;
    }
    fail_msg("redirected without end");
}

/* rule 8 */
static void
no_chain_of_redirects_leads_to_a_node_that_should_not_serve(void **state)
{
    uint64_t random = 8;
    for (unsigned round = 0; round < 2000; round++) {
        struct cluster c;
        cluster_make(&c, &random);
        const struct bytes id = content_name(random_below(&random, CONTENTS));
        const struct table_row row = {
            .id = id,
            .level = (enum level)(LEVEL_NORMAL + random_below(&random, 3)),
            .owner_count = 1 + random_below(&random, (unsigned) c.count),
            .cdn_share = random_below(&random, TABLE_SHARE_ONE + 1)};
        struct table_snapshot *s = cluster_publish(&c, &row);
        for (unsigned i = 0; i < 20; i++) {
            struct route_request request = {
                .content = id,
                .hash = content_hash(id),
                .session = random_next(&random),
                .self = (int) random_below(&random, (unsigned) c.count + 2) - 2,
                .hops_max = 2,
                .has_cdn = random_below(&random, 2) == 0,
            };
            follow(&c, s, &request);
        }
        table_free(s);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_count_is_lost_or_doubled_across_changes_of_leader),
        cmocka_unit_test(
            managers_that_hear_the_same_in_any_order_publish_the_same),
        cmocka_unit_test(no_repetition_of_old_reports_keeps_a_row_alive),
        cmocka_unit_test(
            a_node_ends_with_the_newest_table_it_heard_of_and_never_goes_back),
        cmocka_unit_test(
            an_owner_set_is_the_smaller_one_and_one_more_in_any_cluster),
        cmocka_unit_test(
            no_chain_of_redirects_leads_to_a_node_that_should_not_serve),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
