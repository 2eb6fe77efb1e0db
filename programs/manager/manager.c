/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One turn: advance the demand, classify, compare with the table in force,
 * publish what is worth it. A turn follows every report that says something
 * new, a little later so that reports that come together share it, and comes
 * by itself often enough to see silence.
 */

#include "programs/manager/manager.h"

#include "core/err.h"
#include "core/publish.h"
#include "core/term.h"
#include "platform/clock.h"
#include "platform/log.h"

#include <stdlib.h>
#include <time.h>

#include <event2/event.h>

#define TICK_MS 250
#define TURN_GAP_MS 50 /* at least, between turns on reports */
#define SETTLE_PART 5  /* of the window, see settle() */

struct known_node { /* a node as it was logged last */
    char name[TABLE_NODE_NAME_LEN_MAX + 1];
    enum node_state state;
};

struct rows { /* of the last classification, with memory of its own */
    struct table_row *list;
    size_t count;
    uint8_t *ids;
};

struct manager {
    struct event_base *base;
    struct manager_config config;
    struct manager_stats stats;
    struct demand *demand;
    struct event *tick, *turn;
    uint64_t turned_ms;

    struct demand_node *nodes; /* of the last turn */
    size_t node_count;
    struct rows rows;
    struct known_node *known;
    size_t known_count;

    uint64_t random;         /* of this run: the tag of its terms */
    uint64_t term, sequence; /* sequence 0: nothing published in this term */
    struct table_version version;
    struct buffer encoded;
    struct table_snapshot *table; /* NULL until there is one */
    uint64_t published_ms;
    uint64_t began_ms;
    bool is_late;                 /* it goes on without its overrides */
    uint64_t first_report_ms;     /* 0: none yet */
    bool is_successor;            /* a node holds a table of another Manager */
    struct table_version adopted; /* of the table that `rows` began with */
    struct table_version outgrown_by; /* the last that was logged */
    uint64_t ignored_term;            /* likewise */

    void (*published)(void *context);
    void *context;
};

/* ---- what changed, for people ---- */

static void
log_row(const struct table_row *row, const struct table_row *before,
        size_t origins_up)
{
    log_info("manager: content %.*s is %s (k=%u of %zu, %.1f req/s, was %s "
             "k=%u)",
             (int) row->id.len, (const char *) row->id.ptr,
             level_name(row->level), row->owner_count, origins_up,
             (double) row->rate_milli / 1000, level_name(before->level),
             before->owner_count);
}

/* Both lists are sorted: walks them side by side. */
static void
log_row_changes(struct manager *m, const struct table_row *rows, size_t count,
                size_t origins_up)
{
    const struct rows *old = &m->rows;
    size_t i = 0, j = 0;
    while (i < count || j < old->count) {
        const int c = i == count ? 1
                      : j == old->count
                          ? -1
                          : table_row_compare(&rows[i], &old->list[j]);
        /* what is not listed is calm */
        const struct table_row calm = {
            .id = c > 0 ? old->list[j].id : rows[i].id, .owner_count = 1};
        const struct table_row *before = c >= 0 ? &old->list[j++] : &calm;
        const struct table_row *now = c <= 0 ? &rows[i++] : &calm;
        if (before->level != now->level
            || before->owner_count != now->owner_count)
            log_row(now, before, origins_up);
        m->stats.level_changes += before->level != now->level;
    }
}

static bool
is_named(const struct known_node *known, struct bytes name)
{
    return bytes_equal(bytes_of_text(known->name), name);
}

static const struct known_node *
known_find(const struct manager *m, struct bytes name)
{
    for (size_t i = 0; i < m->known_count; i++)
        if (is_named(&m->known[i], name))
            return &m->known[i];
    return NULL;
}

static void
log_node_changes(const struct manager *m, const struct demand_node *nodes,
                 size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct report_header *last = &nodes[i].last;
        const struct known_node *before = known_find(m, last->node);
        if (before != NULL && before->state == nodes[i].state)
            continue;
        log_info("manager: node %.*s is %s (%s, was %s)", (int) last->node.len,
                 (const char *) last->node.ptr, node_state_name(nodes[i].state),
                 last->role == NODE_ROLE_ORIGIN ? "origin" : "redirector",
                 before == NULL ? "unknown" : node_state_name(before->state));
    }
}

/* ---- keeping ---- */

static int
known_keep(struct manager *m, const struct demand_node *nodes, size_t count)
{
    struct known_node *known = calloc(count + 1, sizeof *known);
    if (known == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < count; i++) {
        const struct bytes name = nodes[i].last.node;
        const size_t len = name.len < sizeof known[i].name - 1
                               ? name.len
                               : sizeof known[i].name - 1;
        memcpy(known[i].name, name.ptr, len);
        known[i].state = nodes[i].state;
    }
    free(m->known);
    m->known = known;
    m->known_count = count;
    return 0;
}

