/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registers, then says that it is alive, three times in the span after which
 * it would count as dead. An agent that does not know the check any more (it
 * was restarted) is told the service again.
 */

#include "platform/consul_service.h"

#include "core/err.h"
#include "platform/log.h"
#include "platform/loop.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#define BEATS_PER_SILENCE 3
#define RETRY_MS 200
#define RETRY_MS_MAX 2000
/* what is dead for so long is no longer listed */
#define FORGET_AFTER "10m"
#define TEXT_SIZE 256

struct consul_service {
    struct consul *consul;
    struct event timer;
    struct consul_call *call; /* NULL: none under way */
    char name[TEXT_SIZE], id[TEXT_SIZE], check[TEXT_SIZE], url[TEXT_SIZE];
    char host[TEXT_SIZE], note[TEXT_SIZE];
    unsigned port, weight, silence_s;
    enum consul_health health;
    bool has_begun; /* the run before is dropped, or may stay */
    bool is_registered;
    bool is_wanted; /* another beat, right after the call under way */
    unsigned failure_count;
};

static void step(struct consul_service *s);

static const char *
health_name(enum consul_health health)
{
    switch (health) {
    case CONSUL_PASSING:
        return "passing";
    case CONSUL_WARNING:
        return "warning";
    case CONSUL_CRITICAL:
        break;
    }
    return "critical";
}

static void
step_after(struct consul_service *s, struct timeval wait)
{
    event_del(&s->timer);
    event_add(&s->timer, &wait);
}

static void
step_answered(const struct consul_answer *answer, void *context)
{
    struct consul_service *s = context;
    s->call = NULL;
    if (answer->err == 0) {
        if (!s->is_registered)
            log_info("consul: service %s is registered", s->id);
        s->is_registered = true;
        s->failure_count = 0;
        if (s->is_wanted)
            step(s);
        else
            step_after(s, loop_ms(s->silence_s * 1000 / BEATS_PER_SILENCE));
        return;
    }
    if (s->failure_count++ == 0)
        log_warn("consul: cannot %s service %s (%s%s%.*s), try on",
                 s->is_registered ? "renew" : "register", s->id,
                 err_text(answer->err), answer->body.len > 0 ? ": " : "",
                 (int) (answer->body.len < 120 ? answer->body.len : 120),
                 (const char *) answer->body.ptr);
    /* it answers, and not well: the check is lost on it */
    s->is_registered = s->is_registered && answer->err == ERR_TIMEOUT;
    step_after(s, loop_back_off(s->failure_count, RETRY_MS, RETRY_MS_MAX));
}

/* That there was nothing to drop is an error to Consul, and none here. */
static void
begun(const struct consul_answer *answer, void *context)
{
    struct consul_service *s = context;
    s->call = NULL;
    s->has_begun = answer->err == 0 || answer->err == ERR_NOT_FOUND
                   || answer->body.len > 0;
    if (s->has_begun)
        step(s);
    else
        step_answered(answer, s);
}

static json_t *
registration(const struct consul_service *s)
{
    char silence[32], weight[32];
    snprintf(silence, sizeof silence, "%us", s->silence_s);
    snprintf(weight, sizeof weight, "%u", s->weight);
    json_t *meta = json_pack("{s:s}", "url", s->url);
    if (s->weight > 0)
        json_object_set_new(meta, "weight", json_string(weight));
    return json_pack("{s:s, s:s, s:s, s:i, s:o, s:{s:s, s:s, s:s, s:s, s:s}}",
                     "ID", s->id, "Name", s->name, "Address", s->host, "Port",
                     (int) s->port, "Meta", meta, "Check", "CheckID", s->check,
                     "Name", "alive", "TTL", silence, "Status",
                     health_name(s->health), "DeregisterCriticalServiceAfter",
                     FORGET_AFTER);
}

