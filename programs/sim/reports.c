/* SPDX-License-Identifier: Apache-2.0 */
/* The agents' reports on their way, see programs/sim/reports.h. */

#include "programs/sim/reports.h"

#include "core/err.h"
#include "programs/agent/jump.h"

#include <math.h>
#include <stdlib.h>

#define WEIGHT_MEAN 100

struct message {
    uint64_t due_ms;
    uint32_t node, sent_step;
    uint64_t sequence;
    struct buffer report;
};

struct agent {
    uint64_t sequence, base;
    uint32_t sent_step; /* the last report */
    uint64_t due_ms;    /* the next one, unless a content jumps */
    uint64_t span_ms;   /* that the last one told of */
    uint64_t jumping_until_ms;
};

/* Of a pair: how many requests more its last report told than the one before,
 * and when that was. */
struct told {
    uint32_t more, step;
};

struct reports {
    const struct sim_config *config;
    struct traffic *traffic;
    struct demand *demand;
    struct rng rng;
    struct agent agents[PLACEMENT_NODES_MAX];
    struct message *messages; /* under way */
    uint32_t message_count, message_capacity;
    struct told *told; /* by place; NULL unless agents look between reports */
    uint32_t told_count;
    struct buffer spare; /* of the last report that came in */
    uint64_t bytes;
};

/* Room for all pairs that there are; what is new was never told. */
static void
told_grow(struct reports *r)
{
    const uint32_t count = r->traffic->pairs.capacity;
    if (r->config->step_ms >= r->config->interval_ms || count <= r->told_count)
        return;
    const uint32_t before = r->told_count;
    while (r->told_count < count)
        r->told =
            list_grow(r->told, r->told_count, &r->told_count, sizeof *r->told);
    memset(r->told + before, 0, (r->told_count - before) * sizeof *r->told);
}

static void
pair_add(const struct reports *r, struct buffer *report, uint32_t at)
{
    struct pair *pair = &r->traffic->pairs.list[at];
    if (r->told != NULL)
        r->told[at] = (struct told){.more = pair->requests - pair->told,
                                    .step = r->traffic->step};
    pair->told = pair->requests;
    uint8_t name[CONTENT_NAME_LEN];
    const struct report_entry entry = {
        .id = content_name(r->config, pair->content, name),
        .values = {.requests = pair->requests,
                   .starts = pair->starts,
                   .offloaded = pair->offloaded},
    };
    report_add(report, &entry);
}

/* What the Manager is not known to have. */
static void
changes_add(const struct reports *r, uint32_t i, struct buffer *report)
{
    const struct traffic_node *node = &r->traffic->nodes[i];
    const struct pair *pairs = r->traffic->pairs.list;
    for (uint32_t j = 0; j < node->changed_count; j++) {
        if (j + PAIRS_AHEAD < node->changed_count)
            __builtin_prefetch(&pairs[node->changed[j + PAIRS_AHEAD]], 1);
        pair_add(r, report, node->changed[j]);
    }
}

/* The Manager knows what was sent in that step: it is no change any more. */
static void
changes_forget(const struct reports *r, uint32_t i, uint32_t sent_step)
{
    struct traffic_node *node = &r->traffic->nodes[i];
    const struct pair *pairs = r->traffic->pairs.list;
    const bool is_all = sent_step == r->traffic->step; /* as usual */
    uint32_t kept = 0;
    if (sent_step <= node->acknowledged_step)
        return;
    node->acknowledged_step = sent_step;
    for (uint32_t j = 0; !is_all && j < node->changed_count; j++)
        if (pairs[node->changed[j]].changed_step > sent_step)
            node->changed[kept++] = node->changed[j];
    node->changed_count = kept;
}

static int
report_write(struct reports *r, uint32_t i, struct buffer *report)
{
    char name[SIM_NODE_NAME_SIZE];
    struct agent *agent = &r->agents[i];
    const struct traffic *traffic = r->traffic;
    struct report_header header = node_header(r->config, i, name);
    header.boot = rng_of(r->config->seed, 100 + i).state | 1;
    header.sequence = ++agent->sequence;
    header.base = agent->base;
    header.held = traffic->nodes[i].table->table.version;
    *report = r->spare;
    buffer_init(&r->spare, REPORT_SIZE_MAX);
    report->len = 0;
    report_begin(report, &header);
    agent->sent_step = traffic->step;
    if (agent->base == 0 && traffic->nodes[i].acknowledged_step > 0) {
        for (uint32_t j = 0; j < traffic->pairs.end; j++)
            if (traffic->pairs.list[j].node == i)
                pair_add(r, report, j);
    } else {
        changes_add(r, i, report);
    }
    return report_finish(report);
}

/* Since the last report. */
static uint64_t
since_ms(const struct reports *r, uint32_t i)
{
    return r->traffic->now_ms + r->config->interval_ms - r->agents[i].due_ms;
}

/* A content was asked for much more than in the last report's span: as the
 * agent sees it, which looks between its reports. */
