/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Storage that is a folder of this machine: a version is copied beside its
 * place and renamed into it.
 */

#include "programs/vodst/ingest_storage.h"

#include "core/err.h"
#include "platform/clock.h"
#include "platform/files.h"
#include "programs/vodst/ingest_child.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COPY_SIZE (8u << 20) /* bytes at once, between looks at the clock */
#define FOLDER_SIZE (SETTING_STORAGE_SIZE + 160)
#define PATH_SIZE (FOLDER_SIZE + 64)

struct storage_folder {
    struct storage super;
    const struct settings *settings;
    bool was_put; /* the version was not there before */
};

static int
failed(struct progress *progress, const char *what, const char *path)
{
    progress_error(progress, "cannot %s %s: %s", what, path, strerror(errno));
    return ERR_IO;
}

static int
folder_check(struct storage *super, struct progress *progress)
{
    const struct storage_folder *storage = (struct storage_folder *) super;
    const char *path = storage->settings->storage;
    if (folder_make(path, 0755) != 0)
        return failed(progress, "make the storage folder", path);
    if (access(path, W_OK | X_OK) != 0)
        return failed(progress, "write to the storage folder", path);
    return 0;
}

static int
sync_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    int result = fsync(fd);
    close(fd);
    return result;
}

/* For file systems without copy_file_range between them. */
static ssize_t
block_copy(int in, int out)
{
    static char bytes[1 << 16];
    ssize_t len = read(in, bytes, sizeof bytes);
    for (ssize_t done = 0; done < len;) {
        ssize_t put = write(out, bytes + done, (size_t) (len - done));
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return -1;
        done += put;
    }
    return len;
}

static int
bytes_copy(struct progress *progress, int in, int out, uint64_t size,
           uint64_t before, const struct storage_version *version,
           uint64_t started_ms)
{
    for (uint64_t done = 0; done < size;) {
        if (stop_signal() != 0)
            return ERR_TIMEOUT;
        uint64_t left = size - done;
        ssize_t got = copy_file_range(in, NULL, out, NULL,
                                      left < COPY_SIZE ? left : COPY_SIZE, 0);
        if (got < 0
            && (errno == EXDEV || errno == EINVAL || errno == ENOSYS
                || errno == EOPNOTSUPP))
            got = block_copy(in, out);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return ERR_IO;
        done += (uint64_t) got;
        char speed[32];
        progress_update(progress,
                        (double) (before + done) / (double) version->size,
                        transfer_speed(before + done, started_ms, speed));
    }
    return 0;
}

static int
file_copy(struct progress *progress, const struct storage_file *file,
          const char *folder, uint64_t before,
          const struct storage_version *version, uint64_t started_ms)
{
    char path[PATH_SIZE + 64];
    snprintf(path, sizeof path, "%s/%.63s", folder, file->name);
    int in = open(file->path, O_RDONLY | O_CLOEXEC);
    int out = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    int err = ERR_IO;
    errno = in >= 0 && out >= 0 ? 0 : errno;
    if (in >= 0 && out >= 0)
        err = bytes_copy(progress, in, out, file->size, before, version,
                         started_ms);
    if (err == 0 && fsync(out) != 0)
        err = ERR_IO;
    struct stat st;
    if (err == 0
        && (fstat(out, &st) != 0 || (uint64_t) st.st_size != file->size)) {
        errno = EIO;
        err = ERR_IO;
    }
    if (err == ERR_IO)
        failed(progress, "write", path);
    if (in >= 0)
        close(in);
    if (out >= 0)
        close(out);
    return err;
}

/* True when every file of the version is there with its size. */
static bool
is_there(const char *folder, const struct storage_version *version)
{
    for (size_t i = 0; i < version->file_count; i++) {
        char path[PATH_SIZE];
        struct stat st;
        snprintf(path, sizeof path, "%s/%.63s", folder, version->files[i].name);
        if (stat(path, &st) != 0 || !S_ISREG(st.st_mode)
            || (uint64_t) st.st_size != version->files[i].size)
            return false;
    }
    return true;
}

static void
version_folder(const struct storage_folder *storage,
               const struct storage_version *version, char out[FOLDER_SIZE])
{
    snprintf(out, FOLDER_SIZE, "%s%.64s/%.64s", storage->settings->storage,
             version->content, version->version);
}

static int
files_copy(struct progress *progress, const struct storage_version *version,
           const char *folder)
{
    uint64_t before = 0, started_ms = clock_now_ms();
    for (size_t i = 0; i < version->file_count; i++) {
        int err = file_copy(progress, &version->files[i], folder, before,
                            version, started_ms);
        if (err != 0)
            return err;
        before += version->files[i].size;
    }
    return 0;
}

static int
folder_put(struct storage *super, struct progress *progress,
           const struct storage_version *version)
{
    struct storage_folder *storage = (struct storage_folder *) super;
    char place[FOLDER_SIZE], content[FOLDER_SIZE], beside[PATH_SIZE];
    version_folder(storage, version, place);
    if (is_there(place, version))
        return 0;
    snprintf(content, sizeof content, "%s%.64s", storage->settings->storage,
             version->content);
    snprintf(beside, sizeof beside, "%s/.%.40s.XXXXXX", content,
             version->version);
    if (folder_make(content, 0755) != 0 || mkdtemp(beside) == NULL)
        return failed(progress, "make a folder in", content);
    int err = files_copy(progress, version, beside);
    if (err == 0 && (chmod(beside, 0755) != 0 || sync_folder(beside) != 0))
        err = failed(progress, "write", beside);
    if (err == 0 && is_there(place, version)) {
        folder_remove(beside); /* another ingest was faster */
        return 0;
    }
    /* What stands in its place is an incomplete copy: never made by us. */
    if (err == 0 && folder_remove(place) != 0)
        err = failed(progress, "replace the incomplete", place);
    if (err == 0 && rename(beside, place) != 0)
        err = failed(progress, "rename the copy to", place);
    if (err != 0) {
        folder_remove(beside);
        rmdir(content); /* fails, rightly, when something else is in it */
        return err;
    }
    storage->was_put = true;
    sync_folder(content);
    return 0;
}

static void
folder_discard(struct storage *super, const struct storage_version *version)
{
    struct storage_folder *storage = (struct storage_folder *) super;
    char path[FOLDER_SIZE];
    if (!storage->was_put)
        return;
    version_folder(storage, version, path);
    folder_remove(path);
    path[strlen(path) - strlen(version->version) - 1] = '\0';
    rmdir(path);
    storage->was_put = false;
}

static void
folder_free(struct storage *super)
{
    free(super);
}

int
storage_folder_new(const struct settings *settings, struct storage **out)
{
    struct storage_folder *storage = calloc(1, sizeof *storage);
    if (storage == NULL)
        return ERR_MEMORY;
    storage->super = (struct storage){
        .check = folder_check,
        .put = folder_put,
        .discard = folder_discard,
        .free = folder_free,
    };
    storage->settings = settings;
    *out = &storage->super;
    return 0;
}
