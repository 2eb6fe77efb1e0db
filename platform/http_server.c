/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server: a table of routes on libevent's evhttp. What is not HTTP, or
 * over the size limits, is answered by the library with a plain page and the
 * connection is closed; everything that reaches a route, or finds none, gets
 * problem documents (RFC 9457) from here.
 */

#include "platform/http.h"

#include "core/buffer.h"
#include "platform/clock.h"
#include "platform/http_private.h"
#include "platform/log.h"
#include "platform/loop.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>

#define ROUTE_PIECES_MAX 12
#define SEGMENTS_MAX 4           /* {x} in one route */
#define HEADERS_SIZE_MAX 16384   /* bytes of one request's head */
#define PROBLEM_SIZE_MAX 4096    /* bytes */
#define PIPELINED_SIZE_MAX 65536 /* bytes held while a request waits */
#define LISTEN_BACKLOG 1024
/* What a body may be too large by to be told so in a problem; the library, which
 * has no more to say than a page, ends what is larger before it is read. */
#define BODY_OVER_MAX (1u << 20) /* bytes */
#define ACCEPT_PAUSE_MS 100

struct piece {
    const char *text; /* in the route's path */
    size_t len;
    bool is_segment;
};

struct compiled_route {
    const struct http_route *route;
    enum evhttp_cmd_type method;
    size_t piece_count;
    struct piece pieces[ROUTE_PIECES_MAX];
};

struct http_server {
    struct event_base *base;
    struct evhttp *evhttp;
    struct evconnlistener *listener;
    struct event accept_again;
    struct http_server *next; /* in listening */
    unsigned port;
    struct timeval idle_timeout;
    size_t body_size_max;
    void *context;
    struct http_request *requests; /* not replied to yet */
    size_t route_count;
    struct compiled_route routes[];
};

struct http_request {
    struct http_server *server;
    struct evhttp_request *evreq;
    struct http_request *next, **link;
    void (*closed)(void *context);
    void *closed_context;
    struct evkeyvalq query;
    bool has_query;
    size_t segment_count;
    char *segments[SEGMENTS_MAX]; /* in text */
    char text[];                  /* decoded segments, terminated each */
};

static const struct {
    enum evhttp_cmd_type type;
    const char *name;
} methods[] = {
    {EVHTTP_REQ_GET, "GET"},         {EVHTTP_REQ_HEAD, "HEAD"},
    {EVHTTP_REQ_POST, "POST"},       {EVHTTP_REQ_PUT, "PUT"},
    {EVHTTP_REQ_DELETE, "DELETE"},   {EVHTTP_REQ_PATCH, "PATCH"},
    {EVHTTP_REQ_OPTIONS, "OPTIONS"}, {EVHTTP_REQ_TRACE, "TRACE"},
};
#define METHOD_COUNT (sizeof methods / sizeof *methods)

static const char *
method_name(enum evhttp_cmd_type type)
{
    for (size_t i = 0; i < METHOD_COUNT; i++)
        if (methods[i].type == type)
            return methods[i].name;
    return "?";
}

/* ---- routes ---- */

/* A route that does not compile is a mistake in the program. */
static int
route_compile(const struct http_route *route, struct compiled_route *out)
{
    out->route = route;
    size_t m = 0;
    while (m < METHOD_COUNT && strcmp(methods[m].name, route->method) != 0)
        m++;
    if (m == METHOD_COUNT || route->path[0] != '/')
        return ERR_INVALID;
    out->method = methods[m].type;
    size_t segment_count = 0;
    const char *p = route->path;
    while (*p == '/') {
        const char *text = ++p;
        p += strcspn(p, "/");
        const size_t len = (size_t) (p - text);
        const bool is_segment = len > 2 && text[0] == '{' && p[-1] == '}';
        if (out->piece_count == ROUTE_PIECES_MAX
            || (is_segment && ++segment_count > SEGMENTS_MAX))
            return ERR_LIMIT;
        out->pieces[out->piece_count++] = (struct piece){text, len, is_segment};
    }
    return 0;
}

struct split_path {
    size_t count;
    struct bytes parts[ROUTE_PIECES_MAX];
};

static bool
path_split(const char *path, struct split_path *out)
{
    out->count = 0;
    if (*path != '/')
        return false;
    while (*path == '/') {
        const char *text = ++path;
        path += strcspn(path, "/");
        if (out->count == ROUTE_PIECES_MAX)
            return false;
        out->parts[out->count++] = bytes_of(text, (size_t) (path - text));
    }
    return true;
}

