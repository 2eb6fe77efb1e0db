/* SPDX-License-Identifier: Apache-2.0 */
/* Keys for packagers: CPIX 2.3, in the profile of SPEKE v2 where it is asked
 * for by its header. */

#include "programs/mlic/server_private.h"

#include "core/err.h"
#include "media/crypt/cpix_provider.h"
#include "platform/clock.h"
#include "platform/database.h"
#include "platform/log.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>

#define ANSWER_SIZE_MAX (64u << 20)
#define HEX_LEN (2 * CRYPT_KEY_SIZE)

struct cpix_task {
    struct task task;
    uint8_t *text; /* of the request, which asked points into */
    struct cpix_asked asked;
    struct key_name name; /* content and version */
    struct crypt_key *keys;
    bool is_speke, is_other; /* a KID is of something else */
};

static void
cpix_fini(struct task *task)
{
    struct cpix_task *cpix = (struct cpix_task *) task;
    if (cpix->keys != NULL)
        explicit_bzero(cpix->keys, cpix->asked.key_count * sizeof *cpix->keys);
    free(cpix->keys);
    cpix_asked_fini(&cpix->asked);
    free(cpix->text);
}

/* All or none: a packager that asks again gets the same. */
static int
cpix_query(struct task *task, void *context)
{
    struct cpix_task *cpix = (struct cpix_task *) task;
    struct store *store = context;
    const uint64_t now_s = clock_unix_s();
    int err = database_begin(store->database);
    for (size_t i = 0; i < cpix->asked.key_count && err == 0; i++) {
        const struct cpix_asked_key *asked = &cpix->asked.keys[i];
        struct key_name name = cpix->name;
        name.scheme = asked->scheme;
        name.classes = asked->classes;
        name.period = asked->period;
        memcpy(name.track, asked->track, sizeof name.track);
        err = key_store_take(store->keys, &name, asked->kid, now_s,
                             &cpix->keys[i]);
    }
    if (err == 0)
        err = database_commit(store->database);
    if (err != 0)
        database_rollback(store->database);
    cpix->is_other = err == ERR_STALE;
    return err;
}

static bool
keys_note(struct cpix_task *cpix)
{
    struct server *server = server_of(&cpix->task);
    for (size_t i = 0; i < cpix->asked.key_count; i++) {
        char kid[HEX_LEN + 1];
        for (unsigned j = 0; j < CRYPT_KEY_SIZE; j++)
            snprintf(kid + 2 * j, 3, "%02x", cpix->asked.keys[i].kid[j]);
        const struct audit_record record = {
            .service = "",
            .viewer = "",
            .content = cpix->name.content,
            .version = cpix->name.version,
            .kid = kid,
            .system = "cpix",
            .decision = refusal_code(REFUSAL_NONE),
        };
        if (!server_note(server, cpix->task.request, &record))
            return false;
        server_count(server, SERVER_METRIC_KEYS);
    }
    return true;
}

static void
cpix_answer(struct task *task)
{
    struct cpix_task *cpix = (struct cpix_task *) task;
    struct http_request *request = task->request;
    struct buffer out;
    if (cpix->is_other) {
        server_reply_invalid(server_of(task), request, ERR_STALE,
                             "a kid is that of another content, version, "
                             "scheme, intendedTrackType or period");
        return;
    }
    if (task->err != 0) {
        server_failed(request, task->err, server_of(task));
        return;
    }
    if (!keys_note(cpix))
        return;
    buffer_init(&out, ANSWER_SIZE_MAX);
    cpix_asked_answer(&cpix->asked, cpix->keys, &out);
    if (cpix->is_speke)
        http_reply_header(request, "X-Speke-Version", "2.0");
    http_reply_header(request, "X-Speke-User-Agent", "mlic");
    http_reply_header(request, "Cache-Control", "no-store");
    if (out.err != 0)
        http_reply_error(request, out.err, NULL);
    else
        http_reply(request, 200, "application/xml", buffer_bytes(&out));
    if (out.ptr != NULL)
        explicit_bzero(out.ptr, out.capacity);
    buffer_fini(&out);
}

/* ---- what is asked ---- */

static bool
packager_is_known(struct server *server, struct http_request *request)
{
    const char *key = server_bearer(request);
    const size_t len = strlen(server->packager_key);
    if (key != NULL && len > 0 && strlen(key) == len
        && CRYPTO_memcmp(key, server->packager_key, len) == 0)
        return true;
    server_count(server, SERVER_METRIC_DENIED);
    http_reply_header(request, "WWW-Authenticate", "Bearer realm=\"mlic\"");
    http_reply_problem(request, 401, "not authenticated",
                       len == 0 ? "this server gives packagers no keys "
                                  "(--packager-key)"
                                : "send the packagers' key as Authorization: "
                                  "Bearer KEY");
    return false;
}

/* "content/version", or a content alone. */
static bool
content_split(const char *text, struct key_name *out)
{
    const size_t len = strcspn(text, "/");
    const char *version = text[len] == '/' ? text + len + 1 : "";
    if (!content_id_is_valid(bytes_of(text, len))
        || (text[len] == '/' && !content_id_is_valid(bytes_of_text(version))))
        return false;
    memcpy(out->content, text, len);
    memcpy(out->version, version, strlen(version) + 1);
    return true;
}

static int
asked_take(struct cpix_task *cpix, struct bytes body, const char **reason)
{
    *reason = NULL;
    cpix->text = malloc(body.len + 1);
    if (cpix->text == NULL)
        return ERR_MEMORY;
    memcpy(cpix->text, body.ptr, body.len);
    int err = cpix_asked_read(bytes_of(cpix->text, body.len), cpix->is_speke,
                              &cpix->asked, reason);
    if (err != 0)
        return err;
    *reason =
        "its contentId is not CONTENT or CONTENT/VERSION, each 1 to 64 of "
        "A-Z a-z 0-9 . _ -";
    if (!content_split(cpix->asked.content, &cpix->name))
        return ERR_INVALID;
    *reason = NULL;
    cpix->keys = calloc(cpix->asked.key_count, sizeof *cpix->keys);
    return cpix->keys == NULL ? ERR_MEMORY : 0;
}

void
cpix_post(struct http_request *request, void *context)
{
    struct server *server = context;
    const char *version = http_request_header(request, "X-Speke-Version");
    const char *reason;
    if (!packager_is_known(server, request))
        return;
    if (version != NULL && strcmp(version, "2.0") != 0) {
        server_reply_invalid(server, request, ERR_INVALID,
                             "X-Speke-Version: this is a server of 2.0");
        return;
    }
    struct cpix_task *cpix = task_new(&server->tasks, request, sizeof *cpix,
                                      cpix_query, cpix_answer);
    if (cpix == NULL)
        return;
    cpix->task.fini = cpix_fini;
    cpix->is_speke = version != NULL;
    const int err = asked_take(cpix, http_request_body(request), &reason);
    if (err == 0) {
        task_ask(&cpix->task);
        return;
    }
    char text[512];
    snprintf(text, sizeof text, "the CPIX document is refused: %s",
             reason != NULL ? reason : err_text(err));
    log_warn("cpix: %s", text); /* packagers seldom show their operators */
    server_reply_invalid(server, request, err == ERR_MEMORY ? err : ERR_INVALID,
                         text);
    task_free(&cpix->task);
}
