/* SPDX-License-Identifier: Apache-2.0 */
/* See programs/vodst/ingest_api.h. */

#include "programs/vodst/ingest_api.h"

#include "core/buffer.h"
#include "core/err.h"
#include "programs/vodst/ingest_progress.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define URL_SIZE (SETTING_URL_SIZE + 256)
#define LIST_SIZE_MAX (4u << 20) /* bytes; st-api gives no longer answer */

int
api_judge(struct progress *progress, const struct settings *settings,
          const char *what, int err, const struct transfer_answer *answer)
{
    char problem[512];
    if (err == ERR_TIMEOUT)
        return err;
    if (err != 0) {
        progress_error(progress, "st-api does not answer at %s (%s)",
                       settings->api, answer->reason);
        return err;
    }
    progress_error(progress, "st-api refuses %s (%s)", what,
                   transfer_problem(answer, problem));
    return transfer_err(answer);
}

/* ---- a content ---- */

static void
content_url(const struct settings *settings, const char *content,
            char out[URL_SIZE])
{
    snprintf(out, URL_SIZE, "%s/v1/contents/%.64s", settings->api, content);
}

static void
version_parse(const struct transfer_answer *answer,
              char out[CONTENT_ID_LEN_MAX + 1])
{
    json_t *content = json_loads(answer->body, 0, NULL);
    const char *version =
        json_string_value(json_object_get(content, "version"));
    if (version != NULL)
        snprintf(out, CONTENT_ID_LEN_MAX + 1, "%s", version);
    json_decref(content);
}

int
api_content_version(struct progress *progress, const struct settings *settings,
                    const char *content, char out[CONTENT_ID_LEN_MAX + 1])
{
    char url[URL_SIZE];
    struct transfer_answer answer;
    content_url(settings, content, url);
    const struct transfer transfer = {
        .method = "GET", .url = url, .bearer = settings->api_key};
    const int err = transfer_run(&transfer, &answer);
    if (err != 0 || (answer.status != 200 && answer.status != 404))
        return api_judge(progress, settings, content, err, &answer);
    out[0] = '\0';
    if (answer.status == 200)
        version_parse(&answer, out);
    return 0;
}

int
api_content_put(struct progress *progress, const struct settings *settings,
                const char *content, struct bytes json, bool *is_unsure)
{
    char url[URL_SIZE];
    struct transfer_answer answer;
    content_url(settings, content, url);
    const struct transfer transfer = {
        .method = "PUT", .url = url, .bearer = settings->api_key, .json = json};
    const int err = transfer_run_stubborn(&transfer, &answer);
    if (err == 0 && (answer.status == 200 || answer.status == 201))
        return 0;
    /* It was asked and nothing came back: it may have done it. */
    *is_unsure = err != 0 && !answer.was_refused;
    return api_judge(progress, settings, content, err, &answer);
}

/* ---- its versions ---- */

static void
version_url(const struct settings *settings, const char *content,
            const char *version, const char *action, char out[URL_SIZE])
{
    snprintf(out, URL_SIZE, "%s/v1/contents/%.64s/versions/%.64s%s",
             settings->api, content, version, action);
}

bool
api_version_find(const struct settings *settings, const char *content,
                 const char *version, bool *is_known)
{
    char url[URL_SIZE];
    struct transfer_answer answer;
    version_url(settings, content, version, "", url);
    const struct transfer transfer = {
        .method = "GET", .url = url, .bearer = settings->api_key};
    if (transfer_run(&transfer, &answer) != 0
        || (answer.status != 200 && answer.status != 404))
        return false;
    *is_known = answer.status == 200;
    return true;
}

int
api_version_ask(struct progress *progress, const struct settings *settings,
                const char *method, const char *content, const char *version,
                const char *action, struct transfer_answer *answer)
{
    char url[URL_SIZE], what[160];
    version_url(settings, content, version, action, url);
    const struct transfer transfer = {
        .method = method, .url = url, .bearer = settings->api_key};
    const int err = transfer_run_stubborn(&transfer, answer);
    if (err == 0
        && (answer->status == 204 || answer->status == 404
            || answer->status == 409))
        return 0;
    snprintf(what, sizeof what, "%.64s/%.64s", content, version);
    return api_judge(progress, settings, what, err, answer);
}

int
api_version_keep(struct progress *progress, const struct settings *settings,
                 const char *content, const char *version, bool *is_known)
{
    char url[URL_SIZE], problem[512];
    struct transfer_answer answer;
    struct transfer_waiting waiting = {0};
    version_url(settings, content, version, "/keep", url);
    for (;;) {
        int err = api_version_ask(progress, settings, "POST", content, version,
                                  "/keep", &answer);
        if (err != 0)
            return err;
        *is_known = answer.status != 404;
        if (answer.status != 409)
            return 0;
        err = transfer_wait(&waiting, url, transfer_problem(&answer, problem));
        if (err == ERR_UNAVAILABLE)
            progress_error(progress,
                           "version %s of %s is still being taken away: let "
                           "`vodst collect` end that, then run the same "
                           "command again",
                           version, content);
        if (err != 0)
            return err;
    }
}

/* ---- the list ---- */

static void
list_take(struct bytes piece, void *context)
{
    buffer_append(context, piece.ptr, piece.len);
}

static void
list_again(void *context)
{
    ((struct buffer *) context)->len = 0;
}

/* It becomes a part of a URL. */
static bool
after_is_plain(const char *after)
{
    static const char known[] = "abcdefghijklmnopqrstuvwxyz"
                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/";
    return strlen(after) < API_AFTER_SIZE
           && strspn(after, known) == strlen(after);
}

static int
list_parse(struct progress *progress, const struct settings *settings,
           struct bytes text, char after[API_AFTER_SIZE], json_t **out)
{
    json_t *root = json_loadb((const char *) text.ptr, text.len, 0, NULL);
    json_t *list = json_object_get(root, "versions");
    const char *next = json_string_value(json_object_get(root, "next"));
    const bool is_list =
        json_is_array(list) && (next == NULL || after_is_plain(next));
    if (is_list) {
        snprintf(after, API_AFTER_SIZE, "%s", next != NULL ? next : "");
        *out = json_incref(list);
    } else {
        progress_error(progress,
                       "%s gives no list of retired versions: is that st-api?",
                       settings->api);
    }
    json_decref(root);
    return is_list ? 0 : ERR_INVALID;
}

int
api_retired(struct progress *progress, const struct settings *settings,
            char after[API_AFTER_SIZE], struct json_t **out)
{
    char url[URL_SIZE];
    struct transfer_answer answer;
    struct buffer text;
    snprintf(url, sizeof url, "%s/v1/retired-versions%s%s", settings->api,
             after[0] != '\0' ? "?after=" : "", after);
    buffer_init(&text, LIST_SIZE_MAX);
    const struct transfer transfer = {.method = "GET",
                                      .url = url,
                                      .bearer = settings->api_key,
                                      .received = list_take,
                                      .again = list_again,
                                      .context = &text};
    int err = transfer_run_stubborn(&transfer, &answer);
    if (err != 0 || answer.status != 200)
        err = api_judge(progress, settings, "the list of retired versions", err,
                        &answer);
    else if (text.err != 0)
        progress_error(progress, "%s: %s", url, err_text(err = text.err));
    else
        err = list_parse(progress, settings, buffer_bytes(&text), after, out);
    buffer_fini(&text);
    return err;
}