static bool
route_matches(const struct compiled_route *route, const struct split_path *path)
{
    if (route->piece_count != path->count)
        return false;
    for (size_t i = 0; i < path->count; i++) {
        const struct piece *piece = &route->pieces[i];
        if (piece->is_segment ? path->parts[i].len == 0
                              : !bytes_equal(bytes_of(piece->text, piece->len),
                                             path->parts[i]))
            return false;
    }
    return true;
}

static bool
method_fits(const struct compiled_route *route, enum evhttp_cmd_type type)
{
    return route->method == type
           || (type == EVHTTP_REQ_HEAD && route->method == EVHTTP_REQ_GET);
}

static int
hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Appends the decoded text and its terminator; NULL for a bad escape or an
 * escaped terminator. Never longer than the input. */
static char *
segment_decode(struct bytes raw, char *to)
{
    for (size_t i = 0; i < raw.len; i++) {
        if (raw.ptr[i] != '%') {
            *to++ = (char) raw.ptr[i];
            continue;
        }
        if (raw.len - i < 3)
            return NULL;
        const int high = hex_digit(raw.ptr[i + 1]);
        const int low = hex_digit(raw.ptr[i + 2]);
        if (high < 0 || low < 0 || high + low == 0)
            return NULL;
        *to++ = (char) (high << 4 | low);
        i += 2;
    }
    *to++ = '\0';
    return to;
}

static int
segments_decode(struct http_request *request,
                const struct compiled_route *route,
                const struct split_path *path)
{
    char *to = request->text;
    for (size_t i = 0; i < path->count; i++) {
        if (!route->pieces[i].is_segment)
            continue;
        request->segments[request->segment_count++] = to;
        to = segment_decode(path->parts[i], to);
        if (to == NULL)
            return ERR_INVALID;
    }
    return 0;
}

/* ---- the life of a request ---- */

/* The client went away, or the server is freed, before the reply. */
static void
request_closed(struct evhttp_connection *connection, void *arg)
{
    struct http_request *request = arg;
    void (*const closed)(void *) = request->closed;
    void *const context = request->closed_context;
    evhttp_connection_set_closecb(connection, NULL, NULL);
    /* evhttp leaves a request that was handed out to us when the connection
     * breaks, and frees it itself when the connection is taken down */
    if (evhttp_request_get_connection(request->evreq) == NULL)
        evhttp_request_free(request->evreq);
    *request->link = request->next;
    if (request->next != NULL)
        request->next->link = request->link;
    if (request->has_query)
        evhttp_clear_headers(&request->query);
    free(request);
    if (closed != NULL)
        closed(context);
}

static struct http_request *
request_new(struct http_server *server, struct evhttp_request *evreq,
            size_t text_size)
{
    struct http_request *request = calloc(1, sizeof *request + text_size);
    if (request == NULL)
        return NULL;
    request->server = server;
    request->evreq = evreq;
    request->next = server->requests;
    request->link = &server->requests;
    if (request->next != NULL)
        request->next->link = &request->next;
    server->requests = request;
    evhttp_connection_set_closecb(evhttp_request_get_connection(evreq),
                                  request_closed, request);
    return request;
}

/* Takes the request from its connection's care; evreq is the library's. */
static void
request_free(struct http_request *request)
{
    struct evhttp_connection *connection =
        evhttp_request_get_connection(request->evreq);
    evhttp_connection_set_closecb(connection, NULL, NULL);
    if (request->closed != NULL) {
        struct bufferevent *stream =
            evhttp_connection_get_bufferevent(connection);
        bufferevent_setwatermark(stream, EV_READ, 0, 0);
        evhttp_connection_set_timeout_tv(connection,
                                         &request->server->idle_timeout);
    }
    *request->link = request->next;
    if (request->next != NULL)
        request->next->link = request->link;
    if (request->has_query)
        evhttp_clear_headers(&request->query);
    free(request);
}

static void
allow_add(struct http_request *request, const struct split_path *path)
{
    char allow[128] = "";
    size_t len = 0;
    const struct http_server *server = request->server;
    for (size_t i = 0; i < server->route_count; i++) {
        const struct compiled_route *route = &server->routes[i];
        if (!route_matches(route, path))
            continue;
        const int n = snprintf(
            allow + len, sizeof allow - len, "%s%s", len == 0 ? "" : ", ",
            route->method == EVHTTP_REQ_GET ? "GET, HEAD"
                                            : route->route->method);
        if (n < 0 || (size_t) n >= sizeof allow - len)
            break;
        len += (size_t) n;
    }
    http_reply_header(request, "Allow", allow);
}

