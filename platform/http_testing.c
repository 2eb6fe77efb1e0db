/* SPDX-License-Identifier: Apache-2.0 */
/* What the HTTP tests share, see platform/http_testing.h. */

#include "platform/http_testing.h"

#include "core/buffer.h"
#include "platform/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <event2/event.h>

#include <cmocka.h>

struct event_base *base;
struct http_server *server;
struct http_client *client;
struct http_request *held;
unsigned held_closed_count, handled_count;

/* ---- the server's routes ---- */

static void
handle_echo(struct http_request *request, void *context)
{
    const char *q = http_request_query(request, "q");
    const char *x = http_request_header(request, "x-test");
    struct bytes body = http_request_body(request);
    struct buffer b;
    handled_count++;
    buffer_init(&b, 65536);
    buffer_printf(&b, "%s q=%s x=%s %.*s", http_request_method(request),
                  q == NULL ? "-" : q, x == NULL ? "-" : x, (int) body.len,
                  (const char *) body.ptr);
    http_reply_header(request, "X-Answer", "yes");
    http_reply(request, 200, "text/plain", buffer_bytes(&b));
    buffer_fini(&b);
}

static void
handle_item(struct http_request *request, void *context)
{
    char text[256];
    const char *second = http_request_segment(request, 1);
    assert_null(http_request_segment(request, 2));
    snprintf(text, sizeof text, "%s|%s", http_request_segment(request, 0),
             second == NULL ? "-" : second);
    http_reply(request, 200, "text/plain", bytes_of_text(text));
}

static void
handle_error(struct http_request *request, void *context)
{
    http_reply_error(request, ERR_STALE, "it is \"%s\"\n\xe9", "old");
}

static void
handle_empty(struct http_request *request, void *context)
{
    http_reply(request, 204, NULL, bytes_of("", 0));
}

static void
held_closed(void *context)
{
    held = NULL;
    held_closed_count++;
}

static void
handle_hold(struct http_request *request, void *context)
{
    held = request;
    http_request_on_close(request, held_closed, context);
}

static void
handle_never(struct http_request *request, void *context)
{
    (void) request; /* freed with the server */
}

static void
handle_big(struct http_request *request, void *context)
{
    const size_t size = 4u << 20;
    uint8_t *big = calloc(1, size);
    http_reply(request, 200, "application/octet-stream", bytes_of(big, size));
    free(big);
}

static const struct http_route routes[] = {
    {"GET", "/echo", handle_echo},
    {"POST", "/echo", handle_echo},
    {"GET", "/v1/items/{id}", handle_item},
    {"DELETE", "/v1/items/{id}", handle_echo},
    {"GET", "/v1/items/{id}/parts/{n}", handle_item},
    {"GET", "/error", handle_error},
    {"GET", "/empty", handle_empty},
    {"GET", "/hold", handle_hold},
    {"GET", "/never", handle_never},
    {"GET", "/big", handle_big},
    {"GET", "/", handle_echo},
};

int
http_testing_start(void **state)
{
    base = event_base_new();
    const struct http_server_config config = {.listen = "127.0.0.1:0",
                                              .body_size_max = BODY_SIZE_MAX,
                                              .idle_timeout_s = 1,
                                              .routes = routes,
                                              .route_count = sizeof routes
                                                             / sizeof *routes};
    held = NULL;
    held_closed_count = handled_count = 0;
    client = http_client_new(base, 4);
    return http_server_new(base, &config, &server);
}

int
http_testing_stop(void **state)
{
    http_client_free(client);
    http_server_free(server);
    event_base_free(base);
    return 0;
}

/* ---- running the loop ---- */

void
loop_until(const bool *flag, unsigned timeout_ms)
{
    const uint64_t end = clock_now_ms() + timeout_ms;
    while (!*flag && clock_now_ms() < end) {
        const struct timeval tick = {.tv_usec = 5000};
        event_base_loopexit(base, &tick);
        event_base_loop(base, EVLOOP_ONCE);
    }
}

void
loop_for(unsigned ms)
{
    const bool never = false;
    loop_until(&never, ms);
}

/* ---- fetching with our client ---- */

static void
take_header(const struct http_response *r, const char *name, char out[64])
{
    const char *value = http_response_header(r, name);
    snprintf(out, 64, "%s", value == NULL ? "" : value);
}

void
answer_take(const struct http_response *r, void *context)
{
    struct answer *a = context;
    assert_false(a->done);
    a->done = true;
    a->err = r->err;
    a->status = r->status;
    a->body_size = r->body_size;
    snprintf(a->body, sizeof a->body, "%.*s", (int) r->body.len,
             (const char *) r->body.ptr);
    take_header(r, "content-type", a->type);
    take_header(r, "x-answer", a->extra);
    if (r->status == 405)
        take_header(r, "allow", a->extra);
}

struct http_fetch *
begin(struct answer *a, const char *method, unsigned port, const char *path,
      struct bytes body, unsigned timeout_ms)
{
    static const char *const headers[] = {"X-Test", "1", NULL};
    char url[2048];
    snprintf(url, sizeof url, "http://127.0.0.1:%u%s", port, path);
    memset(a, 0, sizeof *a);
    const struct http_fetch_config config = {.method = method,
                                             .url = url,
                                             .headers = headers,
                                             .body = body,
                                             .timeout_ms = timeout_ms,
                                             .body_size_max = 2000,
                                             .done = answer_take,
                                             .context = a};
    struct http_fetch *fetch = http_fetch(client, &config);
    assert_non_null(fetch);
    assert_false(a->done); /* never from inside the call */
    return fetch;
}

struct answer *
ask(const char *method, const char *path, const char *body)
{
    static struct answer a;
    begin(&a, method, http_server_port(server), path, bytes_of_text(body),
          5000);
    loop_until(&a.done, 6000);
    assert_true(a.done);
    return &a;
}
