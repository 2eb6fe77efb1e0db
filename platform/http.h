/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PLATFORM_HTTP_H
#define PLATFORM_HTTP_H

/*
 * HTTP for the daemons, on libevent's one loop: a server of routes on a
 * loopback address, and a client. Both are asynchronous; nothing here blocks
 * and everything belongs to the loop's thread.
 */

#include "core/bytes.h"
#include "core/err.h"

struct event_base;

/* ---- server ---- */

struct http_server;
struct http_request; /* until it is replied to, exactly once */

struct http_route {
    const char *method; /* "GET", "POST", ... (a GET route answers HEAD) */
    const char *path;   /* "/v1/contents/{id}": {x} takes one segment */
    void (*handle)(struct http_request *request, void *context);
};

struct http_server_config {
    const char *listen;   /* "127.0.0.1:7000", "[::1]:7000"; port 0: any free */
    size_t body_size_max; /* of a request; more is answered 413 */
    unsigned idle_timeout_s; /* without a byte from the client; 0: 60 */
    const struct http_route *routes;
    size_t route_count;
    void *context;
};

/* Logs the reason on failure. ERR_INVALID (the address), ERR_IO (port taken).
 */
int http_server_new(struct event_base *base,
                    const struct http_server_config *config,
                    struct http_server **out);
void http_server_free(struct http_server *server); /* not from a handler */
unsigned http_server_port(const struct http_server *server);

/* Stays valid until the reply. NULL where absent. */
const char *http_request_method(const struct http_request *request);
/* The n-th {x} of the route's path, decoded. */
const char *http_request_segment(const struct http_request *request,
                                 unsigned n);
const char *http_request_query(const struct http_request *request,
                               const char *name);
const char *http_request_header(const struct http_request *request,
                                const char *name);
struct bytes http_request_body(const struct http_request *request);

/* Called once if the client goes away, or the server is freed, before the
 * reply; the request is then gone and must not be replied to. For requests
 * that wait: without it a client that leaves is noticed only at the reply. */
void http_request_on_close(struct http_request *request,
                           void (*closed)(void *context), void *context);

void http_reply_header(struct http_request *request, const char *name,
                       const char *value); /* before the reply */
void http_reply(struct http_request *request, int status,
                const char *content_type, struct bytes body);
/* RFC 9457 problem: {"type":"about:blank","status":..,"title":..,"detail":..}
 * with the error's status; detail is printf-like and may be NULL. */
void http_reply_error(struct http_request *request, int err, const char *format,
                      ...) __attribute__((format(printf, 3, 4)));
/* The same for a status that no error has. */
void http_reply_problem(struct http_request *request, int status,
                        const char *title, const char *detail);

/* ---- client ---- */

struct http_client; /* keeps connections alive, per host and port */
struct http_fetch;

struct http_client *http_client_new(struct event_base *base,
                                    unsigned connections_per_host_max);
/* Every request from now on carries "Authorization: Bearer KEY", but for those
 * with an Authorization of their own. Once. ERR_MEMORY. */
int http_client_authorize(struct http_client *client, const char *key);
/* Cancels what is under way. Not from inside `done`. */
void http_client_free(struct http_client *client);

struct http_response {
    int err;    /* 0, or ERR_UPSTREAM, ERR_TIMEOUT, ERR_LIMIT: no answer */
    int status; /* HTTP status when err is 0 */
    struct bytes body;   /* empty when discarded */
    uint64_t body_size;  /* bytes received, discarded ones included */
    const void *headers; /* for http_response_header */
};
const char *http_response_header(const struct http_response *response,
                                 const char *name);

struct http_fetch_config {
    const char *method;         /* "GET" */
    const char *url;            /* "http://host:port/path?query" */
    const char *const *headers; /* name, value, name, value, NULL; or NULL */
    struct bytes body;
    unsigned timeout_ms;  /* from the call to the last byte; 0: 60 s */
    size_t body_size_max; /* 0: 16 MiB; any size when discarded */
    bool discard_body;    /* count the bytes, keep none */
    bool may_repeat;      /* asking twice does no harm, though not by GET */
    void (*done)(const struct http_response *response, void *context);
    void *context;
};

/* "http://HOST[:PORT][/PATH]" with nothing in it that ends a request line. */
bool http_url_is_valid(const char *url);
bool http_url_is_valid_tls(const char *url); /* that, or https:// */
/* https://, or http:// of this machine, by its address or as "localhost": what
 * nobody on the way can read or change. */
bool http_url_is_private(const char *url);

/* `done` is called exactly once, later, never from inside this call - unless
 * the fetch is cancelled. Redirects are not followed: the answer is the 302.
 * What may be repeated, as GET and HEAD, is tried once more where the other side
 * had closed the kept connection. Everything in the config is copied. NULL when the URL or the
 * method is bad. */
struct http_fetch *http_fetch(struct http_client *client,
                              const struct http_fetch_config *config);
void http_fetch_cancel(struct http_fetch *fetch);

#endif
