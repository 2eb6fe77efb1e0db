/* SPDX-License-Identifier: Apache-2.0 */
/* Server and client against each other, and each against raw sockets, on
 * loopback in one loop. */

#include "platform/http.h"

#include "core/buffer.h"
#include "platform/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>

#include <cmocka.h>

#define BODY_SIZE_MAX 1000

static struct event_base *base;
static struct http_server *server;
static struct http_client *client;
static struct http_request *held; /* by GET /hold */
static unsigned held_closed_count, handled_count;

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

static int
start(void **state)
{
    base = event_base_new();
    const struct http_server_config config = {
        .listen = "127.0.0.1:0", .body_size_max = BODY_SIZE_MAX,
        .idle_timeout_s = 1, .routes = routes,
        .route_count = sizeof routes / sizeof *routes};
    held = NULL;
    held_closed_count = handled_count = 0;
    client = http_client_new(base, 4);
    return http_server_new(base, &config, &server);
}

static int
stop(void **state)
{
    http_client_free(client);
    http_server_free(server);
    event_base_free(base);
    return 0;
}

/* ---- running the loop ---- */

static void
loop_until(const bool *flag, unsigned timeout_ms)
{
    const uint64_t end = clock_now_ms() + timeout_ms;
    while (!*flag && clock_now_ms() < end) {
        const struct timeval tick = {.tv_usec = 5000};
        event_base_loopexit(base, &tick);
        event_base_loop(base, EVLOOP_ONCE);
    }
}

static void
loop_for(unsigned ms)
{
    const bool never = false;
    loop_until(&never, ms);
}

/* ---- fetching with our client ---- */

struct answer {
    bool done;
    int err, status;
    uint64_t body_size;
    char body[2048], type[64], extra[64];
};

static void
take_header(const struct http_response *r, const char *name, char out[64])
{
    const char *value = http_response_header(r, name);
    snprintf(out, 64, "%s", value == NULL ? "" : value);
}

static void
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

static struct http_fetch *
begin(struct answer *a, const char *method, unsigned port, const char *path,
      struct bytes body, unsigned timeout_ms)
{
    static const char *const headers[] = {"X-Test", "1", NULL};
    char url[2048];
    snprintf(url, sizeof url, "http://127.0.0.1:%u%s", port, path);
    memset(a, 0, sizeof *a);
    const struct http_fetch_config config = {
        .method = method, .url = url, .headers = headers, .body = body,
        .timeout_ms = timeout_ms, .body_size_max = 2000, .done = answer_take,
        .context = a};
    struct http_fetch *fetch = http_fetch(client, &config);
    assert_non_null(fetch);
    assert_false(a->done); /* never from inside the call */
    return fetch;
}

static struct answer *
ask(const char *method, const char *path, const char *body)
{
    static struct answer a;
    begin(&a, method, http_server_port(server), path, bytes_of_text(body),
          5000);
    loop_until(&a.done, 6000);
    assert_true(a.done);
    return &a;
}

/* ---- a raw client ---- */

static char raw_answer[65536];

/* Sends bytes, and gives what came back until the server closed or the time
 * was over. */
static bool
raw(const char *text, size_t len, unsigned wait_ms)
{
    struct sockaddr_in where = {.sin_family = AF_INET,
                                .sin_port =
                                    htons((uint16_t) http_server_port(server)),
                                .sin_addr = {htonl(INADDR_LOOPBACK)}};
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *) &where, sizeof where), 0);
    assert_int_equal(send(fd, text, len, MSG_NOSIGNAL), len);
    const uint64_t end = clock_now_ms() + wait_ms;
    size_t got = 0;
    bool is_closed = false;
    while (!is_closed && clock_now_ms() < end) {
        loop_for(5);
        const ssize_t n = recv(fd, raw_answer + got,
                               sizeof raw_answer - 1 - got, MSG_DONTWAIT);
        is_closed = n == 0 || (n < 0 && errno == ECONNRESET);
        got += n > 0 ? (size_t) n : 0;
    }
    raw_answer[got] = '\0';
    close(fd);
    return is_closed;
}

