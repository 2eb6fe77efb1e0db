/* SPDX-License-Identifier: Apache-2.0 */
/* Content steering, see core/steering.h. */

#include "core/steering.h"

#include "core/err.h"

/* ---- the query ---- */

static int
hex_value(uint8_t c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Writes the text without its escapes, which never makes it longer; the
 * length, or -1. */
static int
unescape(struct bytes text, uint8_t *out)
{
    int len = 0;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.ptr[i];
        if (c == '%') {
            const int high = i + 2 < text.len ? hex_value(text.ptr[i + 1]) : -1;
            const int low = i + 2 < text.len ? hex_value(text.ptr[i + 2]) : -1;
            if (high < 0 || low < 0)
                return -1;
            c = (uint8_t) (high * 16 + low);
            i += 2;
        }
        out[len++] = c;
    }
    return len;
}

/* Takes what is before the separator, or all, off the front. */
static struct bytes
part_take(struct bytes *text, uint8_t separator)
{
    const uint8_t *end =
        text->len > 0 ? memchr(text->ptr, separator, text->len) : NULL;
    const size_t len = end != NULL ? (size_t) (end - text->ptr) : text->len;
    const struct bytes part = bytes_of(text->ptr, len);
    const size_t taken = len + (end != NULL);
    *text = bytes_of(text->ptr + taken, text->len - taken);
    return part;
}

static bool
is_declared(const struct steering_pathways *pathways, struct bytes name)
{
    for (size_t i = 0; i < pathways->count; i++) {
        if (bytes_equal(pathways->names[i], name))
            return true;
    }
    return false;
}

static int
names_parse(struct bytes text, struct steering_pathways *out)
{
    struct steering_pathways found = {.count = 0};
    while (text.len > 0) {
        const struct bytes name = part_take(&text, ',');
        if (!table_node_name_is_valid(name) || is_declared(&found, name))
            return ERR_INVALID;
        if (found.count == STEERING_PATHWAYS_MAX)
            return ERR_LIMIT;
        found.names[found.count++] = name;
    }
    *out = found;
    return 0;
}

static int
seconds_parse(struct bytes text, uint64_t *out)
{
    uint64_t value = 0;
    if (text.len == 0 || text.len > 12)
        return ERR_INVALID;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return ERR_INVALID;
        value = value * 10 + (uint64_t) (text.ptr[i] - '0');
    }
    *out = value;
    return 0;
}

/* The player's words are taken as far as they make sense. DASH players quote,
 * and list several when they changed meanwhile, the one in use last. */
static void
current_parse(struct bytes text, struct steering_query *out)
{
    if (text.len >= 2 && text.ptr[0] == '"' && text.ptr[text.len - 1] == '"')
        text = bytes_of(text.ptr + 1, text.len - 2);
    while (text.len > 0) {
        const struct bytes name = part_take(&text, ',');
        if (table_node_name_is_valid(name))
            out->current = name;
    }
}

static int
argument_parse(struct bytes name, struct bytes value,
               struct steering_query *out)
{
    if (bytes_equal(name, BYTES_LITERAL("pathways")))
        return names_parse(value, &out->pathways);
    if (bytes_equal(name, BYTES_LITERAL("moved")))
        return seconds_parse(value, &out->moved_s);
    if (bytes_equal(name, BYTES_LITERAL("told"))) {
        if (!table_node_name_is_valid(value))
            return ERR_INVALID;
        out->told = value;
    } else if (bytes_equal(name, BYTES_LITERAL("_HLS_pathway"))
               || bytes_equal(name, BYTES_LITERAL("_DASH_pathway"))) {
        current_parse(value, out);
    }
    return 0;
}

int
steering_query_parse(struct bytes query, struct steering_query *out)
{
    size_t used = 0;
    int err = 0;

    out->pathways.count = 0;
    out->current = out->told = bytes_of(NULL, 0);
    out->moved_s = 0;
    if (query.len > sizeof out->text)
        return ERR_LIMIT;
    while (err == 0 && query.len > 0) {
        struct bytes value = part_take(&query, '&');
        const struct bytes name = part_take(&value, '=');
        const int len = unescape(value, out->text + used);
        if (len < 0)
            return ERR_INVALID;
        err =
            argument_parse(name, bytes_of(out->text + used, (size_t) len), out);
        used += (size_t) len;
    }
    return err;
}

