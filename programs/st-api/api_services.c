/* SPDX-License-Identifier: Apache-2.0 */
/* Services and their keys, which the admin changes. */

#include "programs/st-api/api_private.h"

#include "platform/clock.h"

#include <stdio.h>
#include <stdlib.h>

#define RULE_TIMEOUT_MS 1000 /* where the service does not say */
#define RULE_TTL_S 60

/* ---- requests that change something ---- */

struct service_task {
    struct task task;
    struct catalogue_service service;
    struct catalogue_service_key key;
    char key_text[SERVICE_KEY_LEN + 1];
    bool is_new;
    bool is_over;            /* there would be more of them than may be */
    struct services *loaded; /* after the change */
};

static void
service_fini(struct task *task)
{
    struct service_task *service = (struct service_task *) task;
    api_services_install(api_of(task), service->loaded);
    explicit_bzero(service->key_text, sizeof service->key_text);
    free(service->key.jwk);
}

static struct service_task *
service_task_new(struct api *api, struct http_request *request,
                 int (*query)(struct task *, void *),
                 void (*answer)(struct task *))
{
    char id[CONTENT_ID_LEN_MAX + 1];
    struct service_task *service =
        api_id_take(api, request, 0, id)
            ? task_new(&api->tasks, request, sizeof *service, query, answer)
            : NULL;
    if (service != NULL) {
        service->task.fini = service_fini;
        memcpy(service->service.id, id, sizeof id);
        memcpy(service->key.service, id, sizeof id);
    }
    return service;
}

/* So that what was changed is so by the answer, and not a second later. What
 * cannot be read now is read then. */
static int
changed(struct service_task *service, struct catalogue *catalogue, int err)
{
    if (err == 0)
        services_load(catalogue, &service->loaded);
    service->is_over = err == ERR_LIMIT;
    return service->is_over ? ERR_STALE : err; /* which is answered here */
}

static json_t *
service_json(const struct catalogue_service *service)
{
    json_t *json =
        json_pack("{s:s, s:s, s:I}", "id", service->id, "name", service->name,
                  "created", (json_int_t) service->created_s);
    if (json != NULL && service->rule_url[0] != '\0') {
        api_text_set(json, "rule_url", service->rule_url);
        api_number_set(json, "rule_timeout_ms", service->rule_timeout_ms);
        api_number_set(json, "rule_ttl_s", service->rule_ttl_s);
        api_text_set(json, "rule_default",
                     service->rule_allows_silence ? "allow" : "refuse");
    }
    if (json != NULL && service->rate_per_s > 0) {
        json_object_set_new(json, "rate_per_s",
                            json_integer((json_int_t) service->rate_per_s));
        json_object_set_new(json, "burst",
                            json_integer((json_int_t) service->burst));
    }
    return json;
}

static json_t *
key_json(const struct catalogue_service_key *key)
{
    json_t *json = json_pack("{s:s, s:I}", "id", key->id, "created",
                             (json_int_t) key->created_s);
    if (json != NULL && key->expires_s > 0)
        json_object_set_new(json, "expires",
                            json_integer((json_int_t) key->expires_s));
    if (json != NULL && key->jwk != NULL)
        json_object_set_new(json, "jwk",
                            json_loads(key->jwk, JSON_REJECT_DUPLICATES, NULL));
    return json;
}

/* With its keys, as they are now. */
static json_t *
service_whole_json(const struct services *services,
                   const struct catalogue_service *service)
{
    json_t *json = service_json(service), *keys = json_array();
    const struct catalogue_service_key *key;
    for (unsigned i = 0;
         (key = services_key_at(services, bytes_of_text(service->id), i))
         != NULL;
         i++)
        json_array_append_new(keys, key_json(key));
    json_object_set_new(json, "keys", keys);
    return json;
}

static void
reply_unknown_service(struct http_request *request, const char *id)
{
    http_reply_error(request, ERR_NOT_FOUND, "no service \"%s\"", id);
}

