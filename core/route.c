/* SPDX-License-Identifier: Apache-2.0 */
/* The routing decision, see core/route.h. */

#include "core/route.h"

/* Which use of the session's randomness; each is independent of the others. */
enum session_use {
    USE_FIRST = 1,
    USE_SECOND = 2,
    USE_SHARE = 3,
    USE_SPILL = 4, /* and those after it, one a spill */
};

static uint64_t
session_mix(uint64_t session, unsigned use)
{
    uint64_t x = session + (uint64_t) use * 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static bool
is_owner(const uint16_t *owners, size_t count, int self)
{
    for (size_t i = 0; i < count; i++) {
        if ((int) owners[i] == self)
            return true;
    }
    return false;
}

static bool
has_cdn(const struct table *table, const struct table_row *row,
        const struct route_request *request)
{
    return request->has_cdn && !table->is_cdn_forbidden
           && (row == NULL || !row->is_cdn_forbidden);
}

static bool
is_offloaded(const struct table_row *row, const struct route_request *request)
{
    return row != NULL && row->level == LEVEL_CRITICAL && request->has_cdn
           && request->self == ROUTE_SELF_REDIRECTOR
           && session_mix(request->session, USE_SHARE) % TABLE_SHARE_ONE
                  < row->cdn_share;
}

/* The owner set for a choice, in any order: where everybody owns the content,
 * as for the most asked ones, ordering them all would be for nothing. */
static size_t
owners_for_choice(const struct table_snapshot *snapshot, uint64_t hash,
                  size_t k, uint16_t *owners)
{
    size_t count = 0;
    if (k < snapshot->available_count)
        return placement_owners(snapshot->placement, snapshot->table.node_count,
                                hash, k, owners);
    for (size_t i = 0; i < snapshot->table.node_count; i++) {
        if (snapshot->placement[i].weight > 0)
            owners[count++] = (uint16_t) i;
    }
    return count;
}

/* One of the owners for the session: the first of its two choices, unless
 * the second is less loaded by more than the margin. */
static int
owner_pick(const struct table *table, const uint16_t *owners, size_t count,
           uint64_t session, enum route_rule *rule)
{
    if (count == 1) {
        *rule = ROUTE_RULE_ONLY;
        return owners[0];
    }
    size_t first = session_mix(session, USE_FIRST) % count;
    size_t second = session_mix(session, USE_SECOND) % (count - 1);
    if (second >= first)
        second++; /* the others are count - 1 */
    uint64_t load_first = table->nodes[owners[first]].load;
    uint64_t load_second = table->nodes[owners[second]].load;
    if (load_first > load_second + ROUTE_LOAD_MARGIN) {
        *rule = ROUTE_RULE_LESS_LOADED;
        return owners[second];
    }
    *rule = ROUTE_RULE_STICKY;
    return owners[first];
}

/* Takes the requests of plays under way: the available ones and the full. */
static bool
is_open(const struct table_snapshot *snapshot, int node)
{
    return node >= 0
           && (snapshot->placement[node].weight > 0
               || snapshot->table.nodes[node].state == NODE_FULL);
}

/* It is under way here, and this node need not own the content. */
static bool
is_staying(const struct table_snapshot *snapshot,
           const struct route_request *request)
{
    return request->play == ROUTE_PLAY_HERE && is_open(snapshot, request->self)
           && (request->is_held
               || snapshot->table.nodes[request->self].state == NODE_FULL);
}

/* It went from here, and goes on where it went. */
static bool
is_moved(const struct table_snapshot *snapshot,
         const struct route_request *request, const uint16_t *owners,
         size_t count)
{
    return request->play == ROUTE_PLAY_MOVED
           && request->hops < request->hops_max && request->spills == 0
           && is_open(snapshot, request->moved_to)
           && (request->is_held
               || (is_owner(owners, count, request->moved_to)
                   && !is_owner(owners, count, request->self)));
}

/* The action that needs no choice among the owners; false: choose one. */
static bool
decide_without_choice(const struct table_snapshot *snapshot,
                      const struct route_request *request,
                      const struct table_row *row, const uint16_t *owners,
                      struct route_decision *out)
{
    bool is_redirector = request->self == ROUTE_SELF_REDIRECTOR;

    if (is_offloaded(row, request)) {
        out->action = ROUTE_CDN;
        out->rule = ROUTE_RULE_OFFLOAD;
        return true;
    }
    if (out->owner_count == 0) {
        out->action =
            is_redirector && request->has_cdn ? ROUTE_CDN : ROUTE_SERVE;
        out->rule = ROUTE_RULE_NO_NODE;
        return true;
    }
    if (is_redirector)
        return false;
    if (is_moved(snapshot, request, owners, out->owner_count)) {
        out->action = ROUTE_NODE;
        out->node = request->moved_to;
        out->rule = ROUTE_RULE_MOVED;
        return true;
    }
    out->action = ROUTE_SERVE;
    if (is_owner(owners, out->owner_count, request->self)) {
        out->rule = ROUTE_RULE_OWNER;
        return true;
    }
    if (request->spills > 0
        && (request->play != ROUTE_PLAY_HERE
            || is_open(snapshot, request->self))) {
        out->rule = ROUTE_RULE_SPILLED;
        return true;
    }
    if (request->hops >= request->hops_max) {
        out->rule = ROUTE_RULE_HOP_LIMIT;
        return true;
    }
    if (is_staying(snapshot, request)) {
        out->rule = ROUTE_RULE_STAY;
        return true;
    }
    return false;
}

/* Leaves out the first `from` and self; the count. */
static size_t
nodes_behind(uint16_t *nodes, size_t count, size_t from, int self)
{
    size_t kept = 0;
    for (size_t i = from; i < count; i++) {
        if ((int) nodes[i] != self)
            nodes[kept++] = nodes[i];
    }
    return kept;
}

/* Whom a full node may pass a play on to, itself left out: the ring of the
 * order that this spill has reached, or everybody where that is empty. */
static size_t
spill_candidates(const struct table_snapshot *snapshot,
                 const struct route_request *request, size_t owner_count,
                 uint16_t *nodes)
{
    const struct table *table = &snapshot->table;
    size_t from = owner_count;
    for (unsigned i = 0; i < request->spills && from < table->node_count; i++)
        from *= ROUTE_SPILL_STEP;
    if (from < snapshot->available_count) {
        size_t count =
            placement_owners(snapshot->placement, table->node_count,
                             request->hash, from * ROUTE_SPILL_STEP, nodes);
        count = nodes_behind(nodes, count, from, request->self);
        if (count > 0)
            return count;
    }
    size_t count = owners_for_choice(snapshot, request->hash,
                                     snapshot->available_count, nodes);
    return nodes_behind(nodes, count, 0, request->self);
}

/* Turns a decision to serve into one to pass on, where there is anybody. */
static void
spill(const struct table_snapshot *snapshot,
      const struct route_request *request, struct route_decision *out)
{
    uint16_t nodes[PLACEMENT_NODES_MAX];
    uint64_t session =
        session_mix(request->session, USE_SPILL + request->spills);
    size_t count = spill_candidates(snapshot, request, out->owner_count, nodes);
    if (count == 0)
        return;
    out->node = owner_pick(&snapshot->table, nodes, count, session, &out->rule);
    out->action = ROUTE_NODE;
    out->rule = ROUTE_RULE_SPILL;
    out->is_passed_on = true;
}

/* The place that is named after so many others; there is a node at least. */
static void
retry(const struct table_snapshot *snapshot,
      const struct route_request *request, const struct table_row *row,
      const uint16_t *owners, struct route_decision *out)
{
    uint16_t nodes[PLACEMENT_NODES_MAX];
    size_t k = out->owner_count, available = snapshot->available_count;
    size_t places = available + request->has_cdn;
    bool is_cdn_first = is_offloaded(row, request);
    size_t n = (request->retries - is_cdn_first + places) % places;

    out->rule = ROUTE_RULE_RETRY;
    if (n == available) {
        out->action = ROUTE_CDN;
        return;
    }
    out->action = ROUTE_NODE;
    out->is_passed_on = n >= k;
    if (out->is_passed_on) {
        placement_owners(snapshot->placement, snapshot->table.node_count,
                         request->hash, n + 1, nodes);
        out->node = nodes[n];
        return;
    }
    enum route_rule rule;
    int first =
        owner_pick(&snapshot->table, owners, k, request->session, &rule);
    for (size_t i = 0; i < k; i++) {
        if ((int) owners[i] == first)
            out->node = owners[(i + n) % k];
    }
}

static bool
is_spilling(const struct route_request *request,
            const struct route_decision *decision)
{
    return decision->action == ROUTE_SERVE && decision->owner_count > 0
           && request->self_full && request->spills < ROUTE_SPILLS_MAX;
}

const char *
route_rule_name(enum route_rule rule)
{
    static const char *const names[] = {
#define ROUTE_RULE_NAME(symbol, name, sentence) name,
        ROUTE_RULES(ROUTE_RULE_NAME)
#undef ROUTE_RULE_NAME
    };
    if ((unsigned) rule >= sizeof names / sizeof names[0])
        return "unknown";
    return names[rule];
}

bool
route_has_cdn(const struct table_snapshot *snapshot,
              const struct route_request *request)
{
    const struct table *table = &snapshot->table;
    return has_cdn(table, table_find(table, request->hash, request->content),
                   request);
}

void
route_decide(const struct table_snapshot *snapshot,
             const struct route_request *asked, struct route_decision *out)
{
    uint16_t owners[PLACEMENT_NODES_MAX];
    const struct table *table = &snapshot->table;
    const struct table_row *row =
        table_find(table, asked->hash, asked->content);
    struct route_request allowed = *asked;
    const struct route_request *request = &allowed;

    allowed.has_cdn = has_cdn(table, row, asked);
    out->node = -1;
    out->is_passed_on = false;
    out->level = row ? row->level : LEVEL_CALM;
    out->owner_count = (uint32_t) owners_for_choice(
        snapshot, request->hash, row ? row->owner_count : 1, owners);
    if (request->retries > 0 && out->owner_count > 0
        && request->self == ROUTE_SELF_REDIRECTOR) {
        retry(snapshot, request, row, owners, out);
        return;
    }
    if (decide_without_choice(snapshot, request, row, owners, out)) {
        if (is_spilling(request, out))
            spill(snapshot, request, out);
        return;
    }
    out->action = ROUTE_NODE;
    out->node = owner_pick(table, owners, out->owner_count, request->session,
                           &out->rule);
}

size_t
route_owners(const struct table_snapshot *snapshot, struct bytes content,
             uint64_t hash, uint16_t owners[PLACEMENT_NODES_MAX])
{
    const struct table_row *row = table_find(&snapshot->table, hash, content);
    return placement_owners(snapshot->placement, snapshot->table.node_count,
                            hash, row ? row->owner_count : 1, owners);
}
