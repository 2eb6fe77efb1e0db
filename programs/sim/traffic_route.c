/* SPDX-License-Identifier: Apache-2.0 */
/* Where a play goes: what redirectors and nodes answer to its first request. */

#include "programs/sim/traffic_private.h"

#include "core/content.h"

#include <stdio.h>

#define RECOVERIES_MAX 4 /* of a player, for one segment */

uint32_t
node_of_name(const struct sim_config *config, struct bytes name)
{
    const size_t prefix = config->names != NULL ? strlen("origin") : 1;
    uint32_t node = 0;
    for (size_t i = prefix; i < name.len && name.ptr[i] != '-'; i++)
        node = node * 10 + (uint32_t) (name.ptr[i] - '0');
    return node - (config->names != NULL);
}

/* The node's place in a table; tables list all origins, for as long as none
 * was silent for an hour. */
int
place_in_table(const struct traffic *t, const struct table_snapshot *table,
               uint32_t node)
{
    char name[SIM_NODE_NAME_SIZE];
    if (table->table.node_count == t->config->nodes)
        return (int) node;
    const int place =
        table_node_find(&table->table, node_name(t->config, node, name));
    return place < 0 ? ROUTE_SELF_UNLISTED : place;
}

/* By its plays where all is known exactly, else by the node's own measure. */
bool
is_full(const struct traffic *t, uint32_t node)
{
    const struct traffic_node *n = &t->nodes[node];
    struct pace_rate rate;
    if (!t->config->has_spill)
        return false;
    if (!t->is_counting)
        return n->plays >= sim_node_capacity(t->config, node);
    pace_read(&n->pace, pace_ms(t), &rate);
    return (double) rate.requests >= sim_capacity_requests(t->config, node);
}

/* What a redirect's URL says. */
void
redirect_count(struct route_request *request,
               const struct route_decision *decision)
{
    request->hops += !decision->is_passed_on;
    request->spills += decision->is_passed_on;
}

/* What the play meets at a node that it is new to: true when it is sent on,
 * with *node and the request as they are then. */
static bool
is_sent_on(struct traffic *t, struct route_request *request, uint32_t *node)
{
    const struct traffic_node *n = &t->nodes[*node];
    const struct table_snapshot *redirectors =
        t->nodes[traffic_redirector(t)].table;
    struct route_decision decision;

    request->self_full = is_full(t, *node);
    if (n->is_dead || (n->table == redirectors && !request->self_full))
        return false; /* the table's word again */
    request->self = place_in_table(t, n->table, *node);
    route_decide(n->table, request, &decision);
    if (decision.action != ROUTE_NODE)
        return false;
    redirect_count(request, &decision);
    t->stats.spills += decision.rule == ROUTE_RULE_SPILL;
    *node = node_of_name(t->config, n->table->table.nodes[decision.node].name);
    return true;
}

/* Follows a play from `node` until one keeps it. */
uint32_t
follow(struct traffic *t, struct route_request *request, uint32_t node)
{
    uint64_t redirects = 0;
    while (is_sent_on(t, request, &node))
        redirects++;
    if (redirects > t->stats.redirects_max)
        t->stats.redirects_max = redirects;
    return node;
}

/* From the redirector on; the node, or NOWHERE. */
static uint32_t
play_place(struct traffic *t, struct play *play, uint64_t session,
           unsigned retries, struct route_decision *first)
{
    uint8_t name[CONTENT_NAME_LEN];
    const struct table_snapshot *table = t->nodes[traffic_redirector(t)].table;
    struct route_request request = {
        .content = content_name(t->config, play->content, name),
        .session = session,
        .self = ROUTE_SELF_REDIRECTOR,
        .hops_max = HOPS_MAX,
        .has_cdn = t->config->classify.has_cdn,
        .retries = retries,
    };
    request.hash = content_hash(request.content);
    route_decide(table, &request, first);
    if (first->action == ROUTE_CDN)
        return traffic_cdn(t);
    if (first->action == ROUTE_SERVE) {
        t->stats.refused++;
        return NOWHERE;
    }
    redirect_count(&request, first);
    const uint32_t node =
        follow(t, &request,
               node_of_name(t->config, table->table.nodes[first->node].name));
    play->is_spilled = request.spills > 0;
    return node;
}

/* As a player does: it asks the playback URL again while that leads to a dead
 * node, and says so. That takes a few seconds at most. The node, dead as ever
 * after so many times, or NOWHERE. */
uint32_t
play_find_node(struct traffic *t, struct play *play,
               struct route_decision *first)
{
    const uint64_t session = rng_next(&t->rng);
    struct route_decision next;
    uint32_t node = play_place(t, play, session, 0, first);
    for (unsigned i = 1;
         i <= RECOVERIES_MAX && node != NOWHERE && t->nodes[node].is_dead;
         i++) {
        t->stats.dead_requests++;
        node = play_place(t, play, session, i, &next);
    }
    return node;
}

/* Any one will do that is another in each set. */
static uint32_t
name_end(const struct sim_config *config, uint32_t node)
{
    struct rng rng = rng_of(config->name_set, node);
    return (uint32_t) rng_next(&rng);
}

struct bytes
node_name(const struct sim_config *config, uint32_t node,
          char name[SIM_NODE_NAME_SIZE])
{
    int len;
    if (node >= config->nodes)
        return BYTES_LITERAL("redirector1");
    if (config->names != NULL)
        len = snprintf(name, SIM_NODE_NAME_SIZE, "origin%u", node + 1);
    else if (config->name_set == 0)
        len = snprintf(name, SIM_NODE_NAME_SIZE, "n%04u", node);
    else
        len = snprintf(name, SIM_NODE_NAME_SIZE, "n%04u-%08x", node,
                       name_end(config, node));
    return bytes_of(name, (size_t) len);
}
