/* SPDX-License-Identifier: Apache-2.0 */
/* Licenses: from an entitlement and a player's request to keys, or to a reason. */

#include "programs/mlic/server_private.h"

#include "core/err.h"
#include "platform/clock.h"
#include "programs/mlic/names.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#define HEX_LEN (2 * CRYPT_KEY_SIZE)

static const struct license_system *const systems[LICENSE_SYSTEM_COUNT] = {
    [LICENSE_CLEARKEY] = &license_clearkey,
    [LICENSE_IDENTITY] = &license_identity,
    [LICENSE_WIDEVINE] = &license_widevine,
    [LICENSE_FAIRPLAY] = &license_fairplay,
    [LICENSE_PLAYREADY] = &license_playready,
};

static void
hex_write(const uint8_t *bytes, size_t size, char *out)
{
    for (size_t i = 0; i < size; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

/* ---- refusals ---- */

/* RFC 9457, with the code as "reason" and what it is about in "detail". */
static void
refusal_reply(struct http_request *request, enum refusal refusal,
              const char *more)
{
    char detail[512];
    snprintf(detail, sizeof detail, "%s%s%s", refusal_sentence(refusal),
             more != NULL ? ": " : "", more != NULL ? more : "");
    const int status = refusal_status(refusal);
    json_t *json = json_pack("{s:s, s:i, s:s, s:s, s:s}", "type", "about:blank",
                             "status", status, "title", "no license", "detail",
                             detail, "reason", refusal_code(refusal));
    char *text = json != NULL ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    if (status == 401)
        http_reply_header(request, "WWW-Authenticate", "Bearer realm=\"mlic\"");
    if (status == 429)
        http_reply_header(request, "Retry-After", "1");
    http_reply_header(request, "Cache-Control", "no-store");
    http_reply(request, status, "application/problem+json",
               bytes_of_text(text != NULL ? text : "{}"));
    free(text);
}

/* One that is not about a key; the request is answered. */
static void
refuse(struct server *server, struct http_request *request,
       enum license_system_id system, const struct service *service,
       const struct entitlement *entitlement, enum refusal refusal,
       const char *more)
{
    char viewer[AUDIT_VIEWER_LEN + 1] = "";
    const char *id = service != NULL ? service->id : "";
    if (entitlement != NULL)
        audit_viewer(server->audit, id, entitlement->viewer, viewer);
    const struct audit_record record = {
        .service = id,
        .viewer = viewer,
        .content = entitlement != NULL ? entitlement->content : "",
        .version = entitlement != NULL ? entitlement->version : "",
        .kid = "",
        .system = system_names[system],
        .decision = refusal_code(refusal),
    };
    server->decisions[system][refusal]++;
    if (server_note(server, request, &record))
        refusal_reply(request, refusal, more);
}

/* ---- who asks ---- */

static bool
network_has(const struct network *network, struct http_request *request)
{
    const char *header = http_request_header(request, "X-Real-IP");
    struct network address;
    return network->family == 0
           || (header != NULL && network_parse(header, &address) == 0
               && network_contains(network, &address));
}

static unsigned
smaller_limit(unsigned a, unsigned b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

/* False: the request is answered. */
static bool
asker_take(struct server *server, struct http_request *request,
           enum license_system_id system, struct license_asker *out)
{
    const char *jwt = server_bearer(request);
    struct service *service = NULL;
    struct entitlement *entitlement = &out->entitlement;
    const char *reason = NULL;
    char viewer[AUDIT_VIEWER_LEN + 1];
    if (jwt == NULL)
        jwt = http_request_query(request, "entitlement");
    enum refusal refusal = REFUSAL_NO_ENTITLEMENT;
    if (jwt != NULL)
        refusal =
            services_judge(server->services, bytes_of_text(jwt), clock_unix_s(),
                           &service, entitlement, &reason);
    const bool is_read = refusal == REFUSAL_NONE;
    if (is_read)
        reason = NULL;
    if (is_read && !service_may_ask(service, clock_now_ms()))
        refusal = REFUSAL_RATE;
    else if (is_read && !network_has(&entitlement->network, request))
        refusal = REFUSAL_NETWORK;
    if (is_read)
        out->plays = smaller_limit(entitlement->plays, service->plays);
    if (refusal == REFUSAL_NONE && out->plays > 0
        && (entitlement->viewer[0] == '\0' || entitlement->play[0] == '\0')) {
        refusal = REFUSAL_INVALID;
        reason = "the service limits plays, and it has no sub or no play";
    }
    if (refusal != REFUSAL_NONE) {
        refuse(server, request, system, service, is_read ? entitlement : NULL,
               refusal, reason);
        return false;
    }
    memcpy(out->service, service->id, sizeof out->service);
    audit_viewer(server->audit, service->id, entitlement->viewer, viewer);
    snprintf(out->viewer, sizeof out->viewer, "%s/%s", service->id, viewer);
    memcpy(out->rules, service->rules, sizeof out->rules);
    out->rule_count = service->rule_count;
    out->now_s = clock_unix_s();
    out->lease_s = server->lease_s;
    return true;
}

/* ---- a license ---- */

struct license_task {
    struct task task;
    struct license_request request;
    struct license_asker asker;
    struct license_key keys[LICENSE_KEYS_MAX];
};

static int
license_query(struct task *task, void *store)
{
    struct license_task *license = (struct license_task *) task;
    return license_decide(store, &license->request, &license->asker,
                          license->keys);
}

/* Each key's decision; false: the request is answered. */
static bool
keys_note(struct license_task *license)
{
    struct server *server = server_of(&license->task);
    const struct license_asker *asker = &license->asker;
    const char *viewer = strchr(asker->viewer, '/') + 1;
    for (unsigned i = 0; i < license->request.kid_count; i++) {
        const struct license_key *key = &license->keys[i];
        char kid[HEX_LEN + 1];
        hex_write(license->request.kids[i], CRYPT_KEY_SIZE, kid);
        const struct audit_record record = {
            .service = asker->service,
            .viewer = viewer,
            .content = asker->entitlement.content,
            .version = key->name.version,
            .kid = kid,
            .system = system_names[license->request.system],
            .decision = refusal_code(key->refusal),
        };
        server->decisions[license->request.system][key->refusal]++;
        if (!server_note(server, license->task.request, &record))
            return false;
    }
    return true;
}

/* "<kid> <code>, ...": a player gets the other keys, and its page can say why it
 * did not get these. */
static void
refused_tell(struct license_task *license)
{
    struct buffer text;
    const char *comma = "";
    buffer_init(&text, 16u << 10);
    for (unsigned i = 0; i < license->request.kid_count; i++) {
        char kid[HEX_LEN + 1];
        if (license->keys[i].refusal == REFUSAL_NONE)
            continue;
        hex_write(license->request.kids[i], CRYPT_KEY_SIZE, kid);
        buffer_printf(&text, "%s%s %s", comma, kid,
                      refusal_code(license->keys[i].refusal));
        comma = ", ";
    }
    buffer_append_u8(&text, '\0');
    if (text.err == 0 && text.len > 1)
        http_reply_header(license->task.request, "X-Keys-Refused",
                          (const char *) text.ptr);
    buffer_fini(&text);
}

static void
license_forward(struct license_task *license, struct bytes question)
{
    struct server *server = server_of(&license->task);
    const enum license_system_id id = license->request.system;
    upstream_ask(server->upstreams[id], license->task.request, systems[id],
                 system_names[id], question,
                 &server->metrics[SERVER_METRIC_UPSTREAM_FAILURES]);
}

static void
license_answer(struct task *task)
{
    struct license_task *license = (struct license_task *) task;
    const struct license_system *system = systems[license->request.system];
    enum refusal refusal = license->keys[0].refusal;
    struct buffer out;
    if (task->err != 0) { /* of a key that is there, which cannot be used */
        server_failed(task->request, task->err, server_of(task));
        return;
    }
    if (!keys_note(license))
        return;
    for (unsigned i = 0; i < license->request.kid_count; i++)
        if (license->keys[i].refusal == REFUSAL_NONE)
            refusal = REFUSAL_NONE;
    if (refusal != REFUSAL_NONE) {
        refused_tell(license);
        refusal_reply(task->request, refusal, NULL);
        return;
    }
    buffer_init(&out, LICENSE_BODY_SIZE_MAX);
    system->write(&license->request, license->keys, &out);
    refused_tell(license);
    http_reply_header(task->request, "Cache-Control", "no-store");
    if (out.err != 0)
        http_reply_error(task->request, out.err, NULL);
    else if (system->upstream_type != NULL)
        license_forward(license, buffer_bytes(&out));
    else
        http_reply(task->request, 200, system->content_type,
                   buffer_bytes(&out));
    if (out.ptr != NULL)
        explicit_bzero(out.ptr, out.capacity);
    buffer_fini(&out);
}

static void
license_wipe(struct task *task)
{
    struct license_task *license = (struct license_task *) task;
    explicit_bzero(license->keys, sizeof license->keys);
}

static void
license_ask(struct server *server, struct http_request *request,
            enum license_system_id system, struct bytes body)
{
    const char *reason = NULL;
    struct license_task *license =
        task_new(&server->tasks, request, sizeof *license, license_query,
                 license_answer);
    if (license == NULL)
        return;
    license->task.fini = license_wipe;
    license->request.system = system;
    license->request.body = body;
    license->request.fairplay = server->fairplay;
    license->request.signer = &server->signer;
    if (!asker_take(server, request, system, &license->asker)) {
        task_free(&license->task);
        return;
    }
    const int err = systems[system]->read(body, &license->request, &reason);
    if (err != 0) {
        char text[256];
        snprintf(text, sizeof text, "the %s request is not understood: %s",
                 system_names[system], reason);
        server_reply_invalid(server, request, err, text);
        task_free(&license->task);
        return;
    }
    task_ask(&license->task);
}

void
license_post(struct http_request *request, void *context)
{
    struct server *server = context;
    const char *name = http_request_segment(request, 0);
    unsigned system = 0;
    while (system_names[system] != NULL
           && strcmp(name, system_names[system]) != 0)
        system++;
    if (system_names[system] == NULL || systems[system] == NULL
        || system == LICENSE_IDENTITY
        || (system == LICENSE_FAIRPLAY && server->fairplay == NULL)
        || (systems[system]->upstream_type != NULL
            && server->upstreams[system] == NULL)) {
        http_reply_error(request, ERR_NOT_FOUND,
                         "there are no licenses of \"%.32s\" here", name);
        return;
    }
    license_ask(server, request, (enum license_system_id) system,
                http_request_body(request));
}

void
identity_key_get(struct http_request *request, void *context)
{
    license_ask(context, request, LICENSE_IDENTITY,
                bytes_of_text(http_request_segment(request, 0)));
}

/* ---- a play that goes on, or ends ---- */

struct play_task {
    struct task task;
    bool is_over;
    struct license_asker asker;
};

static int
play_query(struct task *task, void *store)
{
    const struct play_task *play = (struct play_task *) task;
    const struct license_asker *asker = &play->asker;
    struct play_store *plays = ((struct store *) store)->plays;
    const struct lease lease = {asker->viewer, asker->entitlement.play,
                                asker->now_s + asker->lease_s};
    return play->is_over ? play_store_release(plays, &lease)
                         : play_store_renew(plays, &lease, asker->now_s);
}

static void
play_answer(struct task *task)
{
    const struct play_task *play = (struct play_task *) task;
    char text[64];
    if (task->err != 0) {
        http_reply_error(task->request, ERR_NOT_FOUND,
                         "the play has ended: ask for its license again");
        return;
    }
    if (play->is_over) {
        http_reply(task->request, 204, NULL, bytes_of(NULL, 0));
        return;
    }
    server_count(server_of(task), SERVER_METRIC_HEARTBEATS);
    snprintf(text, sizeof text, "{\"lease_s\":%llu}",
             (unsigned long long) play->asker.lease_s);
    http_reply(task->request, 200, "application/json", bytes_of_text(text));
}

static void
play_ask(struct http_request *request, struct server *server, bool is_over)
{
    struct play_task *play = task_new(&server->tasks, request, sizeof *play,
                                      play_query, play_answer);
    if (play == NULL)
        return;
    play->is_over = is_over;
    if (!asker_take(server, request, LICENSE_CLEARKEY, &play->asker)) {
        task_free(&play->task);
        return;
    }
    if (play->asker.entitlement.play[0] == '\0') {
        server_reply_invalid(server, request, ERR_INVALID,
                             "the entitlement names no play");
        task_free(&play->task);
        return;
    }
    task_ask(&play->task);
}

void
play_put(struct http_request *request, void *context)
{
    play_ask(request, context, false);
}

void
play_delete(struct http_request *request, void *context)
{
    play_ask(request, context, true);
}
