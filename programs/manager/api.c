/* SPDX-License-Identifier: Apache-2.0 */
/* The Manager's routes, and the long polls that wait for the next table. */

#include "programs/manager/api.h"

#include "core/content.h"
#include "core/err.h"
#include "platform/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#define WAIT_MS_MAX 60000
#define WAITING_MAX 10000
#define METRICS_SIZE_MAX (1u << 20) /* bytes */
#define IDLE_TIMEOUT_S 75
#define URL_SIZE 512 /* with its end */

struct waiting { /* a long poll */
    TAILQ_ENTRY(waiting) entry;
    struct api *api;
    struct http_request *request;
    struct table_version after;
    struct event timer;
};

struct api {
    struct event_base *base;
    struct manager *manager; /* NULL: stands by */
    char leader[URL_SIZE];   /* whom it stands by; "": not known */
    struct http_server *server;
    TAILQ_HEAD(, waiting) waiting;
    size_t waiting_count;
    struct override_replies *override_replies;
};

#define VERSION_TEXT_SIZE 48

static const char *
version_text(struct table_version version, char text[VERSION_TEXT_SIZE])
{
    snprintf(text, VERSION_TEXT_SIZE, "%llu.%llu",
             (unsigned long long) version.term,
             (unsigned long long) version.sequence);
    return text;
}

/* ---- standing by ---- */

static void
reply_who_leads(struct api *api, struct http_request *request, const char *path)
{
    char location[2 * URL_SIZE];
    if (api->leader[0] == '\0') {
        http_reply_error(request, ERR_UNAVAILABLE, "no Manager leads yet");
        return;
    }
    snprintf(location, sizeof location, "%s/v1/%s", api->leader, path);
    http_reply_header(request, "Location", location);
    http_reply(request, 307, NULL, bytes_of("", 0));
}

/* Whether it does; if not, the request is answered. */
static bool
leads(struct api *api, struct http_request *request, const char *path)
{
    if (api->manager == NULL)
        reply_who_leads(api, request, path);
    return api->manager != NULL;
}

/* ---- reports ---- */

static void
handle_report(struct http_request *request, void *context)
{
    struct api *api = context;
    struct demand_merge_result result;
    if (!leads(api, request, "reports"))
        return;
    const int err =
        manager_report(api->manager, http_request_body(request), &result);
    if (err != 0) {
        log_warn("api: refuse a report (%s)", err_text(err));
        http_reply_error(request, err, "the report is not used");
        return;
    }
    char version[VERSION_TEXT_SIZE], body[128];
    snprintf(body, sizeof body, "{\"full\":%s,\"version\":\"%s\"}\n",
             result.wants_full ? "true" : "false",
             version_text(manager_version(api->manager), version));
    http_reply(request, 200, "application/json", bytes_of_text(body));
}

/* ---- tables ---- */

static void
reply_table(const struct api *api, struct http_request *request)
{
    char version[VERSION_TEXT_SIZE];
    http_reply_header(request, "X-Vodst-Version",
                      version_text(manager_version(api->manager), version));
    http_reply(request, 200, "application/octet-stream",
               manager_table_encoded(api->manager));
}

static void
reply_nothing_newer(struct http_request *request)
{
    http_reply(request, 204, NULL, bytes_of("", 0));
}

static void
waiting_free(struct waiting *w)
{
    TAILQ_REMOVE(&w->api->waiting, w, entry);
    w->api->waiting_count--;
    event_del(&w->timer);
    free(w);
}

static void
waiting_over(evutil_socket_t fd, short what, void *arg)
{
    struct waiting *w = arg;
    struct http_request *request = w->request;
    waiting_free(w);
    reply_nothing_newer(request);
}

static void
waiting_closed(void *arg)
{
    waiting_free(arg);
}

static int
wait_for_table(struct api *api, struct http_request *request,
               struct table_version after, uint64_t wait_ms)
{
    if (api->waiting_count == WAITING_MAX)
        return ERR_FULL;
    struct waiting *w = calloc(1, sizeof *w);
    if (w == NULL)
        return ERR_MEMORY;
    const struct timeval wait = {.tv_sec = (time_t) (wait_ms / 1000),
                                 .tv_usec =
                                     (suseconds_t) (wait_ms % 1000) * 1000};
    w->api = api;
    w->request = request;
    w->after = after;
    evtimer_assign(&w->timer, api->base, waiting_over, w);
    event_add(&w->timer, &wait);
    TAILQ_INSERT_TAIL(&api->waiting, w, entry);
    api->waiting_count++;
    http_request_on_close(request, waiting_closed, w);
    return 0;
}