static void
handle_request(struct evhttp_request *evreq, void *arg)
{
    struct http_server *server = arg;
    const enum evhttp_cmd_type type = evhttp_request_get_command(evreq);
    const char *path_text =
        evhttp_uri_get_path(evhttp_request_get_evhttp_uri(evreq));
    struct http_request *request = request_new(
        server, evreq, path_text == NULL ? 1 : strlen(path_text) + 1);
    if (request == NULL) {
        evhttp_send_error(evreq, 500, NULL);
        return;
    }
    struct split_path path;
    bool is_known = false;
    if (path_text != NULL && path_split(path_text, &path)) {
        for (size_t i = 0; i < server->route_count; i++) {
            const struct compiled_route *route = &server->routes[i];
            if (!route_matches(route, &path))
                continue;
            is_known = true;
            if (!method_fits(route, type))
                continue;
            if (segments_decode(request, route, &path) != 0)
                http_reply_error(request, ERR_INVALID,
                                 "the path has a bad escape");
            else if (http_request_body(request).len > server->body_size_max)
                http_reply_error(request, ERR_LIMIT,
                                 "the body is larger than %zu bytes",
                                 server->body_size_max);
            else
                route->route->handle(request, server->context);
            return;
        }
    }
    if (is_known) {
        allow_add(request, &path);
        http_reply_problem(request, 405, "method not allowed", NULL);
    } else {
        http_reply_problem(request, 404, "not found", "no such resource");
    }
}

/* ---- replies ---- */

static bool
is_bodiless(const struct http_request *request, int status)
{
    return status == 204 || status == 304
           || evhttp_request_get_command(request->evreq) == EVHTTP_REQ_HEAD;
}

static void
append_json_text(struct buffer *out, const char *text)
{
    buffer_append_u8(out, '"');
    for (const unsigned char *p = (const unsigned char *) text; *p; p++) {
        if (*p == '"' || *p == '\\')
            buffer_printf(out, "\\%c", *p);
        else if (*p < 0x20 || *p >= 0x7f)
            /* bytes of unknown encoding: readable, and always valid JSON */
            buffer_printf(out, "\\u%04x", *p);
        else
            buffer_append_u8(out, *p);
    }
    buffer_append_u8(out, '"');
}

void
http_reply_problem(struct http_request *request, int status, const char *title,
                   const char *detail)
{
    struct buffer body;
    buffer_init(&body, PROBLEM_SIZE_MAX);
    buffer_printf(&body,
                  "{\"type\":\"about:blank\",\"status\":%d,\"title\":", status);
    append_json_text(&body, title);
    if (detail != NULL) {
        buffer_append_text(&body, ",\"detail\":");
        append_json_text(&body, detail);
    }
    buffer_append_text(&body, "}\n");
    http_reply(request, status, "application/problem+json",
               body.err == 0 ? buffer_bytes(&body) : BYTES_LITERAL("{}\n"));
    buffer_fini(&body);
}

/* ---- listening ---- */

/* Those of this thread's loop: evhttp makes itself the context of a listener,
 * and tells nobody whose it is. */
static _Thread_local struct http_server *listening;

static struct http_server **
listening_find(const struct evconnlistener *listener)
{
    struct http_server **at = &listening;
    while (*at != NULL && (*at)->listener != listener)
        at = &(*at)->next;
    return at;
}

static void
accept_again(evutil_socket_t fd, short what, void *arg)
{
    struct http_server *server = arg;
    evconnlistener_enable(server->listener);
}

/* Out of descriptors or memory: the connection stays in the backlog, and the
 * loop would come here again and again until there is room. */
static void
accept_failed(struct evconnlistener *listener, void *context)
{
    static uint64_t logged_ms;
    const int reason = errno;
    struct http_server *server = *listening_find(listener);
    const struct timeval pause = loop_ms(ACCEPT_PAUSE_MS);
    if (server != NULL && event_add(&server->accept_again, &pause) == 0)
        evconnlistener_disable(listener);
    const uint64_t now_ms = clock_now_ms();
    if (now_ms - logged_ms < 1000)
        return;
    logged_ms = now_ms;
    log_warn("http: cannot accept a connection (%s)", strerror(reason));
}

