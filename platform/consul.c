/* SPDX-License-Identifier: Apache-2.0 */
/* Calls and watches over the HTTP client, one connection for each that is
 * under way: an agent takes 200 of one address, and we have a handful. */

#include "platform/consul.h"

#include "core/err.h"
#include "platform/clock.h"
#include "platform/consul_answer.h"
#include "platform/http.h"
#include "platform/http_tls.h"
#include "platform/log.h"
#include "platform/loop.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#define CONNECTIONS_MAX 16
#define PATH_SIZE 512
#define URL_SIZE 256               /* of the agent, with its end */
#define ANSWER_SIZE_MAX (2u << 20) /* bytes: a value is at most 512 KiB */
#define CALL_TIMEOUT_MS 10000 /* servers hold a call 7 s for a new leader */
#define RETRY_MS 100
#define RETRY_MS_MAX 8000
#define WATCH_RATE 20 /* a second */
#define WATCH_BURST 40
#define TELL_AGAIN_MS 60000 /* the same complaint */

struct consul {
    struct event_base *base;
    struct http_client *client;
    struct http_tls *tls; /* NULL: plain */
    char url[URL_SIZE];
    char *token;
    const char *headers[3];
    TAILQ_HEAD(, consul_call) calls;
    int told_err; /* the last complaint */
    uint64_t told_ms;
};

struct consul_call {
    TAILQ_ENTRY(consul_call) entry;
    struct consul *consul;
    struct http_fetch *fetch;
    consul_done *done;
    void *context;
    char path[64]; /* the beginning, for the log */
};

struct consul_watch {
    struct consul *consul;
    struct consul_watch_config config;
    char path[PATH_SIZE];
    struct http_fetch *fetch; /* NULL: waits for the timer */
    struct event timer;
    uint64_t index;
    bool is_answered; /* once, at least */
    unsigned failure_count;
    double tokens;
    uint64_t tokens_ms;
};

/* ---- answers ---- */

static int
response_err(const struct http_response *response)
{
    if (response->err != 0)
        return response->err;
    if (response->status / 100 == 2)
        return 0;
    switch (response->status) {
    case 403:
        return ERR_DENIED;
    case 404:
        return ERR_NOT_FOUND;
    case 409: /* a transaction is not denied with 403 */
        return memmem(response->body.ptr, response->body.len,
                      "Permission denied", 17)
                       != NULL
                   ? ERR_DENIED
                   : ERR_STALE;
    case 413:
        return ERR_LIMIT;
    default:
        return ERR_UPSTREAM;
    }
}

static struct consul_answer
answer_of(const struct http_response *response)
{
    struct consul_answer answer = {
        .err = response_err(response),
        .body = response->body,
        .has_leader = true,
    };
    const char *index = http_response_header(response, "X-Consul-Index");
    const char *known = http_response_header(response, "X-Consul-KnownLeader");
    if (index != NULL)
        (void) consul_index_parse(index, &answer.index);
    if (known != NULL)
        answer.has_leader = strcmp(known, "false") != 0;
    return answer;
}

/* What Consul says about an error, as far as it can go into a log. */
static const char *
reason_of(const struct consul_answer *answer, char text[200])
{
    size_t n = 0;
    for (; n < answer->body.len && n < 199; n++)
        text[n] =
            isprint(answer->body.ptr[n]) ? (char) answer->body.ptr[n] : ' ';
    text[n] = '\0';
    return n > 0 ? text : err_text(answer->err);
}

/* One line for a trouble that many questions run into. */
static void
tell(struct consul *c, const char *path, const struct consul_answer *answer)
{
    char text[200];
    const uint64_t now_ms = clock_now_ms();
    if (answer->err == c->told_err && now_ms - c->told_ms < TELL_AGAIN_MS)
        return;
    c->told_err = answer->err;
    c->told_ms = now_ms;
    const int len = (int) strcspn(path, "?");
    if (answer->err == ERR_DENIED)
        log_error("consul: %s denies %.*s (%s): the ACL token is missing, "
                  "wrong, or lacks the right",
                  c->url, len, path, reason_of(answer, text));
    else
        log_warn("consul: %s cannot answer %.*s (%s), try on", c->url, len,
                 path, reason_of(answer, text));
}

