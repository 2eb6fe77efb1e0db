/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client: fetches over evhttp connections that are kept, per host and
 * port, up to a maximum; what is over it waits in line.
 *
 *   http_fetch() -> host's queue -> pump -> slot's connection -> done()
 *
 * The pump runs from the loop, so that nothing is called back from inside
 * http_fetch(). A slot outlives its connection: evhttp connects again when the
 * other side has closed it. It cannot do that with TLS, nor while it waits for
 * the address of a name: such a slot makes itself a new connection.
 */

#include "platform/http.h"

#include "platform/http_private.h"
#include "platform/log.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/queue.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <event2/http.h>

#define BODY_SIZE_MAX_DEFAULT (16u << 20) /* bytes, of a body that is kept */
#define IDLE_TIMEOUT_S 20 /* less than a server keeps a connection */
#define URL_LEN_MAX 8192

struct slot {                /* one connection, idle or under a fetch */
    TAILQ_ENTRY(slot) entry; /* in host->idle */
    struct evhttp_connection *connection;
    struct host *host;
    bool is_used;  /* it has carried a whole answer: it may be stale now */
    bool is_spent; /* it failed, its name may be asked still; closed, of TLS */
};

struct host {
    TAILQ_ENTRY(host) entry;
    struct http_client *client;
    char name[HTTP_HOST_SIZE];
    unsigned port;
    bool is_tls;
    size_t slot_count;
    TAILQ_HEAD(, slot) idle;
    TAILQ_HEAD(, http_fetch) queue;
    bool is_in_pump;
    TAILQ_ENTRY(host) pump_entry;
};

struct http_client {
    struct event_base *base;
    struct http_names *names;
    size_t slots_per_host_max;
    char *authorization; /* of every request; NULL: none */
    struct event *pump;
    http_stream_new *stream_new; /* NULL: no TLS */
    void *stream_context;
    TAILQ_HEAD(, host) hosts;
    TAILQ_HEAD(, host) to_pump;
    TAILQ_HEAD(, http_fetch) fetches; /* all, waiting or under way */
};

struct http_fetch {
    TAILQ_ENTRY(http_fetch) entry;       /* in client->fetches */
    TAILQ_ENTRY(http_fetch) queue_entry; /* in host->queue, without a slot */
    struct host *host;
    struct slot *slot;              /* NULL while waiting in line */
    struct evhttp_request *request; /* NULL while waiting in line */
    struct event timer;
    enum evhttp_cmd_type method;
    size_t body_size_max;
    bool discard_body, may_repeat;
    bool is_answered; /* the answer's head has come */
    bool is_retried;
    int err;
    uint64_t body_size;
    void (*done)(const struct http_response *response, void *context);
    void *context;
    struct bytes body; /* these point into copy */
    const char *uri;
    const char *headers; /* name, value, ..., each terminated; "" at the end */
    char copy[];
};

static const struct timeval idle_timeout = {.tv_sec = IDLE_TIMEOUT_S};
/* while a fetch is under way its own timer rules */
static const struct timeval busy_timeout = {.tv_sec = 24 * 3600};

static void
library_log(int severity, const char *message)
{
    if (severity >= EVENT_LOG_WARN)
        log_debug("libevent: %s", message);
}

void
http_library_init(void)
{
    event_set_log_callback(library_log);
    signal(SIGPIPE, SIG_IGN);
}

int
http_address_split(const char *text, char host[HTTP_HOST_SIZE], unsigned *port)
{
    const char *name = text, *end;
    if (*text == '[') {
        name++;
        end = strchr(name, ']');
        if (end == NULL || end[1] != ':')
            return ERR_INVALID;
        text = end + 1;
    } else {
        end = strrchr(text, ':');
        if (end == NULL || memchr(text, ':', (size_t) (end - text)) != NULL)
            return ERR_INVALID;
        text = end;
    }
    const size_t len = (size_t) (end - name);
    char *rest;
    const unsigned long value = strtoul(text + 1, &rest, 10);
    if (len == 0 || len >= HTTP_HOST_SIZE || text[1] < '0' || text[1] > '9'
        || *rest != '\0' || value > 65535)
        return ERR_INVALID;
    memcpy(host, name, len);
    host[len] = '\0';
    *port = (unsigned) value;
    return 0;
}