void
steering_query_write(const struct steering_pathways *pathways,
                     struct bytes told, uint64_t moved_s, struct buffer *out)
{
    buffer_append_text(out, "pathways=");
    for (size_t i = 0; i < pathways->count; i++) {
        buffer_append_text(out, i > 0 ? "," : "");
        buffer_append(out, pathways->names[i].ptr, pathways->names[i].len);
    }
    if (told.len > 0) {
        buffer_append_text(out, "&told=");
        buffer_append(out, told.ptr, told.len);
    }
    if (moved_s > 0)
        buffer_printf(out, "&moved=%llu", (unsigned long long) moved_s);
}

/* ---- which pathways ---- */

static void
declare(struct steering_pathways *out, struct bytes name)
{
    if (name.len > 0 && out->count < STEERING_PATHWAYS_MAX
        && !is_declared(out, name))
        out->names[out->count++] = name;
}

void
steering_declare(const struct table_snapshot *snapshot,
                 const struct route_request *request, struct bytes first,
                 struct steering_pathways *out)
{
    const struct table *table = &snapshot->table;
    const struct table_row *row =
        table_find(table, request->hash, request->content);
    const size_t k = row != NULL && row->owner_count > 2 ? row->owner_count : 2;
    const bool has_cdn = route_has_cdn(snapshot, request);
    const size_t own_max = STEERING_PATHWAYS_MAX - has_cdn;
    uint16_t nodes[PLACEMENT_NODES_MAX];
    const size_t count = placement_owners(
        snapshot->placement, table->node_count, request->hash, k, nodes);
    const size_t from = count > own_max ? request->session % count : 0;

    out->count = 0;
    declare(out, first);
    for (size_t i = 0; i < count && out->count < own_max; i++)
        declare(out, table->nodes[nodes[(from + i) % count]].name);
    if (has_cdn)
        declare(out, STEERING_CDN);
}

/* ---- their order ---- */

enum rank {
    RANK_KEPT,   /* where the play is, and may stay */
    RANK_CHOSEN, /* where a new play of the session would go */
    RANK_OWNER,
    RANK_UP,
    RANK_CDN,
    RANK_FULL,
    RANK_DRAINING,
    RANK_GONE,
};

static bool
is_owner(const uint16_t *owners, size_t count, int node)
{
    for (size_t i = 0; i < count; i++) {
        if ((int) owners[i] == node)
            return true;
    }
    return false;
}

struct ranking {
    const struct table_snapshot *snapshot;
    const struct route_request *request;
    struct route_decision chosen;
    uint16_t owners[PLACEMENT_NODES_MAX];
    size_t owner_count;
};

static enum rank
rank_of_node(const struct ranking *ranking, int node)
{
    if (node < 0)
        return RANK_GONE;
    switch (ranking->snapshot->table.nodes[node].state) {
    case NODE_UP:
        break;
    case NODE_DRAINING:
        return RANK_DRAINING;
    case NODE_FULL:
        return RANK_FULL;
    case NODE_DOWN:
        return RANK_GONE;
    }
    if (ranking->chosen.action == ROUTE_NODE && ranking->chosen.node == node)
        return RANK_CHOSEN;
    return is_owner(ranking->owners, ranking->owner_count, node) ? RANK_OWNER
                                                                 : RANK_UP;
}

static enum rank
rank_of(const struct ranking *ranking, struct bytes name)
{
    if (bytes_equal(name, STEERING_CDN)) {
        if (!route_has_cdn(ranking->snapshot, ranking->request))
            return RANK_GONE;
        return ranking->chosen.action == ROUTE_CDN ? RANK_CHOSEN : RANK_CDN;
    }
    return rank_of_node(ranking,
                        table_node_find(&ranking->snapshot->table, name));
}

