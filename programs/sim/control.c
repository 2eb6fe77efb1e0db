/* SPDX-License-Identifier: Apache-2.0 */
/* The Manager and its tables' way, see programs/sim/control.h. */

#include "programs/sim/control.h"

#include "core/content.h"
#include "core/err.h"
#include "core/publish.h"
#include "programs/sim/knowledge.h"
#include "programs/sim/reports.h"

#include <stdlib.h>

#define EPOCH_MS 1000000 /* the Manager's clock at virtual time 0, or more */
#define POLL_MS 1000     /* after a table that was lost */

struct view { /* a published table */
    struct table_snapshot *snapshot;
    uint64_t published_ms;
    uint32_t users; /* nodes that act on it */
};

struct control {
    const struct sim_config *config;
    struct traffic *traffic;
    struct rng rng;
    uint64_t epoch_ms; /* its windows begin anywhere in virtual time */
    struct demand *demand;
    struct reports *reports;
    struct knowledge *knowledge;
    bool is_beginning; /* every table is worth publishing */

    struct table_row *rows; /* of the last turn */
    uint8_t (*row_names)[CONTENT_NAME_LEN];
    size_t row_count;

    struct view *views; /* oldest first; none between is dropped */
    uint32_t view_first, view_count, view_capacity;
    uint32_t acting[PLACEMENT_NODES_MAX];  /* each node's view */
    uint64_t poll_ms[PLACEMENT_NODES_MAX]; /* not before */
    struct control_stats stats;
};

/* ---- rows ---- */

typedef void row_change(struct control *c, const struct table_row *before,
                        const struct table_row *now);

/* Both are sorted: calls for each content that is in one or both. */
static void
rows_walk(struct control *c, const struct table *before,
          const struct table *now, row_change *change)
{
    size_t i = 0, j = 0;
    while (i < before->row_count || j < now->row_count) {
        const int order =
            i == before->row_count ? 1
            : j == now->row_count
                ? -1
                : table_row_compare(&before->rows[i], &now->rows[j]);
        change(c, order <= 0 ? &before->rows[i] : NULL,
               order >= 0 ? &now->rows[j] : NULL);
        i += order <= 0;
        j += order >= 0;
    }
}

static void
level_count(struct control *c, const struct table_row *before,
            const struct table_row *now)
{
    c->stats.level_changes += (before ? before->level : LEVEL_CALM)
                              != (now ? now->level : LEVEL_CALM);
}

static void
changed_recheck(struct control *c, const struct table_row *before,
                const struct table_row *now)
{
    const uint32_t k_before = before ? before->owner_count : 1;
    const uint32_t k_now = now ? now->owner_count : 1;
    const struct bytes id = before ? before->id : now->id;
    if (k_now != k_before)
        traffic_recheck(c->traffic, content_of_name(c->config, id),
                        k_now < k_before);
}

/* Takes the rows, which point into what is about to change. */
static int
rows_keep(struct control *c, struct table_row *rows, size_t count)
{
    uint8_t(*names)[CONTENT_NAME_LEN] = calloc(count + 1, sizeof *names);
    if (names == NULL) {
        free(rows);
        return ERR_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        const uint32_t content = content_of_name(c->config, rows[i].id);
        rows[i].id = content_name(c->config, content, names[i]);
    }
    const struct table before = {.rows = c->rows, .row_count = c->row_count};
    const struct table now = {.rows = rows, .row_count = count};
    rows_walk(c, &before, &now, level_count);
    free(c->rows);
    free(c->row_names);
    c->rows = rows;
    c->row_names = names;
    c->row_count = count;
    return 0;
}

/* ---- publishing ---- */

static void
crowd_note(const struct control *c, const struct table *table, uint64_t now_ms,
           uint64_t times[LEVEL_CRITICAL + 1])
{
    uint8_t name[CONTENT_NAME_LEN];
    const struct bytes id =
        content_name(c->config, watched_content(c->config), name);
    const struct table_row *row = table_find(table, content_hash(id), id);
    if (row != NULL && times[row->level] == 0)
        times[row->level] = now_ms;
}

