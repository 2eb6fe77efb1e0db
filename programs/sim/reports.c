/* SPDX-License-Identifier: Apache-2.0 */
/* The agents' reports on their way, see programs/sim/reports.h. */

#include "programs/sim/reports.h"

#include "core/err.h"

#include <stdlib.h>

struct message {
    uint64_t due_ms;
    uint32_t node, sent_step;
    uint64_t sequence;
    struct buffer report;
};

struct agent {
    uint64_t sequence, base;
    uint32_t acknowledged_step; /* what changed until then is known */
};

struct reports {
    const struct sim_config *config;
    struct traffic *traffic;
    struct demand *demand;
    struct rng rng;
    struct agent agents[PLACEMENT_NODES_MAX];
    struct message *messages;
    uint32_t message_count, message_capacity;
    uint64_t bytes;
};

/* Drops the changes that the Manager is known to have. */
static void
changed_trim(const struct reports *r, uint32_t i)
{
    struct traffic_node *node = &r->traffic->nodes[i];
    uint32_t kept = 0;
    for (uint32_t j = 0; j < node->changed_count; j++) {
        const uint32_t at = node->changed[j];
        struct pair *pair = &r->traffic->pairs.list[at];
        if (pair->changed_step <= r->agents[i].acknowledged_step)
            pair->is_listed = false;
        else
            node->changed[kept++] = at;
    }
    node->changed_count = kept;
}

static void
pair_add(struct buffer *report, const struct pair *pair)
{
    uint8_t name[CONTENT_NAME_LEN];
    const struct report_entry entry = {
        .id = content_name(pair->content, name),
        .values = {.requests = pair->requests,
                   .starts = pair->starts,
                   .offloaded = pair->offloaded},
    };
    report_add(report, &entry);
}

static int
report_write(struct reports *r, uint32_t i, struct buffer *report)
{
    char name[8];
    struct agent *agent = &r->agents[i];
    const struct traffic *traffic = r->traffic;
    const struct traffic_node *node = &traffic->nodes[i];
    struct report_header header = node_header(r->config, i, name);
    header.boot = rng_of(r->config->seed, 100 + i).state | 1;
    header.sequence = ++agent->sequence;
    header.base = agent->base;
    header.held = node->table->table.version;
    buffer_init(report, REPORT_SIZE_MAX);
    report_begin(report, &header);
    if (agent->base == 0 && agent->acknowledged_step > 0) {
        for (uint32_t j = 0; j < traffic->pairs.count; j++)
            if (traffic->pairs.list[j].node == i)
                pair_add(report, &traffic->pairs.list[j]);
    } else {
        for (uint32_t j = 0; j < node->changed_count; j++)
            pair_add(report, &traffic->pairs.list[node->changed[j]]);
    }
    return report_finish(report);
}

static int
report_send(struct reports *r, uint32_t i, uint64_t now_ms)
{
    struct message message = {.node = i, .sent_step = r->traffic->step};
    changed_trim(r, i);
    int err = report_write(r, i, &message.report);
    message.sequence = r->agents[i].sequence;
    r->bytes += message.report.len;
    if (err != 0 || rng_happens(&r->rng, r->config->loss)) {
        buffer_fini(&message.report);
        return err;
    }
    const double delay_ms =
        (double) r->config->delay_ms * (0.5 + rng_unit(&r->rng));
    message.due_ms = now_ms + (uint64_t) delay_ms;
    r->messages = list_grow(r->messages, r->message_count, &r->message_capacity,
                            sizeof *r->messages);
    r->messages[r->message_count++] = message;
    return 0;
}

static int
message_deliver(struct reports *r, struct message *message, uint64_t now_ms)
{
    struct demand_merge_result result;
    struct agent *agent = &r->agents[message->node];
    int err = demand_merge(r->demand, buffer_bytes(&message->report), now_ms,
                           &result);
    buffer_fini(&message->report);
    if (err != 0 || rng_happens(&r->rng, r->config->loss))
        return err;
    if (result.wants_full) {
        agent->base = 0;
    } else if (message->sequence > agent->base) {
        agent->base = message->sequence;
        agent->acknowledged_step = message->sent_step;
    }
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
    return r;
}

void
reports_free(struct reports *r)
{
    if (r == NULL)
        return;
    for (uint32_t i = 0; i < r->message_count; i++)
        buffer_fini(&r->messages[i].report);
    free(r->messages);
    free(r);
}

int
reports_step(struct reports *r, uint64_t now_ms)
{
    for (uint32_t i = 0; i <= traffic_redirector(r->traffic); i++) {
        if (r->traffic->nodes[i].is_dead)
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
node_header(const struct sim_config *config, uint32_t node, char name[8])
{
    const bool is_origin = node < config->nodes;
    return (struct report_header){
        .node = node_name(node, name),
        .url = is_origin ? BYTES_LITERAL("http://origin") : bytes_of("", 0),
        .role = is_origin ? NODE_ROLE_ORIGIN : NODE_ROLE_REDIRECTOR,
        .state = NODE_UP,
        .weight = 100,
        .capacity_milli = (uint64_t) (sim_capacity_requests(config) * 1000),
    };
}