static struct http_fetch *
fetch(struct consul *c, const char *method, const char *path, struct bytes body,
      unsigned timeout_ms,
      void (*done)(const struct http_response *response, void *context),
      void *context)
{
    char url[URL_SIZE + PATH_SIZE + 64];
    const int n = snprintf(url, sizeof url, "%s/v1/%s", c->url, path);
    if (n < 0 || (size_t) n >= sizeof url)
        return NULL;
    const struct http_fetch_config config = {
        .method = method,
        .url = url,
        .headers = c->token == NULL ? NULL : c->headers,
        .body = body,
        .timeout_ms = timeout_ms,
        .body_size_max = ANSWER_SIZE_MAX,
        .done = done,
        .context = context,
    };
    return http_fetch(c->client, &config);
}

/* ---- calls ---- */

static void
call_answered(const struct http_response *response, void *context)
{
    struct consul_call *call = context;
    const struct consul_answer answer = answer_of(response);
    if (answer.err == ERR_DENIED)
        tell(call->consul, call->path, &answer);
    TAILQ_REMOVE(&call->consul->calls, call, entry);
    call->done(&answer, call->context);
    free(call);
}

struct consul_call *
consul_call(struct consul *consul, const char *method, const char *path,
            struct bytes body, consul_done *done, void *context)
{
    struct consul_call *call = calloc(1, sizeof *call);
    if (call == NULL)
        return NULL;
    call->consul = consul;
    call->done = done;
    call->context = context;
    snprintf(call->path, sizeof call->path, "%s", path);
    call->fetch =
        fetch(consul, method, path, body, CALL_TIMEOUT_MS, call_answered, call);
    if (call->fetch == NULL) {
        free(call);
        return NULL;
    }
    TAILQ_INSERT_TAIL(&consul->calls, call, entry);
    return call;
}

void
consul_call_cancel(struct consul_call *call)
{
    if (call == NULL)
        return;
    http_fetch_cancel(call->fetch);
    TAILQ_REMOVE(&call->consul->calls, call, entry);
    free(call);
}

/* ---- watches ---- */

uint64_t
consul_index_next(bool is_event, uint64_t before, uint64_t answered)
{
    if (is_event)
        return answered;
    if (answered < before)
        return 0; /* the servers lost their state: begin again */
    return answered == 0 ? 1 : answered;
}

static void watch_ask(struct consul_watch *w);

static void
watch_ask_after(struct consul_watch *w, struct timeval wait)
{
    event_del(&w->timer);
    event_add(&w->timer, &wait);
}

static void
watch_failed(struct consul_watch *w)
{
    watch_ask_after(w,
                    loop_back_off(++w->failure_count, RETRY_MS, RETRY_MS_MAX));
}

/* A key that changes faster than we want to know is read less often. */
static void
watch_ask_again(struct consul_watch *w)
{
    const uint64_t now_ms = clock_now_ms();
    w->tokens += (double) (now_ms - w->tokens_ms) * WATCH_RATE / 1000;
    w->tokens_ms = now_ms;
    if (w->tokens > WATCH_BURST)
        w->tokens = WATCH_BURST;
    w->tokens -= 1;
    if (w->tokens >= 0)
        watch_ask(w);
    else
        watch_ask_after(
            w, loop_ms((uint64_t) (-w->tokens * 1000 / WATCH_RATE) + 1));
}

static void
watch_answered(const struct http_response *response, void *context)
{
    struct consul_watch *w = context;
    const struct consul_answer answer = answer_of(response);
    w->fetch = NULL;
    /* a key that is not there yet is an answer, and can be waited for */
    const bool is_good =
        answer.err == 0 || (answer.err == ERR_NOT_FOUND && answer.index > 0);
    const bool changed =
        is_good && (!w->is_answered || answer.index != w->index);
    if (is_good) {
        w->index =
            consul_index_next(w->config.is_event, w->index, answer.index);
        w->is_answered = true;
        if (w->failure_count > 0)
            log_info("consul: %s answers again", w->consul->url);
        w->failure_count = 0;
        w->consul->told_err = 0;
        watch_ask_again(w);
    } else {
        tell(w->consul, w->path, &answer);
        watch_failed(w);
    }
    w->config.answered(&answer, changed, w->config.context);
}

