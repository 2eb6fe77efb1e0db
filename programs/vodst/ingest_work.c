/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "vodst-ingest-CONTENT-KEY", locked by flock(2) on the folder itself, with
 * steps.json, which is written beside and renamed. A folder goes by its
 * steps.json first: what is left of one that was being removed is of no use.
 */

#include "programs/vodst/ingest_work.h"

#include "core/content.h"
#include "core/err.h"
#include "platform/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PREFIX "vodst-ingest-"
#define STEPS_SIZE_MAX (4u << 20)   /* bytes */
#define STALE_AGE_S (7 * 24 * 3600) /* of folders of other contents */
#define FORMAT 1                    /* of steps.json and what it stands for */

static const char *
base_of(const char *base)
{
    if (base == NULL)
        base = getenv("TMPDIR");
    return base != NULL && base[0] != '\0' ? base : "/var/tmp";
}

int
folder_sync(const char *path)
{
    const int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return -1;
    const int again = dup(folder);
    DIR *dir = again >= 0 ? fdopendir(again) : NULL;
    int result = dir != NULL ? 0 : -1;
    if (dir == NULL && again >= 0)
        close(again);
    for (struct dirent *e; result == 0 && (e = readdir(dir)) != NULL;) {
        if (e->d_type != DT_REG)
            continue;
        const int fd = openat(folder, e->d_name, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || fsync(fd) != 0)
            result = -1;
        if (fd >= 0)
            close(fd);
    }
    if (dir != NULL)
        closedir(dir);
    if (result == 0)
        result = fsync(folder);
    const int saved = errno;
    close(folder);
    errno = saved;
    return result;
}

/* ---- the folder and its lock ---- */

/* 1: locked; 0: it went or was replaced meanwhile; negative: ERR_*. */
static int
folder_lock(const char *path, int *lock)
{
    struct stat own, there;
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : ERR_IO;
    int result = 1;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        result = errno == EWOULDBLOCK ? ERR_UNAVAILABLE : ERR_IO;
    else if (fstat(fd, &own) != 0)
        result = ERR_IO;
    else if (stat(path, &there) != 0 || own.st_ino != there.st_ino
             || own.st_dev != there.st_dev)
        result = 0;
    /* In a folder for all, others could make one for us to fill. */
    else if (own.st_uid != geteuid()) {
        errno = EPERM;
        result = ERR_IO;
    }
    if (result != 1)
        close(fd);
    else
        *lock = fd;
    return result;
}

static int
folder_take(const char *path, int *lock)
{
    int result;
    do {
        if (mkdir(path, 0700) != 0 && errno != EEXIST)
            return ERR_IO;
        result = folder_lock(path, lock);
    } while (result == 0);
    return result < 0 ? result : 0;
}

static void
inside_remove(const char *folder)
{
    DIR *dir = opendir(folder);
    if (dir == NULL)
        return;
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        char path[PATH_MAX + 256];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        folder_remove(path);
    }
    closedir(dir);
}

/* ---- its steps ---- */

static void
steps_path(const char *folder, char out[PATH_MAX])
{
    snprintf(out, PATH_MAX, "%s/steps.json", folder);
}

/* NULL where there are none that can be used. */
static json_t *
steps_load(const char *folder)
{
    char path[PATH_MAX];
    struct buffer text;
    json_t *steps = NULL;
    steps_path(folder, path);
    buffer_init(&text, STEPS_SIZE_MAX);
    if (file_read(path, &text) == 0) {
        json_t *root = json_loadb((const char *) text.ptr, text.len, 0, NULL);
        const json_t *format = json_object_get(root, "format");
        if (json_integer_value(format) == FORMAT)
            steps = json_incref(json_object_get(root, "steps"));
        json_decref(root);
    }
    buffer_fini(&text);
    if (!json_is_object(steps)) {
        json_decref(steps);
        steps = NULL;
    }
    return steps;
}

static int
steps_save(struct progress *progress, const struct work *work)
{
    char path[PATH_MAX];
    json_t *root =
        json_pack("{s:i, s:O}", "format", FORMAT, "steps", work->steps);
    char *text = root != NULL
                     ? json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(17))
                     : NULL;
    json_decref(root);
    if (text == NULL) {
        progress_error(progress, "out of memory");
        return ERR_MEMORY;
    }
    steps_path(work->folder, path);
    const int err = file_write_atomic(path, bytes_of_text(text), 0600, true);
    if (err != 0)
        progress_error(progress, "cannot write %s: %s", path, strerror(errno));
    free(text);
    return err;
}

