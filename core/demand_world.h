/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_DEMAND_WORLD_H
#define CORE_DEMAND_WORLD_H

/* For core/demand*_test.c alone: nodes that report, and what became of it. */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/demand.h"

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

/* The next report, of the contents in the mask; builds on the one before. */
static inline struct buffer
origin_report(struct origin *o, bool is_full, unsigned mask)
{
    struct buffer b;
    buffer_init(&b, REPORT_SIZE_MAX);
    o->header.base = is_full ? 0 : o->header.sequence;
    o->header.sequence++;
    report_begin(&b, &o->header);
    for (unsigned i = 0; i < CONTENTS; i++) {
        struct report_entry entry = {content_name(i), o->values[i]};
        if (mask & 1u << i)
            report_add(&b, &entry);
    }
    assert_int_equal(report_finish(&b), 0);
    return b;
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

#endif
