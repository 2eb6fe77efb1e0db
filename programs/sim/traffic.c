/* SPDX-License-Identifier: Apache-2.0 */
/* Plays and the nodes that serve them, see programs/sim/traffic.h. */

#include "programs/sim/traffic_private.h"

#include "core/content.h"
#include "core/err.h"
#include "core/plays.h"

#include <stdlib.h>

#define TABLE_LAG_MS 2000 /* between two nodes that act on a table */
#define SORTED_PART 16    /* a phase has fewer unsorted plays than this part */

/* ---- counts ---- */

static bool
is_origin(const struct traffic *t, uint32_t node)
{
    return node < t->config->nodes;
}

static int32_t
now_s(const struct traffic *t)
{
    return (int32_t) (t->now_ms / 1000);
}

/* Time 0 is made before time runs. */
static bool
is_running(const struct traffic *t)
{
    return t->now_ms > 0;
}

/* What a node's nginx would write into its counter file. */
static void
pair_count(struct traffic *t, uint32_t at, uint32_t requests, bool is_start,
           bool is_offloaded)
{
    if (!t->is_counting)
        return;
    struct pair *pair = &t->pairs.list[at];
    struct traffic_node *node = &t->nodes[pair->node];
    const bool is_listed = pair->changed_step > node->acknowledged_step;
    pair->requests += requests;
    pair->starts += is_start;
    pair->offloaded += is_offloaded;
    pair->changed_step = t->step;
    if (is_listed || pair->node == traffic_cdn(t))
        return;
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
    pair_count(t, pairs_at(&t->pairs, content, redirector), 1, true,
               is_offloaded);
}

/* The node of a play serves so many requests. */
static void
play_count(struct traffic *t, const struct play *play, uint32_t requests,
           bool is_start)
{
    struct traffic_node *node = &t->nodes[play->node];
    if (!is_running(t))
        return;
    node->served += requests;
    node->started += is_start;
    if (is_origin(t, play->node) && t->is_counting)
        pace_add(&node->pace, pace_ms(t), requests, 0);
    pair_count(t, play->pair, requests, is_start, false);
}

/* Plays side by side that have node and content in common, and are so many. */
struct run {
    struct play play;
    uint32_t count;
};

static void
run_end(struct traffic *t, struct run *run)
{
    if (run->count > 0)
        play_count(t, &run->play, run->count * t->config->tracks, false);
    run->count = 0;
}

static void
run_add(struct traffic *t, struct run *run, const struct play *play)
{
    if (run->count > 0 && run->play.pair != play->pair)
        run_end(t, run);
    if (run->count++ == 0)
        run->play = *play;
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
    t->active_contents -= --t->contents[play->content].plays == 0;
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
    if (is_running(t) && t->is_counting)
        pace_add(&t->nodes[node].pace, pace_ms(t), PACE_START_REQUESTS, 0);
    t->stats.fills += t->pairs.count > known;
    t->active_pairs += pair->plays == 1;
    t->active_contents += t->contents[play->content].plays++ == 0;
}

/* One fill for each owner, as long as there were plays for so many. */
static void
least_fills_count(struct traffic *t, uint32_t content, uint32_t owner_count)
{
    uint16_t *owners = &t->contents[content].owners;
    uint16_t *starts = &t->contents[content].starts;
    const uint16_t before = *owners < *starts ? *owners : *starts;
    if (owner_count > *owners)
        *owners = (uint16_t) owner_count;
    *starts = (uint16_t) (*starts + (*starts < UINT16_MAX));
    const uint16_t now = *owners < *starts ? *owners : *starts;
    t->stats.fills_least += (uint64_t) (now - before);
}

/* ---- starts ---- */

/* For how long a play has been under way that time 0 finds. */
static int32_t
age_s(struct traffic *t)
{
    const uint64_t segments = audience_segments(t->audience);
    return (int32_t) (segments * t->config->segment_ms / 1000);
}

/* Segments that a play asks for at once as it starts. */
static uint32_t
segments_at_start(const struct traffic *t, uint32_t segments)
{
    const uint64_t most = t->config->buffer_ms / t->config->segment_ms + 1;
    return segments < most ? segments : (uint32_t) most;
}

