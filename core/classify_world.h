/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_CLASSIFY_WORLD_H
#define CORE_CLASSIFY_WORLD_H

/* For core/classify*_test.c alone: what is classified from round to round. */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "core/classify.h"
#include "core/content.h"

enum { NODES = 5, CONTENTS = 6 };

/* A Manager's classification from round to round; contents "a" to "f", nodes
 * of 100 requests/s, so one more owner for each 10 requests/s. */
struct world {
    struct classify_policy policy;
    struct demand_node nodes[NODES + 1];
    size_t node_count;
    double rates[CONTENTS];
    double surges[CONTENTS]; /* where greater than the rate */
    struct table_row *rows;
    size_t row_count;
    uint64_t now_ms;
    struct override overrides[CONTENTS];
    size_t override_count;
};

static void
world_make(struct world *w)
{
    *w = (struct world){.policy = classify_policy_default,
                        .node_count = NODES,
                        .now_ms = 1000000};
    w->policy.has_cdn = true;
    w->policy.cdn_by_share = false;
    w->policy.spread = 0.10; /* ten requests/s an owner */
    for (size_t i = 0; i <= NODES; i++) {
        w->nodes[i].last.node = bytes_of(&"123456"[i], 1);
        w->nodes[i].last.weight = 100;
        w->nodes[i].last.role = NODE_ROLE_ORIGIN;
        w->nodes[i].last.capacity_milli = 100000;
        w->nodes[i].state = NODE_UP;
    }
}

static void
world_end(struct world *w)
{
    free(w->rows);
}

static struct bytes
content_name(size_t i)
{
    static const char names[] = "abcdef";
    return bytes_of(&names[i], 1);
}

static int
rate_compare(const void *a_void, const void *b_void)
{
    const struct demand_rate *a = a_void, *b = b_void;
    if (a->rate_surge != b->rate_surge)
        return a->rate_surge > b->rate_surge ? -1 : 1;
    return a->id.ptr[0] - b->id.ptr[0];
}

static void
step(struct world *w, uint32_t ms)
{
    struct demand_rate rates[CONTENTS];
    struct classify_input input = {
        .rates = rates,
        .nodes = w->nodes,
        .node_count = w->node_count,
        .previous = w->rows,
        .previous_count = w->row_count,
        .overrides = w->overrides,
        .override_count = w->override_count,
        .requests_per_play = 100,
    };
    w->now_ms += ms;
    input.now_ms = w->now_ms;
    for (size_t i = 0; i < CONTENTS; i++) {
        if (w->rates[i] <= 0)
            continue;
        rates[input.rate_count++] = (struct demand_rate){
            .id = content_name(i),
            .hash = content_hash(content_name(i)),
            .rate = w->rates[i],
            .rate_surge =
                w->surges[i] > w->rates[i] ? w->surges[i] : w->rates[i],
        };
    }
    qsort(rates, input.rate_count, sizeof rates[0], rate_compare);
    struct table_row *rows;
    assert_int_equal(classify(&w->policy, &input, &rows, &w->row_count), 0);
    free(w->rows);
    w->rows = rows;
    for (size_t i = 1; i < w->row_count; i++)
        assert_true(rows[i - 1].hash < rows[i].hash);
    for (size_t i = 0; i < w->row_count; i++) {
        assert_true(rows[i].level != LEVEL_CALM || rows[i].is_cdn_forbidden);
        rows[i].id = content_name((size_t) (rows[i].id.ptr[0] - 'a'));
    }
}

static struct table_row
row(const struct world *w, size_t content)
{
    struct table t = {.rows = w->rows, .row_count = w->row_count};
    struct bytes id = content_name(content);
    const struct table_row *r = table_find(&t, content_hash(id), id);
    return r ? *r : (struct table_row){.level = LEVEL_CALM, .owner_count = 1};
}

/* Requests/s that the CDN gets. */
static inline double
offloaded(const struct world *w)
{
    double sum = 0;
    for (size_t i = 0; i < CONTENTS; i++)
        sum += w->rates[i] * row(w, i).cdn_share / TABLE_SHARE_ONE;
    return sum;
}

#endif