static void
rows_fini(struct rows *rows)
{
    free(rows->list);
    free(rows->ids);
    *rows = (struct rows){0};
}

/* Takes the list; copies the ids, which point into what is about to change. */
static int
take_rows(struct rows *rows, struct table_row *list, size_t count)
{
    size_t size = 1;
    for (size_t i = 0; i < count; i++)
        size += list[i].id.len;
    uint8_t *ids = malloc(size);
    if (ids == NULL) {
        free(list);
        return ERR_MEMORY;
    }
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        memcpy(ids + at, list[i].id.ptr, list[i].id.len);
        list[i].id.ptr = ids + at;
        at += list[i].id.len;
    }
    rows_fini(rows);
    *rows = (struct rows){list, count, ids};
    return 0;
}

/* ---- publishing ---- */

/*
 * After a restart of the Manager the nodes come one by one, and their rates
 * some time after them. Where they hold a table they go by it meanwhile: it is
 * better than one that knows the first of them only and calls everything calm.
 * Nor is anything classed: with few of the nodes all owner sets would shrink.
 */
static bool
is_settling(const struct manager *m, uint64_t now_ms)
{
    const uint32_t rates_ms = m->config.demand.window_ms / SETTLE_PART;
    const uint32_t nodes_ms = m->config.demand.node_timeout_ms;
    const uint32_t wait_ms = rates_ms > nodes_ms ? rates_ms : nodes_ms;
    return m->is_successor && now_ms - m->first_report_ms < wait_ms;
}

/*
 * The overrides of several Managers are read by who comes to lead. A table
 * without them would undo what operators decided, but no table at all is worse
 * where they cannot be read.
 */
static bool
waits_for_overrides(struct manager *m, uint64_t now_ms)
{
    if (m->config.overrides == NULL || overrides_are_ready(m->config.overrides))
        return false;
    if (now_ms - m->began_ms < m->config.overrides_wait_ms)
        return true;
    if (!m->is_late)
        log_error("manager: the overrides are not read yet, go on with "
                  "those known here");
    m->is_late = true;
    return false;
}

static int
publish(struct manager *m, struct table *table, uint64_t now_ms)
{
    table->version = (struct table_version){m->term, m->sequence + 1};
    table->created_ms = now_ms;
    struct buffer encoded;
    struct table_snapshot *snapshot;
    buffer_init(&encoded, TABLE_SIZE_MAX);
    int err = table_encode(table, &encoded);
    /* what no node would take is not published */
    if (err == 0)
        err = table_decode(buffer_bytes(&encoded), &snapshot);
    if (err != 0) {
        buffer_fini(&encoded);
        return err;
    }
    table_free(m->table);
    buffer_fini(&m->encoded);
    m->table = snapshot;
    m->encoded = encoded;
    m->version = table->version;
    m->sequence++;
    m->published_ms = now_ms;
    m->stats.tables_published++;
    if (m->published != NULL)
        m->published(m->context);
    return 0;
}

/* ---- the turn ---- */

static size_t
up_count_of(const struct table_node *origins, size_t count)
{
    size_t up_count = 0;
    for (size_t i = 0; i < count; i++)
        up_count += origins[i].state == NODE_UP;
    return up_count;
}

static int
turn_with_nodes(struct manager *m, const struct demand_node *nodes,
                size_t node_count, struct table_node *origins, uint64_t now_ms)
{
    struct table next = {
        .nodes = origins,
        .node_count = publish_origins(nodes, node_count, origins),
    };
    if (next.node_count == 0 || is_settling(m, now_ms)
        || waits_for_overrides(m, now_ms))
        return 0;
    struct classify_input input = {
        .nodes = nodes,
        .node_count = node_count,
        .previous = m->rows.list,
        .previous_count = m->rows.count,
        .now_ms = now_ms,
        .requests_per_play = demand_requests_per_play(m->demand),
    };
    if (m->config.overrides != NULL)
        input.overrides =
            overrides_list(m->config.overrides, &input.override_count);
    next.is_cdn_forbidden =
        override_forbids_cdn(input.overrides, input.override_count);
    classify_rates(&m->config.classify, m->demand, &input);
    struct table_row *rows;
    size_t row_count;
    int err = classify(&m->config.classify, &input, &rows, &row_count);
    if (err != 0)
        return err;
    if (row_count == TABLE_ROWS_MAX && m->rows.count < row_count)
        log_warn("manager: the table is full, the coldest contents have no row "
                 "(%u have one)",
                 TABLE_ROWS_MAX);
    log_row_changes(m, rows, row_count, up_count_of(origins, next.node_count));
    if ((err = take_rows(&m->rows, rows, row_count)) != 0)
        return err;
    next.rows = m->rows.list;
    next.row_count = m->rows.count;
    if (m->sequence == 0
        || publish_is_due(&m->table->table, &next, now_ms - m->published_ms))
        err = publish(m, &next, now_ms);
    return err;
}

