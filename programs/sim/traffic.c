/* SPDX-License-Identifier: Apache-2.0 */
/* Plays and the nodes that serve them, see programs/sim/traffic.h. */

#include "programs/sim/traffic.h"

#include "core/content.h"
#include "core/err.h"
#include "core/route.h"

#include <stdio.h>
#include <stdlib.h>

#define HOPS_MAX 2
#define NOWHERE UINT16_MAX

struct play {
    uint32_t content;
    uint32_t pair; /* unless NOWHERE */
    uint16_t node;
    uint16_t left; /* requests */
    uint32_t is_spilled : 1;
    uint32_t moved_step : 31; /* 0: never */
};

/* ---- counts ---- */

static bool
is_origin(const struct traffic *t, uint32_t node)
{
    return node < t->config->nodes;
}

/* What a node's nginx would write into its counter file. */
static void
pair_count(struct traffic *t, uint32_t at, bool is_start, bool is_offloaded)
{
    if (!t->is_counting)
        return;
    struct pair *pair = &t->pairs.list[at];
    struct traffic_node *node = &t->nodes[pair->node];
    pair->requests++;
    pair->starts += is_start;
    pair->offloaded += is_offloaded;
    pair->changed_step = t->step;
    if (pair->is_listed || pair->node == traffic_cdn(t))
        return;
    pair->is_listed = true;
    node->changed = list_grow(node->changed, node->changed_count,
                              &node->changed_capacity, sizeof *node->changed);
    node->changed[node->changed_count++] = at;
}

static void
redirector_count(struct traffic *t, uint32_t content, bool is_offloaded)
{
    if (!t->is_counting)
        return;
    const uint16_t redirector = (uint16_t) traffic_redirector(t);
    pair_count(t, pairs_at(&t->pairs, content, redirector), true, is_offloaded);
}

static void
play_leave(struct traffic *t, const struct play *play)
{
    if (play->node == NOWHERE)
        return;
    struct pair *pair = &t->pairs.list[play->pair];
    t->nodes[play->node].plays--;
    pair->plays--;
    t->crowd_plays -= play->content == t->config->contents;
    if (!is_origin(t, play->node))
        return;
    t->active_pairs -= pair->plays == 0;
    t->active_contents -= --t->content_plays[play->content] == 0;
}

static void
play_enter(struct traffic *t, struct play *play, uint32_t node)
{
    const uint32_t known = t->pairs.count;
    play->node = (uint16_t) node;
    play->pair = pairs_at(&t->pairs, play->content, play->node);
    struct pair *pair = &t->pairs.list[play->pair];
    t->nodes[node].plays++;
    pair->plays++;
    t->crowd_plays += play->content == t->config->contents;
    if (!is_origin(t, node))
        return;
    t->stats.fills += t->pairs.count > known;
    t->active_pairs += pair->plays == 1;
    t->active_contents += t->content_plays[play->content]++ == 0;
}

/* One fill for each owner, as long as there were plays for so many. */
static void
least_fills_count(struct traffic *t, uint32_t content, uint32_t owner_count)
{
    uint16_t *owners = &t->content_owners[content];
    uint16_t *starts = &t->content_starts[content];
    const uint16_t before = *owners < *starts ? *owners : *starts;
    if (owner_count > *owners)
        *owners = (uint16_t) owner_count;
    *starts = (uint16_t) (*starts + (*starts < UINT16_MAX));
    const uint16_t now = *owners < *starts ? *owners : *starts;
    t->stats.fills_least += (uint64_t) (now - before);
}

/* ---- where a play goes ---- */

static uint32_t
node_of_name(struct bytes name)
{
    uint32_t node = 0;
    for (size_t i = 1; i < name.len; i++)
        node = node * 10 + (uint32_t) (name.ptr[i] - '0');
    return node;
}

/* The node's place in a table; tables list all origins, for as long as none
 * was silent for an hour. */
static int
place_in_table(const struct traffic *t, const struct table_snapshot *table,
               uint32_t node)
{
    char name[8];
    if (table->table.node_count == t->config->nodes)
        return (int) node;
    const int place = table_node_find(&table->table, node_name(node, name));
    return place < 0 ? ROUTE_SELF_UNLISTED : place;
}