static struct view *
newest(const struct control *c)
{
    return c->view_count ? &c->views[c->view_count - 1] : NULL;
}

static int
publish(struct control *c, struct table *table, uint64_t now_ms)
{
    table->version = (struct table_version){1, ++c->stats.tables};
    table->created_ms = c->epoch_ms + now_ms;
    struct view view = {.published_ms = now_ms};
    struct buffer encoded;
    buffer_init(&encoded, TABLE_SIZE_MAX);
    int err = table_encode(table, &encoded);
    if (err == 0)
        err = table_decode(buffer_bytes(&encoded), &view.snapshot);
    if (encoded.len > c->stats.table_bytes_max)
        c->stats.table_bytes_max = encoded.len;
    buffer_fini(&encoded);
    if (err != 0)
        return err;
    c->stats.rows = c->row_count;
    c->views =
        list_grow(c->views, c->view_count, &c->view_capacity, sizeof *c->views);
    c->views[c->view_count++] = view;
    crowd_note(c, &view.snapshot->table, now_ms, c->stats.crowd_published_ms);
    return 0;
}

/* As the Manager's: classify, then publish what is worth it. */
static int
turn(struct control *c, struct classify_input *input, uint64_t now_ms)
{
    struct table_node origins[PLACEMENT_NODES_MAX];
    struct table_row *rows;
    size_t row_count;
    struct table next = {
        .nodes = origins,
        .node_count = publish_origins(input->nodes, input->node_count, origins),
    };
    if (next.node_count == 0)
        return 0;
    int err = classify(&c->config->classify, input, &rows, &row_count);
    if (err == 0)
        err = rows_keep(c, rows, row_count);
    if (err != 0)
        return err;
    next.rows = c->rows;
    next.row_count = c->row_count;
    const struct view *last = newest(c);
    if (c->is_beginning
        || publish_is_due(&last->snapshot->table, &next,
                          now_ms - last->published_ms))
        err = publish(c, &next, now_ms);
    return err;
}

static struct classify_input
input_begin(const struct control *c, uint64_t now_ms)
{
    return (struct classify_input){
        .previous = c->rows,
        .previous_count = c->row_count,
        .now_ms = c->epoch_ms + now_ms,
    };
}

/* No more often than loads alone are worth a table. */
static int
turn_exact(struct control *c, uint64_t now_ms)
{
    if (now_ms % PUBLISH_LOAD_MS != 0)
        return 0;
    struct classify_input input = input_begin(c, now_ms);
    input.rates = knowledge_rates(c->knowledge, &input.rate_count, &input.rest);
    input.nodes =
        knowledge_nodes(c->knowledge, c->epoch_ms + now_ms, &input.node_count);
    return turn(c, &input, now_ms);
}

static int
turn_by_reports(struct control *c, uint64_t now_ms)
{
    struct classify_input input = input_begin(c, now_ms);
    int err = reports_step(c->reports, c->epoch_ms + now_ms);
    if (err != 0)
        return err;
    c->stats.report_bytes = reports_bytes(c->reports);
    demand_advance(c->demand, c->epoch_ms + now_ms);
    input.nodes = demand_nodes(c->demand, &input.node_count);
    classify_rates(&c->config->classify, c->demand, &input);
    return turn(c, &input, now_ms);
}

/* ---- to the nodes ---- */

static void
adopt(struct control *c, uint32_t node, uint32_t view)
{
    if (c->traffic->nodes[node].table != NULL)
        c->views[c->acting[node]].users--;
    c->acting[node] = view;
    c->views[view].users++;
    c->traffic->nodes[node].table = c->views[view].snapshot;
}

/* What the redirector acts on now: each table in between counts for whose
 * owners changed. */
static void
redirector_adopts(struct control *c, uint32_t view, uint64_t now_ms)
{
    const uint32_t redirector = traffic_redirector(c->traffic);
    for (uint32_t i = c->acting[redirector]; i < view; i++)
        rows_walk(c, &c->views[i].snapshot->table,
                  &c->views[i + 1].snapshot->table, changed_recheck);
    adopt(c, redirector, view);
    crowd_note(c, &c->views[view].snapshot->table, now_ms,
               c->stats.crowd_acted_ms);
}

