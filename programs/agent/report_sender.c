/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reports at each interval what the Manager has not acknowledged. One report
 * at a time; what fails goes with the next one, since counts are cumulative.
 *
 * Between two reports it looks whether a content jumps, and does not let the
 * Manager wait for that, nor for how it goes on: until the jump is all that its
 * shorter windows hold (1 to 1.5 s by default), as reports further apart would
 * leave the end of these windows empty.
 */

#include "programs/agent/agent.h"

#include "core/err.h"
#include "platform/clock.h"
#include "platform/log.h"
#include "programs/agent/counter_source.h"
#include "programs/agent/jump.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#define REPORT_TIMEOUT_MS 2500
#define ANSWER_SIZE_MAX 4096 /* bytes */

struct report_sender {
    struct agent_shared *shared;
    struct counter_source *source;
    struct event timer;
    struct http_fetch *fetch;   /* NULL: none under way */
    char url[MANAGER_URL_SIZE]; /* of the Manager that is asked */
    uint64_t sequence;
    bool is_wanted; /* another report, right after the one under way */
    unsigned failure_count;
    uint64_t written_ms; /* when the last report was */
    uint64_t span_ms;    /* since the one before */
    uint64_t jumped_ms;  /* when a jump was seen last; 0: never */
};

static void send_report(struct report_sender *s);

static void
next_after(struct report_sender *s, struct timeval wait)
{
    event_del(&s->timer);
    event_add(&s->timer, &wait);
}

/* The next look, or the report where that is due before. */
static void
next_look(struct report_sender *s)
{
    const unsigned interval_ms = s->shared->config->interval_ms;
    const unsigned ms = interval_ms < JUMP_LOOK_MS ? interval_ms : JUMP_LOOK_MS;
    next_after(s, (struct timeval){.tv_usec = (suseconds_t) ms * 1000});
}

static bool
is_jumping(struct report_sender *s, uint64_t now_ms)
{
    const uint64_t capacity_milli = s->shared->config->capacity_milli;
    const double since_ms = (double) (now_ms - s->written_ms);
    const double span_ms = (double) s->span_ms;
    return counter_source_refresh(s->source)
           && counter_source_has_jumped(
               s->source,
               JUMP_REQUESTS + (uint32_t) (capacity_milli / 1000 * 2 / 1000),
               since_ms > span_ms ? since_ms / span_ms : 1);
}

static bool
is_due(struct report_sender *s)
{
    const uint64_t now_ms = clock_now_ms();
    const uint64_t since_ms = now_ms - s->written_ms;
    if (since_ms >= s->shared->config->interval_ms)
        return true;
    if (s->jumped_ms != 0 && now_ms - s->jumped_ms < JUMP_MS)
        return since_ms >= JUMP_REPORT_MS;
    if (!is_jumping(s, now_ms))
        return false;
    s->jumped_ms = now_ms;
    return true;
}

static void
send_failed(struct report_sender *s, const char *reason)
{
    if (s->failure_count++ == 0)
        log_warn("agent: cannot report to %s (%s), try on",
                 s->shared->coordination->manager(s->shared->coordination),
                 reason);
    s->shared->coordination->manager_failed(s->shared->coordination, s->url);
    table_fetcher_move(s->shared->fetcher);
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
    if (wants_full)
        counter_source_forget(s->source);
    const bool has_more = wants_full || counter_source_acknowledge(s->source);
    if (has_more || s->is_wanted)
        send_report(s);
    else
        next_look(s);
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
    const uint64_t now_ms = clock_now_ms();
    counter_source_refresh(s->source);
    s->span_ms = now_ms - s->written_ms;
    s->written_ms = now_ms;
    const struct report_header header = {
        .node = bytes_of_text(config->node),
        .url = bytes_of_text(config->url),
        .role = config->role,
        .state = s->shared->state,
        .weight = config->weight,
        .capacity_milli = config->capacity_milli,
        .boot = counter_source_boot(s->source),
        .sequence = ++s->sequence,
        .base = counter_source_base(s->source),
        .overflow = counter_source_overflow(s->source),
        .held = s->shared->held,
    };
    report_begin(out, &header);
    const int err = counter_source_report(s->source, header.sequence, out);
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
    buffer_init(&report, REPORT_PART_SIZE_MAX);
    const int err = report_write(s, &report);
    if (err != 0)
        send_failed(s, err_text(err));
    else
        report_post(s, buffer_bytes(&report));
    buffer_fini(&report);
}

static void
look_due(evutil_socket_t fd, short what, void *arg)
{
    struct report_sender *s = arg;
    if (s->failure_count > 0 || is_due(s))
        report_sender_send(s);
    else
        next_look(s);
}

struct report_sender *
report_sender_new(struct agent_shared *shared)
{
    struct report_sender *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->shared = shared;
    /* higher than any that this node used before, whatever was restarted */
    s->sequence = clock_now_ms();
    s->source = counter_source_new(shared->config->counters);
    if (s->source == NULL) {
        free(s);
        return NULL;
    }
    evtimer_assign(&s->timer, shared->base, look_due, s);
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
