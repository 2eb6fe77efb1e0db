/* SPDX-License-Identifier: Apache-2.0 */
/* Whole files and folders. Nothing here is for large files: those are read in
 * place or sent by the kernel. */

#include "platform/files.h"

#include "core/err.h"
#include "platform/clock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER_DEPTH_MAX 64

static int
read_all(int fd, struct buffer *out)
{
    uint8_t piece[65536];
    for (;;) {
        ssize_t n = read(fd, piece, sizeof piece);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return ERR_IO;
        if (n == 0)
            return 0;
        buffer_append(out, piece, (size_t) n);
        if (out->err != 0)
            return out->err;
    }
}

static int
write_all(int fd, struct bytes bytes)
{
    while (bytes.len > 0) {
        ssize_t n = write(fd, bytes.ptr, bytes.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return ERR_IO;
        bytes.ptr += n;
        bytes.len -= (size_t) n;
    }
    return 0;
}

/* Makes the rename itself survive a power cut. */
static int
sync_folder_of(const char *path)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 0 : (size_t) (slash - path);
    if (len >= sizeof folder) {
        errno = ENAMETOOLONG;
        return ERR_IO;
    }
    if (slash == NULL)
        snprintf(folder, sizeof folder, ".");
    else
        snprintf(folder, sizeof folder, "%.*s/", (int) len, path);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return ERR_IO;
    int err = fsync(fd) == 0 ? 0 : ERR_IO;
    close(fd);
    return err;
}

static int
write_beside(const char *path, const char *beside, struct bytes bytes,
             unsigned mode, bool durable)
{
    int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
                  mode);
    if (fd < 0)
        return ERR_IO;
    int err = write_all(fd, bytes);
    if (err == 0 && durable && fsync(fd) != 0)
        err = ERR_IO;
    if (close(fd) != 0 && err == 0)
        err = ERR_IO;
    if (err == 0 && rename(beside, path) != 0)
        err = ERR_IO;
    if (err != 0) {
        int saved = errno;
        unlink(beside);
        errno = saved;
    }
    return err;
}

static int remove_at(int parent, const char *name, unsigned depth);

static int
remove_inside(int fd, unsigned depth)
{
    DIR *dir = fdopendir(fd); /* owns fd from here */
    if (dir == NULL) {
        close(fd);
        return ERR_IO;
    }
    int err = 0;
    for (struct dirent *e; err == 0 && (e = readdir(dir)) != NULL;)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            err = remove_at(dirfd(dir), e->d_name, depth);
    closedir(dir);
    return err;
}

static int
remove_at(int parent, const char *name, unsigned depth)
{
    if (unlinkat(parent, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return ERR_IO;
    if (depth == 0)
        return ERR_LIMIT;
    int fd =
        openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return ERR_IO;
    int err = remove_inside(fd, depth - 1);
    if (err == 0 && unlinkat(parent, name, AT_REMOVEDIR) != 0
        && errno != ENOENT)
        err = ERR_IO;
    return err;
}

int
file_read(const char *path, struct buffer *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
    int err = read_all(fd, out);
    int saved = errno;
    close(fd);
    errno = saved;
    return err;
}

int
file_write_atomic(const char *path, struct bytes bytes, unsigned mode,
                  bool durable)
{
    char beside[PATH_MAX];
    int n = snprintf(beside, sizeof beside, "%s.%016llx.tmp", path,
                     (unsigned long long) random_u64());
    if (n < 0 || (size_t) n >= sizeof beside) {
        errno = ENAMETOOLONG;
        return ERR_IO;
    }
    int err = write_beside(path, beside, bytes, mode, durable);
    if (err == 0 && durable)
        err = sync_folder_of(path);
    return err;
}

int
folder_make(const char *path, unsigned mode)
{
    char part[PATH_MAX];
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof part) {
        errno = len == 0 ? ENOENT : ENAMETOOLONG;
        return ERR_IO;
    }
    memcpy(part, path, len + 1);
    for (char *slash = part + 1; (slash = strchr(slash, '/')) != NULL;) {
        *slash = '\0';
        if (mkdir(part, mode | 0700) != 0 && errno != EEXIST)
            return ERR_IO;
        *slash++ = '/';
    }
    if (mkdir(part, mode) == 0)
        return 0;
    if (errno != EEXIST)
        return ERR_IO;
    struct stat st;
    if (stat(part, &st) != 0)
        return ERR_IO;
    if (!S_ISDIR(st.st_mode)) {
        errno = ENOTDIR;
        return ERR_IO;
    }
    return 0;
}

int
folder_remove(const char *path)
{
    return remove_at(AT_FDCWD, path, FOLDER_DEPTH_MAX);
}
