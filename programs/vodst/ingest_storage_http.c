/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Storage that speaks HTTP: PUT and DELETE by WebDAV with basic credentials,
 * HEAD and GET to see what is there.
 *
 * A body that breaks off is not stored by nginx, which takes it whole before it
 * is given its name, but by others it may be, and bytes may change on the way:
 * a file is there when what is read back has its checksum. The file that makes
 * the version readable is put when all others are there.
 */

#include "programs/vodst/ingest_storage.h"

#include "core/err.h"
#include "platform/clock.h"
#include "programs/vodst/ingest_digest.h"
#include "programs/vodst/ingest_transfer.h"

#include <stdlib.h>
#include <string.h>

#define URL_SIZE (SETTING_STORAGE_SIZE + 256)

struct storage_http {
    struct storage super;
    const struct settings *settings;
    bool was_put[STORAGE_FILES_MAX]; /* by us, not there before */
    bool was_readable;               /* before: nothing of it is discarded */
    bool is_last_missing;            /* as `has` saw, and `put` need not see */
    bool is_unseen;                  /* reading is not allowed, as was told */
    /* while sending */
    struct progress *progress;
    uint64_t total, before, started_ms; /* put and read back */
    struct digest digest;
};

static struct transfer
request(const struct storage_http *storage, const char *method, const char *url)
{
    const struct settings *settings = storage->settings;
    bool has_user = settings->storage_user[0] != '\0';
    return (struct transfer){
        .method = method,
        .url = url,
        .user = has_user ? settings->storage_user : NULL,
        .password = has_user ? settings->storage_password : NULL,
        .fill_secret =
            settings->fill_secret[0] != '\0' ? settings->fill_secret : NULL,
    };
}

static void
file_url(const struct storage_http *storage,
         const struct storage_version *version, size_t i, char out[URL_SIZE])
{
    snprintf(out, URL_SIZE, "%s%.64s/%.64s/%.63s", storage->settings->storage,
             version->content, version->version, version->files[i].name);
}

static int
refused(struct progress *progress, const char *url, const char *what,
        const struct transfer_answer *answer)
{
    char problem[512];
    progress_error(progress, "storage refuses to %s %s (%s)", what, url,
                   transfer_problem(answer, problem));
    return transfer_err(answer);
}

static int
no_answer(struct progress *progress, const char *url, int err,
          const struct transfer_answer *answer)
{
    if (err == ERR_UPSTREAM)
        progress_error(progress, "storage does not answer at %s (%s)", url,
                       answer->reason);
    else if (err != ERR_TIMEOUT)
        progress_error(progress, "cannot send to %s: %s", url, err_text(err));
    return err;
}

static int
http_check(struct storage *super, struct progress *progress)
{
    struct storage_http *storage = (struct storage_http *) super;
    struct transfer_answer answer;
    struct transfer transfer =
        request(storage, "HEAD", storage->settings->storage);
    int err = transfer_run(&transfer, &answer);
    if (err != 0)
        return no_answer(progress, transfer.url, err, &answer);
    if (answer.status == 401)
        return refused(progress, transfer.url, "read", &answer);
    return 0; /* a folder itself is not shown: any other answer is fine */
}

/* The size of a stored file; -1: it is not there; -2: we may not see. */
static int
size_read(const struct storage_http *storage, struct progress *progress,
          const char *url, int64_t *size)
{
    struct transfer_answer answer;
    struct transfer transfer = request(storage, "HEAD", url);
    int err = transfer_run_stubborn(&transfer, &answer);
    if (err != 0)
        return no_answer(progress, url, err, &answer);
    if (answer.status == 200)
        *size = answer.size;
    else if (answer.status == 404)
        *size = -1;
    else if (answer.status == 403 && storage->settings->fill_secret[0] == '\0')
        *size = -2; /* reading needs the fill secret, which we were not given */
    else
        return refused(progress, url, "show", &answer);
    return 0;
}

static void
bytes_sent(uint64_t bytes, void *context)
{
    struct storage_http *storage = context;
    uint64_t done = storage->before + bytes;
    char speed[32];
    progress_update(storage->progress,
                    storage->total > 0 ? (double) done / (double) storage->total
                                       : 0,
                    transfer_speed(done, storage->started_ms, speed));
}

static int
file_put(struct storage_http *storage, struct progress *progress,
         const char *url, const struct storage_file *file)
{
    struct transfer_answer answer;
    struct transfer transfer = request(storage, "PUT", url);
    transfer.file = file->path;
    transfer.sent = bytes_sent;
    transfer.context = storage;
    int err = transfer_run_stubborn(&transfer, &answer);
    if (err != 0)
        return no_answer(progress, url, err, &answer);
    if (answer.status < 200 || answer.status > 299)
        return refused(progress, url, "take", &answer);
    return 0;
}