/* ---- hosts, slots and the pump ---- */

static struct host *
host_get(struct http_client *client, const char *name, unsigned port,
         bool is_tls)
{
    struct host *host;
    TAILQ_FOREACH(host, &client->hosts, entry)
    if (host->port == port && host->is_tls == is_tls
        && strcmp(host->name, name) == 0)
        return host;
    host = calloc(1, sizeof *host);
    if (host == NULL)
        return NULL;
    host->client = client;
    host->port = port;
    host->is_tls = is_tls;
    snprintf(host->name, sizeof host->name, "%s", name);
    TAILQ_INIT(&host->idle);
    TAILQ_INIT(&host->queue);
    TAILQ_INSERT_HEAD(&client->hosts, host, entry);
    return host;
}

static void
host_pump_later(struct host *host)
{
    struct http_client *client = host->client;
    if (host->is_in_pump || TAILQ_EMPTY(&host->queue))
        return;
    host->is_in_pump = true;
    TAILQ_INSERT_TAIL(&client->to_pump, host, pump_entry);
    event_active(client->pump, EV_TIMEOUT, 0);
}

static void
stream_closed(struct evhttp_connection *connection, void *arg)
{
    struct slot *slot = arg;
    slot->is_spent = true;
}

static bool
slot_connect(struct slot *slot)
{
    const struct host *host = slot->host;
    const struct http_client *client = host->client;
    /* evhttp's own would not close what it opens when the name is known only
     * after its connection is freed */
    struct bufferevent *stream =
        host->is_tls
            ? client->stream_new(client->base, host->name,
                                 client->stream_context)
            : bufferevent_socket_new(client->base, -1, BEV_OPT_CLOSE_ON_FREE);
    if (stream == NULL)
        return false;
    /* takes the stream */
    slot->connection = evhttp_connection_base_bufferevent_new(
        client->base, http_names_current(client->names), stream, host->name,
        (uint16_t) host->port);
    if (slot->connection == NULL) {
        bufferevent_free(stream);
        return false;
    }
    if (host->is_tls)
        evhttp_connection_set_closecb(slot->connection, stream_closed, slot);
    slot->is_spent = false;
    slot->is_used = false;
    return true;
}

static void
slot_disconnect(struct slot *slot)
{
    if (slot->connection == NULL)
        return;
    evhttp_connection_set_closecb(slot->connection, NULL, NULL);
    evhttp_connection_free(slot->connection);
    slot->connection = NULL;
}

static struct slot *
slot_new(struct host *host)
{
    if (host->slot_count >= host->client->slots_per_host_max)
        return NULL;
    struct slot *slot = calloc(1, sizeof *slot);
    if (slot == NULL)
        return NULL;
    slot->host = host;
    host->slot_count++;
    return slot;
}

/* Its connection may be NULL: there is no memory for one. */
static struct slot *
slot_take(struct host *host)
{
    struct slot *slot = TAILQ_FIRST(&host->idle);
    if (slot != NULL)
        TAILQ_REMOVE(&host->idle, slot, entry);
    else
        slot = slot_new(host);
    if (slot == NULL)
        return NULL;
    if (slot->is_spent)
        slot_disconnect(slot);
    if (slot->connection == NULL)
        slot_connect(slot);
    return slot;
}

/* The last used first: what the load no longer needs grows old and closes. */
static void
slot_put(struct slot *slot, bool is_used)
{
    slot->is_used = is_used;
    if (!is_used)
        slot->is_spent = true;
    if (slot->connection != NULL)
        evhttp_connection_set_timeout_tv(slot->connection, &idle_timeout);
    TAILQ_INSERT_HEAD(&slot->host->idle, slot, entry);
    host_pump_later(slot->host);
}

/* ---- one fetch ---- */

static void
fetch_unlink(struct http_fetch *fetch)
{
    TAILQ_REMOVE(&fetch->host->client->fetches, fetch, entry);
    if (fetch->slot == NULL)
        TAILQ_REMOVE(&fetch->host->queue, fetch, queue_entry);
    event_del(&fetch->timer);
}

