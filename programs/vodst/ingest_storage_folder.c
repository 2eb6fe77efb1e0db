/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Storage that is a folder of this machine: a version is copied beside its
 * place, read back, and renamed into it.
 *
 * The folder beside is locked while it is written, so that what a killed run
 * left is told from what another one writes just now, and taken away.
 */

#include "programs/vodst/ingest_storage.h"

#include "core/err.h"
#include "platform/clock.h"
#include "platform/files.h"
#include "programs/vodst/ingest_child.h"
#include "programs/vodst/ingest_digest.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define COPY_SIZE (8u << 20) /* bytes at once, between looks at the clock */
#define FOLDER_SIZE (SETTING_STORAGE_SIZE + 160)
#define PATH_SIZE (FOLDER_SIZE + 64)
#define ATTEMPTS_MAX 10

struct storage_folder {
    struct storage super;
    const struct settings *settings;
    bool was_put;      /* by us: the version was not there before */
    bool was_readable; /* before: it is not discarded */
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

/* *out: every file of the version is there with its checksum. */
static int
is_there(const char *folder, const struct storage_version *version, bool *out)
{
    *out = false;
    for (size_t i = 0; i < version->file_count; i++) {
        const struct storage_file *file = &version->files[i];
        char path[PATH_SIZE];
        struct stat st;
        uint8_t found[DIGEST_SIZE];
        uint64_t size;
        snprintf(path, sizeof path, "%s/%.63s", folder, file->name);
        if (stat(path, &st) != 0 || !S_ISREG(st.st_mode)
            || (uint64_t) st.st_size != file->size)
            return 0;
        const int err = digest_file(path, found, &size);
        if (err == ERR_TIMEOUT || err == ERR_MEMORY)
            return err;
        if (err != 0 || size != file->size
            || memcmp(found, file->sha256, sizeof found) != 0)
            return 0;
    }
    *out = true;
    return 0;
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

/* ---- beside its place ---- */

/* ".VERSION.XXXXXX" */
static bool
is_beside(const char *name)
{
    const char *dot = name[0] == '.' ? strchr(name + 1, '.') : NULL;
    return dot != NULL && dot > name + 1 && strlen(dot) == 7
           && strspn(name + 1, "0123456789abcdef") == (size_t) (dot - name - 1);
}

/* Takes away what killed runs left. The content's folder is locked. */
static void
orphans_remove(const char *content)
{
    DIR *dir = opendir(content);
    if (dir == NULL)
        return;
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        char path[PATH_SIZE + 256];
        if (!is_beside(e->d_name))
            continue;
        snprintf(path, sizeof path, "%s/%s", content, e->d_name);
        const int fd =
            open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
            folder_remove(path);
        if (fd >= 0)
            close(fd);
    }
    closedir(dir);
}

/* -1, or what holds the folder's lock: nobody else takes it for an orphan. */
static int
beside_make(const char *content, const char *version, char out[PATH_SIZE])
{
    const int parent = open(content, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fd = -1;
    snprintf(out, PATH_SIZE, "%s/.%.40s.XXXXXX", content, version);
    if (parent < 0)
        return -1;
    if (flock(parent, LOCK_EX) == 0) {
        orphans_remove(content);
        if (mkdtemp(out) != NULL)
            fd = open(out, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0) {
            close(fd);
            fd = -1;
        }
    }
    const int saved = errno;
    close(parent);
    errno = saved;
    return fd;
}

/* The content's folder may be taken away, empty, just after it was made. */
static int
beside_begin(const char *content, const char *version, char out[PATH_SIZE])
{
    for (unsigned i = 0; i < ATTEMPTS_MAX; i++) {
        if (folder_make(content, 0755) != 0)
            return -1;
        const int lock = beside_make(content, version, out);
        if (lock >= 0 || errno != ENOENT)
            return lock;
    }
    return -1;
}

/* In one move, where the file system knows it: what stands there was damaged,
 * and may be playing. */
static int
place_take(struct progress *progress, const char *beside, const char *place)
{
    if (rename(beside, place) == 0)
        return 0;
    if (renameat2(AT_FDCWD, beside, AT_FDCWD, place, RENAME_EXCHANGE) == 0)
        return folder_remove(beside) == 0
                   ? 0
                   : failed(progress, "remove the incomplete", beside);
    if (folder_remove(place) != 0)
        return failed(progress, "replace the incomplete", place);
    return rename(beside, place) == 0
               ? 0
               : failed(progress, "rename the copy to", place);
}

static int
beside_fill(struct progress *progress, const struct storage_version *version,
            const char *beside)
{
    bool is_whole;
    int err = files_copy(progress, version, beside);
    if (err == 0 && (chmod(beside, 0755) != 0 || sync_folder(beside) != 0))
        err = failed(progress, "write", beside);
    if (err == 0)
        err = is_there(beside, version, &is_whole);
    if (err == 0 && !is_whole) {
        progress_error(progress,
                       "%s has other bytes than were written to it: its "
                       "checksums are wrong",
                       beside);
        err = ERR_IO;
    }
    return err;
}

static int
folder_put(struct storage *super, struct progress *progress,
           const struct storage_version *version)
{
    struct storage_folder *storage = (struct storage_folder *) super;
    char place[FOLDER_SIZE], content[FOLDER_SIZE], beside[PATH_SIZE];
    bool is_whole = false;
    version_folder(storage, version, place);
    snprintf(content, sizeof content, "%s%.64s", storage->settings->storage,
             version->content);
    const int lock = beside_begin(content, version->version, beside);
    if (lock < 0)
        return failed(progress, "make a folder in", content);
    int err = is_there(place, version, &is_whole);
    if (err == 0 && !is_whole)
        err = beside_fill(progress, version, beside);
    if (err == 0 && !is_whole) /* another ingest may have been faster */
        err = is_there(place, version, &is_whole);
    if (err == 0 && !is_whole) {
        err = place_take(progress, beside, place);
        storage->was_put = err == 0;
    }
    if (err != 0 || is_whole)
        folder_remove(beside);
    close(lock);
    if (err == 0)
        sync_folder(content);
    else
        rmdir(content); /* fails, rightly, when something else is in it */
    return err;
}

static int
folder_has(struct storage *super, struct progress *progress,
           const struct storage_version *version, bool *out)
{
    struct storage_folder *storage = (struct storage_folder *) super;
    char place[FOLDER_SIZE], path[PATH_SIZE];
    struct stat st;
    version_folder(storage, version, place);
    snprintf(path, sizeof path, "%s/%.63s", place,
             version->files[version->file_count - 1].name);
    if (stat(path, &st) != 0 && errno != ENOENT && errno != ENOTDIR)
        return failed(progress, "read", path);
    *out = stat(path, &st) == 0;
    storage->was_readable = *out && !version->is_ours;
    return 0;
}

static void
folder_discard(struct storage *super, const struct storage_version *version)
{
    struct storage_folder *storage = (struct storage_folder *) super;
    char path[FOLDER_SIZE];
    version_folder(storage, version, path);
    char *slash = path + strlen(path) - strlen(version->version) - 1;
    if (!storage->was_readable && (storage->was_put || version->is_ours))
        folder_remove(path);
    storage->was_put = false;
    *slash = '\0';
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 && flock(fd, LOCK_EX) == 0)
        orphans_remove(path);
    if (fd >= 0)
        close(fd);
    rmdir(path);
}

/* Its index is gone for good before anything else is: what a power cut leaves
 * is not readable. */
static int
index_remove(struct progress *progress, const char *place)
{
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "%s/%s", place, STORAGE_INDEX);
    if (unlink(path) != 0)
        return errno == ENOENT || errno == ENOTDIR
                   ? 0
                   : failed(progress, "remove", path);
    return sync_folder(place) == 0 ? 0 : failed(progress, "write", place);
}

