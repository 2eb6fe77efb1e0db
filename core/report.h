/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_REPORT_H
#define CORE_REPORT_H

/*
 * A node's report to the Manager: cumulative counts of the contents that
 * changed since the last report a Manager acknowledged, under (node, boot,
 * sequence). It may be lost, repeated or reordered (rule 2). It names the
 * report it builds on, so that a Manager that lacks that one can tell. Flat
 * little-endian binary with an XXH3 checksum; core/report.c draws it.
 */

#include "core/counters.h"
#include "core/table.h"

#define REPORT_SIZE_MAX (64u << 20) /* bytes */

enum node_role { NODE_ROLE_ORIGIN, NODE_ROLE_REDIRECTOR };

struct report_header {
    struct bytes node; /* name */
    struct bytes url;  /* public base URL; empty for a redirector */
    enum node_role role;
    enum node_state state; /* as the node sees itself */
    uint32_t weight;
    uint64_t capacity_milli; /* requests in 1000 s it can serve */
    uint64_t boot;           /* of its counter file; 0: none, no entries */
    /* Of the report within the boot, from 1; 1 says that the counts began
     * with it, so an agent that starts on an older file begins higher (with
     * the Unix time in ms, say) and only ever counts up. */
    uint64_t sequence;
    uint64_t base;     /* sequence of the report it builds on: lists what
                        * changed since; 0: none, lists all */
    bool has_more;     /* it was cut: the next one lists more */
    uint64_t overflow; /* requests without a slot since boot */
    struct table_version held; /* the table the node acts on; 0.0: none */
    uint32_t entry_count;
};

struct report_entry {
    struct bytes id;
    struct counters_values values; /* cumulative since boot */
};

/* Begin in an empty buffer, add each entry, finish (fills in count and
 * checksum). Errors stay in the buffer (buffer.err). */
void report_begin(struct buffer *out, const struct report_header *header);
void report_add(struct buffer *out, const struct report_entry *entry);
int report_finish(struct buffer *out);
/* Says that it was cut, before it is finished. */
void report_has_more(struct buffer *out);

/* Checks the whole report, entries included, then walks it. Entries point
 * into `encoded`. */
struct report_reader {
    struct report_header header;
    struct bytes rest;
    uint32_t entries_left;
};
int report_open(struct bytes encoded, struct report_reader *out);
bool report_next(struct report_reader *reader, struct report_entry *out);

#endif