static void
fetch_finish(struct http_fetch *fetch, const struct http_response *response)
{
    struct slot *slot = fetch->slot;
    fetch_unlink(fetch);
    if (slot != NULL)
        slot_put(slot, response->err == 0);
    fetch->done(response, fetch->context);
    free(fetch);
}

static void
fetch_fail(struct http_fetch *fetch, int err)
{
    const struct http_response response = {.err = err,
                                           .body = {(const uint8_t *) "", 0},
                                           .body_size = fetch->body_size};
    fetch_finish(fetch, &response);
}

static void
fetch_timed_out(evutil_socket_t fd, short what, void *arg)
{
    struct http_fetch *fetch = arg;
    if (fetch->request != NULL) {
        struct evhttp_request *request = fetch->request;
        fetch->request = NULL;
        evhttp_cancel_request(request); /* closes the connection */
    }
    fetch_fail(fetch, ERR_TIMEOUT);
}

static int
answer_begins(struct evhttp_request *request, void *arg)
{
    struct http_fetch *fetch = arg;
    fetch->is_answered = true;
    return 0;
}

static void
body_piece(struct evhttp_request *request, void *arg)
{
    struct http_fetch *fetch = arg;
    struct evbuffer *input = evhttp_request_get_input_buffer(request);
    const size_t len = evbuffer_get_length(input);
    fetch->body_size += len;
    evbuffer_drain(input, len);
}

static void
request_failed(enum evhttp_request_error error, void *arg)
{
    if (error == EVREQ_HTTP_REQUEST_CANCEL)
        return; /* by us: the fetch may be gone already */
    struct http_fetch *fetch = arg;
    switch (error) {
    case EVREQ_HTTP_TIMEOUT:
        fetch->err = ERR_TIMEOUT;
        break;
    case EVREQ_HTTP_DATA_TOO_LONG:
        fetch->err = ERR_LIMIT;
        break;
    case EVREQ_HTTP_EOF:
    case EVREQ_HTTP_INVALID_HEADER:
    case EVREQ_HTTP_BUFFER_ERROR:
    case EVREQ_HTTP_REQUEST_CANCEL:
        fetch->err = ERR_UPSTREAM;
        break;
    }
}

/*
 * A kept connection may have been closed by the other side just as we sent on
 * it; one that speaks HTTP/1.0 closes each, maybe some time after its answer.
 * Asking again is safe where asking twice is (RFC 9110 section 9.2.2).
 */
static bool
may_retry(const struct http_fetch *fetch)
{
    return fetch->slot->is_used && !fetch->is_retried && !fetch->is_answered
           && fetch->err == ERR_UPSTREAM && fetch->may_repeat;
}

static void
fetch_retry(struct http_fetch *fetch)
{
    struct slot *slot = fetch->slot;
    fetch->slot = NULL;
    fetch->is_retried = true;
    fetch->err = 0;
    TAILQ_INSERT_HEAD(&fetch->host->queue, fetch, queue_entry);
    slot_put(slot, false); /* and the pump takes it again, fresh */
}

static void
request_done(struct evhttp_request *request, void *arg)
{
    struct http_fetch *fetch = arg;
    fetch->request = NULL;
    if (request == NULL || evhttp_request_get_response_code(request) == 0) {
        if (fetch->err == 0)
            fetch->err = ERR_UPSTREAM;
        if (may_retry(fetch))
            fetch_retry(fetch);
        else
            fetch_fail(fetch, fetch->err);
        return;
    }
    struct evbuffer *input = evhttp_request_get_input_buffer(request);
    struct http_response response = {
        .status = evhttp_request_get_response_code(request),
        .body = {(const uint8_t *) "", 0},
        .headers = evhttp_request_get_input_headers(request),
    };
    if (!fetch->discard_body) {
        fetch->body_size = evbuffer_get_length(input);
        if (fetch->body_size > 0)
            response.body =
                bytes_of(evbuffer_pullup(input, -1), (size_t) fetch->body_size);
    }
    response.body_size = fetch->body_size;
    fetch_finish(fetch, &response);
}