static int
folder_take_away(struct storage *super, struct progress *progress,
                 const struct storage_version *version, bool *was_there)
{
    struct storage_folder *storage = (struct storage_folder *) super;
    char place[FOLDER_SIZE], content[FOLDER_SIZE];
    struct stat st;
    version_folder(storage, version, place);
    snprintf(content, sizeof content, "%s%.64s", storage->settings->storage,
             version->content);
    const int parent = open(content, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent < 0 && errno == ENOENT) {
        *was_there = false;
        return 0;
    }
    if (parent < 0 || flock(parent, LOCK_EX) != 0) {
        const int err = failed(progress, "open", content);
        if (parent >= 0)
            close(parent);
        return err;
    }
    const bool is_there = lstat(place, &st) == 0;
    int err = index_remove(progress, place);
    if (err == 0 && folder_remove(place) != 0)
        err = failed(progress, "remove", place);
    if (err == 0) {
        /* st-api forgets it next: a power cut must not bring it back */
        orphans_remove(content);
        const bool is_gone = rmdir(content) == 0;
        const char *left = is_gone ? storage->settings->storage : content;
        if (sync_folder(left) != 0)
            err = failed(progress, "write", left);
    }
    close(parent);
    if (err == 0)
        *was_there = is_there;
    return err;
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
        .has = folder_has,
        .put = folder_put,
        .discard = folder_discard,
        .remove = folder_take_away,
        .free = folder_free,
    };
    storage->settings = settings;
    *out = &storage->super;
    return 0;
}