static bool
is_newer(const struct api *api, struct table_version after)
{
    return manager_table(api->manager) != NULL
           && table_version_compare(manager_version(api->manager), after) > 0;
}

static void
handle_table(struct http_request *request, void *context)
{
    struct api *api = context;
    const char *after_text = http_request_query(request, "after");
    const char *wait_text = http_request_query(request, "wait_ms");
    struct table_version after = {0, 0};
    uint64_t wait_ms = 0;
    if (!leads(api, request, "table"))
        return;
    if (after_text != NULL
        && table_version_parse(bytes_of_text(after_text), &after) != 0) {
        http_reply_error(request, ERR_INVALID, "after: expected TERM.SEQUENCE");
        return;
    }
    if (wait_text != NULL
        && (!bytes_number(bytes_of_text(wait_text), &wait_ms)
            || wait_ms > WAIT_MS_MAX)) {
        http_reply_error(request, ERR_INVALID, "wait_ms: expected 0 to %d",
                         WAIT_MS_MAX);
        return;
    }
    if (is_newer(api, after)) {
        reply_table(api, request);
    } else if (manager_wants_table(api->manager, after)) {
        http_reply_error(request, ERR_STALE, "PUT the table that is held");
    } else if (wait_ms == 0) {
        reply_nothing_newer(request);
    } else {
        const int err = wait_for_table(api, request, after, wait_ms);
        if (err != 0)
            http_reply_error(request, err, NULL);
    }
}

static void
handle_held_table(struct http_request *request, void *context)
{
    struct api *api = context;
    if (!leads(api, request, "table"))
        return;
    const int err = manager_adopt(api->manager, http_request_body(request));
    if (err != 0) {
        log_warn("api: refuse a held table (%s)", err_text(err));
        http_reply_error(request, err, "the table is not used");
        return;
    }
    http_reply(request, 204, NULL, bytes_of("", 0));
}

static void
table_published(void *context)
{
    api_published(context);
}

void
api_published(struct api *api)
{
    struct waiting *w, *next;
    for (w = TAILQ_FIRST(&api->waiting); w != NULL; w = next) {
        next = TAILQ_NEXT(w, entry);
        if (!is_newer(api, w->after))
            continue;
        struct http_request *request = w->request;
        waiting_free(w);
        reply_table(api, request);
    }
}

/* ---- for people and monitoring ---- */

/* Answers with the body, or with why it could not be written; frees it. */
static void
reply_written(struct http_request *request, int err, const char *type,
              struct buffer *body)
{
    if (err != 0)
        http_reply_error(request, err, NULL);
    else
        http_reply(request, 200, type, buffer_bytes(body));
    buffer_fini(body);
}

static void
handle_status(struct http_request *request, void *context)
{
    struct api *api = context;
    struct buffer body;
    if (!leads(api, request, "status"))
        return;
    buffer_init(&body, STATUS_SIZE_MAX);
    const int err = status_write(api->manager, &body);
    reply_written(request, err, "application/json", &body);
}

static void
handle_content(struct http_request *request, void *context)
{
    struct api *api = context;
    const char *name = http_request_segment(request, 0);
    const struct bytes id = bytes_of_text(name);
    struct buffer body;
    char path[URL_SIZE];
    snprintf(path, sizeof path, "contents/%s", name);
    if (!leads(api, request, content_id_is_valid(id) ? path : "status"))
        return;
    buffer_init(&body, STATUS_SIZE_MAX);
    const int err = content_write(api->manager, id, &body);
    reply_written(request, err, "application/json", &body);
}

static void
handle_overrides(struct http_request *request, void *context)
{
    struct api *api = context;
    if (leads(api, request, "overrides"))
        overrides_handle_list(api->manager, request);
}

static void
handle_override(struct api *api, struct http_request *request,
                enum override_target target, const char *folder)
{
    char path[URL_SIZE];
    const char *name =
        target == OVERRIDE_CDN ? "" : http_request_segment(request, 0);
    /* what is no name is refused by whoever leads */
    snprintf(path, sizeof path, "%s%s", folder,
             content_id_is_valid(bytes_of_text(name)) ? name : "");
    if (leads(api, request, path))
        overrides_handle(api->manager, api->override_replies, request, target);
}