static bool
has_header(const struct http_fetch *fetch, const char *name)
{
    for (const char *p = fetch->headers; *p != '\0';) {
        if (strcasecmp(p, name) == 0)
            return true;
        p += strlen(p) + 1;
        p += strlen(p) + 1;
    }
    return false;
}

static void
request_headers(const struct http_fetch *fetch, struct evkeyvalq *headers)
{
    const char *authorization = fetch->host->client->authorization;
    char text[HTTP_HOST_SIZE + 16];
    if (!has_header(fetch, "Host")) {
        const bool is_v6 = strchr(fetch->host->name, ':') != NULL;
        snprintf(text, sizeof text, "%s%s%s:%u", is_v6 ? "[" : "",
                 fetch->host->name, is_v6 ? "]" : "", fetch->host->port);
        evhttp_add_header(headers, "Host", text);
    }
    for (const char *p = fetch->headers; *p != '\0';) {
        const char *value = p + strlen(p) + 1;
        evhttp_add_header(headers, p, value);
        p = value + strlen(value) + 1;
    }
    if (authorization != NULL && !has_header(fetch, "Authorization"))
        evhttp_add_header(headers, "Authorization", authorization);
    if (fetch->body.len > 0 && !has_header(fetch, "Content-Length")) {
        snprintf(text, sizeof text, "%zu", fetch->body.len);
        evhttp_add_header(headers, "Content-Length", text);
    }
}

static void
fetch_start(struct http_fetch *fetch, struct slot *slot)
{
    struct evhttp_request *request = evhttp_request_new(request_done, fetch);
    fetch->slot = slot;
    if (request == NULL || slot->connection == NULL) {
        if (request != NULL)
            evhttp_request_free(request);
        fetch_fail(fetch, ERR_MEMORY);
        return;
    }
    evhttp_request_set_error_cb(request, request_failed);
    evhttp_request_set_header_cb(request, answer_begins);
    if (fetch->discard_body)
        evhttp_request_set_chunked_cb(request, body_piece);
    request_headers(fetch, evhttp_request_get_output_headers(request));
    evbuffer_add(evhttp_request_get_output_buffer(request), fetch->body.ptr,
                 fetch->body.len);
    evhttp_connection_set_timeout_tv(slot->connection, &busy_timeout);
    evhttp_connection_set_max_body_size(slot->connection,
                                        (ev_ssize_t) fetch->body_size_max);
    fetch->request = request;
    /* may come back through request_done() at once: not a step further */
    if (evhttp_make_request(slot->connection, request, fetch->method,
                            fetch->uri)
        != 0)
        log_debug("http: cannot start a request");
}

static void
pump(evutil_socket_t fd, short what, void *arg)
{
    struct http_client *client = arg;
    struct host *host;
    /* what is put in line meanwhile gets another turn of the loop */
    TAILQ_HEAD(, host) now = TAILQ_HEAD_INITIALIZER(now);
    TAILQ_CONCAT(&now, &client->to_pump, pump_entry);
    while ((host = TAILQ_FIRST(&now)) != NULL) {
        TAILQ_REMOVE(&now, host, pump_entry);
        host->is_in_pump = false;
        struct slot *slot;
        while (!TAILQ_EMPTY(&host->queue) && (slot = slot_take(host)) != NULL) {
            struct http_fetch *fetch = TAILQ_FIRST(&host->queue);
            TAILQ_REMOVE(&host->queue, fetch, queue_entry);
            fetch_start(fetch, slot);
        }
    }
}

/* ---- making a fetch ---- */

static int
method_parse(const char *name, enum evhttp_cmd_type *out)
{
    static const struct {
        const char *name;
        enum evhttp_cmd_type type;
    } methods[] = {
        {"GET", EVHTTP_REQ_GET},         {"HEAD", EVHTTP_REQ_HEAD},
        {"POST", EVHTTP_REQ_POST},       {"PUT", EVHTTP_REQ_PUT},
        {"DELETE", EVHTTP_REQ_DELETE},   {"PATCH", EVHTTP_REQ_PATCH},
        {"OPTIONS", EVHTTP_REQ_OPTIONS},
    };
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        if (strcmp(name, methods[i].name) == 0) {
            *out = methods[i].type;
            return 0;
        }
    }
    return ERR_INVALID;
}

