/* SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/status: the nodes, the contents that are not calm, and the calm ones
 * most asked for, as JSON; GET /v1/contents/{id}: any one content. */

#include "programs/manager/api.h"

#include "core/content.h"
#include "core/err.h"
#include "core/route.h"
#include "platform/clock.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#define CALM_LISTED_MAX 100
#define RATE_HOT 1000.0 /* requests/s; where to begin looking for them */

static json_t *
text_of(struct bytes text)
{
    return json_stringn((const char *) text.ptr, text.len);
}

static json_t *
version_of(struct table_version version)
{
    return json_sprintf("%llu.%llu", (unsigned long long) version.term,
                        (unsigned long long) version.sequence);
}

static json_t *
node_object(const struct demand_node *node, uint64_t now_ms)
{
    const struct report_header *last = &node->last;
    return json_pack(
        "{s:o, s:s, s:o, s:s, s:i, s:f, s:f, s:f, s:I, s:o, s:I}", "name",
        text_of(last->node), "role",
        last->role == NODE_ROLE_ORIGIN ? "origin" : "redirector", "url",
        text_of(last->url), "state", node_state_name(node->state), "weight",
        (int) last->weight, "load", (double) node->load / TABLE_SHARE_ONE,
        "rate", node->rate, "capacity", (double) last->capacity_milli / 1000,
        "silent_ms",
        (json_int_t) (now_ms > node->heard_ms ? now_ms - node->heard_ms : 0),
        "held", version_of(last->held), "overflow",
        (json_int_t) last->overflow);
}

static json_t *
nodes_array(struct manager *manager)
{
    json_t *array = json_array();
    size_t count;
    const struct demand_node *nodes = manager_nodes(manager, &count);
    const uint64_t now_ms = clock_now_ms();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(array, node_object(&nodes[i], now_ms));
    return array;
}

static json_t *
owners_array(const struct table_snapshot *snapshot, struct bytes id,
             uint64_t hash)
{
    uint16_t owners[PLACEMENT_NODES_MAX];
    json_t *array = json_array();
    if (snapshot == NULL)
        return array;
    const size_t count = route_owners(snapshot, id, hash, owners);
    for (size_t i = 0; i < count; i++)
        json_array_append_new(array,
                              text_of(snapshot->table.nodes[owners[i]].name));
    return array;
}

static json_t *
content_object(struct manager *manager, const struct table_row *row,
               double rate)
{
    struct counters_values sums = {0};
    (void) demand_sums(manager_demand(manager), row->id, &sums);
    return json_pack(
        "{s:o, s:s, s:i, s:f, s:f, s:o, s:I, s:I}", "id", text_of(row->id),
        "level", level_name(row->level), "owner_count", (int) row->owner_count,
        "cdn_share", (double) row->cdn_share / TABLE_SHARE_ONE, "rate", rate,
        "owners", owners_array(manager_table(manager), row->id, row->hash),
        "requests", (json_int_t) sums.requests, "starts",
        (json_int_t) sums.starts);
}

/* What a content that has no row is. */
static struct table_row
calm_row(struct bytes id, uint64_t hash)
{
    return (struct table_row){
        .id = id, .hash = hash, .level = LEVEL_CALM, .owner_count = 1};
}

static json_t *
contents_array(struct manager *manager)
{
    json_t *array = json_array();
    const struct table_snapshot *snapshot = manager_table(manager);
    if (snapshot == NULL)
        return array;
    const struct table *table = &snapshot->table;
    for (size_t i = 0; i < table->row_count; i++)
        if (table->rows[i].level != LEVEL_CALM)
            json_array_append_new(
                array,
                content_object(manager, &table->rows[i],
                               (double) table->rows[i].rate_milli / 1000));
    size_t count, listed = 0;
    double rest;
    const struct demand_selection hottest = {
        .surge_min = RATE_HOT,
        .colder_max = INFINITY,
        .count_min = table->row_count + CALM_LISTED_MAX,
    };
    const struct demand_rate *rates =
        demand_rates_select(manager_demand(manager), &hottest, &count, &rest);
    for (size_t i = 0; i < count && listed < CALM_LISTED_MAX; i++) {
        const struct table_row *row =
            table_find(table, rates[i].hash, rates[i].id);
        if (row != NULL && row->level != LEVEL_CALM)
            continue;
        const struct table_row calm = calm_row(rates[i].id, rates[i].hash);
        json_array_append_new(array,
                              content_object(manager, &calm, rates[i].rate));
        listed++;
    }
    return array;
}

static int
object_write(json_t *object, struct buffer *out)
{
    if (object == NULL)
        return ERR_MEMORY;
    char *text = json_dumps(object, JSON_COMPACT);
    json_decref(object);
    if (text == NULL)
        return ERR_MEMORY;
    buffer_append_text(out, text);
    buffer_append_u8(out, '\n');
    free(text);
    return out->err;
}

static double
rate_of(struct manager *manager, const struct table_row *row)
{
    size_t count;
    double rest;
    const struct demand_selection alone = {
        .surge_min = INFINITY,
        .colder_max = INFINITY,
        .rows = row,
        .row_count = 1,
    };
    const struct demand_rate *rates =
        demand_rates_select(manager_demand(manager), &alone, &count, &rest);
    return count > 0 ? rates[0].rate : 0;
}

int
content_write(struct manager *manager, struct bytes id, struct buffer *out)
{
    struct counters_values sums;
    if (!content_id_is_valid(id))
        return ERR_INVALID;
    const struct table_snapshot *snapshot = manager_table(manager);
    const struct table_row calm = calm_row(id, content_hash(id));
    const struct table_row *row =
        snapshot == NULL ? NULL : table_find(&snapshot->table, calm.hash, id);
    const int err = demand_sums(manager_demand(manager), id, &sums);
    if (row == NULL && err != 0)
        return err;
    if (row == NULL)
        row = &calm;
    return object_write(content_object(manager, row, rate_of(manager, row)),
                        out);
}

int
status_write(struct manager *manager, struct buffer *out)
{
    json_t *status = json_pack(
        "{s:o, s:I, s:o, s:o, s:f}", "version",
        version_of(manager_version(manager)), "term",
        (json_int_t) manager_term(manager), "nodes", nodes_array(manager),
        "contents", contents_array(manager), "requests_per_play",
        demand_requests_per_play(manager_demand(manager)));
    return object_write(status, out);
}
