/* SPDX-License-Identifier: Apache-2.0 */
/* What all requests share, and those about the program itself. */

#include "programs/st-api/api_private.h"

#include "core/buffer.h"
#include "platform/clock.h"
#include "programs/st-api/openapi.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define PAGE_LIMIT_DEFAULT 100

/* ---- answers ---- */

void
api_count(struct api *api, enum api_metric metric)
{
    api->metrics[metric]++;
}

void
api_reply_json(struct http_request *request, int status, json_t *json)
{
    char *text = json != NULL ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    if (text == NULL) {
        http_reply_error(request, ERR_MEMORY, NULL);
        return;
    }
    http_reply(request, status, "application/json", bytes_of_text(text));
    free(text);
}

/* Whatever the database has: to who asks it is not there now. */
void
api_failed(struct http_request *request, int err, void *context)
{
    api_count(context, API_METRIC_FAILURES);
    http_reply_header(request, "Retry-After", "1");
    http_reply_error(request, ERR_UNAVAILABLE,
                     err == ERR_LIMIT
                         ? "too many requests wait for the catalogue's database"
                         : "the catalogue cannot be read or written");
}

void
api_reply_invalid(struct api *api, struct http_request *request, int err,
                  const char *message)
{
    api_count(api, API_METRIC_INVALID);
    http_reply_error(request, err, "%s", message);
}

void
api_reply_unknown(struct http_request *request, const char *content)
{
    http_reply_error(request, ERR_NOT_FOUND,
                     "no content \"%.64s\" in the catalogue", content);
}

/* ---- what requests must have ---- */

/* "application/json", whatever parameters follow. */
static bool
has_json_body(struct http_request *request)
{
    static const char json[] = "application/json";
    const char *type = http_request_header(request, "Content-Type");
    if (type == NULL || strncasecmp(type, json, sizeof json - 1) != 0)
        return false;
    const char *rest = type + sizeof json - 1;
    rest += strspn(rest, " \t");
    return *rest == '\0' || *rest == ';';
}

bool
api_has_json(struct api *api, struct http_request *request)
{
    if (has_json_body(request))
        return true;
    api_reply_invalid(api, request, ERR_UNSUPPORTED,
                      "Content-Type must be application/json");
    return false;
}

static void
reply_unauthorized(struct api *api, struct http_request *request,
                   const char *detail)
{
    api_count(api, API_METRIC_DENIED);
    http_reply_header(request, "WWW-Authenticate", "Bearer realm=\"st-api\"");
    http_reply_problem(request, 401, "not authenticated", detail);
}

/* What is presented as "Authorization: Bearer KEY"; NULL: nothing is. */
static const char *
bearer_of(struct http_request *request)
{
    static const char scheme[] = "Bearer ";
    const char *header = http_request_header(request, "Authorization");
    return header != NULL && strncasecmp(header, scheme, sizeof scheme - 1) == 0
               ? header + sizeof scheme - 1
               : NULL;
}

bool
api_has_admin_key(struct api *api, struct http_request *request)
{
    const char *key = bearer_of(request);
    return key != NULL
           && secrets_is_admin_key(api->secrets, bytes_of_text(key));
}

bool
api_is_admin(struct api *api, struct http_request *request)
{
    if (bearer_of(request) == NULL) {
        reply_unauthorized(api, request,
                           "send the admin key as Authorization: Bearer KEY");
        return false;
    }
    if (!api_has_admin_key(api, request)) {
        api_count(api, API_METRIC_DENIED);
        http_reply_error(request, ERR_DENIED,
                         "the admin key is not the one this server knows");
        return false;
    }
    return true;
}

static bool
service_may_ask_now(struct api *api, struct http_request *request,
                    struct service *service)
{
    unsigned wait_s;
    if (service_may_ask(service, clock_now_ms(), &wait_s))
        return true;
    char seconds[16];
    snprintf(seconds, sizeof seconds, "%u", wait_s);
    api_count(api, API_METRIC_LIMITED);
    http_reply_header(request, "Retry-After", seconds);
    http_reply_problem(request, 429, "too many requests",
                       "the service asks more often than it may");
    return false;
}

bool
api_caller_take(struct api *api, struct http_request *request,
                struct api_caller *out)
{
    const char *key = bearer_of(request);
    struct service *service = NULL;
    if (key == NULL && api->is_public) {
        memset(out, 0, sizeof *out);
        return true;
    }
    if (key == NULL) {
        reply_unauthorized(api, request,
                           "send the key of a service, or a JWT that it "
                           "signed, as Authorization: Bearer KEY");
        return false;
    }
    int err = services_authenticate(api->services, bytes_of_text(key),
                                    clock_unix_s(), &service, &out->grant);
    if (err != 0) {
        reply_unauthorized(api, request,
                           err == ERR_EXPIRED
                               ? "the key or the JWT has expired, or is not "
                                 "good yet"
                               : "the key or the JWT is of no service");
        return false;
    }
    out->service = &service->known;
    return service_may_ask_now(api, request, service);
}

