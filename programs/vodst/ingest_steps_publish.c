/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The steps that storage and st-api have a part in: would they take the result,
 * and then they get it. A version is in st-api only when all of it is stored.
 */

#include "programs/vodst/ingest.h"

#include "core/err.h"
#include "programs/vodst/ingest_api.h"
#include "programs/vodst/ingest_tracks.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* Before an hour of encoding. */
int
step_check(struct ingest *in)
{
    const int err = in->storage->check(in->storage, &in->progress);
    return err != 0 ? err
                    : api_content_version(&in->progress, &in->settings,
                                          in->config->id, in->playable);
}

/* Before the first byte is put: whoever finds this knows what to look for. */
static int
store_begin(struct ingest *in)
{
    struct storage_version *version = &in->version.stored;
    const json_t *before = work_step(&in->work, "store");
    const char *text = json_string_value(json_object_get(before, "version"));
    const char *storage = json_string_value(json_object_get(before, "storage"));
    if (text != NULL && storage != NULL && strcmp(text, version->version) == 0
        && strcmp(storage, in->settings.storage) == 0) {
        version->is_ours = json_is_true(json_object_get(before, "is_ours"))
                           && strcmp(in->playable, version->version) != 0;
        return 0;
    }
    bool is_there = true;
    const int err =
        in->storage->has == NULL
            ? 0
            : in->storage->has(in->storage, &in->progress, version, &is_there);
    if (err != 0)
        return err;
    json_t *files = json_array();
    for (size_t i = 0; i < version->file_count; i++)
        json_array_append_new(files, json_string(version->files[i].name));
    const bool is_ours =
        !is_there && strcmp(in->playable, version->version) != 0;
    return work_step_done(&in->progress, &in->work, "store",
                          json_pack("{s:s, s:s, s:b, s:o}", "version",
                                    version->version, "storage",
                                    in->settings.storage, "is_ours", is_ours,
                                    "files", files));
}

/* What is retired may be taken away at any moment, unless this is said. */
static int
version_keep(struct ingest *in, bool *is_known)
{
    return api_version_keep(&in->progress, &in->settings, in->config->id,
                            in->version.text, is_known);
}

int
step_store(struct ingest *in)
{
    int err =
        version_make(&in->progress, &in->plan, in->work.folder, in->config->id,
                     in->config->is_protected, &in->version);
    if (err == 0)
        err = version_keep(in, &in->is_known);
    if (err == 0)
        err = store_begin(in);
    if (err == 0)
        err = in->storage->put(in->storage, &in->progress, &in->version.stored);
    if (err == 0)
        in->is_stored = true;
    return err;
}

/* A version that was stored again for longer than tokens are good may have been
 * taken away meanwhile. From here on it is not. */
static int
stored_check(struct ingest *in)
{
    bool is_known = in->is_known;
    const int err = in->is_known ? version_keep(in, &is_known) : 0;
    if (err != 0 || is_known == in->is_known)
        return err;
    progress_error(&in->progress,
                   "version %s of %s was taken away while it was stored: run "
                   "the same command again",
                   in->version.text, in->config->id);
    return ERR_UPSTREAM;
}

int
step_publish(struct ingest *in)
{
    json_int_t duration_ms = (json_int_t) (in->indexed.duration_s * 1000 + 0.5);
    json_t *tracks;
    int err = stored_check(in);
    if (err != 0)
        return err;
    err = tracks_read(in->work.folder, &tracks);
    if (err != 0) {
        progress_error(&in->progress, "cannot read %s/asset.idx: %s",
                       in->work.folder, err_text(err));
        return err;
    }
    json_t *json = json_pack(
        "{s:s, s:s, s:I, s:o}", "title", in->title, "version", in->version.text,
        "duration_ms", duration_ms > 0 ? duration_ms : 1, "tracks", tracks);
    if (in->config->is_protected)
        json_object_set_new(json, "protected", json_true());
    char *text = json != NULL ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    if (text == NULL) {
        progress_error(&in->progress, "out of memory");
        return ERR_MEMORY;
    }
    err = api_content_put(&in->progress, &in->settings, in->config->id,
                          bytes_of_text(text), &in->is_unsure);
    free(text);
    return err;
}
