/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_DEMAND_WORLD_H
#define CORE_DEMAND_WORLD_H

/* For the tests of core/demand*.c and of the load loop: nodes that report, and
 * what became of it. */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "core/classify.h"
#include "core/demand.h"
#include "core/publish.h"

#define START_MS 1000000u

/* A node as the tests see it: counts, and the reports of them. */
enum { CONTENTS = 12 };
struct origin {
    struct report_header header;
    struct counters_values values[CONTENTS];
};

static inline struct origin
origin_make(const char *name, enum node_role role)
{
    return (struct origin){.header = {
                               .node = bytes_of_text(name),
                               .url = BYTES_LITERAL("http://127.0.0.1:1"),
                               .role = role,
                               .weight = 100,
                               .capacity_milli = 100000,
                               .boot = 1,
                           }};
}

static inline struct bytes
content_name(unsigned i)
{
    static const char names[] = "abcdefghijkl";
    return bytes_of(&names[i], 1);
}

static inline void
values_add(struct counters_values *sum, const struct counters_values *more)
{
    sum->requests += more->requests;
    sum->bytes += more->bytes;
    sum->starts += more->starts;
    sum->offloaded += more->offloaded;
}

/* Of the contents in the mask. */
static inline struct buffer
report_of(const struct report_header *header,
          const struct counters_values *values, unsigned mask)
{
    struct buffer b;
    buffer_init(&b, REPORT_SIZE_MAX);
    report_begin(&b, header);
    for (unsigned i = 0; i < CONTENTS; i++) {
        const struct report_entry entry = {content_name(i), values[i]};
        if (mask & 1u << i)
            report_add(&b, &entry);
    }
    assert_int_equal(report_finish(&b), 0);
    return b;
}

/* The next report, which builds on the one before. */
static inline struct buffer
origin_report(struct origin *o, bool is_full, unsigned mask)
{
    o->header.base = is_full ? 0 : o->header.sequence;
    o->header.sequence++;
    return report_of(&o->header, o->values, mask);
}

static inline struct demand_merge_result
merge(struct demand *d, const struct buffer *b, uint64_t now_ms)
{
    struct demand_merge_result result;
    assert_int_equal(demand_merge(d, buffer_bytes(b), now_ms, &result), 0);
    return result;
}

static inline struct demand_merge_result
report(struct demand *d, struct origin *o, bool is_full, uint64_t now_ms)
{
    struct buffer b = origin_report(o, is_full, (1u << CONTENTS) - 1);
    struct demand_merge_result result = merge(d, &b, now_ms);
    buffer_fini(&b);
    return result;
}

static inline struct demand_rate
rate_find(struct demand *d, const char *id)
{
    size_t count;
    const struct demand_rate *rates = demand_rates(d, &count);
    for (size_t i = 0; i < count; i++) {
        if (bytes_equal(rates[i].id, bytes_of_text(id)))
            return rates[i];
    }
    return (struct demand_rate){.rate = 0};
}

static inline struct counters_values
sums(const struct demand *d, const char *id)
{
    struct counters_values v = {0};
    if (demand_sums(d, bytes_of_text(id), &v) != 0)
        memset(&v, 0, sizeof v);
    return v;
}

/* ---- a Manager from turn to turn ---- */

enum { MANAGER_NODES_MAX = 8 };

struct manager {
    struct demand *demand;
    struct classify_policy policy;
    struct table_row rows[CONTENTS]; /* of the last turn */
    size_t row_count;
};

static inline void
manager_make(struct manager *m, bool cdn_by_share)
{
    *m = (struct manager){.demand = demand_new(&demand_policy_default),
                          .policy = classify_policy_default};
    m->policy.has_cdn = true;
    m->policy.cdn_by_share = cdn_by_share;
}

static inline void
manager_end(struct manager *m)
{
    demand_free(m->demand);
}

/* Classifies, keeps the rows for the turn after, and encodes the table. */
static inline void
manager_turn(struct manager *m, uint64_t now_ms, struct buffer *out)
{
    struct classify_input input = {
        .previous = m->rows, .previous_count = m->row_count, .now_ms = now_ms};
    struct table_node nodes[MANAGER_NODES_MAX];
    struct table table = {.version = {1, 1}, .nodes = nodes};
    struct table_row *rows;
    demand_advance(m->demand, now_ms);
    input.rates = demand_rates(m->demand, &input.rate_count);
    input.nodes = demand_nodes(m->demand, &input.node_count);
    assert_true(input.node_count <= MANAGER_NODES_MAX);
    assert_int_equal(classify(&m->policy, &input, &rows, &m->row_count), 0);
    assert_true(m->row_count <= CONTENTS);
    for (size_t i = 0; i < m->row_count; i++) {
        m->rows[i] = rows[i];
        m->rows[i].id = content_name((unsigned) (rows[i].id.ptr[0] - 'a'));
    }
    free(rows);
    table.node_count = publish_origins(input.nodes, input.node_count, nodes);
    table.rows = m->rows;
    table.row_count = m->row_count;
    buffer_init(out, TABLE_SIZE_MAX);
    assert_int_equal(table_encode(&table, out), 0);
}

#endif
