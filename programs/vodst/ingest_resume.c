/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A run goes on where one before it was killed: the folder's name has a hash of
 * all that the result is made from, so the same command finds it. Nobody will
 * ask for what another command left, in its folder and in the storage.
 */

#include "programs/vodst/ingest.h"

#include "core/err.h"
#include "programs/vodst/ingest_api.h"
#include "programs/vodst/ingest_digest.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- the key ---- */

/* "FILE" or "FILE:LANGUAGE": what the name stands for now. */
static void
file_identity_add(struct digest *digest, const char *name)
{
    char path[PATH_MAX];
    struct stat st = {0};
    snprintf(path, sizeof path, "%s", name);
    while (stat(path, &st) != 0) {
        char *colon = strrchr(path, ':');
        if (colon == NULL)
            break;
        *colon = '\0';
    }
    char whole[PATH_MAX];
    const char *place = realpath(path, whole) != NULL ? whole : path;
    const int64_t numbers[] = {st.st_size, st.st_mtim.tv_sec,
                               st.st_mtim.tv_nsec};
    digest_add(digest, name, strlen(name) + 1);
    digest_add(digest, place, strlen(place) + 1);
    digest_add(digest, numbers, sizeof numbers);
}

/* All that the result is made from. */
static int
work_key_make(const struct ingest *in, char out[WORK_KEY_SIZE])
{
    const struct ingest_config *config = in->config;
    struct digest digest;
    uint8_t hash[DIGEST_SIZE];
    const int64_t numbers[] = {
        config->segment_ms,     config->crf,
        config->threads,        config->thumbnail_ms,
        config->thumbnail_size, config->no_thumbnails,
        config->copy,           config->is_protected,
        in->film_count,         (int64_t) config->subtitles.count,
    };
    int err = digest_begin(&digest);
    if (err != 0)
        return err;
    digest_add(&digest, numbers, sizeof numbers);
    digest_add(&digest, config->ladder, strlen(config->ladder) + 1);
    digest_add(&digest, config->preset, strlen(config->preset) + 1);
    digest_add(&digest, config->codec, strlen(config->codec) + 1);
    digest_add(&digest, &config->loudness_lufs, sizeof config->loudness_lufs);
    for (unsigned i = 0; i < in->film_count; i++)
        file_identity_add(&digest, in->films[i]);
    for (size_t i = 0; i < config->subtitles.count; i++)
        file_identity_add(&digest, config->subtitles.items[i]);
    for (size_t i = 0; i < config->forced_subtitles.count; i++)
        file_identity_add(&digest, config->forced_subtitles.items[i]);
    err = digest_end(&digest, hash);
    if (err == 0)
        digest_text(hash, WORK_KEY_SIZE / 2, out);
    return err;
}

/* ---- what others left ---- */

/* What was put for `content` by a run that was killed before it was playable.
 * False where it cannot be taken away now. */
static bool
orphan_discard(struct ingest *in, const json_t *stored, const char *content)
{
    const char *text, *storage;
    int is_ours;
    json_t *names;
    if (json_unpack((json_t *) (uintptr_t) stored, "{s:s, s:s, s:b, s:o}",
                    "version", &text, "storage", &storage, "is_ours", &is_ours,
                    "files", &names)
            != 0
        || !is_ours)
        return true;
    bool is_known;
    if (!content_id_is_valid(bytes_of_text(text))
        || strcmp(storage, in->settings.storage) != 0
        || !api_version_find(&in->settings, content, text, &is_known))
        return false;
    if (is_known)
        return true;
    static struct storage_file files[STORAGE_FILES_MAX];
    struct storage_version version = {
        .content = content, .version = text, .files = files, .is_ours = true};
    size_t i;
    json_t *name;
    json_array_foreach(names, i, name)
    {
        if (i < STORAGE_FILES_MAX && json_is_string(name))
            files[version.file_count++] =
                (struct storage_file){.name = json_string_value(name)};
    }
    in->storage->discard(in->storage, &version);
    return true;
}

static bool
stale_found(const struct work *work, const char *content, void *context)
{
    struct ingest *in = context;
    const json_t *stored = work_step(work, "store");
    if (stored != NULL && !orphan_discard(in, stored, content))
        return false;
    progress_note(&in->progress,
                  "what an ingest of %s that was killed left in %s is taken "
                  "away",
                  content, work->folder);
    return true;
}

int
work_resume(struct ingest *in)
{
    char key[WORK_KEY_SIZE];
    int err = work_key_make(in, key);
    if (err != 0) {
        progress_error(&in->progress, "out of memory");
        return err;
    }
    work_find_stale(in->config->temp, in->config->id, key, stale_found, in);
    return work_open(&in->progress, in->config->temp, in->config->id, key,
                     &in->work);
}

int
film_check(struct ingest *in)
{
    char key[WORK_KEY_SIZE];
    int err = work_key_make(in, key);
    const char *end = in->work.folder + strlen(in->work.folder);
    if (err == 0 && strcmp(end - (WORK_KEY_SIZE - 1), key) == 0)
        return 0;
    progress_error(&in->progress, "%s changed while it was read", in->film);
    return err != 0 ? err : ERR_INVALID;
}