static void
handle_content_override(struct http_request *request, void *context)
{
    handle_override(context, request, OVERRIDE_CONTENT, "overrides/contents/");
}

static void
handle_node_override(struct http_request *request, void *context)
{
    handle_override(context, request, OVERRIDE_NODE, "overrides/nodes/");
}

static void
handle_cdn_override(struct http_request *request, void *context)
{
    handle_override(context, request, OVERRIDE_CDN, "overrides/cdn");
}

static void
handle_metrics(struct http_request *request, void *context)
{
    struct api *api = context;
    struct buffer body;
    buffer_init(&body, METRICS_SIZE_MAX);
    metrics_lead_write(api->manager != NULL, &body);
    if (api->manager != NULL)
        metrics_write(api->manager, api->waiting_count, &body);
    reply_written(request, body.err, "text/plain; version=0.0.4", &body);
}

static void
handle_health(struct http_request *request, void *context)
{
    http_reply(request, 200, "text/plain", BYTES_LITERAL("ok\n"));
}

static const struct http_route routes[] = {
    {"POST", "/v1/reports", handle_report},
    {"GET", "/v1/table", handle_table},
    {"PUT", "/v1/table", handle_held_table},
    {"GET", "/v1/status", handle_status},
    {"GET", "/v1/contents/{id}", handle_content},
    {"GET", "/v1/overrides", handle_overrides},
    {"GET", "/v1/overrides/contents/{id}", handle_content_override},
    {"PUT", "/v1/overrides/contents/{id}", handle_content_override},
    {"DELETE", "/v1/overrides/contents/{id}", handle_content_override},
    {"GET", "/v1/overrides/nodes/{name}", handle_node_override},
    {"PUT", "/v1/overrides/nodes/{name}", handle_node_override},
    {"DELETE", "/v1/overrides/nodes/{name}", handle_node_override},
    {"GET", "/v1/overrides/cdn", handle_cdn_override},
    {"PUT", "/v1/overrides/cdn", handle_cdn_override},
    {"DELETE", "/v1/overrides/cdn", handle_cdn_override},
    {"GET", "/metrics", handle_metrics},
    {"GET", "/healthz", handle_health},
};

int
api_new(struct event_base *base, const char *listen, struct api **out)
{
    struct api *api = calloc(1, sizeof *api);
    if (api == NULL)
        return ERR_MEMORY;
    api->base = base;
    TAILQ_INIT(&api->waiting);
    const struct http_server_config config = {
        .listen = listen,
        .body_size_max = REPORT_SIZE_MAX,
        .idle_timeout_s = IDLE_TIMEOUT_S,
        .routes = routes,
        .route_count = sizeof routes / sizeof *routes,
        .context = api,
    };
    api->override_replies = override_replies_new(base);
    const int err = api->override_replies == NULL
                        ? ERR_MEMORY
                        : http_server_new(base, &config, &api->server);
    if (err != 0) {
        override_replies_free(api->override_replies);
        free(api);
        return err;
    }
    *out = api;
    return 0;
}

static void
overrides_kept(void *context)
{
    struct api *api = context;
    override_replies_kept(api->override_replies);
}

void
api_lead(struct api *api, struct manager *manager)
{
    api->manager = manager;
    manager_on_publish(manager, table_published, api);
    overrides_on_kept(manager_overrides(manager), overrides_kept, api);
}

/* What it answers is not about the manager any more. */
static void
manager_leave(struct api *api)
{
    if (api->manager == NULL)
        return;
    manager_on_publish(api->manager, NULL, NULL);
    overrides_on_kept(manager_overrides(api->manager), NULL, NULL);
    api->manager = NULL;
}

void
api_stand_by(struct api *api, const char *leader_url)
{
    struct waiting *w;
    snprintf(api->leader, sizeof api->leader, "%s",
             leader_url == NULL ? "" : leader_url);
    manager_leave(api);
    override_replies_lost(api->override_replies);
    while ((w = TAILQ_FIRST(&api->waiting)) != NULL) {
        struct http_request *request = w->request;
        waiting_free(w);
        reply_who_leads(api, request, "table");
    }
}

void
api_free(struct api *api)
{
    if (api == NULL)
        return;
    manager_leave(api);
    http_server_free(api->server); /* closes what waits */
    override_replies_free(api->override_replies);
    free(api);
}

unsigned
api_port(const struct api *api)
{
    return http_server_port(api->server);
}