static bool
is_full(const struct traffic *t, uint32_t node)
{
    return t->config->has_spill && t->nodes[node].plays >= t->config->capacity;
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
    request->hops++;
    route_decide(n->table, request, &decision);
    if (decision.action != ROUTE_NODE)
        return false;
    if (decision.rule == ROUTE_RULE_SPILL) {
        request->spills++;
        t->stats.spills++;
    }
    *node = node_of_name(n->table->table.nodes[decision.node].name);
    return true;
}

/* Follows a play from `node` until one keeps it. */
static uint32_t
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
play_place(struct traffic *t, struct play *play, struct route_decision *first)
{
    uint8_t name[CONTENT_NAME_LEN];
    const struct table_snapshot *table = t->nodes[traffic_redirector(t)].table;
    struct route_request request = {
        .content = content_name(play->content, name),
        .session = rng_next(&t->rng),
        .self = ROUTE_SELF_REDIRECTOR,
        .hops_max = HOPS_MAX,
        .has_cdn = t->config->classify.has_cdn,
    };
    request.hash = content_hash(request.content);
    route_decide(table, &request, first);
    if (first->action == ROUTE_CDN)
        return traffic_cdn(t);
    if (first->action == ROUTE_SERVE) {
        t->stats.refused++;
        return NOWHERE;
    }
    const uint32_t node =
        follow(t, &request, node_of_name(table->table.nodes[first->node].name));
    play->is_spilled = request.spills > 0;
    return node;
}

static void
play_start(struct traffic *t, uint32_t content, struct phase *phase)
{
    struct play play = {.content = content, .node = NOWHERE};
    struct route_decision first;
    play.left = (uint16_t) (audience_requests(t->audience) - 1);
    const uint32_t node = play_place(t, &play, &first);
    if (node != NOWHERE) {
        play_enter(t, &play, node);
        pair_count(t, play.pair, true, false);
        redirector_count(t, content, node == traffic_cdn(t));
    }
    if (node != traffic_cdn(t))
        least_fills_count(t, content, first.owner_count);
    t->stats.starts++;
    phase->list = list_grow(phase->list, phase->count, &phase->capacity,
                            sizeof *phase->list);
    phase->list[phase->count++] = play;
}

/* ---- plays under way ---- */

static bool
is_rechecked(const struct traffic *t, uint32_t content)
{
    return t->rechecked_count > 0
           && (t->rechecked[content / 64] >> content % 64 & 1) != 0;
}

/* The node looks at a request as it does at any other, and may send the play
 * to a node that owns the content. */
static void
play_reconsider(struct traffic *t, struct play *play)
{
    uint8_t name[CONTENT_NAME_LEN];
    const struct table_snapshot *table = t->nodes[play->node].table;
    struct route_request request = {
        .content = content_name(play->content, name),
        .session = rng_next(&t->rng),
        .self = place_in_table(t, table, play->node),
        .hops_max = HOPS_MAX,
        .spills = play->is_spilled,
    };
    struct route_decision decision;
    request.hash = content_hash(request.content);
    route_decide(table, &request, &decision);
    if (decision.action != ROUTE_NODE)
        return;
    if (play->moved_step != 0
        && t->step - play->moved_step < MOVE_GAP_MS / SIM_STEP_MS) {
        t->stats.moves_too_soon++;
        return;
    }
    const uint32_t node = follow(
        t, &request, node_of_name(table->table.nodes[decision.node].name));
    play_leave(t, play);
    play_enter(t, play, node);
    play->is_spilled = request.spills > 0;
    play->moved_step = t->step;
    t->stats.moves++;
}

/* The player asks the playback URL again. */
static void
play_recover(struct traffic *t, struct play *play)
{
    struct route_decision first;
    t->stats.dead_requests += play->node != NOWHERE;
    const uint32_t node = play_place(t, play, &first);
    play_leave(t, play);
    if (node == NOWHERE)
        play->node = NOWHERE;
    else
        play_enter(t, play, node);
}

static void
play_request(struct traffic *t, struct play *play)
{
    if (play->node == NOWHERE || t->nodes[play->node].is_dead)
        play_recover(t, play);
    else if (is_rechecked(t, play->content) && is_origin(t, play->node))
        play_reconsider(t, play);
    if (play->node == NOWHERE || t->nodes[play->node].is_dead)
        return; /* tries again a segment later */
    play->left--;
    pair_count(t, play->pair, false, false);
}