static int
file_put_again(struct storage_http *storage, struct progress *progress,
               const struct storage_version *version, size_t i)
{
    const struct storage_file *file = &version->files[i];
    char url[URL_SIZE];
    int64_t size = 0;
    file_url(storage, version, i, url);
    storage->was_put[i] = true;
    int err = file_put(storage, progress, url, file);
    if (err == 0)
        err = size_read(storage, progress, url, &size);
    if (err == 0 && size != -2 && size != (int64_t) file->size) {
        progress_error(progress,
                       "%s was stored with %lld bytes instead of %llu", url,
                       (long long) size, (unsigned long long) file->size);
        err = ERR_UPSTREAM;
    }
    return err;
}

/* It is there with its size, whoever put it. */
static int
file_settle(struct storage_http *storage, struct progress *progress,
            const struct storage_version *version, size_t i)
{
    char url[URL_SIZE];
    int64_t size = -1;
    int err = 0;
    file_url(storage, version, i, url);
    if (i + 1 < version->file_count || !storage->is_last_missing)
        err = size_read(storage, progress, url, &size);
    if (err == 0 && size != (int64_t) version->files[i].size)
        err = file_put_again(storage, progress, version, i);
    storage->before += version->files[i].size;
    return err;
}

static void
bytes_received(struct bytes piece, void *context)
{
    struct storage_http *storage = context;
    digest_add(&storage->digest, piece.ptr, piece.len);
    storage->before += piece.len;
    bytes_sent(0, storage);
}

static void
receiving_again(void *context)
{
    struct storage_http *storage = context;
    digest_again(&storage->digest);
}

/* *is_same: what is read back is what was to be stored. */
static int
file_read_back(struct storage_http *storage, struct progress *progress,
               const char *url, const struct storage_file *file, bool *is_same)
{
    struct transfer_answer answer;
    struct transfer transfer = request(storage, "GET", url);
    uint8_t found[DIGEST_SIZE];
    const uint64_t before = storage->before;
    transfer.received = bytes_received;
    transfer.again = receiving_again;
    transfer.context = storage;
    int err = digest_begin(&storage->digest);
    if (err != 0)
        return err;
    err = transfer_run_stubborn(&transfer, &answer);
    storage->before = before + file->size;
    if (err != 0) {
        digest_free(&storage->digest);
        return no_answer(progress, url, err, &answer);
    }
    err = digest_end(&storage->digest, found);
    if (err == 0 && answer.status == 403
        && storage->settings->fill_secret[0] == '\0') {
        storage->is_unseen = true;
        *is_same = true;
        return 0;
    }
    if (err == 0 && answer.status != 200)
        return refused(progress, url, "show", &answer);
    *is_same =
        err == 0 && memcmp(found, file->sha256, sizeof file->sha256) == 0;
    return err;
}

/* With its checksum. What has another is put again, once. */
static int
file_verify(struct storage_http *storage, struct progress *progress,
            const struct storage_version *version, size_t i)
{
    const struct storage_file *file = &version->files[i];
    char url[URL_SIZE];
    bool is_same = true;
    file_url(storage, version, i, url);
    int err = storage->is_unseen
                  ? 0
                  : file_read_back(storage, progress, url, file, &is_same);
    if (err != 0 || is_same)
        return err;
    progress_note(progress,
                  "%s has other bytes than it should have: it is "
                  "put again",
                  url);
    storage->before -= file->size;
    err = file_put_again(storage, progress, version, i);
    if (err == 0)
        err = file_read_back(storage, progress, url, file, &is_same);
    if (err == 0 && !is_same) {
        progress_error(progress,
                       "%s was stored with other bytes: its checksum is not "
                       "that of what was put",
                       url);
        err = ERR_UPSTREAM;
    }
    return err;
}

static void
http_discard(struct storage *super, const struct storage_version *version)
{
    struct storage_http *storage = (struct storage_http *) super;
    if (storage->was_readable)
        return;
    /* backwards: what makes the version readable goes first */
    for (size_t i = version->file_count; i-- > 0;) {
        if (!storage->was_put[i] && !version->is_ours)
            continue;
        struct transfer_answer answer;
        char url[URL_SIZE];
        file_url(storage, version, i, url);
        struct transfer transfer = request(storage, "DELETE", url);
        transfer.is_cleanup = true;
        /* Best effort: no answer worth telling on top of the first error. */
        transfer_run(&transfer, &answer);
        storage->was_put[i] = false;
    }
}