/* Tables that nobody will act on again; their places stay empty until half of
 * the list is. */
static void
views_drop(struct control *c)
{
    while (c->view_first + 1 < c->view_count
           && c->views[c->view_first].users == 0) {
        table_free(c->views[c->view_first].snapshot);
        c->views[c->view_first++].snapshot = NULL;
    }
    const uint32_t gone = c->view_first;
    if (gone < 64 || gone < c->view_count / 2)
        return;
    c->view_count -= gone;
    c->view_first = 0;
    memmove(c->views, c->views + gone, c->view_count * sizeof *c->views);
    for (uint32_t i = 0; i <= traffic_redirector(c->traffic); i++)
        c->acting[i] -= gone;
}

static void
tables_arrive(struct control *c, uint64_t now_ms)
{
    const uint32_t redirector = traffic_redirector(c->traffic);
    uint32_t view = c->acting[redirector];
    for (uint32_t i = 0; i <= redirector; i++) {
        if (c->acting[i] > view)
            view = c->acting[i];
    }
    while (view + 1 < c->view_count
           && c->views[view + 1].published_ms + c->config->table_delay_ms
                  <= now_ms)
        view++;
    for (uint32_t i = 0; i <= redirector; i++) {
        if (c->acting[i] == view || now_ms < c->poll_ms[i])
            continue;
        if (rng_happens(&c->rng, c->config->loss))
            c->poll_ms[i] = now_ms + POLL_MS;
        else if (i == redirector)
            redirector_adopts(c, view, now_ms);
        else
            adopt(c, i, view);
    }
    views_drop(c);
}

int
control_new(const struct sim_config *config, const struct audience *audience,
            struct traffic *traffic, struct control **out)
{
    struct control *c = calloc(1, sizeof *c);
    if (c == NULL)
        return ERR_MEMORY;
    c->config = config;
    c->traffic = traffic;
    c->rng = rng_of(config->seed, 4);
    c->epoch_ms = EPOCH_MS + rng_next(&c->rng) % config->demand.window_ms;
    c->demand = demand_new(&config->demand);
    c->knowledge = knowledge_new(config, audience, traffic);
    if (c->demand != NULL)
        c->reports = reports_new(config, traffic, c->demand);
    if (c->knowledge == NULL || c->reports == NULL) {
        control_free(c);
        return ERR_MEMORY;
    }
    *out = c;
    return 0;
}

void
control_free(struct control *c)
{
    if (c == NULL)
        return;
    for (uint32_t i = c->view_first; i < c->view_count; i++)
        table_free(c->views[i].snapshot);
    free(c->views);
    free(c->rows);
    free(c->row_names);
    reports_free(c->reports);
    knowledge_free(c->knowledge);
    demand_free(c->demand);
    free(c);
}

int
control_begin(struct control *c)
{
    c->is_beginning = true;
    int err = turn_exact(c, 0);
    c->is_beginning = false;
    if (err != 0)
        return err;
    for (uint32_t i = 0; i <= traffic_redirector(c->traffic); i++)
        adopt(c, i, c->view_count - 1);
    views_drop(c);
    return 0;
}

int
control_step(struct control *c, uint64_t now_ms)
{
    int err = c->config->is_exact ? turn_exact(c, now_ms)
                                  : turn_by_reports(c, now_ms);
    if (err == 0)
        tables_arrive(c, now_ms);
    return err;
}

const struct control_stats *
control_stats(const struct control *c)
{
    return &c->stats;
}

uint32_t
control_crowd_owners(const struct control *c)
{
    uint8_t name[CONTENT_NAME_LEN];
    const struct bytes id =
        content_name(c->config, watched_content(c->config), name);
    const struct table_row *row =
        table_find(&newest(c)->snapshot->table, content_hash(id), id);
    return row ? row->owner_count : 1;
}
