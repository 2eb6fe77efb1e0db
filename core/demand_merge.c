/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Merging reports into a demand: what a report raises of its boot's maxima is
 * added to the sums, and to the windows from the report before on.
 */

#include "core/demand_private.h"
#include "core/err.h"

/* What one report is merged with: where to, and over which buckets. */
struct merge {
    struct demand *demand;
    struct node *node;
    struct boot *boot;
    bool is_base; /* adds nothing to rates */
    enum node_role role;
    uint64_t from_ms;
    bool has_changed;
};

/* Raises *maximum to the value; returns by how much. */
static uint64_t
raise_to(uint64_t *maximum, uint64_t value)
{
    if (value <= *maximum)
        return 0;
    uint64_t more = value - *maximum;
    *maximum = value;
    return more;
}

static int
rates_add(const struct merge *m, uint32_t content,
          const struct counters_values *more)
{
    struct demand *d = m->demand;
    bool is_served = m->role == NODE_ROLE_ORIGIN && more->requests > 0;

    if (is_served || (more->starts | more->offloaded) != 0) {
        struct ring *ring = contents_ring(&d->contents, content);
        if (ring == NULL)
            return ERR_MEMORY;
        if (is_served)
            series_add(&ring->served, &d->clock, m->from_ms, more->requests);
        if (more->starts > 0)
            plays_add(&ring->starts[m->role], &d->clock, m->from_ms,
                      more->starts);
        if (more->offloaded > 0)
            plays_add(&ring->offloaded[m->role], &d->clock, m->from_ms,
                      more->offloaded);
    }
    d->plays_seen[m->role] += (double) more->starts - (double) more->offloaded;
    if (is_served)
        d->requests_seen += (double) more->requests;
    return 0;
}

static int
entry_merge(struct merge *m, const struct report_entry *entry)
{
    struct demand *d = m->demand;
    const struct counters_values *new = &entry->values;
    uint32_t content;

    if ((new->requests | new->bytes | new->starts | new->offloaded) == 0)
        return 0;
    int err = contents_intern(&d->contents, entry->id, &content);
    if (err != 0)
        return err;
    struct counters_values *maximum = boot_maximum(m->boot, content);
    if (maximum == NULL)
        return ERR_MEMORY;
    struct counters_values more = {
        .requests = raise_to(&maximum->requests, new->requests),
        .bytes = raise_to(&maximum->bytes, new->bytes),
        .starts = raise_to(&maximum->starts, new->starts),
        .offloaded = raise_to(&maximum->offloaded, new->offloaded),
    };
    if ((more.requests | more.bytes | more.starts | more.offloaded) == 0)
        return 0;
    m->has_changed = true;
    struct counters_values *sums = &d->contents.list[content].sums;
    sums->requests += more.requests;
    sums->bytes += more.bytes;
    sums->starts += more.starts;
    sums->offloaded += more.offloaded;
    if (m->is_base)
        return 0;
    if (more.requests > 0)
        series_add(&m->node->requests, &d->clock, m->from_ms, more.requests);
    return rates_add(m, content, &more);
}

/* The moment since which the boot's new counts were made, as far as known. */
static uint64_t
merge_from_ms(const struct window_clock *clock, const struct boot *boot)
{
    uint64_t since_ms =
        boot->heard_ms ? clock->now_ms - boot->heard_ms : clock->bucket_ms;
    uint64_t window_ms = (uint64_t) clock->bucket_ms * WINDOW_BUCKETS;
    if (since_ms > window_ms)
        since_ms = window_ms;
    return since_ms < clock->now_ms ? clock->now_ms - since_ms : 0;
}

static int
entries_merge(struct demand *d, struct node *node, struct boot *boot,
              struct report_reader *reader, bool *has_changed)
{
    struct merge m = {
        .demand = d,
        .node = node,
        .boot = boot,
        .is_base = boot->awaits_base,
        .role = reader->header.role,
        .from_ms = merge_from_ms(&d->clock, boot),
    };
    struct report_entry entry;
    while (report_next(reader, &entry)) {
        int err = entry_merge(&m, &entry);
        if (err != 0)
            return err;
    }
    *has_changed = m.has_changed;
    return 0;
}

/*
 * True when the header is the node's newest word. Sequences order the reports
 * of the newest boot; after a silence any word is the newest, so that an agent
 * that lost its count is not ignored.
 */
static bool
header_is_newest(const struct demand *d, const struct node *node,
                 const struct boot *boot, const struct report_header *header)
{
    if (d->clock.now_ms - node->header_ms > d->policy.node_timeout_ms)
        return true;
    if (boot == NULL)
        return node->view.last.boot != 0
               || header->sequence > node->view.last.sequence;
    return boot == &node->boots[node->boot_count - 1]
           && header->sequence > boot->sequence;
}

static int
node_merge(struct demand *d, struct node *node, bool is_new_node,
           struct report_reader *reader, struct demand_merge_result *result)
{
    const struct report_header *header = &reader->header;
    struct boot *boot = header->boot ? boot_find(node, header->boot) : NULL;
    bool has_changed = false;

    node->view.heard_ms = d->clock.now_ms;
    if (boot == NULL && header->boot != 0) {
        boot = boot_add(node, header->boot);
        boot->awaits_base = is_new_node && header->sequence > 1;
    }
    bool is_newest = is_new_node || header_is_newest(d, node, boot, header);
    if (boot != NULL) {
        /* a word for word repetition, and the usual one: spare the walk */
        if (!is_newest && header->sequence == boot->sequence)
            return 0;
        int err = entries_merge(d, node, boot, reader, &has_changed);
        if (err != 0)
            return err;
        boot->awaits_base = false;
        if (header->sequence > boot->sequence) {
            boot->sequence = header->sequence;
            boot->heard_ms = d->clock.now_ms;
        }
    }
    if (is_newest)
        node_take_header(node, header, d->clock.now_ms);
    result->is_new = is_newest || has_changed;
    return 0;
}

int
demand_merge(struct demand *d, struct bytes report, uint64_t now_ms,
             struct demand_merge_result *out)
{
    struct demand_merge_result result = {.is_new = false};
    struct report_reader reader;
    size_t at;
    int err = report_open(report, &reader);
    if (err != 0)
        return err;
    const struct report_header *header = &reader.header;
    demand_move(d, now_ms);
    if (table_version_compare(header->held, d->held) > 0)
        d->held = header->held;
    bool is_new_node = !nodes_find(&d->nodes, header->node, &at);
    struct node *node = is_new_node ? NULL : d->nodes.list[at];
    bool is_known = header->boot == 0
                    || (node != NULL
                        && (boot_find(node, header->boot) != NULL
                            || boot_is_forgotten(node, header->boot)));
    if (!is_known && header->sequence > 1 && !header->is_full) {
        result.wants_full = true;
        if (node != NULL)
            node->view.heard_ms = d->clock.now_ms;
        *out = result;
        return 0;
    }
    if (is_new_node
        && (err = nodes_add(&d->nodes, at, header, d->clock.now_ms)) != 0)
        return err;
    node = d->nodes.list[at];
    if (!boot_is_forgotten(node, header->boot)
        && (err = node_merge(d, node, is_new_node, &reader, &result)) != 0)
        return err;
    *out = result;
    return 0;
}