/* 404: it is not there, nor a folder that it would be in. */
static int
url_delete(struct storage_http *storage, struct progress *progress,
           const char *url, bool *was_there)
{
    struct transfer_answer answer;
    const struct transfer transfer = request(storage, "DELETE", url);
    int err = transfer_run_stubborn(&transfer, &answer);
    if (err != 0)
        return no_answer(progress, url, err, &answer);
    if (answer.status == 404)
        return 0;
    /* 207: some of it is left (RFC 4918, section 9.6.1) */
    if (answer.status < 200 || answer.status > 299 || answer.status == 207)
        return refused(progress, url, "take away", &answer);
    *was_there = true;
    return 0;
}

/* A store that has no collections, where the other files, whose names we do not
 * know, would stay. What the next run tells that by is put back, unreadable as
 * it is: it must not find nothing and take the version as gone. */
static int
no_collection(struct storage_http *storage, struct progress *progress,
              const char *folder, const char *index)
{
    struct transfer_answer answer;
    struct transfer transfer = request(storage, "PUT", index);
    transfer.body = BYTES_LITERAL("vodst collect: this is being taken away\n");
    transfer.is_cleanup = true;
    progress_error(progress,
                   "storage had %s and has no folder %s (404): DELETE of "
                   "collections is needed",
                   index, folder);
    /* Best effort: no answer worth telling on top of the first error. */
    transfer_run_stubborn(&transfer, &answer);
    return ERR_INVALID;
}

/* The collection as a whole: WebDAV takes what is in it, too. */
static int
http_remove(struct storage *super, struct progress *progress,
            const struct storage_version *version, bool *was_there)
{
    struct storage_http *storage = (struct storage_http *) super;
    char folder[URL_SIZE], index[URL_SIZE];
    bool had_index = false, had_folder = false;
    snprintf(folder, sizeof folder, "%s%.64s/%.64s/",
             storage->settings->storage, version->content, version->version);
    snprintf(index, sizeof index, "%s%.64s/%.64s/" STORAGE_INDEX,
             storage->settings->storage, version->content, version->version);
    int err = url_delete(storage, progress, index, &had_index);
    if (err == 0)
        err = url_delete(storage, progress, folder, &had_folder);
    /* Or an answer was lost, and the folder is gone: the next run ends it. */
    if (err == 0 && had_index && !had_folder)
        err = no_collection(storage, progress, folder, index);
    if (err == 0)
        *was_there = had_folder;
    return err;
}

static int
http_has(struct storage *super, struct progress *progress,
         const struct storage_version *version, bool *out)
{
    struct storage_http *storage = (struct storage_http *) super;
    char url[URL_SIZE];
    int64_t size = 0;
    file_url(storage, version, version->file_count - 1, url);
    const int err = size_read(storage, progress, url, &size);
    if (err != 0)
        return err;
    storage->was_readable = size >= 0 && !version->is_ours;
    storage->is_last_missing = size == -1;
    *out = size >= 0;
    return 0;
}

static int
files_put(struct storage_http *storage, struct progress *progress,
          const struct storage_version *version)
{
    const size_t last = version->file_count - 1;
    int err = 0;
    for (size_t i = 0; err == 0 && i < last; i++)
        err = file_settle(storage, progress, version, i);
    for (size_t i = 0; err == 0 && i < last; i++)
        err = file_verify(storage, progress, version, i);
    if (err == 0)
        err = file_settle(storage, progress, version, last);
    if (err == 0)
        err = file_verify(storage, progress, version, last);
    if (err == 0 && storage->is_unseen)
        progress_note(progress,
                      "the storage does not let us read, so nothing of what "
                      "it has was verified (--fill-secret-file)");
    return err;
}

static int
http_put(struct storage *super, struct progress *progress,
         const struct storage_version *version)
{
    struct storage_http *storage = (struct storage_http *) super;
    storage->progress = progress;
    storage->total = 2 * version->size;
    storage->before = 0;
    storage->started_ms = clock_now_ms();
    const int err = files_put(storage, progress, version);
    if (err != 0)
        http_discard(super, version);
    return err;
}

static void
http_free(struct storage *super)
{
    free(super);
}

int
storage_http_new(const struct settings *settings, struct storage **out)
{
    struct storage_http *storage = calloc(1, sizeof *storage);
    if (storage == NULL)
        return ERR_MEMORY;
    storage->super = (struct storage){
        .check = http_check,
        .has = http_has,
        .put = http_put,
        .discard = http_discard,
        .remove = http_remove,
        .free = http_free,
    };
    storage->settings = settings;
    *out = &storage->super;
    return 0;
}

const char *
transfer_speed(uint64_t bytes, uint64_t started_ms, char out[32])
{
    uint64_t ms = clock_now_ms() - started_ms;
    snprintf(out, 32, "%.1f MB/s",
             (double) bytes / 1000 / (double) (ms > 0 ? ms : 1));
    return out;
}