static void
reply_over(struct task *task, unsigned max, const char *what)
{
    api_count(api_of(task), API_METRIC_FAILURES);
    http_reply_error(task->request, ERR_FULL,
                     "there are %u %s already, which is the most", max, what);
}

static int
service_put_query(struct task *task, void *catalogue)
{
    struct service_task *service = (struct service_task *) task;
    return changed(service, catalogue,
                   catalogue_service_put(catalogue, &service->service,
                                         clock_unix_s(), &service->is_new));
}

static void
service_put_answer(struct task *task)
{
    const struct service_task *service = (struct service_task *) task;
    const struct catalogue_service *known =
        service->loaded != NULL
            ? services_find(service->loaded, bytes_of_text(service->service.id))
            : NULL;
    if (service->is_over) {
        reply_over(task, CATALOGUE_SERVICES_MAX, "services");
        return;
    }
    api_count(api_of(task), API_METRIC_CHANGES);
    api_reply_json(task->request, service->is_new ? 201 : 200,
                   service_json(known != NULL ? known : &service->service));
}

static void
rule_set(const struct body_service *asked, struct catalogue_service *out)
{
    if (asked->rule_url[0] == '\0')
        return;
    memcpy(out->rule_url, asked->rule_url, sizeof out->rule_url);
    out->rule_timeout_ms =
        asked->rule_timeout_ms > 0 ? asked->rule_timeout_ms : RULE_TIMEOUT_MS;
    out->rule_ttl_s = asked->rule_ttl_s > 0 ? asked->rule_ttl_s : RULE_TTL_S;
    out->rule_allows_silence = asked->rule_default == RULE_DEFAULT_ALLOW;
}

void
service_put(struct http_request *request, void *context)
{
    struct api *api = context;
    struct body_service asked;
    char message[BODY_MESSAGE_SIZE];
    if (!api_is_admin(api, request) || !api_has_json(api, request))
        return;
    int err = body_service_parse(http_request_body(request), &asked, message);
    if (err != 0) {
        api_reply_invalid(api, request, err, message);
        return;
    }
    struct service_task *service =
        service_task_new(api, request, service_put_query, service_put_answer);
    if (service == NULL)
        return;
    memcpy(service->service.name, asked.name, sizeof asked.name);
    service->service.rate_per_s = asked.rate_per_s;
    service->service.burst = asked.burst > 0 ? asked.burst : asked.rate_per_s;
    rule_set(&asked, &service->service);
    service->service.created_s = clock_unix_s();
    task_ask(&service->task);
}

static int
service_delete_query(struct task *task, void *catalogue)
{
    struct service_task *service = (struct service_task *) task;
    return changed(service, catalogue,
                   catalogue_service_remove(
                       catalogue, bytes_of_text(service->service.id)));
}

static void
service_delete_answer(struct task *task)
{
    const struct service_task *service = (struct service_task *) task;
    if (task->err != 0) {
        reply_unknown_service(task->request, service->service.id);
        return;
    }
    api_count(api_of(task), API_METRIC_CHANGES);
    http_reply(task->request, 204, NULL, bytes_of(NULL, 0));
}

void
service_delete(struct http_request *request, void *context)
{
    if (!api_is_admin(context, request))
        return;
    struct service_task *service = service_task_new(
        context, request, service_delete_query, service_delete_answer);
    if (service != NULL)
        task_ask(&service->task);
}

static int
key_create_query(struct task *task, void *catalogue)
{
    struct service_task *service = (struct service_task *) task;
    return changed(service, catalogue,
                   catalogue_service_key_add(catalogue, &service->key));
}

/* The one time that the key is told. */
static void
key_create_answer(struct task *task)
{
    const struct service_task *service = (struct service_task *) task;
    if (service->is_over) {
        reply_over(task, CATALOGUE_SERVICE_KEYS_MAX, "keys of services");
        return;
    }
    if (task->err != 0) {
        reply_unknown_service(task->request, service->service.id);
        return;
    }
    json_t *json = key_json(&service->key);
    if (service->key.jwk == NULL)
        json_object_set_new(json, "key", json_string(service->key_text));
    api_count(api_of(task), API_METRIC_CHANGES);
    http_reply_header(task->request, "Cache-Control", "no-store");
    api_reply_json(task->request, 201, json);
}

