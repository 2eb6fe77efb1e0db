/* SPDX-License-Identifier: Apache-2.0 */
/* What a table is published for, see core/publish.h. */

#include "core/publish.h"

static bool
nodes_differ(const struct table *last, const struct table *next, bool with_load)
{
    if (last->node_count != next->node_count)
        return true;
    for (size_t i = 0; i < next->node_count; i++) {
        const struct table_node *a = &last->nodes[i], *b = &next->nodes[i];
        if (!bytes_equal(a->name, b->name) || !bytes_equal(a->url, b->url)
            || a->weight != b->weight || a->state != b->state
            || (with_load && a->load != b->load))
            return true;
    }
    return false;
}

static bool
rows_differ(const struct table *last, const struct table *next)
{
    if (last->row_count != next->row_count)
        return true;
    for (size_t i = 0; i < next->row_count; i++) {
        const struct table_row *a = &last->rows[i], *b = &next->rows[i];
        if (!bytes_equal(a->id, b->id) || a->level != b->level
            || a->owner_count != b->owner_count || a->cdn_share != b->cdn_share
            || a->is_cdn_forbidden != b->is_cdn_forbidden
            || a->rate_milli != b->rate_milli
            || a->calmer_since_ms != b->calmer_since_ms)
            return true;
    }
    return false;
}

static const struct table_row *
row_or_calm(const struct table *table, const struct table_row *row)
{
    static const struct table_row calm = {.owner_count = 1};
    const struct table_row *found = table_find(table, row->hash, row->id);
    return found == NULL ? &calm : found;
}

/* A content has more owners, goes to the CDN more often, or must not, or may
 * again. Fewer and less often may wait: it did for its hold time. */
static bool
rows_rise(const struct table *last, const struct table *next)
{
    for (size_t i = 0; i < next->row_count; i++) {
        const struct table_row *b = &next->rows[i];
        const struct table_row *a = row_or_calm(last, b);
        if (b->level > a->level || b->owner_count > a->owner_count
            || b->cdn_share > a->cdn_share
            || b->is_cdn_forbidden != a->is_cdn_forbidden)
            return true;
    }
    for (size_t i = 0; i < last->row_count; i++)
        if (last->rows[i].is_cdn_forbidden
            && !row_or_calm(next, &last->rows[i])->is_cdn_forbidden)
            return true;
    return false;
}

size_t
publish_origins(const struct demand_node *nodes, size_t node_count,
                struct table_node *origins)
{
    size_t found = 0;
    for (size_t i = 0; i < node_count; i++) {
        const struct report_header *last = &nodes[i].last;
        if (last->role != NODE_ROLE_ORIGIN)
            continue;
        origins[found++] = (struct table_node){
            .name = last->node,
            .url = last->url,
            .weight = last->weight,
            .load = nodes[i].load,
            .state = nodes[i].state,
        };
    }
    return found;
}

bool
publish_is_due(const struct table *last, const struct table *next,
               uint64_t since_ms)
{
    const bool with_load = since_ms >= PUBLISH_LOAD_MS;
    return last->is_cdn_forbidden != next->is_cdn_forbidden
           || nodes_differ(last, next, with_load)
           || (with_load ? rows_differ(last, next) : rows_rise(last, next));
}