/* Reading needs no key. One that is presented must be right, though: who is
 * about to change the catalogue can see beforehand that he may. */
bool
api_may_read(struct api *api, struct http_request *request)
{
    return http_request_header(request, "Authorization") == NULL
           || api_is_admin(api, request);
}

bool
api_id_take(struct api *api, struct http_request *request, unsigned n,
            char out[CONTENT_ID_LEN_MAX + 1])
{
    const char *id = http_request_segment(request, n);
    if (id != NULL && content_id_is_valid(bytes_of_text(id))) {
        snprintf(out, CONTENT_ID_LEN_MAX + 1, "%s", id);
        return true;
    }
    api_reply_invalid(api, request, ERR_INVALID,
                      "an id in the path is 1 to 64 of A-Z a-z 0-9 . _ - and "
                      "does not start with a dot");
    return false;
}

static bool
list_limit_parse(const char *text, unsigned *out)
{
    if (text == NULL) {
        *out = PAGE_LIMIT_DEFAULT;
        return true;
    }
    size_t len = strlen(text);
    if (len == 0 || len > 4 || strspn(text, "0123456789") != len)
        return false;
    unsigned long n = strtoul(text, NULL, 10);
    if (n < 1 || n > CATALOGUE_LIST_MAX)
        return false;
    *out = (unsigned) n;
    return true;
}

bool
api_page_take(struct api *api, struct http_request *request,
              char after[CONTENT_ID_LEN_MAX + 1], unsigned *limit)
{
    if (!list_limit_parse(http_request_query(request, "limit"), limit)) {
        api_reply_invalid(api, request, ERR_INVALID,
                          "limit must be an integer from 1 to 1000");
        return false;
    }
    const char *text = http_request_query(request, "after");
    if (text != NULL && !content_id_is_valid(bytes_of_text(text))) {
        api_reply_invalid(api, request, ERR_INVALID,
                          "after must be the id of the last one before");
        return false;
    }
    snprintf(after, CONTENT_ID_LEN_MAX + 1, "%s", text != NULL ? text : "");
    return true;
}

/* ---- JSON ---- */

void
api_text_set(json_t *json, const char *name, const char *text)
{
    if (text[0] != '\0')
        json_object_set_new(json, name, json_string(text));
}

void
api_number_set(json_t *json, const char *name, uint64_t number)
{
    if (number > 0)
        json_object_set_new(json, name, json_integer((json_int_t) number));
}

void
api_window_json(const struct catalogue_window *window, json_t *out)
{
    api_number_set(out, "starts", window->starts_s);
    api_number_set(out, "ends", window->ends_s);
    api_text_set(out, "region", window->region);
    api_text_set(out, "service", window->service);
}

/* ---- the program itself ---- */

static int
health_query(struct task *task, void *catalogue)
{
    /* whatever is wrong: it is not healthy */
    return catalogue_check(catalogue) != 0 ? ERR_STALE : 0;
}

static void
health_answer(struct task *task)
{
    if (task->err != 0)
        http_reply_error(task->request, ERR_UNAVAILABLE,
                         "the catalogue does not answer");
    else
        http_reply(task->request, 200, "text/plain", BYTES_LITERAL("ok\n"));
}

static void
health(struct http_request *request, void *context)
{
    struct task *task = task_new(&((struct api *) context)->tasks, request,
                                 sizeof *task, health_query, health_answer);
    if (task != NULL)
        task_ask(task);
}

struct metrics_task {
    struct task task;
    uint64_t contents;
    bool is_counted;
};

/* The program's own are told also while the database is away. */
static int
metrics_query(struct task *task, void *catalogue)
{
    struct metrics_task *metrics = (struct metrics_task *) task;
    metrics->is_counted = catalogue_count(catalogue, &metrics->contents) == 0;
    return 0;
}

static void
metrics_answer(struct task *task)
{
    const struct metrics_task *counted = (struct metrics_task *) task;
    struct http_request *request = task->request;
    static const struct {
        const char *name, *type, *sentence;
    } table[] = {
#define API_METRIC(symbol, name, type, sentence) {name, type, sentence},
        API_METRICS(API_METRIC)
#undef API_METRIC
    };
    struct api *api = api_of(task);
    const struct rules_counts rules = rules_counts(api->rules);
    struct buffer text;
    api->metrics[API_METRIC_RULES_ASKED] = rules.asked;
    api->metrics[API_METRIC_RULES_REMEMBERED] = rules.remembered;
    api->metrics[API_METRIC_RULES_FAILED] = rules.failed;
    buffer_init(&text, REPLY_SIZE_MAX);
    for (size_t i = 0; i < API_METRIC_COUNT; i++)
        buffer_printf(&text, "# HELP %s %s\n# TYPE %s %s\n%s %" PRIu64 "\n",
                      table[i].name, table[i].sentence, table[i].name,
                      table[i].type, table[i].name, api->metrics[i]);
    if (counted->is_counted)
        buffer_printf(&text,
                      "# HELP st_api_contents Contents in the catalogue.\n"
                      "# TYPE st_api_contents gauge\n"
                      "st_api_contents %" PRIu64 "\n",
                      counted->contents);
    if (text.err != 0)
        http_reply_error(request, text.err, NULL);
    else
        http_reply(request, 200, "text/plain; version=0.0.4",
                   buffer_bytes(&text));
    buffer_fini(&text);
}

