/* SPDX-License-Identifier: Apache-2.0 */
/* Licenses: from an entitlement and a player's request to keys, or to a reason. */

#include "programs/mlic/server_private.h"

#include "core/err.h"
#include "programs/mlic/names.h"

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

static int
license_query(struct task *task, void *store)
{
    struct license_task *license = (struct license_task *) task;
    return license_decide(store, &license->request, &license->asker.asker,
                          license->keys);
}

/* Each key's decision; false: the request is answered. */
static bool
keys_note(struct license_task *license)
{
    struct server *server = server_of(&license->asker.task);
    const struct license_asker *asker = &license->asker.asker;
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
        if (!server_note(server, license->asker.task.request, &record))
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
        http_reply_header(license->asker.task.request, "X-Keys-Refused",
                          (const char *) text.ptr);
    buffer_fini(&text);
}

static void
license_forward(struct license_task *license, struct bytes question)
{
    struct server *server = server_of(&license->asker.task);
    const enum license_system_id id = license->request.system;
    upstream_ask(license->vendors->upstreams[id], license->asker.task.request,
                 systems[id], system_names[id], question,
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
        server_reply_refusal(task->request, refusal, NULL);
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
    if (license->keys != NULL)
        explicit_bzero(license->keys,
                       license->request.kid_count * sizeof *license->keys);
    free(license->keys);
    vendors_release(license->vendors);
}

/* False: the request is answered. */
static bool
request_read(struct license_task *license)
{
    struct http_request *request = license->asker.task.request;
    struct server *server = server_of(&license->asker.task);
    const enum license_system_id system = license->request.system;
    const char *reason = NULL;
    char text[256];
    const struct bytes body =
        system == LICENSE_IDENTITY
            ? bytes_of_text(http_request_segment(request, 0))
            : http_request_body(request);
    license->request.body = body;
    license->request.fairplay = license->vendors->fairplay;
    license->request.signer = &license->vendors->signer;
    const int err = systems[system]->read(body, &license->request, &reason);
    if (err == 0)
        return true;
    snprintf(text, sizeof text, "the %s request is not understood: %s",
             system_names[system], reason);
    server_reply_invalid(server, request, err, text);
    return false;
}

void
license_take(struct license_task *license)
{
    struct task *task = &license->asker.task;
    license->keys = calloc(license->request.kid_count, sizeof *license->keys);
    if (license->keys != NULL) {
        task_ask(task);
        return;
    }
    server_failed(task->request, ERR_MEMORY, server_of(task));
    task_free(task);
}

static void
license_ready(struct asker_task *asker)
{
    struct license_task *license = (struct license_task *) asker;
    const struct server *server = server_of(&asker->task);
    license->request =
        (struct license_request){.system = asker->system}; /* again, maybe */
    if (!request_read(license))
        task_free(&asker->task);
    else if (services_find(server->services, asker->issuer)->callback != NULL)
        license_consult(license);
    else
        license_take(license);
}

static void
license_ask(struct server *server, struct http_request *request,
            enum license_system_id system)
{
    struct license_task *license =
        task_new(&server->tasks, request, sizeof *license, license_query,
                 license_answer);
    if (license == NULL)
        return;
    license->asker.task.fini = license_wipe;
    license->vendors = vendors_hold(server->vendors);
    license->asker.system = system;
    license->asker.ready = license_ready;
    asker_start(&license->asker);
}

void
license_post(struct http_request *request, void *context)
{
    struct server *server = context;
    const struct vendors *vendors = server->vendors;
    const char *name = http_request_segment(request, 0);
    unsigned system = 0;
    while (system_names[system] != NULL
           && strcmp(name, system_names[system]) != 0)
        system++;
    if (system_names[system] == NULL || systems[system] == NULL
        || system == LICENSE_IDENTITY
        || (system == LICENSE_FAIRPLAY && vendors->fairplay == NULL)
        || (systems[system]->upstream_type != NULL
            && vendors->upstreams[system] == NULL)) {
        http_reply_error(request, ERR_NOT_FOUND,
                         "there are no licenses of \"%.32s\" here", name);
        return;
    }
    license_ask(server, request, (enum license_system_id) system);
}

void
identity_key_get(struct http_request *request, void *context)
{
    license_ask(context, request, LICENSE_IDENTITY);
}
