/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Storage that is a bucket of S3-compatible storage. Small files are put at
 * once and large ones in parts; an object is there as a whole or not at all,
 * and what is there has the hash that was signed.
 */

#include "programs/vodst/ingest_storage.h"

#include "core/err.h"
#include "platform/clock.h"
#include "programs/vodst/ingest_s3_upload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OBJECT_SIZE (64 + 64 + 64 + 4)

/* What is there. */
enum {
    SIZE_NONE = -1,
    SIZE_HIDDEN = -2, /* the key may not see */
};

struct storage_s3 {
    struct storage super;
    const struct settings *settings;
    struct s3_client client;
    struct s3_result result;         /* of the last request */
    bool was_put[STORAGE_FILES_MAX]; /* by us, not there before */
    bool was_readable;               /* before: nothing of it is discarded */
    /* while sending */
    struct progress *progress;
    uint64_t total, before, started_ms;
};

static void
object_name(const struct storage_version *version, const char *file,
            char out[OBJECT_SIZE])
{
    snprintf(out, OBJECT_SIZE, "%.64s/%.64s/%.63s", version->content,
             version->version, file);
}

static int
refused(struct storage_s3 *storage, struct progress *progress, const char *what,
        const char *object)
{
    char problem[S3_PROBLEM_SIZE];
    const int status = storage->result.http.status;
    progress_error(progress, "storage refuses to %s %s%s (%s)", what,
                   storage->settings->storage, object,
                   s3_problem(&storage->client, &storage->result, problem));
    return status == 401 || status == 403 ? ERR_DENIED : ERR_UPSTREAM;
}

static int
no_answer(struct storage_s3 *storage, struct progress *progress, int err,
          const char *object)
{
    if (err == ERR_UPSTREAM)
        progress_error(progress, "storage does not answer at %s (%s)",
                       storage->client.place->address,
                       storage->result.http.reason);
    else if (err != ERR_TIMEOUT)
        progress_error(progress, "cannot send %s%s: %s",
                       storage->settings->storage, object, err_text(err));
    return err;
}

/* A key that may put and read may yet not be allowed to list: what it can do
 * is seen when it does it. */
static int
s3_check(struct storage *super, struct progress *progress)
{
    struct storage_s3 *storage = (struct storage_s3 *) super;
    struct buffer query;
    buffer_init(&query, 4 * S3_PREFIX_SIZE);
    buffer_append_text(&query, "list-type=2&max-keys=1&prefix=");
    sigv4_encode(bytes_of_text(storage->client.place->prefix), false, &query);
    buffer_append_u8(&query, '\0');
    const struct s3_request request = {
        .method = "GET",
        .query = (const char *) query.ptr,
        .is_once = true,
    };
    int err = query.err;
    if (err == 0)
        err = s3_client_run(&storage->client, &request, &storage->result);
    buffer_fini(&query);
    if (err != 0)
        return no_answer(storage, progress, err, "");
    if (s3_is_done(&storage->result)
        || s3_is_code(&storage->result, "AccessDenied"))
        return 0;
    return refused(storage, progress, "show", "");
}

static int
size_read(struct storage_s3 *storage, struct progress *progress,
          const char *object, int64_t *size)
{
    const struct s3_request request = {.method = "HEAD", .object = object};
    int err = s3_client_run(&storage->client, &request, &storage->result);
    const struct transfer_answer *answer = &storage->result.http;
    if (err != 0)
        return no_answer(storage, progress, err, object);
    if (answer->status == 200)
        *size = answer->size;
    else if (answer->status == 404)
        *size = SIZE_NONE;
    else if (answer->status == 403)
        *size = SIZE_HIDDEN; /* also of what is not there */
    else
        return refused(storage, progress, "show", object);
    return 0;
}

static void
bytes_sent(uint64_t bytes, void *context)
{
    struct storage_s3 *storage = context;
    const uint64_t done = storage->before + bytes;
    char speed[32];
    progress_update(storage->progress,
                    storage->total > 0 ? (double) done / (double) storage->total
                                       : 0,
                    transfer_speed(done, storage->started_ms, speed));
}