static bool
has_jumped(const struct reports *r, uint32_t i)
{
    const struct traffic_node *node = &r->traffic->nodes[i];
    const double least =
        JUMP_REQUESTS + floor(sim_capacity_requests(r->config, i) * 2 / 1000);
    const double spans =
        fmax(1, (double) since_ms(r, i) / (double) r->agents[i].span_ms);
    for (uint32_t j = 0; j < node->changed_count; j++) {
        const struct pair *pair = &r->traffic->pairs.list[node->changed[j]];
        const struct told *told = &r->told[node->changed[j]];
        const bool is_usual = told->step == r->agents[i].sent_step;
        const double usual = is_usual ? told->more * spans : 0;
        if (pair->requests - pair->told >= least + 2 * usual)
            return true;
    }
    return false;
}

static bool
is_due(struct reports *r, uint32_t i)
{
    const uint64_t now_ms = r->traffic->now_ms;
    struct agent *agent = &r->agents[i];
    if (now_ms >= agent->due_ms)
        return true;
    if (now_ms < agent->jumping_until_ms)
        return since_ms(r, i) >= JUMP_REPORT_MS;
    if (!has_jumped(r, i))
        return false;
    agent->jumping_until_ms = now_ms + JUMP_MS;
    return true;
}

/* The next report is written where this one was. */
static void
report_spare(struct reports *r, struct buffer *report)
{
    buffer_fini(&r->spare);
    r->spare = *report;
}

static int
message_deliver(struct reports *r, struct message *message, uint64_t now_ms)
{
    struct demand_merge_result result;
    struct agent *agent = &r->agents[message->node];
    int err = demand_merge(r->demand, buffer_bytes(&message->report), now_ms,
                           &result);
    report_spare(r, &message->report);
    if (err != 0 || rng_happens(&r->rng, r->config->loss))
        return err;
    if (result.wants_full) {
        agent->base = 0;
    } else if (message->sequence > agent->base) {
        agent->base = message->sequence;
        changes_forget(r, message->node, message->sent_step);
    }
    return 0;
}

static int
report_send(struct reports *r, uint32_t i, uint64_t now_ms)
{
    struct message message = {.node = i, .sent_step = r->traffic->step};
    r->agents[i].span_ms = since_ms(r, i);
    r->agents[i].due_ms = r->traffic->now_ms + r->config->interval_ms;
    int err = report_write(r, i, &message.report);
    message.sequence = r->agents[i].sequence;
    r->bytes += message.report.len;
    if (err != 0 || rng_happens(&r->rng, r->config->loss)) {
        report_spare(r, &message.report);
        return err;
    }
    const double delay_ms =
        (double) r->config->delay_ms * (0.5 + rng_unit(&r->rng));
    message.due_ms = now_ms + (uint64_t) delay_ms;
    if (message.due_ms <= now_ms)
        return message_deliver(r, &message, now_ms);
    r->messages = list_grow(r->messages, r->message_count, &r->message_capacity,
                            sizeof *r->messages);
    r->messages[r->message_count++] = message;
    return 0;
}

static int
messages_deliver(struct reports *r, uint64_t now_ms)
{
    uint32_t kept = 0;
    int err = 0;
    for (uint32_t i = 0; i < r->message_count; i++) {
        if (err != 0 || r->messages[i].due_ms > now_ms)
            r->messages[kept++] = r->messages[i];
        else
            err = message_deliver(r, &r->messages[i], now_ms);
    }
    r->message_count = kept;
    return err;
}

struct reports *
reports_new(const struct sim_config *config, struct traffic *traffic,
            struct demand *demand)
{
    struct reports *r = calloc(1, sizeof *r);
    if (r == NULL)
        return NULL;
    r->config = config;
    r->traffic = traffic;
    r->demand = demand;
    r->rng = rng_of(config->seed, 3);
    buffer_init(&r->spare, REPORT_SIZE_MAX);
    for (uint32_t i = 0; i <= traffic_redirector(traffic); i++) {
        struct agent *agent = &r->agents[i];
        agent->span_ms = config->interval_ms;
        if (config->step_ms < config->interval_ms)
            agent->due_ms = rng_next(&r->rng) % config->interval_ms;
    }
    return r;
}

void
reports_free(struct reports *r)
{
    if (r == NULL)
        return;
    for (uint32_t i = 0; i < r->message_count; i++)
        buffer_fini(&r->messages[i].report);
    buffer_fini(&r->spare);
    free(r->messages);
    free(r->told);
    free(r);
}

int
reports_step(struct reports *r, uint64_t now_ms)
{
    told_grow(r);
    for (uint32_t i = 0; i <= traffic_redirector(r->traffic); i++) {
        if (r->traffic->nodes[i].is_dead || !is_due(r, i))
            continue;
        int err = report_send(r, i, now_ms);
        if (err != 0)
            return err;
    }
    return messages_deliver(r, now_ms);
}

uint64_t
reports_bytes(const struct reports *r)
{
    return r->bytes;
}

struct report_header
node_header(const struct sim_config *config, uint32_t node,
            char name[SIM_NODE_NAME_SIZE])
{
    const bool is_origin = node < config->nodes;
    return (struct report_header){
        .node = node_name(config, node, name),
        .url = is_origin ? BYTES_LITERAL("http://origin") : bytes_of("", 0),
        .role = is_origin ? NODE_ROLE_ORIGIN : NODE_ROLE_REDIRECTOR,
        .state = NODE_UP,
        .weight = (uint32_t) (WEIGHT_MEAN * sim_node_part(config, node)),
        .capacity_milli =
            (uint64_t) (sim_capacity_requests(config, node) * 1000),
    };
}