struct url {
    char host[HTTP_HOST_SIZE];
    unsigned port;
    bool is_tls;
    struct bytes path; /* with the query, without a fragment; may be empty */
};

static int
url_parse(const char *text, struct url *out)
{
    static const char scheme[] = "http://", tls_scheme[] = "https://";
    const bool is_tls = strncmp(text, tls_scheme, sizeof tls_scheme - 1) == 0;
    if ((!is_tls && strncmp(text, scheme, sizeof scheme - 1) != 0)
        || strlen(text) > URL_LEN_MAX)
        return ERR_INVALID;
    for (const char *p = text; *p != '\0'; p++)
        if ((unsigned char) *p <= ' ' || *p == 0x7f)
            return ERR_INVALID; /* it would split the request line */
    text += (is_tls ? sizeof tls_scheme : sizeof scheme) - 1;
    const size_t authority_len = strcspn(text, "/?#");
    char authority[HTTP_HOST_SIZE + 8];
    const char *colon = memchr(text, ':', authority_len);
    if (memchr(text, '@', authority_len) != NULL)
        return ERR_INVALID;
    const bool has_port =
        text[0] == '[' ? authority_len > 0 && text[authority_len - 1] != ']'
                       : colon != NULL;
    const int n = snprintf(authority, sizeof authority, "%.*s%s",
                           (int) authority_len, text,
                           has_port ? ""
                           : is_tls ? ":443"
                                    : ":80");
    if (n < 0 || (size_t) n >= sizeof authority
        || http_address_split(authority, out->host, &out->port) != 0
        || out->port == 0)
        return ERR_INVALID;
    out->is_tls = is_tls;
    text += authority_len;
    out->path = bytes_of(text, strcspn(text, "#"));
    return 0;
}

static size_t
copy_size(const struct http_fetch_config *config, const struct url *url)
{
    size_t size = 1 + url->path.len + 1; /* a slash where there is none */
    for (const char *const *h = config->headers; h != NULL && *h != NULL; h++)
        size += strlen(*h) + 1;
    return size + 1 + config->body.len;
}

static char *
copy_text(char *to, const char *from, size_t len)
{
    memcpy(to, from, len);
    to[len] = '\0';
    return to + len + 1;
}

static void
fetch_copy(struct http_fetch *fetch, const struct http_fetch_config *config,
           const struct url *url)
{
    char *to = fetch->copy;
    fetch->uri = to;
    if (url->path.len == 0 || url->path.ptr[0] != '/')
        *to++ = '/';
    to = copy_text(to, (const char *) url->path.ptr, url->path.len);
    fetch->headers = to;
    const char *const *h = config->headers;
    for (; h != NULL && h[0] != NULL && h[1] != NULL; h += 2) {
        to = copy_text(to, h[0], strlen(h[0]));
        to = copy_text(to, h[1], strlen(h[1]));
    }
    *to++ = '\0';
    if (config->body.len > 0)
        memcpy(to, config->body.ptr, config->body.len);
    fetch->body = bytes_of(to, config->body.len);
}

struct http_client *
http_client_new(struct event_base *base, unsigned connections_per_host_max)
{
    http_library_init();
    struct http_client *client = calloc(1, sizeof *client);
    if (client == NULL)
        return NULL;
    client->base = base;
    client->slots_per_host_max =
        connections_per_host_max == 0 ? 1 : connections_per_host_max;
    TAILQ_INIT(&client->hosts);
    TAILQ_INIT(&client->to_pump);
    TAILQ_INIT(&client->fetches);
    client->pump = event_new(base, -1, 0, pump, client);
    if (client->pump == NULL) {
        free(client);
        return NULL;
    }
    client->names = http_names_new(base);
    return client;
}

int
http_client_authorize(struct http_client *client, const char *key)
{
    const size_t size = sizeof "Bearer " + strlen(key);
    client->authorization = malloc(size);
    if (client->authorization == NULL)
        return ERR_MEMORY;
    snprintf(client->authorization, size, "Bearer %s", key);
    return 0;
}