/* The nodes as they are, and as the operator says. */
static int
take_nodes(struct manager *m)
{
    size_t count, override_count;
    const struct demand_node *nodes = demand_nodes(m->demand, &count);
    struct demand_node *list = calloc(count + 1, sizeof *list);
    m->node_count = 0; /* their texts may be gone */
    if (list == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < count; i++)
        list[i] = nodes[i];
    if (m->config.overrides != NULL) {
        overrides_expire(m->config.overrides, clock_unix_ms());
        const struct override *overrides =
            overrides_list(m->config.overrides, &override_count);
        override_nodes(overrides, override_count, list, count);
    }
    free(m->nodes);
    m->nodes = list;
    m->node_count = count;
    return 0;
}

static uint64_t
cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t) t.tv_sec * 1000000000 + (uint64_t) t.tv_nsec;
}

static void
turn(struct manager *m)
{
    const uint64_t from_ns = cpu_ns();
    m->turned_ms = clock_now_ms();
    demand_advance(m->demand, m->turned_ms);
    int err = take_nodes(m);
    log_node_changes(m, m->nodes, m->node_count);
    struct table_node *origins = calloc(m->node_count + 1, sizeof *origins);
    if (err == 0)
        err = origins == NULL ? ERR_MEMORY
                              : known_keep(m, m->nodes, m->node_count);
    if (err == 0)
        err =
            turn_with_nodes(m, m->nodes, m->node_count, origins, m->turned_ms);
    if (err != 0)
        log_error("manager: cannot build the next table, the last stays (%s)",
                  err_text(err));
    free(origins);
    m->stats.tables_built++;
    m->stats.build_ns += cpu_ns() - from_ns;
}

static void
turn_due(evutil_socket_t fd, short what, void *arg)
{
    turn(arg);
}

static void
turn_soon(struct manager *m)
{
    if (event_pending(m->turn, EV_TIMEOUT, NULL))
        return;
    const uint64_t since_ms = clock_now_ms() - m->turned_ms;
    const uint64_t wait_ms =
        since_ms >= TURN_GAP_MS ? 0 : TURN_GAP_MS - since_ms;
    const struct timeval wait = {.tv_usec = (suseconds_t) wait_ms * 1000};
    event_add(m->turn, &wait);
}

/* As after a restart, but with the counts that are known: the nodes that went
 * by the other one's table come one by one, too. */
static void
outgrow(struct manager *m, struct table_version held)
{
    const uint64_t term = term_make(term_round(held.term) + 1, m->random);
    log_info("manager: term %llu follows %llu (a node holds %llu.%llu)",
             (unsigned long long) term, (unsigned long long) m->term,
             (unsigned long long) held.term,
             (unsigned long long) held.sequence);
    table_free(m->table);
    m->table = NULL;
    buffer_fini(&m->encoded);
    buffer_init(&m->encoded, TABLE_SIZE_MAX);
    rows_fini(&m->rows);
    m->version = m->adopted = (struct table_version){0, 0};
    m->term = term;
    m->sequence = 0;
    m->first_report_ms = 0;
}

static void
ask_for_term(struct manager *m, struct table_version held)
{
    if (table_version_compare(held, m->outgrown_by) > 0) {
        log_info("manager: term %llu is outgrown (a node holds %llu.%llu)",
                 (unsigned long long) m->term, (unsigned long long) held.term,
                 (unsigned long long) held.sequence);
        m->outgrown_by = held;
    }
    m->config.outgrown(m->config.context, held.term);
}

static void
ignore(struct manager *m, struct table_version held)
{
    if (held.term != m->ignored_term)
        log_warn("manager: ignore a held table of term %llu",
                 (unsigned long long) held.term);
    m->ignored_term = held.term;
}

/*
 * A node that holds a table of ours, or an older one, is as it should be. Else
 * another Manager was here, and no node would take what we publish (rule 4).
 */
static void
look_at_held(struct manager *m, struct table_version held)
{
    const struct table_version ours = {m->term, m->sequence};
    const bool is_newer = table_version_compare(held, ours) > 0;
    if (is_newer && !term_is_credible(held.term, clock_unix_s())) {
        ignore(m, held);
        return;
    }
    if (is_newer && m->config.outgrown != NULL)
        ask_for_term(m, held);
    else if (is_newer)
        outgrow(m, held);
    if (held.term > 0 && m->table == NULL)
        m->is_successor = true;
}