static void
metrics(struct http_request *request, void *context)
{
    struct metrics_task *task =
        task_new(&((struct api *) context)->tasks, request, sizeof *task,
                 metrics_query, metrics_answer);
    if (task != NULL)
        task_ask(&task->task);
}

static void
openapi_get(struct http_request *request, void *context)
{
    http_reply(request, 200, "application/json", bytes_of_text(openapi));
}

bool
api_network_parse(const char *text, struct api *api)
{
    const struct bytes all = bytes_of_text(text);
    const char *slash = strchr(text, '/');
    uint64_t bits4, bits6;

    if (strcmp(text, "off") == 0) {
        api->is_bound = false;
        return true;
    }
    if (slash == NULL
        || !bytes_number(bytes_of(text, (size_t) (slash - text)), &bits4)
        || !bytes_number(
            bytes_of(slash + 1, all.len - 1 - (size_t) (slash - text)), &bits6)
        || bits4 < 1 || bits4 > 32 || bits6 < 1 || bits6 > 128)
        return false;
    api->is_bound = true;
    api->network_bits4 = (unsigned) bits4;
    api->network_bits6 = (unsigned) bits6;
    return true;
}

bool
api_license_parse(const char *text, struct api *api)
{
    static const char *const names[] = {
#define DRM_SYSTEM(symbol, name) name,
        DRM_SYSTEMS(DRM_SYSTEM)
#undef DRM_SYSTEM
    };
    const size_t len = strcspn(text, "=");
    for (size_t i = 0; i < DRM_SYSTEM_COUNT; i++) {
        if (text[len] == '\0' || strlen(names[i]) != len
            || memcmp(text, names[i], len) != 0)
            continue;
        api->license_urls[i] = text + len + 1;
        return api_playback_url_is_valid(text + len + 1);
    }
    return false;
}

bool
api_playback_url_is_valid(const char *url)
{
    const char *host = NULL;
    if (strncmp(url, "http://", 7) == 0)
        host = url + 7;
    else if (strncmp(url, "https://", 8) == 0)
        host = url + 8;
    if (host == NULL || *host == '\0' || *host == '/' || strlen(url) > 255)
        return false;
    for (const char *p = url; *p != '\0'; p++)
        if (*p <= ' ' || *p > '~' || strchr("\"\\<>?#%", *p) != NULL)
            return false;
    return true;
}

const struct http_route api_routes[] = {
    {"POST", "/v1/playbacks", playback_create},
    {"POST", "/v1/playbacks/{playback}/renew", playback_renew},
    {"DELETE", "/v1/playbacks/{playback}", playback_revoke},
    {"GET", "/v1/revocations", revocations_get},
    {"GET", "/v1/contents", contents_list},
    {"GET", "/v1/contents/{id}", content_get},
    {"PUT", "/v1/contents/{id}", content_put},
    {"DELETE", "/v1/contents/{id}", content_delete},
    {"GET", "/v1/contents/{id}/versions", versions_list},
    {"GET", "/v1/contents/{id}/versions/{version}", version_get},
    {"DELETE", "/v1/contents/{id}/versions/{version}", version_delete},
    {"POST", "/v1/contents/{id}/versions/{version}/collect", version_collect},
    {"DELETE", "/v1/contents/{id}/versions/{version}/collect", version_release},
    {"POST", "/v1/contents/{id}/versions/{version}/keep", version_keep},
    {"GET", "/v1/retired-versions", retired_list},
    {"GET", "/v1/campaigns", campaigns_list},
    {"GET", "/v1/campaigns/{campaign}", campaign_get},
    {"PUT", "/v1/campaigns/{campaign}", campaign_put},
    {"DELETE", "/v1/campaigns/{campaign}", campaign_delete},
    {"GET", "/v1/services", services_list},
    {"GET", "/v1/services/{service}", service_get},
    {"PUT", "/v1/services/{service}", service_put},
    {"DELETE", "/v1/services/{service}", service_delete},
    {"POST", "/v1/services/{service}/keys", service_key_create},
    {"DELETE", "/v1/services/{service}/keys/{key}", service_key_delete},
    {"GET", "/v1/openapi.json", openapi_get},
    {"GET", "/healthz", health},
    {"GET", "/metrics", metrics},
};
const size_t api_route_count = sizeof api_routes / sizeof *api_routes;