static unsigned
count_in(const char *text, const char *part)
{
    unsigned count = 0;
    while ((text = strstr(text, part)) != NULL) {
        text += strlen(part);
        count++;
    }
    return count;
}

/* ---- a raw server that does what it is told ---- */

struct fake {
    struct evconnlistener *listener;
    unsigned port, accepted_count, asked_count;
    const char *first_answer, *next_answer; /* of a connection; NULL: close */
    bool closes_after;
};

struct fake_connection {
    struct fake *fake;
    unsigned asked_count;
};

static void
fake_event(struct bufferevent *stream, short what, void *arg)
{
    if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) {
        free(arg);
        bufferevent_free(stream);
    }
}

static void
fake_written(struct bufferevent *stream, void *arg)
{
    struct fake_connection *c = arg;
    if (c->fake->closes_after && c->asked_count > 0) {
        free(c);
        bufferevent_free(stream);
    }
}

static void
fake_read(struct bufferevent *stream, void *arg)
{
    struct fake_connection *c = arg;
    struct evbuffer *in = bufferevent_get_input(stream);
    struct evbuffer_ptr end = evbuffer_search(in, "\r\n\r\n", 4, NULL);
    if (end.pos < 0)
        return;
    evbuffer_drain(in, evbuffer_get_length(in));
    c->fake->asked_count++;
    const char *answer = c->asked_count++ == 0 ? c->fake->first_answer
                                               : c->fake->next_answer;
    if (answer == NULL) {
        free(c);
        bufferevent_free(stream);
    } else {
        bufferevent_write(stream, answer, strlen(answer));
    }
}

static void
fake_accept(struct evconnlistener *listener, evutil_socket_t fd,
            struct sockaddr *from, int from_len, void *arg)
{
    struct fake *fake = arg;
    struct bufferevent *stream =
        bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
    struct fake_connection *c = calloc(1, sizeof *c);
    c->fake = fake;
    fake->accepted_count++;
    bufferevent_setcb(stream, fake_read, fake_written, fake_event, c);
    bufferevent_enable(stream, EV_READ | EV_WRITE);
}

