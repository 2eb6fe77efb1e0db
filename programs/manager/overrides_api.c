/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/overrides: what operators ask of and tell the Manager. */

#include "programs/manager/api.h"

#include "core/err.h"
#include "platform/clock.h"
#include "platform/log.h"
#include "programs/manager/override_json.h"

#include <stdio.h>
#include <stdlib.h>

static void
reply_json(struct http_request *request, json_t *json)
{
    char *text = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    if (text == NULL)
        http_reply_error(request, ERR_MEMORY, NULL);
    else
        http_reply(request, 200, "application/json", bytes_of_text(text));
    free(text);
}

static void
reply_one(const struct overrides *overrides, struct http_request *request,
          enum override_target target, struct bytes name)
{
    size_t count;
    const struct override *list = overrides_list(overrides, &count);
    const struct override *found = override_find(list, count, target, name);
    if (found == NULL)
        http_reply_error(request, ERR_NOT_FOUND, "nothing is overridden here");
    else
        reply_json(request, override_object(found));
}

static void
reply_changed(struct manager *manager, struct override_replies *replies,
              struct http_request *request, const struct override *override)
{
    json_t *json = override_object(override);
    char *text = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    if (text == NULL)
        http_reply_error(request, ERR_MEMORY, "but it is set");
    else
        override_reply(replies, manager_overrides(manager), request, text);
    free(text);
}

static void
put(struct manager *manager, struct override_replies *replies,
    struct http_request *request, enum override_target target,
    struct bytes name)
{
    struct overrides *overrides = manager_overrides(manager);
    struct override override = {.target = target};
    char message[OVERRIDE_MESSAGE_SIZE];
    int err = ERR_INVALID;
    snprintf(message, sizeof message, "the name is not valid");
    if (name.len < sizeof override.name) {
        memcpy(override.name, name.ptr, name.len);
        err = override_parse(http_request_body(request), clock_unix_ms(),
                             &override, message);
    }
    if (err != 0) {
        http_reply_error(request, err, "%s", message);
        return;
    }
    if ((err = overrides_put(overrides, &override)) != 0) {
        http_reply_error(request, err, "the override is not kept");
        return;
    }
    log_info("overrides: %.*s is set until %llu", (int) name.len,
             (const char *) name.ptr,
             (unsigned long long) (override.until_ms / 1000));
    manager_overrides_changed(manager);
    reply_changed(manager, replies, request, &override);
}

static void
take_back(struct manager *manager, struct override_replies *replies,
          struct http_request *request, enum override_target target,
          struct bytes name)
{
    const int err = overrides_remove(manager_overrides(manager), target, name);
    if (err != 0) {
        http_reply_error(request, err,
                         err == ERR_NOT_FOUND ? "nothing is overridden here"
                                              : "the override stays");
        return;
    }
    log_info("overrides: %.*s is taken back", (int) name.len,
             (const char *) name.ptr);
    manager_overrides_changed(manager);
    override_reply(replies, manager_overrides(manager), request, NULL);
}

void
overrides_handle_list(struct manager *manager, struct http_request *request)
{
    size_t count;
    const struct override *list =
        overrides_list(manager_overrides(manager), &count);
    reply_json(request,
               json_pack("{s:o}", "overrides", override_array(list, count)));
}

void
overrides_handle(struct manager *manager, struct override_replies *replies,
                 struct http_request *request, enum override_target target)
{
    const char *segment =
        target == OVERRIDE_CDN ? "" : http_request_segment(request, 0);
    const struct bytes name = bytes_of_text(segment);
    const char *method = http_request_method(request);
    if (strcmp(method, "PUT") == 0)
        put(manager, replies, request, target, name);
    else if (strcmp(method, "DELETE") == 0)
        take_back(manager, replies, request, target, name);
    else
        reply_one(manager_overrides(manager), request, target, name);
}
