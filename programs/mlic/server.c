/* SPDX-License-Identifier: Apache-2.0 */
/* What all requests share, and those about the program itself. */

#include "programs/mlic/server_private.h"

#include "core/buffer.h"
#include "core/err.h"
#include "platform/clock.h"
#include "programs/mlic/names.h"

#include <inttypes.h>
#include <strings.h>

#define REPLY_SIZE_MAX (8u << 20)

void
server_count(struct server *server, enum server_metric metric)
{
    server->metrics[metric]++;
}

void
server_failed(struct http_request *request, int err, void *context)
{
    server_count(context, SERVER_METRIC_FAILURES);
    http_reply_header(request, "Retry-After", "1");
    http_reply_error(request, ERR_UNAVAILABLE,
                     err == ERR_LIMIT
                         ? "too many requests wait for the database"
                         : "the database or the keys cannot be used");
}

void
server_reply_invalid(struct server *server, struct http_request *request,
                     int err, const char *message)
{
    server_count(server, SERVER_METRIC_INVALID);
    http_reply_error(request, err, "%s", message);
}

const char *
server_bearer(struct http_request *request)
{
    static const char scheme[] = "Bearer ";
    const char *header = http_request_header(request, "Authorization");
    return header != NULL && strncasecmp(header, scheme, sizeof scheme - 1) == 0
               ? header + sizeof scheme - 1
               : NULL;
}

bool
server_note(struct server *server, struct http_request *request,
            const struct audit_record *record)
{
    if (audit_write(server->audit, record, clock_unix_ms()) == 0)
        return true;
    server_count(server, SERVER_METRIC_FAILURES);
    http_reply_header(request, "Retry-After", "10");
    http_reply_error(request, ERR_UNAVAILABLE,
                     "the decision cannot be written down");
    return false;
}

/* ---- the program itself ---- */

static int
health_query(struct task *task, void *store)
{
    uint64_t total, old;
    /* whatever is wrong: it is not healthy */
    return key_store_count(((struct store *) store)->keys, &total, &old) != 0
               ? ERR_STALE
               : 0;
}

static void
health_answer(struct task *task)
{
    if (task->err != 0)
        http_reply_error(task->request, ERR_UNAVAILABLE,
                         "the database does not answer");
    else
        http_reply(task->request, 200, "text/plain", BYTES_LITERAL("ok\n"));
}

static void
health(struct http_request *request, void *context)
{
    struct server *server = context;
    struct task *task = task_new(&server->tasks, request, sizeof *task,
                                 health_query, health_answer);
    if (task != NULL)
        task_ask(task);
}

static void
decisions_write(const struct server *server, struct buffer *out)
{
    buffer_append_text(out, "# HELP mlic_decisions_total Decisions on keys "
                            "that players asked for.\n"
                            "# TYPE mlic_decisions_total counter\n");
    for (unsigned i = 0; i < LICENSE_SYSTEM_COUNT; i++)
        for (unsigned j = 0; j < REFUSAL_COUNT; j++)
            if (server->decisions[i][j] > 0)
                buffer_printf(out,
                              "mlic_decisions_total{system=\"%s\","
                              "decision=\"%s\"} %" PRIu64 "\n",
                              system_names[i], refusal_code(j),
                              server->decisions[i][j]);
}

/* Metrics of services: X(name, kind, sentence, what it is of, value). */
#define SERVICE_METRICS(X)                                                   \
    X("mlic_service_keys", "gauge",                                          \
      "Keys got from the service's URL that are good now.", s->jwks,         \
      keys_count(s))                                                         \
    X("mlic_service_keys_asked_total", "counter",                            \
      "Times the service's URL was asked for keys.", s->jwks,                \
      jwks_counts(s->jwks).asked)                                            \
    X("mlic_service_keys_failed_total", "counter",                           \
      "Of those, without an answer that holds keys.", s->jwks,               \
      jwks_counts(s->jwks).failed)                                           \
    X("mlic_callback_asked_total", "counter",                                \
      "Times the service was asked before a license.", s->callback,          \
      callback_counts(s->callback).asked)                                    \
    X("mlic_callback_failed_total", "counter",                               \
      "Of those, without an answer that is one.", s->callback,               \
      callback_counts(s->callback).failed)                                   \
    X("mlic_callback_remembered_total", "counter",                           \
      "Answers of before that held still.", s->callback,                     \
      callback_counts(s->callback).remembered)                               \
    X("mlic_callback_stale_total", "counter",                                \
      "Answers of before that were used as it failed.", s->callback,         \
      callback_counts(s->callback).stale)                                    \
    X("mlic_callback_unreachable_total", "counter",                          \
      "Licenses refused as it failed.", s->callback,                         \
      callback_counts(s->callback).unreachable)                              \
    X("mlic_callback_breaker", "gauge",                                      \
      "0: the service is asked, 1: one tries, 2: nobody asks.", s->callback, \
      callback_state(s->callback))