static void
step(struct consul_service *s)
{
    char path[2 * TEXT_SIZE];
    json_t *body;
    if (!s->has_begun) {
        snprintf(path, sizeof path, "agent/service/deregister/%s", s->id);
        s->call =
            consul_call(s->consul, "PUT", path, bytes_of("", 0), begun, s);
        if (s->call == NULL)
            step_after(s, loop_ms(RETRY_MS_MAX));
        return;
    }
    if (s->is_registered) {
        s->is_wanted = false;
        snprintf(path, sizeof path, "agent/check/update/%s", s->check);
        body = json_pack("{s:s, s:s}", "Status", health_name(s->health),
                         "Output", s->note);
    } else {
        snprintf(path, sizeof path, "agent/service/register");
        body = registration(s);
    }
    char *text = body == NULL ? NULL : json_dumps(body, JSON_COMPACT);
    json_decref(body);
    if (text != NULL)
        s->call = consul_call(s->consul, "PUT", path, bytes_of_text(text),
                              step_answered, s);
    free(text);
    if (s->call == NULL)
        step_after(s, loop_ms(RETRY_MS_MAX));
}

static void
step_due(evutil_socket_t fd, short what, void *arg)
{
    step(arg);
}

/* "http://HOST:PORT" */
static bool
url_split(struct consul_service *s, const char *url)
{
    const char *host = strstr(url, "://");
    if (*url == '\0')
        return true;
    if (host == NULL)
        return false;
    host += 3;
    const size_t len = strcspn(host, "/");
    const char *port = memrchr(host, ':', len);
    s->port = strncmp(url, "https:", 6) == 0 ? 443 : 80;
    size_t host_len = len;
    if (port != NULL && port[1] != '\0' && strchr(port, ']') == NULL) {
        s->port = (unsigned) strtoul(port + 1, NULL, 10);
        host_len = (size_t) (port - host);
    }
    if (host[0] == '[' && host_len > 2) { /* Consul wants it without */
        host++;
        host_len -= 2;
    }
    return snprintf(s->host, sizeof s->host, "%.*s", (int) host_len, host)
               < (int) sizeof s->host
           && s->port <= 65535;
}

struct consul_service *
consul_service_new(struct consul *consul, struct event_base *base,
                   const struct consul_service_config *config)
{
    struct consul_service *s = calloc(1, sizeof *s);
    if (s == NULL || !url_split(s, config->url)) {
        free(s);
        return NULL;
    }
    s->consul = consul;
    s->weight = config->weight;
    s->silence_s = config->silence_s;
    s->has_begun = !config->drops_former;
    snprintf(s->name, sizeof s->name, "%s", config->name);
    snprintf(s->id, sizeof s->id, "%s", config->id);
    snprintf(s->check, sizeof s->check, "%.200s-alive", config->id);
    snprintf(s->url, sizeof s->url, "%s", config->url);
    evtimer_assign(&s->timer, base, step_due, s);
    step(s);
    return s;
}

void
consul_service_set(struct consul_service *s, enum consul_health health,
                   const char *note)
{
    s->health = health;
    snprintf(s->note, sizeof s->note, "%s", note);
    if (s->call != NULL) {
        s->is_wanted = true;
        return;
    }
    event_del(&s->timer);
    step(s);
}

static void
left(const struct consul_answer *answer, void *context)
{
}

void
consul_service_leave(struct consul_service *s)
{
    char path[2 * TEXT_SIZE];
    event_del(&s->timer);
    consul_call_cancel(s->call);
    s->call = NULL;
    snprintf(path, sizeof path, "agent/service/deregister/%s", s->id);
    (void) consul_call(s->consul, "PUT", path, bytes_of("", 0), left, NULL);
}

void
consul_service_free(struct consul_service *s)
{
    if (s == NULL)
        return;
    event_del(&s->timer);
    consul_call_cancel(s->call);
    free(s);
}

const char *
consul_service_check(const struct consul_service *s)
{
    return s->check;
}