static int
address_parse(const char *text, struct sockaddr_storage *out, socklen_t *len)
{
    char host[HTTP_HOST_SIZE];
    unsigned port;
    struct sockaddr_in *in4 = (struct sockaddr_in *) out;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *) out;
    if (http_address_split(text, host, &port) != 0)
        return ERR_INVALID;
    memset(out, 0, sizeof *out);
    if (strcmp(host, "localhost") == 0)
        snprintf(host, sizeof host, "127.0.0.1");
    if (inet_pton(AF_INET, host, &in4->sin_addr) == 1) {
        in4->sin_family = AF_INET;
        in4->sin_port = htons((uint16_t) port);
        *len = sizeof *in4;
        return 0;
    }
    if (inet_pton(AF_INET6, host, &in6->sin6_addr) == 1) {
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons((uint16_t) port);
        *len = sizeof *in6;
        return 0;
    }
    return ERR_INVALID;
}

static unsigned
bound_port(struct evconnlistener *listener)
{
    struct sockaddr_storage bound = {0};
    socklen_t len = sizeof bound;
    if (getsockname(evconnlistener_get_fd(listener), (struct sockaddr *) &bound,
                    &len)
        != 0)
        return 0;
    return ntohs(bound.ss_family == AF_INET
                     ? ((struct sockaddr_in *) &bound)->sin_port
                     : ((struct sockaddr_in6 *) &bound)->sin6_port);
}

/* Connections inherit it. An answer is written in pieces, the last of which
 * would wait until the client, which has nothing to send, confirms those before:
 * 40 ms on Linux. */
static void
send_at_once(struct evconnlistener *listener)
{
    const int on = 1;
    (void) setsockopt(evconnlistener_get_fd(listener), IPPROTO_TCP, TCP_NODELAY,
                      &on, sizeof on);
}

static int
server_listen(struct http_server *server, const char *address)
{
    struct sockaddr_storage where;
    socklen_t where_len;
    if (address_parse(address, &where, &where_len) != 0) {
        log_error("http: cannot listen on '%s' (expected ADDRESS:PORT)",
                  address);
        return ERR_INVALID;
    }
    server->listener = evconnlistener_new_bind(
        server->base, NULL, NULL,
        LEV_OPT_REUSEABLE | LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC,
        LISTEN_BACKLOG, (struct sockaddr *) &where, (int) where_len);
    if (server->listener == NULL) {
        log_error("http: cannot listen on %s (%s)", address, strerror(errno));
        return ERR_IO;
    }
    server->port = bound_port(server->listener);
    send_at_once(server->listener);
    if (evhttp_bind_listener(server->evhttp, server->listener) == NULL) {
        evconnlistener_free(server->listener);
        server->listener = NULL;
        return ERR_MEMORY;
    }
    evtimer_assign(&server->accept_again, server->base, accept_again, server);
    server->next = listening;
    listening = server;
    evconnlistener_set_error_cb(server->listener, accept_failed);
    return 0;
}

static int
server_setup(struct http_server *server,
             const struct http_server_config *config)
{
    for (size_t i = 0; i < config->route_count; i++) {
        int err = route_compile(&config->routes[i], &server->routes[i]);
        if (err != 0) {
            log_error("http: bad route %s", config->routes[i].path);
            return err;
        }
        server->route_count++;
    }
    server->evhttp = evhttp_new(server->base);
    if (server->evhttp == NULL)
        return ERR_MEMORY;
    uint16_t allowed = 0;
    for (size_t i = 0; i < METHOD_COUNT; i++)
        allowed |= (uint16_t) methods[i].type;
    evhttp_set_allowed_methods(server->evhttp, allowed);
    evhttp_set_gencb(server->evhttp, handle_request, server);
    evhttp_set_default_content_type(server->evhttp, NULL);
    evhttp_set_max_headers_size(server->evhttp, HEADERS_SIZE_MAX);
    evhttp_set_max_body_size(
        server->evhttp, (ev_ssize_t) (config->body_size_max + BODY_OVER_MAX));
    /* read a too large body to its end, so that the 413 arrives */
    evhttp_set_flags(server->evhttp, EVHTTP_SERVER_LINGERING_CLOSE);
    evhttp_set_timeout_tv(server->evhttp, &server->idle_timeout);
    return server_listen(server, config->listen);
}

