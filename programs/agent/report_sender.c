/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reports at each interval what the Manager has not acknowledged. One report
 * at a time; what fails goes with the next one, since counts are cumulative.
 */

#include "programs/agent/agent.h"

#include "core/err.h"
#include "platform/clock.h"
#include "platform/log.h"
#include "programs/agent/counter_source.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#define REPORT_TIMEOUT_MS 5000
#define ANSWER_SIZE_MAX 4096 /* bytes */

struct report_sender {
    struct agent_shared *shared;
    struct counter_source *source;
    struct event timer;
    struct http_fetch *fetch;   /* NULL: none under way */
    char url[MANAGER_URL_SIZE]; /* of the Manager that is asked */
    uint64_t sequence;
    uint64_t acknowledged_boot;
    bool is_full_next;
    bool is_wanted; /* another report, right after the one under way */
    unsigned failure_count;
};

static void send_report(struct report_sender *s);

static void
next_after(struct report_sender *s, struct timeval wait)
{
    event_del(&s->timer);
    event_add(&s->timer, &wait);
}

static void
next_at_interval(struct report_sender *s)
{
    const unsigned ms = s->shared->config->interval_ms;
    next_after(s,
               (struct timeval){.tv_sec = ms / 1000,
                                .tv_usec = (suseconds_t) (ms % 1000) * 1000});
}

static void
send_failed(struct report_sender *s, const char *reason)
{
    if (s->failure_count++ == 0)
        log_warn("agent: cannot report to %s (%s), try on",
                 s->shared->coordination->manager(s->shared->coordination),
                 reason);
    s->shared->coordination->manager_failed(s->shared->coordination, s->url);
    next_after(s, back_off(s->failure_count, s->shared->config->interval_ms));
}

static bool
answer_read(struct bytes body, bool *wants_full, struct table_version *version)
{
    json_t *answer = json_loadb((const char *) body.ptr, body.len, 0, NULL);
    const json_t *full = json_object_get(answer, "full");
    const char *text = json_string_value(json_object_get(answer, "version"));
    const bool is_valid = json_is_boolean(full);
    if (is_valid)
        *wants_full = json_is_true(full);
    if (text != NULL)
        (void) table_version_parse(bytes_of_text(text), version);
    json_decref(answer);
    return is_valid;
}

static void
send_succeeded(struct report_sender *s, bool wants_full)
{
    if (s->failure_count > 0)
        log_info("agent: report to %s again", s->url);
    s->failure_count = 0;
    if (wants_full) {
        s->is_full_next = true;
        s->is_wanted = true;
    } else {
        s->is_full_next = false;
        s->acknowledged_boot = counter_source_boot(s->source);
        counter_source_acknowledge(s->source);
    }
    if (s->is_wanted)
        send_report(s);
    else
        next_at_interval(s);
}

static void
answered(const struct http_response *response, void *context)
{
    struct report_sender *s = context;
    bool wants_full = false;
    struct table_version newest = {0, 0};
    s->fetch = NULL;
    if (response->err != 0) {
        send_failed(s, err_text(response->err));
    } else if (response->status == 307) {
        manager_redirected(s->shared, s->url, response);
        send_failed(s, "it stands by");
    } else if (response->status != 200) {
        char reason[64];
        snprintf(reason, sizeof reason, "it answers %d", response->status);
        send_failed(s, reason);
    } else if (!answer_read(response->body, &wants_full, &newest)) {
        send_failed(s, "its answer is not understood");
    } else {
        table_fetcher_hint(s->shared->fetcher, newest);
        send_succeeded(s, wants_full);
    }
}

static int
report_write(struct report_sender *s, struct buffer *out)
{
    const struct agent_config *config = s->shared->config;
    counter_source_refresh(s->source);
    const uint64_t boot = counter_source_boot(s->source);
    /* a file that took the old one's place is told from its beginning */
    const bool is_full = s->is_full_next || boot != s->acknowledged_boot;
    const struct report_header header = {
        .node = bytes_of_text(config->node),
        .url = bytes_of_text(config->url),
        .role = config->role,
        .state = s->shared->state,
        .weight = config->weight,
        .capacity_milli = config->capacity_milli,
        .boot = boot,
        .sequence = ++s->sequence,
        .is_full = is_full,
        .overflow = counter_source_overflow(s->source),
        .held = s->shared->held,
    };
    report_begin(out, &header);
    const int err = counter_source_report(s->source, is_full, out);
    return err != 0 ? err : report_finish(out);
}

static void
report_post(struct report_sender *s, struct bytes report)
{
    static const char *const headers[] = {"Content-Type",
                                          "application/octet-stream", NULL};
    struct coordination *coordination = s->shared->coordination;
    char url[MANAGER_URL_SIZE + MANAGER_PATH_SIZE];
    snprintf(s->url, sizeof s->url, "%s", coordination->manager(coordination));
    manager_url(url, s->url, "v1/reports");
    const struct http_fetch_config config = {
        .method = "POST",
        .url = url,
        .headers = headers,
        .body = report,
        .timeout_ms = REPORT_TIMEOUT_MS,
        .body_size_max = ANSWER_SIZE_MAX,
        .done = answered,
        .context = s,
    };
    s->fetch = http_fetch(s->shared->client, &config);
    if (s->fetch == NULL)
        send_failed(s, "bad URL or no memory");
}

static void
send_report(struct report_sender *s)
{
    struct buffer report;
    s->is_wanted = false;
    buffer_init(&report, REPORT_SIZE_MAX);
    const int err = report_write(s, &report);
    if (err != 0)
        send_failed(s, err_text(err));
    else
        report_post(s, buffer_bytes(&report));
    buffer_fini(&report);
}

static void
send_due(evutil_socket_t fd, short what, void *arg)
{
    report_sender_send(arg);
}

struct report_sender *
report_sender_new(struct agent_shared *shared)
{
    struct report_sender *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->shared = shared;
    s->is_full_next = true;
    /* higher than any that this node used before, whatever was restarted */
    s->sequence = clock_now_ms();
    s->source = counter_source_new(shared->config->counters);
    if (s->source == NULL) {
        free(s);
        return NULL;
    }
    evtimer_assign(&s->timer, shared->base, send_due, s);
    return s;
}

void
report_sender_free(struct report_sender *s)
{
    if (s == NULL)
        return;
    event_del(&s->timer);
    http_fetch_cancel(s->fetch);
    counter_source_free(s->source);
    free(s);
}

void
report_sender_send(struct report_sender *s)
{
    struct coordination *coordination = s->shared->coordination;
    if (s->fetch != NULL
        && strcmp(s->url, coordination->manager(coordination)) == 0) {
        s->is_wanted = true;
        return;
    }
    http_fetch_cancel(s->fetch); /* to one that leads no more */
    s->fetch = NULL;
    event_del(&s->timer);
    send_report(s);
}