/* May a play that is there stay, whatever else there is? */
static bool
is_kept(const struct ranking *ranking, struct bytes name, bool is_held)
{
    const enum rank rank = rank_of(ranking, name);
    if (rank == RANK_DRAINING || rank == RANK_GONE)
        return false;
    if (is_held || rank == RANK_CHOSEN)
        return true;
    return ranking->chosen.action != ROUTE_CDN
           && (rank == RANK_OWNER || rank == RANK_FULL);
}

static void
order_write(const struct ranking *ranking,
            const struct steering_pathways *pathways, struct bytes current,
            bool is_current_kept, struct steering_pathways *out)
{
    enum rank ranks[STEERING_PATHWAYS_MAX];
    out->count = 0;
    for (size_t i = 0; i < pathways->count; i++) {
        const struct bytes name = pathways->names[i];
        const bool is_current = bytes_equal(name, current);
        const enum rank rank =
            is_current && is_current_kept ? RANK_KEPT : rank_of(ranking, name);
        size_t at = out->count++;
        /* of equals the current one comes first, then as they came */
        for (;
             at > 0
             && (ranks[at - 1] > rank || (ranks[at - 1] == rank && is_current));
             at--) {
            ranks[at] = ranks[at - 1];
            out->names[at] = out->names[at - 1];
        }
        ranks[at] = rank;
        out->names[at] = name;
    }
}

int
steering_decide(const struct table_snapshot *snapshot,
                const struct route_request *request,
                const struct steering_query *query, uint64_t now_s,
                struct steering_order *out)
{
    struct ranking ranking = {.snapshot = snapshot, .request = request};
    struct steering_pathways declared = query->pathways;
    uint64_t moved_s = query->moved_s < now_s ? query->moved_s : now_s;

    if (declared.count < 2) /* a query that was cut off on its way */
        steering_declare(
            snapshot, request,
            declared.count > 0 ? declared.names[0] : query->current, &declared);
    if (declared.count == 0)
        return ERR_UNAVAILABLE;
    struct bytes told =
        is_declared(&declared, query->told) ? query->told : declared.names[0];
    struct bytes current =
        is_declared(&declared, query->current) ? query->current : told;
    if (!bytes_equal(current, told))
        moved_s = now_s;

    route_decide(snapshot, request, &ranking.chosen);
    ranking.owner_count =
        route_owners(snapshot, request->content, request->hash, ranking.owners);
    const bool is_held = moved_s > 0 && now_s - moved_s < STEERING_HOLD_S;
    order_write(&ranking, &declared, current,
                is_kept(&ranking, current, is_held), &out->pathways);
    if (!bytes_equal(out->pathways.names[0], current))
        moved_s = now_s;
    out->moved_s = moved_s;
    return 0;
}

/* ---- the manifest ---- */

static void
priority_write(const struct steering_pathways *pathways, const char *key,
               struct buffer *out)
{
    buffer_printf(out, ",\"%s\":[", key);
    for (size_t i = 0; i < pathways->count; i++) {
        buffer_append_text(out, i > 0 ? ",\"" : "\"");
        buffer_append(out, pathways->names[i].ptr, pathways->names[i].len);
        buffer_append_text(out, "\"");
    }
    buffer_append_text(out, "]");
}

void
steering_manifest_write(const struct steering_order *order, struct bytes reload,
                        unsigned ttl_s, struct buffer *out)
{
    buffer_printf(out, "{\"VERSION\":1,\"TTL\":%u,\"RELOAD-URI\":\"", ttl_s);
    buffer_append(out, reload.ptr, reload.len);
    buffer_append_text(out, "?");
    steering_query_write(&order->pathways, order->pathways.names[0],
                         order->moved_s, out);
    buffer_append_text(out, "\"");
    priority_write(&order->pathways, "PATHWAY-PRIORITY", out);
    priority_write(&order->pathways, "SERVICE-LOCATION-PRIORITY", out);
    buffer_append_text(out, "}\n");
}