int
http_server_new(struct event_base *base,
                const struct http_server_config *config,
                struct http_server **out)
{
    http_library_init();
    struct http_server *server = calloc(
        1, sizeof *server + config->route_count * sizeof *server->routes);
    if (server == NULL)
        return ERR_MEMORY;
    server->base = base;
    server->context = config->context;
    server->body_size_max = config->body_size_max;
    server->idle_timeout.tv_sec =
        config->idle_timeout_s == 0 ? 60 : config->idle_timeout_s;
    int err = server_setup(server, config);
    if (err != 0) {
        http_server_free(server);
        return err;
    }
    *out = server;
    return 0;
}

void
http_server_free(struct http_server *server)
{
    if (server == NULL)
        return;
    if (server->listener != NULL) {
        *listening_find(server->listener) = server->next;
        event_del(&server->accept_again);
    }
    if (server->evhttp != NULL)
        evhttp_free(server->evhttp); /* and the listener */
    free(server);
}

unsigned
http_server_port(const struct http_server *server)
{
    return server->port;
}

const char *
http_request_method(const struct http_request *request)
{
    return method_name(evhttp_request_get_command(request->evreq));
}

const char *
http_request_segment(const struct http_request *request, unsigned n)
{
    return n < request->segment_count ? request->segments[n] : NULL;
}

const char *
http_request_query(const struct http_request *request, const char *name)
{
    /* parsed when first asked for: most requests have none */
    struct http_request *r = (struct http_request *) (uintptr_t) request;
    if (!r->has_query) {
        const char *query =
            evhttp_uri_get_query(evhttp_request_get_evhttp_uri(r->evreq));
        if (query == NULL)
            return NULL;
        if (evhttp_parse_query_str(query, &r->query) != 0)
            return NULL;
        r->has_query = true;
    }
    return evhttp_find_header(&r->query, name);
}

const char *
http_request_header(const struct http_request *request, const char *name)
{
    return evhttp_find_header(evhttp_request_get_input_headers(request->evreq),
                              name);
}

struct bytes
http_request_body(const struct http_request *request)
{
    struct evbuffer *input = evhttp_request_get_input_buffer(request->evreq);
    const size_t len = evbuffer_get_length(input);
    return len == 0 ? bytes_of("", 0)
                    : bytes_of(evbuffer_pullup(input, -1), len);
}

void
http_request_on_close(struct http_request *request,
                      void (*closed)(void *context), void *context)
{
    struct evhttp_connection *connection =
        evhttp_request_get_connection(request->evreq);
    struct bufferevent *stream = evhttp_connection_get_bufferevent(connection);
    bufferevent_event_cb event_cb;
    bufferevent_data_cb write_cb;
    void *arg;
    request->closed = closed;
    request->closed_context = context;
    /*
     * evhttp stops reading while a request is handled, and so would not see
     * the client leave. Reading goes on here without its read callback, which
     * takes any byte in this state for a broken invariant and ends the
     * program; what a client pipelines waits, up to a limit, for the reply.
     */
    bufferevent_getcb(stream, NULL, &write_cb, &event_cb, &arg);
    bufferevent_setcb(stream, NULL, write_cb, event_cb, arg);
    bufferevent_setwatermark(stream, EV_READ, 0, PIPELINED_SIZE_MAX);
    bufferevent_set_timeouts(stream, NULL, &request->server->idle_timeout);
    bufferevent_enable(stream, EV_READ);
}

void
http_reply_header(struct http_request *request, const char *name,
                  const char *value)
{
    evhttp_add_header(evhttp_request_get_output_headers(request->evreq), name,
                      value);
}

void
http_reply(struct http_request *request, int status, const char *content_type,
           struct bytes body)
{
    struct evhttp_request *evreq = request->evreq;
    if (content_type != NULL && body.len > 0)
        http_reply_header(request, "Content-Type", content_type);
    if (!is_bodiless(request, status)) {
        evbuffer_add(evhttp_request_get_output_buffer(evreq), body.ptr,
                     body.len);
    } else if (status != 204 && status != 304) {
        /* HEAD: the library leaves the length out */
        char length[24];
        snprintf(length, sizeof length, "%zu", body.len);
        http_reply_header(request, "Content-Length", length);
    }
    request_free(request);
    evhttp_send_reply(evreq, status, NULL, NULL);
}

void
http_reply_error(struct http_request *request, int err, const char *format, ...)
{
    char detail[1024];
    if (format != NULL) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(detail, sizeof detail, format, arguments);
        va_end(arguments);
    }
    http_reply_problem(request, err_http_status(err), err_text(err),
                       format == NULL ? NULL : detail);
}