static void
fake_start(struct fake *fake)
{
    struct sockaddr_in where = {.sin_family = AF_INET,
                                .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof where;
    fake->listener = evconnlistener_new_bind(
        base, fake_accept, fake, LEV_OPT_CLOSE_ON_FREE, 64,
        (struct sockaddr *) &where, sizeof where);
    assert_non_null(fake->listener);
    getsockname(evconnlistener_get_fd(fake->listener),
                (struct sockaddr *) &where, &len);
    fake->port = ntohs(where.sin_port);
}

static void
fake_stop(struct fake *fake)
{
    evconnlistener_free(fake->listener);
    /* the client's connections go, and the fake's with them */
    http_client_free(client);
    loop_for(30);
    client = http_client_new(base, 4);
}

static struct answer *
ask_fake(const struct fake *fake, const char *method, unsigned timeout_ms)
{
    static struct answer a;
    begin(&a, method, fake->port, "/", bytes_of("", 0), timeout_ms);
    loop_until(&a.done, timeout_ms + 2000);
    assert_true(a.done);
    return &a;
}

/* ---- server tests ---- */

static void
a_route_gets_query_header_and_body(void **state)
{
    struct answer *a = ask("POST", "/echo?q=a%20b&r=1", "hello");
    assert_int_equal(a->err, 0);
    assert_int_equal(a->status, 200);
    assert_string_equal(a->body, "POST q=a b x=1 hello");
    assert_string_equal(a->type, "text/plain");
    assert_string_equal(a->extra, "yes");
    assert_string_equal(ask("GET", "/", "")->body, "GET q=- x=1 ");
}

static void
segments_are_taken_and_decoded(void **state)
{
    static const struct {
        const char *path;
        int status;
        const char *body;
    } cases[] = {
        {"/v1/items/abc", 200, "abc|-"},
        {"/v1/items/a%2Fb%20c", 200, "a/b c|-"},
        {"/v1/items/abc/parts/7?x=/y", 200, "abc|7"},
        {"/v1/items/", 404, NULL},
        {"/v1/items", 404, NULL},
        {"/v1/items/a/b", 404, NULL},
        {"/v1/items/a/parts/1/2", 404, NULL},
        {"/v1/items/a%", 400, NULL},
        {"/v1/items/a%4", 400, NULL},
        {"/v1/items/a%zz", 400, NULL},
        {"/v1/items/a%00b", 400, NULL},
        {"//v1/items/a", 404, NULL},
        {"/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p", 404, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct answer *a = ask("GET", cases[i].path, "");
        if (a->status != cases[i].status)
            fail_msg("%s: %d", cases[i].path, a->status);
        if (cases[i].body != NULL)
            assert_string_equal(a->body, cases[i].body);
    }
}

static void
a_wrong_method_is_told_the_right_ones(void **state)
{
    struct answer *a = ask("PUT", "/v1/items/x", "");
    assert_int_equal(a->status, 405);
    assert_string_equal(a->extra, "GET, HEAD, DELETE");
    assert_string_equal(a->type, "application/problem+json");
    assert_int_equal(ask("PUT", "/nothing", "")->status, 404);
}

static void
errors_are_problem_documents(void **state)
{
    struct answer *a = ask("GET", "/error", "");
    assert_int_equal(a->status, 409);
    assert_string_equal(a->type, "application/problem+json");
    assert_string_equal(
        a->body, "{\"type\":\"about:blank\",\"status\":409,\"title\":\"older "
                 "than what is held\",\"detail\":\"it is \\\"old\\\"\\u000a"
                 "\\u00e9\"}\n");
}

static void
head_has_the_length_and_no_body(void **state)
{
    struct answer *a = ask("HEAD", "/echo?q=1", "");
    assert_int_equal(a->err, 0);
    assert_int_equal(a->status, 200);
    assert_int_equal(a->body_size, 0);
    assert_int_equal(ask("HEAD", "/nothing", "")->status, 404);
    const char text[] = "HEAD /echo HTTP/1.1\r\nHost: x\r\n\r\n"
                        "GET /empty HTTP/1.1\r\nHost: x\r\n"
                        "Connection: close\r\n\r\n";
    assert_true(raw(text, strlen(text), 2000));
    assert_non_null(strstr(raw_answer, "Content-Length: 13\r\n"));
    assert_null(strstr(raw_answer, "HEAD q="));
    assert_non_null(strstr(raw_answer, "\r\n\r\nHTTP/1.1 204 "));
    assert_null(strstr(raw_answer, "Server:"));
    /* nothing after the head of a 204, and no length in it */
    assert_int_equal(count_in(raw_answer, "Content-Length"), 1);
}

static void
pipelined_requests_are_answered_in_order(void **state)
{
    const char text[] = "GET /v1/items/1 HTTP/1.1\r\nHost: x\r\n\r\n"
                        "GET /v1/items/2 HTTP/1.1\r\nHost: x\r\n\r\n"
                        "GET /v1/items/3 HTTP/1.1\r\nHost: x\r\n"
                        "Connection: close\r\n\r\n";
    assert_true(raw(text, strlen(text), 2000));
    assert_int_equal(count_in(raw_answer, "HTTP/1.1 200"), 3);
    assert_true(strstr(raw_answer, "1|-") < strstr(raw_answer, "2|-"));
    assert_true(strstr(raw_answer, "2|-") < strstr(raw_answer, "3|-"));
}

static void
http_1_0_is_closed_after_the_answer(void **state)
{
    const char text[] = "GET /v1/items/1 HTTP/1.0\r\n\r\n";
    assert_true(raw(text, strlen(text), 800));
    assert_non_null(strstr(raw_answer, "1|-"));
}

static void
a_chunked_body_is_read(void **state)
{
    const char text[] = "POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close"
                        "\r\nTransfer-Encoding: chunked\r\n\r\n"
                        "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n";
    const char plain[] = "POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close"
                         "\r\nTransfer-Encoding: chunked\r\n\r\n"
                         "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    assert_true(raw(plain, strlen(plain), 2000));
    assert_non_null(strstr(raw_answer, "x=- abcde"));
    assert_true(raw(text, strlen(text), 2000)); /* refused: no extensions */
    assert_int_equal(handled_count, 1);
}

static void
a_body_over_the_limit_is_413(void **state)
{
    char body[4 * BODY_SIZE_MAX + 1];
    memset(body, 'b', sizeof body);
    body[BODY_SIZE_MAX] = '\0';
    assert_int_equal(ask("POST", "/echo", body)->status, 200);
    body[BODY_SIZE_MAX] = 'b';
    body[BODY_SIZE_MAX + 1] = '\0';
    assert_int_equal(ask("POST", "/echo", body)->status, 413);
    body[BODY_SIZE_MAX + 1] = 'b';
    body[sizeof body - 1] = '\0';
    assert_int_equal(ask("POST", "/echo", body)->status, 413);
    assert_int_equal(handled_count, 1);
    const char chunked[] = "POST /echo HTTP/1.1\r\nHost: x\r\n"
                           "Transfer-Encoding: chunked\r\n\r\nFFFFFF\r\nx";
    assert_true(raw(chunked, strlen(chunked), 800));
    assert_non_null(strstr(raw_answer, "413"));
}

static void
what_is_not_http_is_refused_and_closed(void **state)
{
    static const char *const cases[] = {
        "hello\r\n\r\n",
        "GET /echo HTTP/1.1\r\nno colon\r\n\r\n",
        "GET\r\n\r\n",
        "POST /echo HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        "POST /echo HTTP/1.1\r\nContent-Length: 1x\r\n\r\n",
        "BREW /echo HTTP/1.1\r\nHost: x\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (!raw(cases[i], strlen(cases[i]), 2500))
            fail_msg("not closed: %s", cases[i]);
        assert_null(strstr(raw_answer, " 200 "));
    }
    assert_int_equal(handled_count, 0);
    assert_int_equal(ask("GET", "/echo", "")->status, 200);
}

static void
a_head_over_the_limit_is_refused(void **state)
{
    static char text[40000];
    const int n = snprintf(text, sizeof text, "GET /echo HTTP/1.1\r\nX: ");
    memset(text + n, 'x', sizeof text - (size_t) n);
    assert_true(raw(text, sizeof text, 2000));
    assert_null(strstr(raw_answer, " 200 "));
    assert_int_equal(handled_count, 0);
}

static void
a_client_that_sends_half_a_request_is_closed(void **state)
{
    const char text[] = "GET /echo HTTP/1.1\r\nHo";
    const uint64_t from = clock_now_ms();
    assert_true(raw(text, strlen(text), 4000)); /* idle_timeout_s is 1 */
    assert_in_range(clock_now_ms() - from, 800, 3000);
    assert_string_equal(raw_answer, "");
}

static void
a_held_request_outlives_the_idle_timeout(void **state)
{
    struct answer a;
    begin(&a, "GET", http_server_port(server), "/hold", bytes_of("", 0), 5000);
    loop_until(&a.done, 1800);
    assert_false(a.done);
    assert_non_null(held);
    http_reply(held, 200, "text/plain", BYTES_LITERAL("at last"));
    loop_until(&a.done, 1000);
    assert_string_equal(a.body, "at last");
    loop_for(20);
    assert_int_equal(held_closed_count, 0);
}

static void
a_held_request_hears_its_client_leave(void **state)
{
    const char text[] = "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n";
    assert_false(raw(text, strlen(text), 100));
    const bool never = false;
    loop_until(&never, 100);
    assert_null(held);
    assert_int_equal(held_closed_count, 1);
}

static void
what_is_sent_behind_a_held_request_waits_for_its_reply(void **state)
{
    static char text[200000];
    const int n = snprintf(text, sizeof text,
                           "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n"
                           "GET /v1/items/after HTTP/1.1\r\nHost: x\r\n"
                           "Connection: close\r\n\r\n");
    memset(text + n, 'x', sizeof text - (size_t) n);
    /* held, with more bytes behind it than are taken in */
    assert_false(raw(text, sizeof text, 200));
    loop_for(50);
    assert_int_equal(held_closed_count, held == NULL ? 1 : 0);
    struct answer a, b;
    begin(&a, "GET", http_server_port(server), "/hold", bytes_of("", 0), 5000);
    loop_for(50);
    assert_non_null(held);
    begin(&b, "GET", http_server_port(server), "/v1/items/x", bytes_of("", 0),
          5000);
    loop_until(&b.done, 1000);
    assert_string_equal(b.body, "x|-");
    http_reply(held, 200, "text/plain", BYTES_LITERAL("ok"));
    loop_until(&a.done, 1000);
    assert_string_equal(a.body, "ok");
}

static void
freeing_the_server_ends_what_it_holds(void **state)
{
    struct answer a, b;
    begin(&a, "GET", http_server_port(server), "/hold", bytes_of("", 0), 5000);
    begin(&b, "GET", http_server_port(server), "/never", bytes_of("", 0),
          5000);
    loop_for(50);
    assert_non_null(held);
    http_server_free(server);
    server = NULL;
    assert_int_equal(held_closed_count, 1);
    loop_until(&a.done, 1000);
    loop_until(&b.done, 1000);
    assert_int_equal(a.err, ERR_UPSTREAM);
    assert_int_equal(b.err, ERR_UPSTREAM);
}

static void
a_taken_port_or_a_bad_address_is_an_error(void **state)
{
    char taken[32];
    struct http_server *other = NULL;
    snprintf(taken, sizeof taken, "127.0.0.1:%u", http_server_port(server));
    const struct {
        const char *listen;
        int err;
    } cases[] = {{taken, ERR_IO},          {"127.0.0.1", ERR_INVALID},
                 {"nowhere:1", ERR_INVALID}, {":1", ERR_INVALID},
                 {"127.0.0.1:x", ERR_INVALID},
                 {"127.0.0.1:65536", ERR_INVALID},
                 {"::1:80", ERR_INVALID},  {"[::1]80", ERR_INVALID}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct http_server_config config = {.listen = cases[i].listen};
        assert_int_equal(http_server_new(base, &config, &other),
                         cases[i].err);
        assert_null(other);
    }
}

/* ---- client tests ---- */

static void
connections_are_kept_and_shared(void **state)
{
    struct fake fake = {
        .first_answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        .next_answer = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes"};
    fake_start(&fake);
    assert_string_equal(ask_fake(&fake, "GET", 2000)->body, "ok");
    assert_string_equal(ask_fake(&fake, "POST", 2000)->body, "yes");
    assert_string_equal(ask_fake(&fake, "GET", 2000)->body, "yes");
    assert_int_equal(fake.accepted_count, 1);
    fake_stop(&fake);
}

static void
what_is_over_the_connections_waits_in_line(void **state)
{
    struct fake fake = {
        .first_answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        .next_answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"};
    static struct answer answers[50];
    fake_start(&fake);
    for (size_t i = 0; i < 50; i++)
        begin(&answers[i], "GET", fake.port, "/", bytes_of("", 0), 3000);
    for (size_t i = 0; i < 50; i++) {
        loop_until(&answers[i].done, 3000);
        assert_int_equal(answers[i].status, 200);
    }
    assert_int_equal(fake.accepted_count, 4);
    fake_stop(&fake);
}

static void
a_stale_connection_is_tried_again_for_get_only(void **state)
{
    struct fake fake = {
        .first_answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        .next_answer = NULL};
    fake_start(&fake);
    assert_int_equal(ask_fake(&fake, "GET", 2000)->status, 200);
    struct answer *a = ask_fake(&fake, "GET", 2000);
    assert_int_equal(a->err, 0);
    assert_int_equal(a->status, 200);
    assert_int_equal(fake.accepted_count, 2);
    assert_int_equal(fake.asked_count, 3);
    a = ask_fake(&fake, "POST", 2000);
    assert_int_equal(a->err, ERR_UPSTREAM);
    assert_int_equal(fake.asked_count, 4);
    fake_stop(&fake);
}

static void
a_fresh_connection_that_closes_is_not_tried_again(void **state)
{
    struct fake fake = {0};
    fake_start(&fake);
    assert_int_equal(ask_fake(&fake, "GET", 2000)->err, ERR_UPSTREAM);
    assert_int_equal(fake.asked_count, 1);
    fake_stop(&fake);
}

static void
broken_answers_are_errors(void **state)
{
    static const struct {
        const char *answer;
        int err;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", ERR_UPSTREAM},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
         ERR_UPSTREAM},
        {"SSH-2.0-x\r\n\r\n", ERR_UPSTREAM},
        {"HTTP/1.1 200 OK\r\nConten", ERR_UPSTREAM},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", ERR_LIMIT},
        {"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fake fake = {.first_answer = cases[i].answer,
                            .closes_after = true};
        fake_start(&fake);
        struct answer *a = ask_fake(&fake, "GET", 1000);
        if (a->err != cases[i].err)
            fail_msg("%s: %s", cases[i].answer, err_text(a->err));
        fake_stop(&fake);
    }
}

static void
a_redirect_is_the_answer(void **state)
{
    struct fake fake = {.first_answer =
                            "HTTP/1.1 302 Found\r\nX-Answer: there\r\n"
                            "Content-Length: 0\r\n\r\n"};
    fake_start(&fake);
    struct answer *a = ask_fake(&fake, "GET", 1000);
    assert_int_equal(a->status, 302);
    assert_string_equal(a->extra, "there");
    fake_stop(&fake);
}

static void
a_silent_server_is_a_timeout_in_ms(void **state)
{
    struct fake fake = {.first_answer = ""};
    fake_start(&fake);
    const uint64_t from = clock_now_ms();
    assert_int_equal(ask_fake(&fake, "GET", 150)->err, ERR_TIMEOUT);
    assert_in_range(clock_now_ms() - from, 140, 1000);
    fake_stop(&fake);
}

static void
nobody_listening_is_an_error(void **state)
{
    struct fake fake = {0};
    fake_start(&fake);
    fake_stop(&fake);
    const uint64_t from = clock_now_ms();
    assert_int_equal(ask_fake(&fake, "GET", 3000)->err, ERR_UPSTREAM);
    assert_in_range(clock_now_ms() - from, 0, 1000);
    /* waiting in line behind the refused ones too */
    static struct answer answers[10];
    for (size_t i = 0; i < 10; i++)
        begin(&answers[i], "GET", fake.port, "/", bytes_of("", 0), 3000);
    for (size_t i = 0; i < 10; i++) {
        loop_until(&answers[i].done, 1000);
        assert_int_equal(answers[i].err, ERR_UPSTREAM);
    }
}

static void
a_cancelled_fetch_is_never_called_back(void **state)
{
    struct answer a, b;
    struct http_fetch *at_once =
        begin(&a, "GET", http_server_port(server), "/echo", bytes_of("", 0),
              1000);
    http_fetch_cancel(at_once);
    struct http_fetch *under_way =
        begin(&b, "GET", http_server_port(server), "/hold", bytes_of("", 0),
              1000);
    loop_for(50);
    assert_non_null(held);
    http_fetch_cancel(under_way);
    loop_for(50);
    assert_int_equal(held_closed_count, 1); /* the server noticed */
    assert_false(a.done);
    assert_false(b.done);
    assert_int_equal(ask("GET", "/echo", "")->status, 200);
}

static void
a_discarded_body_is_counted(void **state)
{
    static struct answer a;
    char url[64];
    memset(&a, 0, sizeof a);
    snprintf(url, sizeof url, "http://127.0.0.1:%u/big",
             http_server_port(server));
    struct http_fetch_config config = {
        .method = "GET", .url = url, .timeout_ms = 5000, .discard_body = true,
        .done = answer_take, .context = &a};
    assert_non_null(http_fetch(client, &config));
    loop_until(&a.done, 5000);
    assert_int_equal(a.err, 0);
    assert_int_equal(a.status, 200);
    assert_int_equal(a.body_size, 4u << 20);
    assert_string_equal(a.body, "");
    config.body_size_max = 1u << 20;
    memset(&a, 0, sizeof a);
    assert_non_null(http_fetch(client, &config));
    loop_until(&a.done, 5000);
    assert_int_equal(a.err, ERR_LIMIT);
}

static void
a_bad_url_or_method_is_refused(void **state)
{
    static const char *const urls[] = {
        "",         "https://x:1/",      "http://",      "http://:80/",
        "http://x:0/", "http://x:99999/", "http://x:1y/", "ftp://x/",
        "http://u@x:1/", "http://x:1/a b", "http://x:1/\r\nX: y",
        "http://[::1/",
    };
    struct http_fetch_config config = {
        .method = "GET", .done = answer_take};
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        config.url = urls[i];
        if (http_fetch(client, &config) != NULL || http_url_is_valid(urls[i]))
            fail_msg("taken: %s", urls[i]);
    }
    assert_true(http_url_is_valid("http://[::1]:80/a?b"));
    assert_true(http_url_is_valid("http://host"));
    config.url = "http://127.0.0.1:1/";
    config.method = "BREW";
    assert_null(http_fetch(client, &config));
}

static unsigned burst_ok_count;

static void
burst_done(const struct http_response *r, void *context)
{
    burst_ok_count += r->err == 0 && r->status == 200;
    if (--*(unsigned *) context == 0)
        event_base_loopbreak(base);
}

static void
thousands_of_fetches_run_at_once(void **state)
{
    unsigned left = 3000;
    char url[64];
    struct http_client *many = http_client_new(base, 1000);
    snprintf(url, sizeof url, "http://127.0.0.1:%u/v1/items/x",
             http_server_port(server));
    burst_ok_count = 0;
    for (unsigned i = 0; i < 3000; i++) {
        const struct http_fetch_config config = {
            .method = "GET", .url = url, .timeout_ms = 20000,
            .done = burst_done, .context = &left};
        assert_non_null(http_fetch(many, &config));
    }
    event_base_dispatch(base);
    assert_int_equal(left, 0);
    assert_int_equal(burst_ok_count, 3000);
    http_client_free(many);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)
    const struct CMUnitTest tests[] = {
        TEST(a_route_gets_query_header_and_body),
        TEST(segments_are_taken_and_decoded),
        TEST(a_wrong_method_is_told_the_right_ones),
        TEST(errors_are_problem_documents),
        TEST(head_has_the_length_and_no_body),
        TEST(pipelined_requests_are_answered_in_order),
        TEST(http_1_0_is_closed_after_the_answer),
        TEST(a_chunked_body_is_read),
        TEST(a_body_over_the_limit_is_413),
        TEST(what_is_not_http_is_refused_and_closed),
        TEST(a_head_over_the_limit_is_refused),
        TEST(a_client_that_sends_half_a_request_is_closed),
        TEST(a_held_request_outlives_the_idle_timeout),
        TEST(a_held_request_hears_its_client_leave),
        TEST(what_is_sent_behind_a_held_request_waits_for_its_reply),
        TEST(freeing_the_server_ends_what_it_holds),
        TEST(a_taken_port_or_a_bad_address_is_an_error),
        TEST(connections_are_kept_and_shared),
        TEST(what_is_over_the_connections_waits_in_line),
        TEST(a_stale_connection_is_tried_again_for_get_only),
        TEST(a_fresh_connection_that_closes_is_not_tried_again),
        TEST(broken_answers_are_errors),
        TEST(a_redirect_is_the_answer),
        TEST(a_silent_server_is_a_timeout_in_ms),
        TEST(nobody_listening_is_an_error),
        TEST(a_cancelled_fetch_is_never_called_back),
        TEST(a_discarded_body_is_counted),
        TEST(a_bad_url_or_method_is_refused),
        TEST(thousands_of_fetches_run_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
