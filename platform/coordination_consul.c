/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Four blocking queries, all answered from what the server asked has (?stale),
 * so that they go on without a quorum:
 *
 *   kv/PREFIX/leader          whom to report to, and to wait for tables at
 *   event PREFIX-publish      a hint that there is a table
 *   event PREFIX-collect      a hint to report now
 *   health PREFIX-manager     Managers to try when there is no leader
 *
 * A Manager that does not answer is left for the next one heard of; one that
 * stands by names the leader.
 */

#include "platform/coordination_consul.h"

#include "core/err.h"
#include "platform/consul_answer.h"
#include "platform/consul_service.h"
#include "platform/coordination_values.h"
#include "platform/http.h"
#include "platform/log.h"

#include <stdio.h>
#include <stdlib.h>

#define KV_WAIT_MS 15000 /* a stale answer may hide that Consul is away */
#define EVENT_WAIT_MS 60000
#define SILENCE_S 10 /* after which the node's service is critical */
#define GOODBYE_MS 500
#define FAILURES_WITH_CONSUL 2  /* of the leader that it names */
#define TABLES_WITHOUT_EVENT 20 /* then events seem to be denied */
#define NAME_SIZE 192

struct coordination_consul {
    struct coordination super;
    struct coordination_consul_config config;
    char current[COORDINATION_URL_SIZE]; /* the Manager to talk to */
    struct leader_value leader;          /* term 0: Consul named none yet */
    bool is_connected; /* Consul names the leader, and could name another */
    struct consul_services managers;
    size_t turn; /* among all known */
    unsigned failures;
    struct consul_service *service;
    struct consul_watch *leader_watch, *publish_watch, *collect_watch,
        *managers_watch;
    unsigned tables_seen;
    bool is_event_seen, is_collect_known;
    struct table_version hinted;
};

/* ---- the Manager ---- */

static const char *
consul_manager(struct coordination *self)
{
    return ((struct coordination_consul *) self)->current;
}

static void
current_set(struct coordination_consul *c, const char *url)
{
    if (strcmp(c->current, url) == 0)
        return;
    snprintf(c->current, sizeof c->current, "%s", url);
    log_info("agent: the Manager is %s now", c->current);
}

/* The n-th Manager that was ever heard of, round and round: the last leader,
 * those that Consul listed, those of the options. */
static const char *
candidate(const struct coordination_consul *c, size_t n)
{
    const size_t led = c->leader.term > 0;
    n %= led + c->managers.count + c->config.url_count;
    if (n < led)
        return c->leader.url;
    n -= led;
    return n < c->managers.count ? c->managers.urls[n]
                                 : c->config.urls[n - c->managers.count];
}

static void
consul_manager_failed(struct coordination *self, const char *url)
{
    struct coordination_consul *c = (struct coordination_consul *) self;
    if (strcmp(c->current, url) != 0)
        return;
    /* Consul will name the next one; unless its agent hangs on a server that is
     * cut off, and then another Manager knows */
    if (c->is_connected && c->leader.term > 0
        && ++c->failures < FAILURES_WITH_CONSUL)
        return;
    c->failures = 0;
    current_set(c, candidate(c, ++c->turn));
}

static void
consul_manager_moved(struct coordination *self, const char *url,
                     const char *leader)
{
    struct coordination_consul *c = (struct coordination_consul *) self;
    if (strcmp(c->current, url) == 0 && http_url_is_valid(leader)
        && strlen(leader) < sizeof c->current)
        current_set(c, leader);
}

static void
leader_keep(struct coordination_consul *c, const struct leader_value *leader)
{
    const struct coordination_listener *l = &c->super.listener;
    /* a lower term too: the keys may be new, and it learns from our report */
    const bool is_new = leader->term != c->leader.term;
    c->leader = *leader;
    current_set(c, leader->url);
    if (!is_new)
        return;
    l->ask(l->context); /* it may want to be told the table that is held */
    l->collect(l->context);
}

static void
leader_answered(const struct consul_answer *answer, bool changed, void *context)
{
    struct coordination_consul *c = context;
    struct leader_value leader;
    const bool was_connected = c->is_connected;
    c->is_connected = (answer->err == 0 || answer->err == ERR_NOT_FOUND)
                      && answer->has_leader;
    /* who was tried meanwhile may be one that only believes it leads */
    if (c->is_connected && !changed && c->leader.term > 0
        && strcmp(c->current, c->leader.url) != 0) {
        current_set(c, c->leader.url);
        c->super.listener.ask(c->super.listener.context);
    }
    if (answer->err != 0 || (!changed && was_connected))
        return;
    if (leader_value_parse(answer->body, &leader) != 0) {
        log_error("agent: kv %s/leader is not ours", c->config.prefix);
        return;
    }
    leader_keep(c, &leader);
}

static void
managers_answered(const struct consul_answer *answer, bool changed,
                  void *context)
{
    struct coordination_consul *c = context;
    struct consul_services found;
    if (answer->err != 0 || !changed
        || consul_services_parse(answer->body, &found) != 0)
        return;
    if (found.count > 0) /* those that are away may be back */
        c->managers = found;
}

/* ---- tables ---- */