static int
file_put(struct storage_s3 *storage, struct progress *progress,
         const char *object, const struct storage_file *file)
{
    const uint64_t part_size = storage->settings->s3_part_size;
    const struct s3_upload_file upload = {
        .object = object,
        .path = file->path,
        .size = file->size,
        .part_size = part_size,
        .sent = bytes_sent,
        .context = storage,
    };
    const struct s3_request request = {
        .method = "PUT",
        .object = object,
        .file = file->path,
        .sent = bytes_sent,
        .context = storage,
    };
    int err = file->size > part_size
                  ? s3_upload(&storage->client, &upload, &storage->result)
                  : s3_client_run(&storage->client, &request, &storage->result);
    if (err != 0)
        return no_answer(storage, progress, err, object);
    /* Either another ingest of the same version was faster and took this upload
     * for one that was left behind, or the answer to its end was lost: what is
     * there now says. */
    if (s3_is_done(&storage->result)
        || s3_is_code(&storage->result, "NoSuchUpload"))
        return 0;
    return refused(storage, progress, "take", object);
}

static int
file_settle(struct storage_s3 *storage, struct progress *progress,
            const struct storage_version *version, size_t i)
{
    const struct storage_file *file = &version->files[i];
    char object[OBJECT_SIZE];
    int64_t size = 0;
    object_name(version, file->name, object);
    int err = size_read(storage, progress, object, &size);
    if (err != 0 || size == (int64_t) file->size)
        return err;
    storage->was_put[i] = true;
    err = file_put(storage, progress, object, file);
    if (err == 0)
        err = size_read(storage, progress, object, &size);
    if (err != 0 || size == (int64_t) file->size)
        return err;
    if (size == SIZE_HIDDEN)
        return refused(storage, progress, "show", object);
    progress_error(progress, "%s%s was stored with %lld bytes instead of %llu",
                   storage->settings->storage, object,
                   size < 0 ? 0ll : (long long) size,
                   (unsigned long long) file->size);
    return ERR_UPSTREAM;
}

static void
s3_discard(struct storage *super, const struct storage_version *version)
{
    struct storage_s3 *storage = (struct storage_s3 *) super;
    if (storage->was_readable)
        return;
    /* backwards: what makes the version readable goes first */
    for (size_t i = version->file_count; i-- > 0;) {
        char object[OBJECT_SIZE];
        const struct s3_request request = {
            .method = "DELETE",
            .object = object,
            .is_once = true,
            .is_cleanup = true,
        };
        if (!storage->was_put[i] && !version->is_ours)
            continue;
        object_name(version, version->files[i].name, object);
        /* Best effort: no answer worth telling on top of the first error. */
        s3_client_run(&storage->client, &request, &storage->result);
        storage->was_put[i] = false;
    }
}

static int
s3_has(struct storage *super, struct progress *progress,
       const struct storage_version *version, bool *out)
{
    struct storage_s3 *storage = (struct storage_s3 *) super;
    char object[OBJECT_SIZE];
    int64_t size = 0;
    object_name(version, version->files[version->file_count - 1].name, object);
    const int err = size_read(storage, progress, object, &size);
    if (err != 0)
        return err;
    *out = size >= 0;
    storage->was_readable = *out && !version->is_ours;
    return 0;
}

static int
s3_put(struct storage *super, struct progress *progress,
       const struct storage_version *version)
{
    struct storage_s3 *storage = (struct storage_s3 *) super;
    char prefix[OBJECT_SIZE];
    bool is_new = false;
    storage->progress = progress;
    storage->total = version->size;
    storage->before = 0;
    storage->started_ms = clock_now_ms();
    for (size_t i = 0; i < version->file_count; i++) {
        int err = file_settle(storage, progress, version, i);
        if (err != 0) {
            s3_discard(super, version);
            return err;
        }
        is_new = is_new || storage->was_put[i];
        storage->before += version->files[i].size;
    }
    if (is_new) {
        object_name(version, "", prefix);
        s3_uploads_clear(&storage->client, prefix);
    }
    return 0;
}

static void
s3_free(struct storage *super)
{
    struct storage_s3 *storage = (struct storage_s3 *) super;
    s3_client_fini(&storage->client);
    free(storage);
}

int
storage_s3_new(const struct settings *settings, struct storage **out)
{
    struct storage_s3 *storage = calloc(1, sizeof *storage);
    if (storage == NULL)
        return ERR_MEMORY;
    storage->super = (struct storage){
        .check = s3_check,
        .has = s3_has,
        .put = s3_put,
        .discard = s3_discard,
        .free = s3_free,
    };
    storage->settings = settings;
    s3_client_init(&storage->client, &settings->s3, &settings->s3_credentials,
                   settings->s3_ca_file[0] != '\0' ? settings->s3_ca_file
                                                   : NULL);
    *out = &storage->super;
    return 0;
}
