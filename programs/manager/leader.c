/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A Manager lives as long as one holding of the lock: what it knows of demand
 * is about the time in which the nodes reported to it, so a later term begins
 * with a new one, which the nodes tell what it needs.
 *
 * Tables go into the KV for the next leader, one at a time, the newest next;
 * nodes ask for them by HTTP. Events are hints: seldom, and never repeated.
 */

#include "programs/manager/leader.h"

#include "core/err.h"
#include "platform/clock.h"
#include "platform/consul_lock.h"
#include "platform/consul_service.h"
#include "platform/coordination_values.h"
#include "platform/log.h"
#include "platform/loop.h"
#include "programs/manager/leader_overrides.h"

#include <stdio.h>
#include <stdlib.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#define SILENCE_S 3       /* after which another one may lead */
#define EVENT_GAP_MS 1000 /* at least, between events of one name */
#define RETRY_MS 200
#define RETRY_MS_MAX 5000
#define GOODBYE_MS 1000
#define NAME_SIZE 128

struct wake_up { /* an event, and when it may be fired again */
    struct leader *leader;
    const char *name; /* behind the prefix */
    uint64_t fired_ms;
    struct event timer;
};

struct leader {
    struct event_base *base;
    struct leader_config config;
    struct manager_config policy;
    struct api *api;
    struct consul_service *service;
    struct consul_lock *lock;
    char url[COORDINATION_URL_SIZE], table_key[NAME_SIZE];

    uint64_t term;
    struct consul_call *reading; /* the last one's table; NULL: not now */
    struct manager *manager;     /* NULL: stands by */

    bool is_writing, is_newer; /* a table on its way; one after it */
    unsigned failure_count;
    struct event retry;
    uint64_t level_changes; /* told with the last table */
    struct wake_up publish, collect;
    struct leader_overrides *overrides;
};

/* ---- events ---- */

static void
fired(const struct consul_answer *answer, void *context)
{
    if (answer->err != 0)
        log_debug("leader: an event is not fired (%s)", err_text(answer->err));
}

static void
fire(struct wake_up *event)
{
    struct leader *l = event->leader;
    char path[NAME_SIZE], payload[64];
    const struct table_version version = manager_version(l->manager);
    event->fired_ms = clock_now_ms();
    snprintf(path, sizeof path, "event/fire/%s-%s", l->config.prefix,
             event->name);
    snprintf(payload, sizeof payload, "%llu.%llu",
             (unsigned long long) version.term,
             (unsigned long long) version.sequence);
    (void) consul_call(l->config.consul, "PUT", path, bytes_of_text(payload),
                       fired, NULL);
}

static void
fire_due(evutil_socket_t fd, short what, void *arg)
{
    struct wake_up *event = arg;
    if (event->leader->manager != NULL)
        fire(event);
}

static void
fire_soon(struct wake_up *event)
{
    if (event_pending(&event->timer, EV_TIMEOUT, NULL))
        return;
    const uint64_t since_ms = clock_now_ms() - event->fired_ms;
    const struct timeval wait =
        loop_ms(since_ms >= EVENT_GAP_MS ? 0 : EVENT_GAP_MS - since_ms);
    event_add(&event->timer, &wait);
}

/* ---- tables into the KV ---- */

static void table_write(struct leader *l);

static void
table_written(const struct consul_answer *answer, void *context)
{
    struct leader *l = context;
    l->is_writing = false;
    if (l->manager == NULL)
        return;
    /* stale: under a lock that we held before, or another one leads, as the
     * lock will say */
    if (answer->err != 0 && answer->err != ERR_STALE) {
        const struct timeval wait =
            loop_back_off(++l->failure_count, RETRY_MS, RETRY_MS_MAX);
        if (l->failure_count == 1)
            log_warn("leader: cannot put the table into the KV (%s), try on",
                     err_text(answer->err));
        event_add(&l->retry, &wait);
        return;
    }
    l->failure_count = 0;
    if (l->is_newer)
        table_write(l);
}

static void
table_write(struct leader *l)
{
    struct buffer value;
    struct bytes encoded = manager_table_encoded(l->manager);
    if (l->is_writing || event_pending(&l->retry, EV_TIMEOUT, NULL)) {
        l->is_newer = true;
        return;
    }
    l->is_newer = false;
    if (encoded.len > CONSUL_LOCK_PUT_MAX - COORDINATION_URL_SIZE - NAME_SIZE)
        encoded.len = 0; /* only the version */
    buffer_init(&value, CONSUL_LOCK_PUT_MAX);
    table_value_write(&value, manager_version(l->manager), l->url, encoded);
    int err = value.err;
    if (err == 0)
        err = consul_lock_put(l->lock, l->table_key, buffer_bytes(&value),
                              table_written, l);
    buffer_fini(&value);
    l->is_writing = err == 0;
    if (err != 0)
        log_error("leader: cannot put the table into the KV (%s)",
                  err_text(err));
}

static void
retry_due(evutil_socket_t fd, short what, void *arg)
{
    struct leader *l = arg;
    if (l->manager != NULL)
        table_write(l);
}

static void
published(void *context)
{
    struct leader *l = context;
    const uint64_t changes = manager_stats(l->manager)->level_changes;
    api_published(l->api);
    table_write(l);
    fire_soon(&l->publish);
    /* one node saw a jump: what do the others see? */
    if (changes != l->level_changes)
        fire_soon(&l->collect);
    l->level_changes = changes;
}

/* ---- leading and standing by ---- */

static void
outgrown(void *context, uint64_t term)
{
    struct leader *l = context;
    consul_lock_outgrow(l->lock, term);
}