/* Consul answers without a right to events as if there were none. */
static void
consul_table_came(struct coordination *self)
{
    struct coordination_consul *c = (struct coordination_consul *) self;
    if (++c->tables_seen == TABLES_WITHOUT_EVENT && !c->is_event_seen)
        log_warn("agent: %u tables and no event came from Consul (may the ACL "
                 "token read events?), go on without events",
                 c->tables_seen);
}

/* ---- events ---- */

static void
publish_event(struct bytes payload, void *context)
{
    struct coordination_consul *c = context;
    struct table_version version;
    c->is_event_seen = true;
    if (table_version_parse(payload, &version) == 0
        && table_version_compare(version, c->hinted) > 0)
        c->hinted = version;
}

/* The list is all that the agent remembers, in any order: its newest. */
static void
publish_answered(const struct consul_answer *answer, bool changed,
                 void *context)
{
    struct coordination_consul *c = context;
    const struct coordination_listener *l = &c->super.listener;
    if (answer->err != 0 || !changed)
        return;
    (void) consul_events_parse(answer->body, publish_event, c);
    l->publish(l->context, c->hinted);
}

static void
collect_answered(const struct consul_answer *answer, bool changed,
                 void *context)
{
    struct coordination_consul *c = context;
    const struct coordination_listener *l = &c->super.listener;
    if (answer->err != 0 || !changed)
        return;
    /* the first list is of the past */
    if (c->is_collect_known)
        l->collect(l->context);
    c->is_collect_known = true;
}

/* ---- the node ---- */

static void
consul_node_is(struct coordination *self, enum node_state state)
{
    struct coordination_consul *c = (struct coordination_consul *) self;
    enum consul_health health = CONSUL_PASSING;
    switch (state) {
    case NODE_UP:
        break;
    case NODE_DRAINING:
    case NODE_FULL:
        health = CONSUL_WARNING;
        break;
    case NODE_DOWN:
        health = CONSUL_CRITICAL;
        break;
    }
    consul_service_set(c->service, health, node_state_name(state));
}

/* ---- life ---- */

static struct consul_watch *
watch(struct coordination_consul *c, unsigned wait_ms, const char *format,
      void (*answered)(const struct consul_answer *answer, bool changed,
                       void *context))
{
    char path[NAME_SIZE];
    const bool is_event = strncmp(format, "event", 5) == 0;
    /* each format has the prefix in it once */
    const char *at = strstr(format, "%s");
    snprintf(path, sizeof path, "%.*s%s%s", (int) (at - format), format,
             c->config.prefix, at + 2);
    const struct consul_watch_config config = {
        .path = path,
        .wait_ms = wait_ms,
        .is_event = is_event,
        .answered = answered,
        .context = c,
    };
    return consul_watch_new(c->config.consul, &config);
}

static int
watches_new(struct coordination_consul *c)
{
    c->leader_watch =
        watch(c, KV_WAIT_MS, "kv/%s/leader?raw&stale", leader_answered);
    c->publish_watch =
        watch(c, EVENT_WAIT_MS, "event/list?name=%s-publish", publish_answered);
    c->collect_watch =
        watch(c, EVENT_WAIT_MS, "event/list?name=%s-collect", collect_answered);
    c->managers_watch =
        watch(c, EVENT_WAIT_MS, "health/service/%s-manager?passing&stale",
              managers_answered);
    return c->leader_watch == NULL || c->publish_watch == NULL
                   || c->collect_watch == NULL || c->managers_watch == NULL
               ? ERR_MEMORY
               : 0;
}

static int
service_new(struct coordination_consul *c, struct event_base *base)
{
    char name[NAME_SIZE], id[2 * NAME_SIZE];
    snprintf(name, sizeof name, "%s-%s", c->config.prefix, c->config.role);
    snprintf(id, sizeof id, "%s-%s", name, c->config.node);
    const struct consul_service_config config = {
        .name = name,
        .id = id,
        .url = c->config.url,
        .weight = c->config.weight,
        .silence_s = SILENCE_S,
    };
    c->service = consul_service_new(c->config.consul, base, &config);
    return c->service == NULL ? ERR_MEMORY : 0;
}

static void
consul_free_coordination(struct coordination *self)
{
    struct coordination_consul *c = (struct coordination_consul *) self;
    consul_watch_free(c->leader_watch);
    consul_watch_free(c->publish_watch);
    consul_watch_free(c->collect_watch);
    consul_watch_free(c->managers_watch);
    if (c->service != NULL) {
        consul_service_leave(c->service);
        consul_drain(c->config.consul, GOODBYE_MS);
    }
    consul_service_free(c->service);
    free(c);
}

struct coordination *
coordination_consul_new(struct event_base *base,
                        const struct coordination_consul_config *config)
{
    struct coordination_consul *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->super = (struct coordination){
        .manager = consul_manager,
        .manager_failed = consul_manager_failed,
        .manager_moved = consul_manager_moved,
        .node_is = consul_node_is,
        .free = consul_free_coordination,
        .table_came = consul_table_came,
    };
    c->config = *config;
    snprintf(c->current, sizeof c->current, "%s", config->urls[0]);
    if (service_new(c, base) != 0 || watches_new(c) != 0) {
        consul_free_coordination(&c->super);
        return NULL;
    }
    return &c->super;
}