/* False: the request is answered. */
static bool
jwk_take(struct api *api, struct http_request *request, const char *text,
         struct catalogue_service_key *out)
{
    struct jwk *jwk = NULL;
    const char *reason;
    char message[BODY_MESSAGE_SIZE];
    int err = jwk_read(bytes_of_text(text), out->id, &jwk, &reason);
    jwk_free(jwk);
    if (err == 0 && (out->jwk = strdup(text)) == NULL) {
        err = ERR_MEMORY;
        reason = "is too much for the memory there is";
    }
    if (err == 0)
        return true;
    snprintf(message, sizeof message, "field \"jwk\" %s", reason);
    api_reply_invalid(api, request, err, message);
    return false;
}

void
service_key_create(struct http_request *request, void *context)
{
    struct api *api = context;
    struct body_key asked;
    char message[BODY_MESSAGE_SIZE];
    if (!api_is_admin(api, request) || !api_has_json(api, request))
        return;
    int err = body_key_parse(http_request_body(request), &asked, message);
    if (err != 0) {
        api_reply_invalid(api, request, err, message);
        return;
    }
    struct service_task *service =
        service_task_new(api, request, key_create_query, key_create_answer);
    if (service == NULL)
        return;
    service_key_make(service->key_text, &service->key);
    service->key.created_s = clock_unix_s();
    service->key.expires_s = asked.expires_s;
    if (asked.jwk[0] == '\0'
        || jwk_take(api, request, asked.jwk, &service->key))
        task_ask(&service->task);
    else
        task_free(&service->task);
}

static int
key_delete_query(struct task *task, void *catalogue)
{
    struct service_task *service = (struct service_task *) task;
    return changed(service, catalogue,
                   catalogue_service_key_remove(
                       catalogue, bytes_of_text(service->service.id),
                       bytes_of_text(service->key.id)));
}

static void
key_delete_answer(struct task *task)
{
    const struct service_task *service = (struct service_task *) task;
    if (task->err != 0) {
        http_reply_error(task->request, ERR_NOT_FOUND,
                         "service \"%s\" has no key \"%s\"",
                         service->service.id, service->key.id);
        return;
    }
    api_count(api_of(task), API_METRIC_CHANGES);
    http_reply(task->request, 204, NULL, bytes_of(NULL, 0));
}

void
service_key_delete(struct http_request *request, void *context)
{
    char key[CONTENT_ID_LEN_MAX + 1];
    if (!api_is_admin(context, request)
        || !api_id_take(context, request, 1, key))
        return;
    struct service_task *service =
        service_task_new(context, request, key_delete_query, key_delete_answer);
    if (service == NULL)
        return;
    /* a longer one is no key's, cut or not */
    snprintf(service->key.id, sizeof service->key.id, "%.*s",
             strlen(key) == CATALOGUE_KEY_ID_LEN ? CATALOGUE_KEY_ID_LEN : 0,
             key);
    task_ask(&service->task);
}

/* ---- requests that look ---- */

void
service_get(struct http_request *request, void *context)
{
    struct api *api = context;
    char id[CONTENT_ID_LEN_MAX + 1];
    if (!api_is_admin(api, request) || !api_id_take(api, request, 0, id))
        return;
    const struct catalogue_service *service =
        services_find(api->services, bytes_of_text(id));
    if (service == NULL)
        reply_unknown_service(request, id);
    else
        api_reply_json(request, 200,
                       service_whole_json(api->services, service));
}

void
services_list(struct http_request *request, void *context)
{
    struct api *api = context;
    if (!api_is_admin(api, request))
        return;
    json_t *list = json_array();
    const struct catalogue_service *service;
    for (unsigned i = 0; (service = services_at(api->services, i)) != NULL; i++)
        json_array_append_new(list, service_json(service));
    api_reply_json(request, 200, json_pack("{s:o}", "services", list));
}