static void
lead(struct leader *l, struct bytes table)
{
    struct table_value value;
    l->policy.term = l->term;
    l->policy.outgrown = outgrown;
    l->policy.context = l;
    l->manager = manager_new(l->base, &l->policy);
    if (l->manager == NULL) {
        log_error("leader: cannot lead (%s)", err_text(ERR_MEMORY));
        return;
    }
    if (table_value_parse(table, &value) == 0 && value.encoded.len > 0) {
        const int err = manager_adopt(l->manager, value.encoded);
        if (err != 0)
            log_warn("leader: ignore the table in the KV (%s)", err_text(err));
    }
    l->level_changes = 0;
    api_lead(l->api, l->manager);
    manager_on_publish(l->manager, published, l); /* and tells the API */
    leader_overrides_lead(l->overrides, l->manager);
    fire_soon(&l->collect);
    log_info("leader: lead (term %llu)", (unsigned long long) l->term);
}

static void
stand_by(struct leader *l, const char *leader_url)
{
    consul_call_cancel(l->reading);
    l->reading = NULL;
    api_stand_by(l->api, leader_url);
    if (l->overrides != NULL)
        leader_overrides_stand_by(l->overrides);
    manager_free(l->manager);
    l->manager = NULL;
}

static void
table_read(const struct consul_answer *answer, void *context)
{
    struct leader *l = context;
    l->reading = NULL;
    /* without it the nodes tell what they hold */
    lead(l, answer->err == 0 ? answer->body : bytes_of("", 0));
}

static void
lock_held(void *context, uint64_t term)
{
    struct leader *l = context;
    char path[NAME_SIZE + 32];
    l->term = term;
    if (l->manager != NULL) {
        manager_set_term(l->manager, term);
        return;
    }
    if (l->reading != NULL)
        return;
    snprintf(path, sizeof path, "kv/%s?raw&consistent", l->table_key);
    l->reading = consul_call(l->config.consul, "GET", path, bytes_of("", 0),
                             table_read, l);
    if (l->reading == NULL)
        lead(l, bytes_of("", 0));
}

static void
lock_lost(void *context)
{
    struct leader *l = context;
    log_warn("leader: stand by");
    stand_by(l, NULL);
}

static void
lock_other(void *context, const struct leader_value *other)
{
    struct leader *l = context;
    /* after a restart it may have been this one */
    const bool is_us = strcmp(other->url, l->url) == 0;
    api_stand_by(l->api, is_us ? NULL : other->url);
    if (!is_us)
        log_info("leader: %s leads (term %llu)", other->url,
                 (unsigned long long) other->term);
}

/* ---- life ---- */

static void
wake_up_init(struct wake_up *event, struct leader *l, const char *name)
{
    event->leader = l;
    event->name = name;
    evtimer_assign(&event->timer, l->base, fire_due, event);
}

static int
leader_setup(struct leader *l)
{
    char id[2 * NAME_SIZE], key[NAME_SIZE], name[NAME_SIZE];
    /* unique by the address, which is the same after a restart */
    snprintf(name, sizeof name, "%s-manager", l->config.prefix);
    snprintf(id, sizeof id, "%s-%.80s", name, strstr(l->url, "://") + 3);
    for (char *p = id; *p != '\0'; p++)
        if (*p == '/' || *p == '[' || *p == ']')
            *p = '-'; /* it goes into paths */
    snprintf(key, sizeof key, "%s/leader", l->config.prefix);
    const struct consul_service_config service = {
        .name = name,
        .id = id,
        .url = l->url,
        .silence_s = SILENCE_S,
        .drops_former = true,
    };
    l->service = consul_service_new(l->config.consul, l->base, &service);
    if (l->service == NULL)
        return ERR_MEMORY;
    const struct consul_lock_config lock = {
        .key = key,
        .name = id,
        .check = consul_service_check(l->service),
        .url = l->url,
        .held = lock_held,
        .lost = lock_lost,
        .other = lock_other,
        .context = l,
    };
    l->lock = consul_lock_new(l->config.consul, l->base, &lock);
    if (l->lock == NULL)
        return ERR_MEMORY;
    const struct leader_overrides_config overrides = {
        .consul = l->config.consul,
        .lock = l->lock,
        .prefix = l->config.prefix,
        .overrides = l->policy.overrides,
    };
    l->overrides = leader_overrides_new(l->base, &overrides);
    return l->overrides == NULL ? ERR_MEMORY : 0;
}

int
leader_new(struct event_base *base, const struct leader_config *config,
           struct api *api, struct leader **out)
{
    struct leader *l = calloc(1, sizeof *l);
    if (l == NULL)
        return ERR_MEMORY;
    l->base = base;
    l->config = *config;
    l->policy = *config->policy;
    l->api = api;
    snprintf(l->url, sizeof l->url, "%s", config->url);
    snprintf(l->table_key, sizeof l->table_key, "%s/table", config->prefix);
    evtimer_assign(&l->retry, base, retry_due, l);
    wake_up_init(&l->publish, l, "publish");
    wake_up_init(&l->collect, l, "collect");
    const int err = leader_setup(l);
    if (err != 0)
        leader_free(l);
    else
        *out = l;
    return err;
}

void
leader_free(struct leader *l)
{
    if (l == NULL)
        return;
    stand_by(l, NULL);
    event_del(&l->retry);
    event_del(&l->publish.timer);
    event_del(&l->collect.timer);
    consul_lock_free(l->lock);
    if (l->service != NULL) {
        consul_service_leave(l->service);
        consul_drain(l->config.consul, GOODBYE_MS);
    }
    consul_service_free(l->service);
    leader_overrides_free(l->overrides);
    free(l);
}