static int
adopt_rows(struct manager *m, const struct table *table)
{
    struct table_row *rows = calloc(table->row_count + 1, sizeof *rows);
    if (rows == NULL)
        return ERR_MEMORY;
    look_at_held(m, table->version);
    for (size_t i = 0; i < table->row_count; i++) {
        rows[i] = table->rows[i];
        rows[i].calmer_since_ms = 0; /* it was by another clock */
    }
    const int err = take_rows(&m->rows, rows, table->row_count);
    if (err != 0)
        return err;
    m->adopted = table->version;
    log_info("manager: go on from table %llu.%llu (%zu contents)",
             (unsigned long long) table->version.term,
             (unsigned long long) table->version.sequence, table->row_count);
    return 0;
}

static int
manager_setup(struct manager *m)
{
    static const struct timeval tick = {.tv_usec = TICK_MS * 1000};
    m->demand = demand_new(&m->config.demand);
    m->tick = event_new(m->base, -1, EV_PERSIST, turn_due, m);
    m->turn = event_new(m->base, -1, 0, turn_due, m);
    if (m->demand == NULL || m->tick == NULL || m->turn == NULL
        || event_add(m->tick, &tick) != 0)
        return ERR_MEMORY;
    return 0;
}

struct manager *
manager_new(struct event_base *base, const struct manager_config *config)
{
    struct manager *m = calloc(1, sizeof *m);
    if (m == NULL)
        return NULL;
    m->base = base;
    m->config = *config;
    m->random = random_u64();
    m->began_ms = clock_now_ms();
    buffer_init(&m->encoded, TABLE_SIZE_MAX);
    if (manager_setup(m) != 0) {
        manager_free(m);
        return NULL;
    }
    m->term =
        config->term != 0 ? config->term : term_make(clock_unix_s(), m->random);
    return m;
}

void
manager_free(struct manager *m)
{
    if (m == NULL)
        return;
    if (m->tick != NULL)
        event_free(m->tick);
    if (m->turn != NULL)
        event_free(m->turn);
    demand_free(m->demand);
    rows_fini(&m->rows);
    free(m->nodes);
    free(m->known);
    table_free(m->table);
    buffer_fini(&m->encoded);
    free(m);
}

int
manager_report(struct manager *m, struct bytes report,
               struct demand_merge_result *out)
{
    int err = demand_merge(m->demand, report, clock_now_ms(), out);
    if (err != 0) {
        m->stats.reports_refused++;
        return err;
    }
    m->stats.reports++;
    m->stats.reports_full_asked += out->wants_full;
    if (out->is_new)
        turn_soon(m);
    else if (!out->wants_full)
        m->stats.reports_repeated++;
    look_at_held(m, out->held);
    if (m->first_report_ms == 0)
        m->first_report_ms = clock_now_ms();
    return 0;
}

bool
manager_wants_table(const struct manager *m, struct table_version held)
{
    return m->table == NULL && term_is_credible(held.term, clock_unix_s())
           && table_version_compare(held, m->adopted) > 0;
}

int
manager_adopt(struct manager *m, struct bytes encoded)
{
    struct table_snapshot *snapshot;
    int err = table_decode(encoded, &snapshot);
    if (err != 0)
        return err;
    if (manager_wants_table(m, snapshot->table.version))
        err = adopt_rows(m, &snapshot->table);
    table_free(snapshot);
    return err;
}

const struct table_snapshot *
manager_table(const struct manager *m)
{
    return m->table;
}

struct bytes
manager_table_encoded(const struct manager *m)
{
    return buffer_bytes(&m->encoded);
}

struct table_version
manager_version(const struct manager *m)
{
    return m->version;
}

uint64_t
manager_term(const struct manager *m)
{
    return m->term;
}

void
manager_set_term(struct manager *m, uint64_t term)
{
    m->term = term;
    m->sequence = 0;
    turn_soon(m);
}

void
manager_on_publish(struct manager *m, void (*published)(void *context),
                   void *context)
{
    m->published = published;
    m->context = context;
}

struct demand *
manager_demand(struct manager *m)
{
    return m->demand;
}

const struct manager_stats *
manager_stats(const struct manager *m)
{
    return &m->stats;
}

const struct demand_node *
manager_nodes(const struct manager *m, size_t *count)
{
    *count = m->node_count;
    return m->nodes;
}

struct overrides *
manager_overrides(const struct manager *m)
{
    return m->config.overrides;
}

void
manager_overrides_changed(struct manager *m)
{
    turn_soon(m);
}