json_t *
work_step(const struct work *work, const char *step)
{
    return json_object_get(work->steps, step);
}

int
work_step_done(struct progress *progress, struct work *work, const char *step,
               json_t *fields)
{
    if (fields == NULL || json_object_set_new(work->steps, step, fields) != 0) {
        progress_error(progress, "out of memory");
        return ERR_MEMORY;
    }
    if (folder_sync(work->folder) != 0) {
        progress_error(progress, "cannot write to %s: %s", work->folder,
                       strerror(errno));
        return ERR_IO;
    }
    return steps_save(progress, work);
}

/* ---- its life ---- */

int
work_open(struct progress *progress, const char *base, const char *content,
          const char key[WORK_KEY_SIZE], struct work *out)
{
    char folder[WORK_FOLDER_SIZE];
    base = base_of(base);
    const int len = snprintf(folder, sizeof folder, "%s/" PREFIX "%s-%s", base,
                             content, key);
    if (len < 0 || (size_t) len >= sizeof folder) {
        progress_error(progress,
                       "cannot make a folder in %s: its path is too "
                       "long",
                       base);
        return ERR_IO;
    }
    *out = (struct work){.lock = -1};
    const int err = folder_take(folder, &out->lock);
    if (err == ERR_UNAVAILABLE)
        progress_error(progress,
                       "this film is being ingested as %s already, in %s",
                       content, folder);
    else if (err != 0)
        progress_error(progress, "cannot make a folder in %s: %s", base,
                       strerror(errno));
    if (err != 0)
        return err;
    memcpy(out->folder, folder, sizeof folder);
    out->steps = steps_load(folder);
    if (out->steps != NULL)
        return 0;
    inside_remove(folder);
    out->steps = json_object();
    if (out->steps != NULL)
        return 0;
    progress_error(progress, "out of memory");
    work_end(out);
    return ERR_MEMORY;
}

void
work_leave(struct work *work)
{
    if (work->folder[0] == '\0')
        return;
    json_decref(work->steps);
    close(work->lock);
    work->folder[0] = '\0';
}

void
work_end(struct work *work)
{
    char path[PATH_MAX];
    if (work->folder[0] == '\0')
        return;
    steps_path(work->folder, path);
    unlink(path);
    fsync(work->lock);
    folder_remove(work->folder);
    work_leave(work);
}

/* ---- what others left ---- */

/* "vodst-ingest-CONTENT-KEY" */
static bool
name_parse(const char *name, char content[CONTENT_ID_LEN_MAX + 1],
           char key[WORK_KEY_SIZE])
{
    const size_t prefix = sizeof PREFIX - 1, end = WORK_KEY_SIZE - 1;
    const size_t len = strlen(name);
    if (strncmp(name, PREFIX, prefix) != 0 || len < prefix + end + 2
        || len > prefix + CONTENT_ID_LEN_MAX + 1 + end)
        return false;
    const char *last = name + len - end;
    if (last[-1] != '-' || strspn(last, "0123456789abcdef") != end)
        return false;
    snprintf(content, CONTENT_ID_LEN_MAX + 1, "%.*s",
             (int) (len - prefix - end - 1), name + prefix);
    snprintf(key, WORK_KEY_SIZE, "%s", last);
    return true;
}

void
work_find_stale(const char *base, const char *content,
                const char key[WORK_KEY_SIZE],
                bool (*found)(const struct work *work, const char *content,
                              void *context),
                void *context)
{
    base = base_of(base);
    DIR *dir = opendir(base);
    if (dir == NULL)
        return;
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        char whose[CONTENT_ID_LEN_MAX + 1], its[WORK_KEY_SIZE];
        struct work work = {.lock = -1};
        struct stat st;
        if (!name_parse(e->d_name, whose, its)
            || snprintf(work.folder, sizeof work.folder, "%s/%s", base,
                        e->d_name)
                   >= (int) sizeof work.folder
            || lstat(work.folder, &st) != 0)
            continue;
        const bool is_own = strcmp(whose, content) == 0;
        if (is_own ? strcmp(its, key) == 0
                   : time(NULL) - st.st_mtime < STALE_AGE_S)
            continue;
        if (folder_lock(work.folder, &work.lock) != 1)
            continue;
        work.steps = steps_load(work.folder);
        if (found(&work, whose, context))
            work_end(&work);
        else
            work_leave(&work);
    }
    closedir(dir);
}