void
http_client_free(struct http_client *client)
{
    if (client == NULL)
        return;
    struct http_fetch *fetch;
    while ((fetch = TAILQ_FIRST(&client->fetches)) != NULL)
        http_fetch_cancel(fetch);
    struct host *host;
    while ((host = TAILQ_FIRST(&client->hosts)) != NULL) {
        struct slot *slot;
        while ((slot = TAILQ_FIRST(&host->idle)) != NULL) {
            TAILQ_REMOVE(&host->idle, slot, entry);
            slot_disconnect(slot);
            free(slot);
        }
        TAILQ_REMOVE(&client->hosts, host, entry);
        free(host);
    }
    http_names_free(client->names);
    event_free(client->pump);
    if (client->authorization != NULL)
        explicit_bzero(client->authorization, strlen(client->authorization));
    free(client->authorization);
    free(client);
}

const char *
http_response_header(const struct http_response *response, const char *name)
{
    return response->headers == NULL
               ? NULL
               : evhttp_find_header(response->headers, name);
}

bool
http_url_is_valid(const char *text)
{
    struct url url;
    return url_parse(text, &url) == 0 && !url.is_tls;
}

bool
http_url_is_valid_tls(const char *text)
{
    struct url url;
    return url_parse(text, &url) == 0;
}

bool
http_url_is_private(const char *text)
{
    struct url url;
    struct in_addr address;
    if (url_parse(text, &url) != 0)
        return false;
    return url.is_tls || strcmp(url.host, "localhost") == 0
           || strcmp(url.host, "::1") == 0
           || (inet_pton(AF_INET, url.host, &address) == 1
               && ntohl(address.s_addr) >> 24 == IN_LOOPBACKNET);
}

void
http_client_set_stream(struct http_client *client, http_stream_new *stream_new,
                       void *context)
{
    client->stream_new = stream_new;
    client->stream_context = context;
}

struct http_fetch *
http_fetch(struct http_client *client, const struct http_fetch_config *config)
{
    struct url url;
    enum evhttp_cmd_type method;
    if (url_parse(config->url, &url) != 0
        || method_parse(config->method, &method) != 0
        || (url.is_tls && client->stream_new == NULL))
        return NULL;
    struct host *host = host_get(client, url.host, url.port, url.is_tls);
    struct http_fetch *fetch =
        host == NULL ? NULL
                     : calloc(1, sizeof *fetch + copy_size(config, &url));
    if (fetch == NULL)
        return NULL;
    fetch->host = host;
    fetch->method = method;
    fetch->discard_body = config->discard_body;
    fetch->may_repeat = config->may_repeat || method == EVHTTP_REQ_GET
                        || method == EVHTTP_REQ_HEAD;
    fetch->body_size_max = config->body_size_max > 0 ? config->body_size_max
                           : config->discard_body    ? SIZE_MAX / 2
                                                     : BODY_SIZE_MAX_DEFAULT;
    fetch->done = config->done;
    fetch->context = config->context;
    fetch_copy(fetch, config, &url);
    TAILQ_INSERT_TAIL(&client->fetches, fetch, entry);
    TAILQ_INSERT_TAIL(&host->queue, fetch, queue_entry);
    evtimer_assign(&fetch->timer, client->base, fetch_timed_out, fetch);
    const unsigned timeout_ms =
        config->timeout_ms == 0 ? 60000 : config->timeout_ms;
    const struct timeval timeout = {.tv_sec = timeout_ms / 1000,
                                    .tv_usec = (suseconds_t) (timeout_ms % 1000)
                                               * 1000};
    event_add(&fetch->timer, &timeout);
    host_pump_later(host);
    return fetch;
}

void
http_fetch_cancel(struct http_fetch *fetch)
{
    if (fetch == NULL)
        return;
    struct slot *slot = fetch->slot;
    if (fetch->request != NULL)
        evhttp_cancel_request(fetch->request);
    fetch_unlink(fetch);
    if (slot != NULL)
        slot_put(slot, false);
    free(fetch);
}