static uint64_t
keys_count(const struct service *service)
{
    struct jwk *const *keys;
    return jwks_keys(service->jwks, clock_now_ms(), &keys);
}

static void
services_write(const struct services *services, struct buffer *out)
{
    const struct service *s;
#define SERVICE_METRIC(name, kind, sentence, of, value)                      \
    buffer_append_text(out, "# HELP " name " " sentence "\n"                 \
                            "# TYPE " name " " kind "\n");                   \
    for (unsigned i = 0; (s = services_at(services, i)) != NULL; i++)        \
        if ((of) != NULL)                                                    \
            buffer_printf(out, name "{service=\"%s\"} %" PRIu64 "\n", s->id, \
                          (uint64_t) (value));
    SERVICE_METRICS(SERVICE_METRIC)
#undef SERVICE_METRIC
}

struct metrics_task {
    struct task task;
    uint64_t total, old;
    bool is_counted;
};

/* The program's own are told also while the database is away. */
static int
metrics_query(struct task *task, void *store)
{
    struct metrics_task *metrics = (struct metrics_task *) task;
    metrics->is_counted = key_store_count(((struct store *) store)->keys,
                                          &metrics->total, &metrics->old)
                          == 0;
    return 0;
}

static void
metrics_answer(struct task *task)
{
    static const struct {
        const char *name, *sentence;
    } table[] = {
#define SERVER_METRIC(symbol, name, sentence) {name, sentence},
        SERVER_METRICS(SERVER_METRIC)
#undef SERVER_METRIC
    };
    const struct metrics_task *counted = (struct metrics_task *) task;
    const struct server *server = server_of(task);
    struct buffer text;
    buffer_init(&text, REPLY_SIZE_MAX);
    for (size_t i = 0; i < SERVER_METRIC_COUNT; i++)
        buffer_printf(&text,
                      "# HELP %s %s\n# TYPE %s counter\n%s %" PRIu64 "\n",
                      table[i].name, table[i].sentence, table[i].name,
                      table[i].name, server->metrics[i]);
    decisions_write(server, &text);
    services_write(server->services, &text);
    buffer_printf(&text,
                  "# HELP mlic_audit_lines Lines of the audit.\n"
                  "# TYPE mlic_audit_lines gauge\nmlic_audit_lines %" PRIu64
                  "\n",
                  audit_count(server->audit));
    if (counted->is_counted)
        buffer_printf(&text,
                      "# HELP mlic_keys Content keys in the database.\n"
                      "# TYPE mlic_keys gauge\nmlic_keys %" PRIu64 "\n"
                      "# HELP mlic_keys_old Of those, under another master "
                      "key than the one that wraps.\n"
                      "# TYPE mlic_keys_old gauge\nmlic_keys_old %" PRIu64 "\n",
                      counted->total, counted->old);
    if (text.err != 0)
        http_reply_error(task->request, text.err, NULL);
    else
        http_reply(task->request, 200, "text/plain; version=0.0.4",
                   buffer_bytes(&text));
    buffer_fini(&text);
}

static void
metrics(struct http_request *request, void *context)
{
    struct server *server = context;
    struct task *task =
        task_new(&server->tasks, request, sizeof(struct metrics_task),
                 metrics_query, metrics_answer);
    if (task != NULL)
        task_ask(task);
}

const struct http_route server_routes[] = {
    {"POST", "/v1/licenses/{system}", license_post},
    {"GET", "/v1/keys/{kid}", identity_key_get},
    {"PUT", "/v1/play", play_put},
    {"DELETE", "/v1/play", play_delete},
    {"POST", "/v1/cpix", cpix_post},
    {"GET", "/v1/health", health},
    {"GET", "/metrics", metrics},
};
const size_t server_route_count = sizeof server_routes / sizeof *server_routes;
