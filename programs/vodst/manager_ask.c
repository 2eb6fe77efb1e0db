/* SPDX-License-Identifier: Apache-2.0 */

#include "programs/vodst/manager_ask.h"

#include "core/err.h"
#include "platform/files.h"
#include "platform/key_file.h"
#include "programs/vodst/fetch.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define STATE_FILE_MAX (16u << 20) /* bytes */
#define TIMEOUT_MS 5000
#define URL_SIZE 1024 /* with its end */

/* The "manager" of the state folder; NULL: nothing is up there. */
static json_t *
manager_find(const char *dir)
{
    char path[4096];
    struct buffer file;
    snprintf(path, sizeof path, "%s/vodst.json", dir);
    buffer_init(&file, STATE_FILE_MAX);
    json_t *state = file_read(path, &file) == 0
                        ? json_loadb((const char *) file.ptr, file.len, 0, NULL)
                        : NULL;
    json_t *manager = json_incref(json_object_get(state, "manager"));
    json_decref(state);
    buffer_fini(&file);
    return manager;
}

static int
ask(const struct manager_question *q, const char *base, const char *key_path,
    struct buffer *answer, int *status)
{
    char url[3 * URL_SIZE], key[KEY_SIZE] = "";
    /* only the Manager of another machine, behind its nginx, wants it */
    if (key_path != NULL)
        (void) key_file_read(key_path, key);
    snprintf(url, sizeof url, "%s%s", base, q->path);
    const struct fetch_request request = {
        .method = q->method,
        .url = url,
        .json = bytes_of_text(q->json),
        .key = key,
        .timeout_ms = TIMEOUT_MS,
    };
    const int err = fetch_send(&request, answer, status);
    explicit_bzero(key, sizeof key);
    if (err != 0)
        fprintf(stderr,
                "%s: the manager does not answer at %s (%s): see "
                "%s/log/manager.log\n",
                q->program, base, err_text(err), q->dir);
    return err;
}

int
manager_ask(const struct manager_question *q, struct buffer *answer,
            int *status)
{
    json_t *manager = manager_find(q->dir);
    const char *url = q->url != NULL
                          ? q->url
                          : json_string_value(json_object_get(manager, "url"));
    int err = ERR_NOT_FOUND;
    if (url != NULL && strlen(url) < URL_SIZE)
        err =
            ask(q, url, json_string_value(json_object_get(manager, "key_file")),
                answer, status);
    else
        fprintf(stderr,
                "%s: nothing is up in %s (no vodst.json): start it with `vodst "
                "up --dir %s`, or name a manager with --manager\n",
                q->program, q->dir, q->dir);
    json_decref(manager);
    return err;
}