static void
watch_ask(struct consul_watch *w)
{
    char path[PATH_SIZE + 64];
    if (w->index == 0)
        snprintf(path, sizeof path, "%s", w->path);
    else
        snprintf(path, sizeof path, "%s%cindex=%llu&wait=%ums", w->path,
                 strchr(w->path, '?') == NULL ? '?' : '&',
                 (unsigned long long) w->index, w->config.wait_ms);
    /* Consul adds up to a sixteenth, and 7 s while there is no leader */
    const unsigned timeout_ms =
        CALL_TIMEOUT_MS
        + (w->index == 0 ? 0 : w->config.wait_ms + w->config.wait_ms / 16);
    w->fetch = fetch(w->consul, "GET", path, bytes_of("", 0), timeout_ms,
                     watch_answered, w);
    if (w->fetch == NULL)
        watch_failed(w);
}

static void
watch_due(evutil_socket_t fd, short what, void *arg)
{
    watch_ask(arg);
}

struct consul_watch *
consul_watch_new(struct consul *consul,
                 const struct consul_watch_config *config)
{
    struct consul_watch *w = calloc(1, sizeof *w);
    if (w == NULL)
        return NULL;
    w->consul = consul;
    w->config = *config;
    snprintf(w->path, sizeof w->path, "%s", config->path);
    w->tokens = WATCH_BURST;
    w->tokens_ms = clock_now_ms();
    evtimer_assign(&w->timer, consul->base, watch_due, w);
    watch_ask(w);
    return w;
}

void
consul_watch_free(struct consul_watch *w)
{
    if (w == NULL)
        return;
    event_del(&w->timer);
    http_fetch_cancel(w->fetch);
    free(w);
}

void
consul_watch_restart(struct consul_watch *w)
{
    http_fetch_cancel(w->fetch);
    w->fetch = NULL;
    w->index = 0;
    event_del(&w->timer);
    watch_ask_again(w);
}

/* ---- the client ---- */

static int
token_take(struct consul *c, const char *token)
{
    for (const char *p = token; *p != '\0'; p++) {
        if (!isgraph((unsigned char) *p)) {
            log_error("consul: the token has characters that no token has");
            return ERR_INVALID;
        }
    }
    c->token = strdup(token);
    if (c->token == NULL)
        return ERR_MEMORY;
    c->headers[0] = "X-Consul-Token";
    c->headers[1] = c->token;
    return 0;
}

static int
url_take(struct consul *c, const char *url)
{
    size_t len = strlen(url);
    while (len > 0 && url[len - 1] == '/')
        len--;
    if (len >= sizeof c->url || !http_url_is_valid_tls(url)) {
        log_error("consul: %s is no http://HOST:PORT or https://HOST:PORT",
                  url);
        return ERR_INVALID;
    }
    memcpy(c->url, url, len);
    return 0;
}

static int
consul_setup(struct consul *c, const struct consul_config *config)
{
    int err = url_take(c, config->url);
    if (err == 0 && config->token != NULL)
        err = token_take(c, config->token);
    if (err != 0)
        return err;
    c->client = http_client_new(c->base, CONNECTIONS_MAX);
    if (c->client == NULL)
        return ERR_MEMORY;
    if (strncmp(c->url, "https:", 6) != 0)
        return 0;
    const struct http_tls_config tls = {
        .ca_file = config->ca_file,
        .certificate_file = config->certificate_file,
        .key_file = config->key_file,
    };
    err = http_tls_new(&tls, &c->tls);
    if (err == 0)
        http_client_use_tls(c->client, c->tls);
    return err;
}

int
consul_new(struct event_base *base, const struct consul_config *config,
           struct consul **out)
{
    struct consul *c = calloc(1, sizeof *c);
    if (c == NULL)
        return ERR_MEMORY;
    c->base = base;
    TAILQ_INIT(&c->calls);
    const int err = consul_setup(c, config);
    if (err != 0)
        consul_free(c);
    else
        *out = c;
    return err;
}

void
consul_free(struct consul *consul)
{
    if (consul == NULL)
        return;
    struct consul_call *call;
    while ((call = TAILQ_FIRST(&consul->calls)) != NULL)
        consul_call_cancel(call);
    http_client_free(consul->client);
    http_tls_free(consul->tls);
    if (consul->token != NULL) {
        explicit_bzero(consul->token, strlen(consul->token));
        free(consul->token);
    }
    free(consul);
}

void
consul_drain(struct consul *consul, unsigned timeout_ms)
{
    const uint64_t end_ms = clock_now_ms() + timeout_ms;
    while (!TAILQ_EMPTY(&consul->calls) && clock_now_ms() < end_ms) {
        const struct timeval tick = loop_ms(20);
        event_base_loopexit(consul->base, &tick);
        event_base_dispatch(consul->base);
    }
}