static void
phase_walk(struct traffic *t, struct phase *phase)
{
    for (uint32_t i = 0; i < phase->count;) {
        struct play *play = &phase->list[i];
        if (play->left == 0) {
            play_leave(t, play);
            *play = phase->list[--phase->count];
            continue;
        }
        play_request(t, play);
        i++;
    }
}

static void
rechecked_forget(struct traffic *t)
{
    for (uint32_t i = 0; i < t->rechecked_count; i++)
        t->rechecked[t->rechecked_list[i] / 64] = 0;
    t->rechecked_count = 0;
}

/* ---- from outside ---- */

int
traffic_init(struct traffic *traffic, const struct sim_config *config,
             struct audience *audience)
{
    const size_t contents = (size_t) config->contents + 1;
    *traffic = (struct traffic){
        .config = config,
        .audience = audience,
        .rng = rng_of(config->seed, 2),
        .step = 1,
        .phase_count = (uint32_t) (config->segment_ms / SIM_STEP_MS),
        .node_count = config->nodes + 2,
    };
    traffic->phases = calloc(traffic->phase_count, sizeof *traffic->phases);
    traffic->content_plays = calloc(contents, sizeof *traffic->content_plays);
    traffic->content_owners = calloc(contents, sizeof *traffic->content_owners);
    traffic->content_starts = calloc(contents, sizeof *traffic->content_starts);
    traffic->rechecked = calloc(contents / 64 + 1, sizeof *traffic->rechecked);
    if (traffic->phases == NULL || traffic->content_plays == NULL
        || traffic->content_owners == NULL || traffic->content_starts == NULL
        || traffic->rechecked == NULL) {
        traffic_fini(traffic);
        return ERR_MEMORY;
    }
    return 0;
}

void
traffic_fini(struct traffic *traffic)
{
    for (uint32_t i = 0; traffic->phases && i < traffic->phase_count; i++)
        free(traffic->phases[i].list);
    for (uint32_t i = 0; i < traffic->node_count; i++)
        free(traffic->nodes[i].changed);
    pairs_fini(&traffic->pairs);
    free(traffic->phases);
    free(traffic->content_plays);
    free(traffic->content_owners);
    free(traffic->content_starts);
    free(traffic->rechecked);
    free(traffic->rechecked_list);
    *traffic = (struct traffic){0};
}

void
traffic_populate(struct traffic *traffic, uint32_t parts)
{
    const double plays = audience_plays(traffic->audience) / parts;
    for (uint64_t n = rng_poisson(&traffic->rng, plays); n > 0; n--)
        play_start(traffic, audience_pick(traffic->audience),
                   &traffic->phases[n % traffic->phase_count]);
}

void
traffic_step(struct traffic *traffic, uint64_t now_ms)
{
    const struct sim_config *config = traffic->config;
    traffic->is_counting = !config->is_exact;
    struct phase *phase =
        &traffic->phases[++traffic->step % traffic->phase_count];
    if (config->kill_ms != 0 && now_ms >= config->kill_ms)
        traffic->nodes[config->kill_node].is_dead = true;
    if (traffic->step > traffic->rechecked_until)
        rechecked_forget(traffic);
    phase_walk(traffic, phase);
    for (uint64_t n = audience_starts(traffic->audience, now_ms); n > 0; n--)
        play_start(traffic, audience_pick(traffic->audience), phase);
    const uint32_t crowd = audience_crowd_content(traffic->audience);
    for (uint64_t n = audience_crowd_starts(traffic->audience, now_ms); n > 0;
         n--)
        play_start(traffic, crowd, phase);
}

/* For a segment and a bit: by then each of its plays has asked once. */
void
traffic_recheck(struct traffic *traffic, uint32_t content)
{
    traffic->rechecked_until = traffic->step + traffic->phase_count + 4;
    traffic->rechecked[content / 64] |= (uint64_t) 1 << content % 64;
    traffic->rechecked_list = list_grow(
        traffic->rechecked_list, traffic->rechecked_count,
        &traffic->rechecked_capacity, sizeof *traffic->rechecked_list);
    traffic->rechecked_list[traffic->rechecked_count++] = content;
}

struct bytes
node_name(uint32_t node, char name[8])
{
    name[0] = 'n';
    for (int i = 4; i > 0; i--, node /= 10)
        name[i] = (char) ('0' + node % 10);
    return bytes_of(name, 5);
}