static void
play_start(struct traffic *t, uint32_t content, struct phase *phase)
{
    struct play play = {.content = content, .node = NOWHERE};
    struct route_decision first;
    /* by the time its node is known */
    __builtin_prefetch(&t->contents[content], 1);
    const uint32_t segments = audience_segments(t->audience);
    const uint32_t at_start = segments_at_start(t, segments);
    play.left = (uint16_t) (segments - at_start);
    play.since_s = is_running(t) ? now_s(t) : -age_s(t);
    const uint32_t node = play_find_node(t, &play, &first);
    if (t->is_trial) {
        if (node != NOWHERE)
            t->nodes[node].plays++;
        return;
    }
    if (node != NOWHERE) {
        play_enter(t, &play, node);
        play.home = play.node;
        play_count(t, &play, t->config->opening + at_start * t->config->tracks,
                   true);
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
bit_get(const uint64_t *bits, uint32_t at)
{
    return bits[at / 64] >> at % 64 & 1;
}

static void
bit_set(uint64_t *bits, uint32_t at, bool is_set)
{
    const uint64_t bit = (uint64_t) 1 << at % 64;
    bits[at / 64] = is_set ? bits[at / 64] | bit : bits[at / 64] & ~bit;
}

/* Nodes look at every request; here only where that can make a difference. A
 * play that is held stays. Of the others, one at its home may have lost an
 * owner there, and one that is away may have another one at home: since its
 * last request, or while it was held. */
static bool
is_rechecked(const struct traffic *t, const struct play *play)
{
    const uint32_t content = play->content;
    if (!bit_get(t->maybe_rechecked, content % RECHECKED_BITS)
        || !bit_get(t->rechecked, content))
        return false;
    const uint32_t last = play->node == play->home ? t->shrunk_step[content]
                                                   : t->changed_step[content];
    const int64_t free_s = (int64_t) now_s(t) - play->since_s - PLAYS_HOLD_S;
    if (last == 0 || free_s < 0)
        return false;
    const uint64_t recent_ms = t->config->segment_ms + TABLE_LAG_MS;
    return (t->step - last) * t->config->step_ms <= recent_ms
           || (uint64_t) free_s * 1000 <= recent_ms;
}

/* A request as its home sees it, by what that remembers of the play. */
static struct route_request
request_at_home(const struct traffic *t, const struct play *play,
                const struct table_snapshot *table)
{
    const bool is_here = play->node == play->home;
    return (struct route_request){
        .self = place_in_table(t, table, play->home),
        .hops_max = HOPS_MAX,
        .spills = is_here && play->is_spilled,
        .self_full = !is_here && is_full(t, play->home),
        .play = is_here ? ROUTE_PLAY_HERE : ROUTE_PLAY_MOVED,
        .moved_to = is_here ? -1 : place_in_table(t, table, play->node),
        .is_held = now_s(t) - play->since_s < PLAYS_HOLD_S,
    };
}

static void
play_move(struct traffic *t, struct play *play, uint32_t node)
{
    t->stats.moves++;
    t->stats.moves_too_soon +=
        play->has_moved && now_s(t) - play->since_s < MOVE_GAP_S;
    play_leave(t, play);
    play_enter(t, play, node);
    play->is_spilled = false; /* at its home, which is what is remembered */
    play->has_moved = true;
    play->since_s = now_s(t);
}

/* The home looks at a request as it does at any other, and may serve it or
 * redirect it, now otherwise than before. */
static void
play_reconsider(struct traffic *t, struct play *play)
{
    uint8_t name[CONTENT_NAME_LEN];
    const struct table_snapshot *table = t->nodes[play->home].table;
    struct route_request request = request_at_home(t, play, table);
    struct route_decision decision;
    uint32_t node = play->home;
    request.content = content_name(t->config, play->content, name);
    request.hash = content_hash(request.content);
    request.session = rng_next(&t->rng);
    route_decide(table, &request, &decision);
    if (decision.action == ROUTE_NODE)
        node = node_of_name(t->config, table->table.nodes[decision.node].name);
    if (node == play->node)
        return;
    request.play = ROUTE_PLAY_NEW;
    request.is_held = false;
    redirect_count(&request, &decision);
    play_move(t, play,
              decision.action == ROUTE_NODE ? follow(t, &request, node) : node);
}

static void
play_recover(struct traffic *t, struct play *play)
{
    struct route_decision first;
    t->stats.dead_requests += play->node != NOWHERE;
    const uint32_t node = play_find_node(t, play, &first);
    play_leave(t, play);
    play->node = NOWHERE;
    if (node != NOWHERE)
        play_enter(t, play, node);
    play->home = play->node;
    play->has_moved = false;
    play->since_s = now_s(t);
}

static bool
is_lost(const struct traffic *t, const struct play *play)
{
    return play->node == NOWHERE
           || (t->has_dead
               && (t->nodes[play->node].is_dead
                   || t->nodes[play->home].is_dead));
}

static void
play_request(struct traffic *t, struct play *play, struct run *run)
{
    if (is_lost(t, play))
        play_recover(t, play);
    else if (is_origin(t, play->node) && is_rechecked(t, play))
        play_reconsider(t, play);
    if (is_lost(t, play))
        return; /* tries again a segment later */
    play->left--;
    run_add(t, run, play);
}

/* Pairs lie by node, but nodes do not ask one after the other: those that come
 * last in a step would find the others' requests counted and their own not. So
 * blocks of pairs are in an order as good as random, another in each phase. */
static uint32_t
order_of(const struct play *play, uint32_t salt)
{
    const uint32_t block = play->pair / PAIRS_BLOCK;
    return block * salt * PAIRS_BLOCK + play->pair % PAIRS_BLOCK;
}

/* Those of a pair stay in their order. */
static void
plays_sort(struct play *list, uint32_t count, uint32_t salt, struct play *room)
{
    for (unsigned shift = 0; shift < 32; shift += 8) {
        uint32_t at[257] = {0};
        for (uint32_t i = 0; i < count; i++)
            at[(order_of(&list[i], salt) >> shift & 255) + 1]++;
        for (unsigned i = 1; i < 257; i++)
            at[i] += at[i - 1];
        for (uint32_t i = 0; i < count; i++)
            room[at[order_of(&list[i], salt) >> shift & 255]++] = list[i];
        struct play *sorted = room;
        room = list;
        list = sorted;
    }
}

/* Sorts in what came since, once it is a part of all. A play that moved lies
 * where it lay. */
static void
phase_sort(struct traffic *t, struct phase *phase)
{
    struct play *list = phase->list;
    uint32_t from = phase->sorted, to = phase->count, left = to - from;
    const uint32_t salt =
        0x9e3779b1u + 2 * (uint32_t) (phase - t->phases) * 0x85ebca6bu;
    if (!t->is_counting || left <= to / SORTED_PART)
        return;
    while (t->sorting_capacity < left)
        t->sorting = list_grow(t->sorting, t->sorting_capacity,
                               &t->sorting_capacity, sizeof *t->sorting);
    plays_sort(&list[from], left, salt, t->sorting);
    memcpy(t->sorting, &list[from], left * sizeof *list);
    while (left > 0) {
        if (from > 0
            && order_of(&list[from - 1], salt)
                   > order_of(&t->sorting[left - 1], salt))
            list[--to] = list[--from];
        else
            list[--to] = t->sorting[--left];
    }
    phase->sorted = phase->count;
}

static void
phase_walk(struct traffic *t, struct phase *phase)
{
    struct run run = {.count = 0};
    uint32_t kept = 0, sorted = 0;
    for (uint32_t i = 0; i < phase->count; i++) {
        struct play *play = &phase->list[i];
        if (t->is_counting && i + PAIRS_AHEAD < phase->count)
            __builtin_prefetch(&t->pairs.list[play[PAIRS_AHEAD].pair], 1);
        if (play->left == 0) {
            play_leave(t, play);
            continue;
        }
        play_request(t, play, &run);
        sorted += i < phase->sorted;
        phase->list[kept++] = *play;
    }
    run_end(t, &run);
    phase->count = kept;
    phase->sorted = sorted;
}

static void
rechecked_mark(struct traffic *t, uint32_t content, bool is_rechecked)
{
    bit_set(t->rechecked, content, is_rechecked);
    bit_set(t->maybe_rechecked, content % RECHECKED_BITS, is_rechecked);
}

/* Those whose time is over; a content may be in the list again. */
static void
rechecked_forget(struct traffic *t)
{
    uint32_t gone = 0;
    while (gone < t->rechecked_count && t->rechecked_list[gone].until < t->step)
        rechecked_mark(t, t->rechecked_list[gone++].content, false);
    if (gone == 0)
        return;
    t->rechecked_count -= gone;
    memmove(t->rechecked_list, t->rechecked_list + gone,
            t->rechecked_count * sizeof *t->rechecked_list);
    for (uint32_t i = 0; i < t->rechecked_count; i++)
        rechecked_mark(t, t->rechecked_list[i].content, true);
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
        .is_trial = true,
        .phase_count = (uint32_t) (config->segment_ms / config->step_ms),
        .node_count = config->nodes + 2,
    };
    traffic->phases = calloc(traffic->phase_count, sizeof *traffic->phases);
    traffic->contents = calloc(contents, sizeof *traffic->contents);
    traffic->rechecked = calloc(contents / 64 + 1, sizeof *traffic->rechecked);
    traffic->changed_step = calloc(contents, sizeof *traffic->changed_step);
    traffic->shrunk_step = calloc(contents, sizeof *traffic->shrunk_step);
    if (traffic->changed_step == NULL || traffic->shrunk_step == NULL
        || traffic->phases == NULL || traffic->contents == NULL
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
    free(traffic->sorting);
    free(traffic->contents);
    free(traffic->rechecked);
    free(traffic->rechecked_list);
    free(traffic->changed_step);
    free(traffic->shrunk_step);
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
traffic_begin(struct traffic *traffic)
{
    for (uint32_t i = 0; i < traffic->node_count; i++)
        traffic->nodes[i].plays = 0;
    traffic->is_trial = false;
    traffic->stats = (struct traffic_stats){0};
}

void
traffic_step(struct traffic *traffic, uint64_t now_ms)
{
    const struct sim_config *config = traffic->config;
    traffic->now_ms = now_ms;
    traffic->is_counting = !config->is_exact;
    struct phase *phase =
        &traffic->phases[++traffic->step % traffic->phase_count];
    if (config->kill_ms != 0 && now_ms >= config->kill_ms)
        traffic->nodes[config->kill_node].is_dead = traffic->has_dead = true;
    rechecked_forget(traffic);
    phase_sort(traffic, phase);
    phase_walk(traffic, phase);
    uint32_t content;
    while (audience_next(traffic->audience, now_ms, &content))
        play_start(traffic, content, phase);
    const uint32_t crowd = audience_crowd_content(traffic->audience);
    for (uint64_t n = audience_crowd_starts(traffic->audience, now_ms); n > 0;
         n--)
        play_start(traffic, crowd, phase);
}

/* For the hold time, a segment and a bit: by then each of its plays has asked
 * once that was held, too. */
void
traffic_recheck(struct traffic *traffic, uint32_t content, bool is_shrunk)
{
    const struct sim_config *config = traffic->config;
    const uint64_t for_ms =
        PLAYS_HOLD_S * 1000u + config->segment_ms + TABLE_LAG_MS;
    traffic->changed_step[content] = traffic->step;
    if (is_shrunk)
        traffic->shrunk_step[content] = traffic->step;
    traffic->rechecked_list = list_grow(
        traffic->rechecked_list, traffic->rechecked_count,
        &traffic->rechecked_capacity, sizeof *traffic->rechecked_list);
    traffic->rechecked_list[traffic->rechecked_count++] = (struct rechecked){
        .content = content,
        .until = traffic->step + (uint32_t) (for_ms / config->step_ms) + 1,
    };
    rechecked_mark(traffic, content, true);
}
