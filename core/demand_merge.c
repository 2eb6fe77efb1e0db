/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Merging reports into a demand: what a report raises of its boot's maxima is
 * added to the sums, and to the windows from the report before on.
 */

#include "core/content.h"
#include "core/demand_private.h"
#include "core/err.h"

#define TOGETHER 16 /* entries that are looked up at once */
/* Of one content in one report: more is a counter gone wrong, from which the
 * requests of a play are not learnt. */
#define LEARNT_MAX (1u << 24)

/* What one report is merged with: where to, and over which buckets. */
struct merge {
    struct demand *demand;
    struct node *node;
    struct boot *boot;
    bool is_base; /* adds nothing to rates */
    enum node_role role;
    struct span span;  /* that its new counts lie in, in the long window */
    uint64_t since_ms; /* how long they took to come together */
    uint64_t window_ms;
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

/* What of n new counts lies in the long window. */
static uint64_t
in_window(const struct merge *m, uint64_t n)
{
    if (m->since_ms <= m->window_ms)
        return n;
    return (uint64_t) ((double) n * (double) m->window_ms
                       / (double) m->since_ms);
}

/* An entry on its way from the report to the sums. */
struct found {
    struct report_entry entry;
    uint64_t hash;
    uint32_t content; /* where it lies, or may lie */
};

/* What of n new counts falls into which bucket. */
static void
count_spread(const struct merge *m, const struct found *found, uint64_t n,
             struct spread *out)
{
    spread_over(&m->span, in_window(m, n), found->hash, out);
}

static int
window_add(const struct merge *m, uint32_t content, enum ring_kind kind,
           const struct spread *spread)
{
    struct contents *contents = &m->demand->contents;
    uint32_t ring;
    int err = contents_ring(contents, content, &ring);
    return err != 0 ? err : rings_add(&contents->rings, kind, ring, spread);
}

static int
requests_add(const struct merge *m, const struct found *found, uint64_t n)
{
    struct spread spread;
    if (n == 0)
        return 0;
    count_spread(m, found, n, &spread);
    m->node->requests_ever += n;
    series_add(&m->node->requests, &spread);
    if (m->role != NODE_ROLE_ORIGIN)
        return 0;
    return window_add(m, found->content, RING_SERVED, &spread);
}

static int
plays_add(const struct merge *m, const struct found *found, enum ring_kind kind,
          uint64_t n)
{
    struct spread spread;
    if (n == 0)
        return 0;
    count_spread(m, found, n, &spread);
    return window_add(m, found->content, kind + m->role, &spread);
}

/* How many requests a play makes. */
static void
learn(const struct merge *m, const struct totals *more)
{
    struct demand *d = m->demand;
    if (more->requests >= LEARNT_MAX || more->starts >= LEARNT_MAX
        || more->offloaded > more->starts)
        return;
    if (m->role == NODE_ROLE_ORIGIN)
        d->requests_seen += (double) more->requests;
    d->plays_seen[m->role] += (double) (more->starts - more->offloaded);
}

static int
rates_add(const struct merge *m, const struct found *found,
          const struct totals *more)
{
    int err = requests_add(m, found, more->requests);
    if (err == 0)
        err = plays_add(m, found, RING_STARTS, more->starts);
    if (err == 0)
        err = plays_add(m, found, RING_OFFLOADED, more->offloaded);
    learn(m, more);
    return err;
}

/* The largest values seen of a content; valid until the next call. NULL:
 * memory. */
static struct totals *
maximum_of(const struct merge *m, uint32_t content)
{
    struct content *c = content_at(&m->demand->contents, content);
    uint32_t place;
    if (c->boot != m->boot->number) {
        if (boot_place(m->boot, content, &place) != 0)
            return NULL;
        c->boot = m->boot->number;
        c->place = place;
    }
    return &m->boot->list[c->place].values;
}

static int
entry_merge(struct merge *m, struct found *found)
{
    struct demand *d = m->demand;
    const struct counters_values *new = &found->entry.values;

    if ((new->requests | new->bytes | new->starts | new->offloaded) == 0)
        return 0;
    int err = contents_intern(&d->contents, found->entry.id, found->hash,
                              &found->content);
    d->left_out += err == ERR_LIMIT;
    if (err != 0)
        return err == ERR_LIMIT ? 0 : err;
    struct totals *maximum = maximum_of(m, found->content);
    if (maximum == NULL)
        return ERR_MEMORY;
    struct totals more = {
        .requests = raise_to(&maximum->requests, new->requests),
        .bytes = raise_to(&maximum->bytes, new->bytes),
        .starts = raise_to(&maximum->starts, new->starts),
        .offloaded = raise_to(&maximum->offloaded, new->offloaded),
    };
    if ((more.requests | more.bytes | more.starts | more.offloaded) == 0)
        return 0;
    m->has_changed = true;
    struct totals *sums = &content_at(&d->contents, found->content)->sums;
    sums->requests += more.requests;
    sums->bytes += more.bytes;
    if ((more.starts | more.offloaded) != 0) { /* spares a cache line */
        sums->starts += more.starts;
        sums->offloaded += more.offloaded;
    }
    return m->is_base ? 0 : rates_add(m, found, &more);
}

/* They may lie in two lines of the processor's cache. */
static void
totals_prefetch(const struct totals *totals)
{
    __builtin_prefetch(&totals->requests, 1);
    __builtin_prefetch(&totals->offloaded, 1);
}

/* As many entries as are looked up together; how many there were. */
static size_t
entries_take(const struct merge *m, struct report_reader *reader,
             struct found found[TOGETHER])
{
    const struct contents *contents = &m->demand->contents;
    uint64_t hashes[TOGETHER];
    uint32_t positions[TOGETHER];
    size_t count = 0;
    while (count < TOGETHER && report_next(reader, &found[count].entry)) {
        hashes[count] = content_hash(found[count].entry.id);
        count++;
    }
    contents_prefetch(contents, hashes, count, m->demand->clock.bucket,
                      positions);
    for (size_t i = 0; i < count; i++) {
        found[i].hash = hashes[i];
        found[i].content = positions[i];
        if (positions[i] == CONTENT_UNKNOWN)
            continue;
        const struct content *c = content_at(contents, positions[i]);
        if (c->boot == m->boot->number)
            totals_prefetch(&m->boot->list[c->place].values);
        else
            boot_prefetch(m->boot, positions[i]);
    }
    return count;
}

static int
entries_merge(struct demand *d, struct node *node, struct boot *boot,
              struct report_reader *reader, bool *has_changed)
{
    const uint64_t window_ms = (uint64_t) d->clock.bucket_ms * WINDOW_BUCKETS;
    const uint64_t since_ms = d->clock.now_ms - boot->heard_ms;
    struct merge m = {
        .demand = d,
        .node = node,
        .boot = boot,
        .is_base = boot->awaits_base,
        .role = reader->header.role,
        .span = span_since(&d->clock, since_ms > window_ms
                                          ? d->clock.now_ms - window_ms
                                          : boot->heard_ms),
        .since_ms = since_ms,
        .window_ms = window_ms,
    };
    struct found found[TOGETHER];
    for (size_t count; (count = entries_take(&m, reader, found)) > 0;) {
        for (size_t i = 0; i < count; i++) {
            int err = entry_merge(&m, &found[i]);
            if (err != 0)
                return err;
        }
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

/* The counts of a new boot were made since the node's last word, those of a
 * new node now. */
static struct boot *
boot_begin(struct demand *d, struct node *node, bool is_new_node,
           const struct report_header *header)
{
    const struct window_clock *clock = &d->clock;
    struct boot *boot = boot_add(&d->nodes, node, header->boot);
    boot->awaits_base = is_new_node && header->sequence > 1;
    if (!is_new_node)
        boot->heard_ms = node->header_ms;
    else if (clock->now_ms > clock->bucket_ms)
        boot->heard_ms = clock->now_ms - clock->bucket_ms;
    return boot;
}

/* A full report begins a new chain, also below what was merged before it: an
 * agent may have lost its count. */
static void
boot_advance(struct boot *boot, const struct report_header *header,
             bool is_newest, uint64_t now_ms)
{
    if (header->base == 0 || header->sequence > boot->has_up_to)
        boot->has_up_to = header->sequence;
    if (!header->has_more)
        boot->awaits_base = false;
    /* after a silence a lower one is the newest, and its count goes on from
     * there: an agent begins with its clock, which may have been set back */
    if (!is_newest && header->sequence <= boot->sequence)
        return;
    boot->sequence = header->sequence;
    if (!header->has_more)
        boot->heard_ms = now_ms;
}

static void
node_hear(const struct demand *d, struct demand_node *node)
{
    const uint64_t now_ms = d->clock.now_ms;
    if (now_ms - node->heard_ms > d->policy.node_timeout_ms)
        node->since_ms = now_ms;
    node->heard_ms = now_ms;
}

static int
node_merge(struct demand *d, struct node *node, bool is_new_node,
           struct report_reader *reader, struct demand_merge_result *result)
{
    const struct report_header *header = &reader->header;
    struct boot *boot = header->boot ? boot_find(node, header->boot) : NULL;
    bool has_changed = false;

    node_hear(d, &node->view);
    if (boot == NULL && header->boot != 0)
        boot = boot_begin(d, node, is_new_node, header);
    bool is_newest = is_new_node || header_is_newest(d, node, boot, header);
    if (boot != NULL) {
        /* a word for word repetition, and the usual one: spare the walk */
        if (!is_newest && header->sequence == boot->sequence)
            return 0;
        int err = entries_merge(d, node, boot, reader, &has_changed);
        if (err != 0)
            return err;
        boot_advance(boot, header, is_newest, d->clock.now_ms);
    }
    if (is_newest)
        node_take_header(node, header, d->clock.now_ms);
    result->is_new = is_newest || has_changed;
    return 0;
}

/* Its changes are on top of counts that were told to another Manager, or to
 * this one before it was restarted. */
static bool
is_base_missing(struct node *node, const struct report_header *header)
{
    if (header->base == 0)
        return false;
    if (node == NULL)
        return true;
    const struct boot *boot = boot_find(node, header->boot);
    if (boot == NULL) /* what was forgotten is dropped, not asked for */
        return !boot_is_forgotten(node, header->boot);
    return boot->has_up_to < header->base;
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
    result.held = header->held;
    bool is_new_node = !nodes_find(&d->nodes, header->node, &at);
    struct node *node = is_new_node ? NULL : d->nodes.list[at];
    if (is_base_missing(node, header)) {
        result.wants_full = true;
        if (node != NULL)
            node_hear(d, &node->view);
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
