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

/* ---- taking a version away ---- */

static int
object_delete(struct storage_s3 *storage, struct progress *progress,
              const char *object)
{
    const struct s3_request request = {.method = "DELETE", .object = object};
    int err = s3_client_run(&storage->client, &request, &storage->result);
    if (err != 0)
        return no_answer(storage, progress, err, object);
    return s3_is_done(&storage->result) || storage->result.http.status == 404
               ? 0
               : refused(storage, progress, "take away", object);
}

/* As ingest names files, or empty. In a request's path others could be read as
 * another object's name. */
static bool
is_plain(const char *name)
{
    static const char known[] = "abcdefghijklmnopqrstuvwxyz"
                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    return strspn(name, known) == strlen(name) && strcmp(name, ".") != 0
           && strcmp(name, "..") != 0;
}

static int
version_list(struct storage_s3 *storage, struct progress *progress,
             const char *prefix)
{
    struct buffer query;
    buffer_init(&query, 4 * (S3_PREFIX_SIZE + OBJECT_SIZE));
    buffer_printf(&query, "list-type=2&max-keys=%d&prefix=", S3_OBJECTS_MAX);
    sigv4_encode(bytes_of_text(storage->client.place->prefix), false, &query);
    sigv4_encode(bytes_of_text(prefix), false, &query);
    buffer_append_u8(&query, '\0');
    const struct s3_request request = {
        .method = "GET",
        .query = (const char *) query.ptr,
    };
    int err = query.err;
    if (err == 0)
        err = s3_client_run(&storage->client, &request, &storage->result);
    buffer_fini(&query);
    if (err != 0)
        return no_answer(storage, progress, err, prefix);
    if (!s3_is_done(&storage->result))
        return refused(storage, progress, "list", prefix);
    if (storage->result.answer.kind == S3_ANSWER_OBJECTS)
        return 0;
    progress_error(progress,
                   "storage lists %s%s in another form than S3 does: is "
                   "--s3-endpoint right?",
                   storage->settings->storage, prefix);
    return ERR_INVALID;
}

/* Those that were listed, each of them below the prefix. */
static int
listed_delete(struct storage_s3 *storage, struct progress *progress,
              const struct s3_answer *listed, const char *prefix)
{
    const char *base = storage->client.place->prefix;
    const size_t base_len = strlen(base), prefix_len = strlen(prefix);
    int err = 0;
    for (size_t i = 0; err == 0 && i < listed->object_count; i++) {
        const char *name = listed->objects[i];
        if (strncmp(name, base, base_len) != 0
            || strncmp(name + base_len, prefix, prefix_len) != 0
            || !is_plain(name + base_len + prefix_len)) {
            progress_error(progress,
                           "storage lists \"%s\" under %s%s, which no ingest "
                           "put there: look at it, and take it away by hand",
                           name, storage->settings->storage, prefix);
            return ERR_INVALID;
        }
        err = object_delete(storage, progress, name + base_len);
    }
    return err;
}

/* A store may list for a while what is gone: then it is asked again later.
 * `first` is the first name that was listed before, or empty. */
static int
listed_wait(struct storage_s3 *storage, struct progress *progress,
            struct transfer_waiting *waiting, char first[S3_OBJECT_SIZE])
{
    const char *now = storage->result.answer.objects[0];
    if (strcmp(first, now) != 0) {
        memcpy(first, now, S3_OBJECT_SIZE);
        return 0;
    }
    const int err = transfer_wait(waiting, storage->client.place->address,
                                  "it lists what was taken away");
    if (err == ERR_UNAVAILABLE)
        progress_error(progress,
                       "storage still lists \"%s\", which was taken away: try "
                       "again later",
                       first);
    return err;
}

static int
s3_remove(struct storage *super, struct progress *progress,
          const struct storage_version *version, bool *was_there)
{
    struct storage_s3 *storage = (struct storage_s3 *) super;
    static struct s3_answer listed; /* large; the requests have others */
    char prefix[OBJECT_SIZE], index[OBJECT_SIZE];
    char first[S3_OBJECT_SIZE] = "";
    struct transfer_waiting waiting = {0};
    bool is_there = false;
    object_name(version, "", prefix);
    object_name(version, STORAGE_INDEX, index);
    int err = object_delete(storage, progress, index);
    while (err == 0 && (err = version_list(storage, progress, prefix)) == 0) {
        listed = storage->result.answer;
        if (listed.object_count == 0)
            break;
        is_there = true;
        err = listed_wait(storage, progress, &waiting, first);
        if (err == 0)
            err = listed_delete(storage, progress, &listed, prefix);
    }
    if (err != 0)
        return err;
    s3_uploads_clear(&storage->client, prefix);
    *was_there = is_there;
    return 0;
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
        .remove = s3_remove,
        .free = s3_free,
    };
    storage->settings = settings;
    s3_client_init(&storage->client, &settings->s3, &settings->s3_credentials,
                   settings->s3_ca_file[0] != '\0' ? settings->s3_ca_file
                                                   : NULL);
    *out = &storage->super;
    return 0;
}
