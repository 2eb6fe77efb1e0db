/* SPDX-License-Identifier: Apache-2.0 */
/* Puts the parts of the agent together. */

#include "programs/agent/agent.h"

#include "core/err.h"
#include "platform/files.h"
#include "platform/log.h"
#include "platform/loop.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* with its spread less than the Manager waits for nodes after a restart */
#define BACK_OFF_MS_MAX 1000
#define CONNECTIONS_MAX 4 /* per host: a report, a long poll, and to spare */

struct agent {
    struct agent_config config;
    struct agent_shared shared;
    struct health *health;
    struct report_sender *sender;
    struct table_fetcher *fetcher;
    struct revocation_fetcher *revoked;
};

static void
health_changed(void *context)
{
    struct agent *agent = context;
    struct coordination *coordination = agent->shared.coordination;
    coordination->node_is(coordination, agent->shared.state);
    report_sender_send(agent->sender);
}

/* ---- what coordination tells ---- */

static void
told_publish(void *context, struct table_version version)
{
    struct agent *agent = context;
    table_fetcher_hint(agent->fetcher, version);
}

static void
told_collect(void *context)
{
    struct agent *agent = context;
    report_sender_send(agent->sender);
}

static void
told_ask(void *context)
{
    struct agent *agent = context;
    table_fetcher_ask(agent->fetcher);
}

/* What would be refused at every report is told once, at the start. */
static int
check_identity(const struct agent_config *config)
{
    const struct table_node node = {
        .name = bytes_of_text(config->node),
        .url = bytes_of_text(config->role == NODE_ROLE_ORIGIN ? config->url
                                                              : "http://x"),
        .weight = config->weight,
    };
    const struct table table = {
        .version = {1, 1}, .nodes = &node, .node_count = 1};
    struct buffer encoded;
    buffer_init(&encoded, TABLE_SIZE_MAX);
    const int err = table_encode(&table, &encoded);
    buffer_fini(&encoded);
    return err;
}

static struct coordination *
coordination_new(struct agent *agent, struct event_base *base)
{
    const struct agent_config *config = &agent->config;
    if (config->consul == NULL)
        return coordination_static_new(base, agent->shared.client,
                                       config->managers, config->manager_count);
    const struct coordination_consul_config consul = {
        .consul = config->consul,
        .prefix = config->consul_prefix,
        .node = config->node,
        .role = config->role == NODE_ROLE_ORIGIN ? "origin" : "redirector",
        .url = config->url,
        .weight = config->weight,
        .urls = config->managers,
        .url_count = config->manager_count,
    };
    return coordination_consul_new(base, &consul);
}

static int
revoked_setup(struct agent *agent)
{
    struct agent_shared *shared = &agent->shared;
    if (agent->config.revoked == NULL)
        return 0;
    shared->api = http_client_new(shared->base, 1);
    if (shared->api == NULL)
        return ERR_MEMORY;
    agent->revoked = revocation_fetcher_new(shared);
    return agent->revoked == NULL ? ERR_MEMORY : 0;
}

static int
agent_setup(struct agent *agent, struct event_base *base)
{
    struct agent_shared *shared = &agent->shared;
    shared->base = base;
    shared->config = &agent->config;
    shared->state = agent->config.check == NULL ? NODE_UP : NODE_DOWN;
    shared->client = http_client_new(base, CONNECTIONS_MAX);
    shared->local = http_client_new(base, 1);
    if (shared->client == NULL || shared->local == NULL)
        return ERR_MEMORY;
    if (agent->config.manager_key != NULL
        && http_client_authorize(shared->client, agent->config.manager_key)
               != 0)
        return ERR_MEMORY;
    shared->coordination = coordination_new(agent, base);
    if (shared->coordination == NULL)
        return ERR_MEMORY;
    shared->coordination->listener = (struct coordination_listener){
        told_publish, told_collect, told_ask, agent};
    shared->coordination->node_is(shared->coordination, shared->state);
    shared->fetcher = agent->fetcher = table_fetcher_new(shared);
    agent->sender = report_sender_new(shared);
    if (agent->fetcher == NULL || agent->sender == NULL)
        return ERR_MEMORY;
    table_fetcher_start(agent->fetcher);
    if (revoked_setup(agent) != 0)
        return ERR_MEMORY;
    if (agent->config.check == NULL) {
        report_sender_send(agent->sender);
        return 0;
    }
    agent->health = health_new(shared, health_changed, agent);
    return agent->health == NULL ? ERR_MEMORY : 0;
}

struct timeval
back_off(unsigned failure_count, unsigned first_ms)
{
    return loop_back_off(failure_count, first_ms, BACK_OFF_MS_MAX);
}

int
held_write(const char *path, struct bytes encoded, const char *what,
           bool *cannot_write)
{
    const int err = file_write_atomic(path, encoded, 0644, false);
    if (err != 0 && !*cannot_write)
        log_error("agent: cannot write %s (%s), %s stays", path,
                  strerror(errno), what);
    if (err == 0 && *cannot_write)
        log_info("agent: can write %s again", path);
    *cannot_write = err != 0;
    return err;
}

void
manager_url(char out[MANAGER_URL_SIZE + MANAGER_PATH_SIZE], const char *manager,
            const char *path)
{
    size_t len = strlen(manager);
    while (len > 0 && manager[len - 1] == '/')
        len--;
    snprintf(out, MANAGER_URL_SIZE + MANAGER_PATH_SIZE, "%.*s/%s", (int) len,
             manager, path);
}

void
manager_redirected(struct agent_shared *shared, const char *url,
                   const struct http_response *response)
{
    struct coordination *coordination = shared->coordination;
    const char *location = http_response_header(response, "Location");
    const char *end = location == NULL ? NULL : strstr(location, "/v1/");
    char leader[MANAGER_URL_SIZE];
    if (end == NULL || (size_t) (end - location) >= sizeof leader)
        return;
    memcpy(leader, location, (size_t) (end - location));
    leader[end - location] = '\0';
    coordination->manager_moved(coordination, url, leader);
}

int
agent_new(struct event_base *base, const struct agent_config *config,
          struct agent **out)
{
    int err = check_identity(config);
    if (err != 0)
        return err;
    struct agent *agent = calloc(1, sizeof *agent);
    if (agent == NULL)
        return ERR_MEMORY;
    agent->config = *config;
    err = agent_setup(agent, base);
    if (err != 0) {
        agent_free(agent);
        return err;
    }
    *out = agent;
    return 0;
}

void
agent_free(struct agent *agent)
{
    if (agent == NULL)
        return;
    health_free(agent->health);
    report_sender_free(agent->sender);
    table_fetcher_free(agent->fetcher);
    revocation_fetcher_free(agent->revoked);
    if (agent->shared.coordination != NULL) /* may run the loop to its end */
        agent->shared.coordination->free(agent->shared.coordination);
    http_client_free(agent->shared.client);
    http_client_free(agent->shared.local);
    http_client_free(agent->shared.api);
    free(agent);
}
