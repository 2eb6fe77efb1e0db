/* SPDX-License-Identifier: Apache-2.0 */

#include "modules/package/package_kept.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "core/err.h"

#define KEPT_FORMAT 3   /* another identity with each change of what is kept */
#define PART_AGE_S 3600 /* whoever made that is gone */

struct kept_path {
    char text[PATH_MAX];
};

/* "<folder>/<a><b>", or "<folder>/<a>/<b>". */
static int
path_set(struct kept_path *path, const char *folder, const char *a,
         const char *between, const char *b)
{
    const int len = snprintf(path->text, sizeof path->text, "%s/%s%s%s", folder,
                             a, between, b);

    return len < 0 || (size_t) len >= sizeof path->text ? ERR_LIMIT : 0;
}

/* ERR_FULL for want of room. */
static int
io_fail(struct kept_error *error, const char *what, const char *path)
{
    const int number = errno;

    (void) snprintf(error->reason, sizeof error->reason, "%s \"%.300s\": %s",
                    what, path, strerror(number));
    return number == ENOSPC || number == EDQUOT ? ERR_FULL : ERR_IO;
}

/* ---- locks ---- */

/* Held until the descriptor is closed, also by the end of the process; -1: not
 * to be had. */
static int
lock_take(const char *folder, const char *kind, unsigned number, int how)
{
    struct kept_path path;
    char name[8];

    (void) snprintf(name, sizeof name, "%02x", number & 0xff);
    if (path_set(&path, folder, kind, ".", name) != 0) {
        return -1;
    }
    int fd = open(path.text, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    while (fd >= 0 && flock(fd, how) != 0) {
        if (errno != EINTR) {
            close(fd);
            return -1;
        }
    }
    return fd;
}

/* Shared: its folder stays; LOCK_EX: nobody else looks at it. */
static int
film_lock(const char *folder, const char *identity, int how)
{
    return lock_take(folder, "film",
                     (unsigned) XXH3_64bits(identity, KEPT_IDENTITY_LEN), how);
}

static int
segment_lock(const struct kept_film *film, const char *name)
{
    const uint64_t seed = XXH3_64bits(film->identity, KEPT_IDENTITY_LEN);

    return lock_take(film->folder, "segment",
                     (unsigned) XXH3_64bits_withSeed(name, strlen(name), seed),
                     LOCK_EX);
}

/* ---- the film ---- */

struct film_file {
    int fd; /* -1: the source was given */
    struct mp4_source source;
};

static int
film_read(void *context, uint64_t offset, void *out, size_t len)
{
    const struct film_file *file = context;

    while (len > 0) {
        const ssize_t n = pread(file->fd, out, len, (off_t) offset);

        if (n == 0) {
            return ERR_TRUNCATED;
        }
        if (n < 0 && errno != EINTR) {
            return ERR_IO;
        }
        if (n > 0) {
            out = (uint8_t *) out + n;
            offset += (uint64_t) n;
            len -= (size_t) n;
        }
    }
    return 0;
}

static int
film_open(const struct kept_film *film, struct film_file *out,
          struct kept_error *error)
{
    struct kept_film found = *film;
    struct stat st;

    *out = (struct film_file){.fd = -1};
    if (film->source != NULL) {
        out->source = *film->source;
        return 0;
    }
    out->fd = open(film->path, O_RDONLY | O_CLOEXEC);
    if (out->fd < 0 || fstat(out->fd, &st) != 0) {
        return io_fail(error, "open", film->path);
    }
    kept_identity_set(&found, &st);
    if (strcmp(found.identity, film->identity) != 0) {
        (void) snprintf(error->reason, sizeof error->reason,
                        "it has just been changed");
        return ERR_STALE;
    }
    out->source = (struct mp4_source){film_read, out, (uint64_t) st.st_size};
    return 0;
}

static void
film_close(struct film_file *file)
{
    if (file->fd >= 0) {
        close(file->fd);
    }
}

/* ---- what is kept ---- */

static int
kept_read(const struct kept_film *film, const char *name, size_t size_max,
          struct buffer *out)
{
    struct kept_path path;
    struct stat st;
    int err = path_set(&path, film->folder, film->identity, "/", name);

    buffer_init(out, size_max);
    if (err != 0) {
        return err;
    }
    struct film_file file = {.fd = open(path.text, O_RDONLY | O_CLOEXEC)};
    if (file.fd < 0) {
        return ERR_IO;
    }
    if (fstat(file.fd, &st) != 0 || st.st_size <= 0
        || (uint64_t) st.st_size > size_max) {
        err = ERR_IO;
    } else if ((out->ptr = malloc((size_t) st.st_size)) == NULL) {
        err = ERR_MEMORY;
    } else {
        out->len = out->capacity = (size_t) st.st_size;
        err = film_read(&file, 0, out->ptr, out->len);
    }
    close(file.fd);
    return err;
}

static bool
is_index_of(const char *name, const struct track_info *info)
{
    const size_t len = strlen(info->name);

    return strncmp(name, info->name, len) == 0
           && strcmp(name + len, ".idx") == 0;
}

/* Is there such a track? */
static int
asset_check(const struct kept_film *film, const char *name, bool *has_track)
{
    struct asset *asset = malloc(sizeof *asset); /* too large for the stack */
    struct buffer bytes;
    int err = kept_read(film, "asset.idx", ASSET_SIZE_MAX, &bytes);

    if (asset == NULL) {
        err = ERR_MEMORY;
    }
    if (err == 0) {
        err = asset_decode(buffer_bytes(&bytes), asset);
    }
    *has_track = false;
    for (size_t i = 0; err == 0 && i < asset->track_count; i++) {
        *has_track |= is_index_of(name, &asset->tracks[i]);
    }
    buffer_fini(&bytes);
    free(asset);
    return err;
}

static int
track_open(const struct kept_film *film, const char *name, struct buffer *bytes,
           struct track_index *out)
{
    const int err = kept_read(film, name, INDEX_SIZE_MAX, bytes);

    return err != 0 ? err : track_index_open(buffer_bytes(bytes), out);
}

/* ERR_NOT_FOUND: it is all there, without such a track. */
static int
index_check(const struct kept_film *film, const char *name)
{
    struct track_index index;
    struct buffer bytes;
    bool has_track;
    int err = asset_check(film, name, &has_track);

    if (err != 0 || strcmp(name, "asset.idx") == 0) {
        return err == ERR_NOT_FOUND ? ERR_INVALID : err;
    }
    if (!has_track) {
        return ERR_NOT_FOUND;
    }
    err = track_open(film, name, &bytes, &index);
    buffer_fini(&bytes);
    return err == ERR_NOT_FOUND ? ERR_INVALID : err;
}

/* Its files are in no folders of their own. */
static int
folder_remove(const char *folder)
{
    DIR *dir = opendir(folder);
    const struct dirent *entry;
    struct kept_path path;

    if (dir == NULL) {
        return errno == ENOENT ? 0 : ERR_IO;
    }
    while ((entry = readdir(dir)) != NULL) {
        if (path_set(&path, folder, entry->d_name, "", "") == 0) {
            (void) unlink(path.text); /* not "." and ".." */
        }
    }
    closedir(dir);
    return rmdir(folder) == 0 ? 0 : ERR_IO;
}

/* ---- the making of the indexes ---- */

struct making {
    const struct kept_film *film;
    const char *folder; /* that becomes the film's */
    struct kept_error *error;
};

/* With the film's time, for Last-Modified. */
static int
making_write(void *context, const char *name, struct bytes bytes)
{
    const struct making *making = context;
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
                                      {.tv_sec = making->film->modified}};
    const bool has_time = making->film->modified != -1;
    struct kept_path path;
    int err = path_set(&path, making->folder, name, "", "");

    if (err != 0) {
        return err;
    }
    FILE *file = fopen(path.text, "wbe");
    if (file == NULL) {
        return io_fail(making->error, "write", path.text);
    }
    if (fwrite(bytes.ptr, 1, bytes.len, file) != bytes.len || fflush(file) != 0
        || (has_time && futimens(fileno(file), times) != 0)) {
        err = io_fail(making->error, "write", path.text);
    }
    if (fclose(file) != 0 && err == 0) {
        err = io_fail(making->error, "write", path.text);
    }
    return err;
}

/* Not of the disk or the moment. */
static bool
is_of_the_film(int err)
{
    return err == ERR_INVALID || err == ERR_TRUNCATED || err == ERR_UNSUPPORTED
           || err == ERR_LIMIT;
}

static void
bad_mark(const struct kept_film *film)
{
    struct kept_path path;

    if (path_set(&path, film->folder, film->identity, "", ".bad") == 0) {
        const int fd =
            open(path.text, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        if (fd >= 0) {
            (void) futimens(fd, NULL);
            close(fd);
        }
    }
}

static bool
is_marked_bad(const struct kept_film *film)
{
    struct kept_path path;
    struct stat st;

    return path_set(&path, film->folder, film->identity, "", ".bad") == 0
           && stat(path.text, &st) == 0
           && time(NULL) - st.st_mtime < KEPT_BAD_S;
}

static int
film_lay_out(const struct kept_film *film, const struct film_file *file,
             const char *folder, struct kept_error *error)
{
    struct making making = {film, folder, error};
    const struct plain_sink sink = {making_write, &making};
    struct mp4_error bad;
    const int err = plain_film_layout(&file->source, film->segment_ms,
                                      film->source == NULL, &sink, &bad);

    if (err == 0 || error->reason[0] != '\0') {
        return err;
    }
    if (bad.box[0] == '\0') {
        (void) snprintf(error->reason, sizeof error->reason, "%s", bad.reason);
    } else {
        (void) snprintf(error->reason, sizeof error->reason,
                        "box '%s' at byte %llu: %s", bad.box,
                        (unsigned long long) bad.offset, bad.reason);
    }
    if (is_of_the_film(err)) {
        bad_mark(film);
    }
    return err;
}

static int
film_make(const struct kept_film *film, struct kept_error *error)
{
    struct kept_path part, whole;
    struct film_file file;
    int err = film_open(film, &file, error);

    if (err != 0) {
        goto done;
    }
    if ((err = path_set(&part, film->folder, film->identity, "", ".part")) != 0
        || (err = path_set(&whole, film->folder, film->identity, "", ""))
               != 0) {
        goto done;
    }
    if (folder_remove(part.text) != 0 || mkdir(part.text, 0700) != 0) {
        err = io_fail(error, "make", part.text);
        goto done;
    }
    err = film_lay_out(film, &file, part.text, error);
    if (err == 0
        && (folder_remove(whole.text) != 0
            || rename(part.text, whole.text) != 0)) {
        err = io_fail(error, "make", whole.text);
    }
    if (err != 0) {
        (void) folder_remove(part.text);
    }

done:
    film_close(&file);
    return err;
}

/* ---- the making of a segment ---- */

struct segment_file {
    FILE *file;
    char path[PATH_MAX + sizeof ".part"];
    struct kept_error *error;
};

static int
segment_sink(void *context, struct bytes bytes)
{
    const struct segment_file *out = context;

    return fwrite(bytes.ptr, 1, bytes.len, out->file) == bytes.len
               ? 0
               : io_fail(out->error, "write", out->path);
}

/* ERR_CHECKSUM: something happened to what was kept. */
static int
places_read(const struct kept_film *film, const struct track_index *index,
            uint32_t number, struct buffer *out)
{
    const struct place_range range = track_layout_places(index, number);
    struct kept_path path;
    char name[TRACK_NAME_LEN_MAX + sizeof ".places"];

    buffer_init(out, range.size);
    (void) snprintf(name, sizeof name, "%s.places", index->info.name);
    int err = path_set(&path, film->folder, film->identity, "/", name);
    if (err != 0) {
        return err;
    }
    struct film_file file = {.fd = open(path.text, O_RDONLY | O_CLOEXEC)};
    if (file.fd < 0) {
        return errno == ENOENT ? ERR_CHECKSUM : ERR_IO;
    }
    out->ptr = malloc(range.size);
    if (out->ptr == NULL) {
        err = ERR_MEMORY;
    } else {
        out->len = out->capacity = range.size;
        err = film_read(&file, range.offset, out->ptr, out->len);
    }
    close(file.fd);
    return err == ERR_TRUNCATED ? ERR_CHECKSUM : err;
}

/* From its place in the film into the file. */
static int
segment_gather(const struct kept_film *film, const struct track_index *index,
               uint32_t number, struct segment_file *out)
{
    const struct track_sink sink = {segment_sink, out};
    struct film_file from;
    struct buffer places;
    int err = places_read(film, index, number, &places);

    if (err == 0) {
        err = film_open(film, &from, out->error);
        if (err == 0) {
            err = track_segment_build(index, number, buffer_bytes(&places),
                                      &from.source, sink);
        }
        film_close(&from);
    }
    buffer_fini(&places);
    return err;
}

static int
segment_write(const struct kept_film *film, const struct track_index *index,
              uint32_t number, const char *path, struct kept_error *error)
{
    struct segment_file out = {.error = error};

    (void) snprintf(out.path, sizeof out.path, "%s.part", path);
    out.file = fopen(out.path, "wbe");
    if (out.file == NULL) {
        return io_fail(error, "write", out.path);
    }
    int err = segment_gather(film, index, number, &out);
    if (fclose(out.file) != 0 && err == 0) {
        err = io_fail(error, "write", out.path);
    }
    if (err == 0 && rename(out.path, path) != 0) {
        err = io_fail(error, "make", path);
    }
    if (err != 0) {
        (void) unlink(out.path);
    }
    return err;
}

/* By the index that is kept. */
static int
segment_make(const struct kept_film *film, const char *track, uint32_t number,
             const char *name, struct kept_error *error)
{
    char index_name[TRACK_NAME_LEN_MAX + sizeof ".idx"];
    struct track_index index;
    struct kept_path path;
    struct segment segment;
    struct buffer bytes;
    struct stat st;

    (void) snprintf(index_name, sizeof index_name, "%s.idx", track);
    int err = track_open(film, index_name, &bytes, &index);
    if (err == 0) {
        err = track_index_segment(&index, number, &segment);
    }
    if (err == 0) {
        err = path_set(&path, film->folder, film->identity, "/", name);
    }
    if (err == 0
        && (stat(path.text, &st) != 0
            || (uint64_t) st.st_size
                   != segment.map_size + segment_length(&segment))) {
        err = segment_write(film, &index, number, path.text, error);
    }
    buffer_fini(&bytes);
    return err;
}

static int
segment_try(const struct kept_film *film, const char *track, uint32_t number,
            const char *name, struct kept_error *error)
{
    const int lock = film_lock(film->folder, film->identity, LOCK_SH);

    error->reason[0] = '\0';
    if (lock < 0) {
        return io_fail(error, "lock", film->folder);
    }
    const int err = segment_make(film, track, number, name, error);
    if (err != 0 && error->reason[0] == '\0') {
        (void) snprintf(error->reason, sizeof error->reason, "%s: %s", name,
                        err_text(err));
    }
    close(lock);
    return err;
}

/* ---- the limit ---- */

struct kept_folder {
    char identity[KEPT_IDENTITY_LEN + 1];
    uint64_t used; /* ns */
    uint64_t size;
};

struct kept_folders {
    struct kept_folder *list;
    size_t count, capacity;
    uint64_t size;
};

static int
folder_compare(const void *a, const void *b)
{
    const struct kept_folder *x = a, *y = b;

    return (x->used > y->used) - (x->used < y->used);
}

static bool
is_identity(const char *name)
{
    return strspn(name, "0123456789abcdef") == KEPT_IDENTITY_LEN;
}

static uint64_t
folder_size(const char *folder)
{
    DIR *dir = opendir(folder);
    const struct dirent *entry;
    uint64_t size = 0;
    struct stat st;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0
            && S_ISREG(st.st_mode)) {
            size += (uint64_t) st.st_blocks * 512;
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
    return size;
}

static void
folders_add(struct kept_folders *all, const char *path, const char *name,
            const struct timespec *used)
{
    if (all->count == all->capacity) {
        const size_t capacity = all->capacity == 0 ? 64 : all->capacity * 2;
        struct kept_folder *list =
            realloc(all->list, capacity * sizeof *all->list);

        if (list == NULL) { /* the next time, then */
            return;
        }
        all->list = list;
        all->capacity = capacity;
    }
    struct kept_folder *folder = &all->list[all->count++];
    *folder = (struct kept_folder){
        .used = (uint64_t) used->tv_sec * 1000000000 + (uint64_t) used->tv_nsec,
        .size = folder_size(path),
    };
    memcpy(folder->identity, name, KEPT_IDENTITY_LEN);
    all->size += folder->size;
}

/* What is no film's folder goes by its age. */
static void
leftover_look(const char *path, const char *name, const struct stat *st)
{
    const char *suffix = name + KEPT_IDENTITY_LEN;
    const time_t age = time(NULL) - st->st_mtime;

    if (strcmp(suffix, ".bad") == 0 && age >= KEPT_BAD_S) {
        (void) unlink(path);
    }
    if (strcmp(suffix, ".part") == 0 && age >= PART_AGE_S) {
        (void) folder_remove(path);
    }
}

static void
folders_list(const char *folder, struct kept_folders *all)
{
    DIR *dir = opendir(folder);
    const struct dirent *entry;
    struct kept_path path;
    struct stat st;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (!is_identity(entry->d_name)
            || path_set(&path, folder, entry->d_name, "", "") != 0
            || lstat(path.text, &st) != 0) {
            continue;
        }
        if (entry->d_name[KEPT_IDENTITY_LEN] != '\0') {
            leftover_look(path.text, entry->d_name, &st);
        } else if (S_ISDIR(st.st_mode)) {
            folders_add(all, path.text, entry->d_name, &st.st_mtim);
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
}

static bool
film_remove(const char *folder, const char *identity)
{
    const int lock = film_lock(folder, identity, LOCK_EX | LOCK_NB);
    struct kept_path path;
    int err = ERR_UNAVAILABLE;

    if (lock < 0) {
        return false;
    }
    if (path_set(&path, folder, identity, "", "") == 0) {
        err = folder_remove(path.text);
    }
    close(lock);
    return err == 0;
}

/* ---- for others ---- */

static void
identity_write(struct kept_film *film, struct bytes what, uint64_t seed)
{
    const uint64_t how[] = {film->segment_ms, KEPT_FORMAT, seed};
    const XXH128_hash_t hash =
        XXH3_128bits_withSeed(what.ptr, what.len, XXH3_64bits(how, sizeof how));

    (void) snprintf(film->identity, sizeof film->identity, "%016llx%016llx",
                    (unsigned long long) hash.high64,
                    (unsigned long long) hash.low64);
}

void
kept_identity_set(struct kept_film *film, const struct stat *of)
{
    const uint64_t what[] = {
        (uint64_t) of->st_dev, (uint64_t) of->st_ino, (uint64_t) of->st_size,
        (uint64_t) of->st_mtim.tv_sec, (uint64_t) of->st_mtim.tv_nsec};

    identity_write(film, bytes_of(what, sizeof what), 0);
    film->modified = of->st_mtim.tv_sec;
}

void
kept_identity_set_far(struct kept_film *film, const struct kept_far *of)
{
    const uint64_t what[] = {of->size, of->tag};

    identity_write(film, of->uri, XXH3_64bits(what, sizeof what));
    film->modified = of->modified;
}

/* Others write to the disk, too: what is kept gives way, a quarter at a time.
 */
static bool
room_make(const char *folder)
{
    const uint64_t size = kept_shrink(folder, UINT64_MAX);

    return size > 0 && kept_shrink(folder, size - size / 4 - 1) < size;
}

static int
index_try(const struct kept_film *film, const char *name,
          struct kept_error *error)
{
    const int lock = film_lock(film->folder, film->identity, LOCK_EX);
    int err;

    error->reason[0] = '\0';
    if (lock < 0) {
        return io_fail(error, "lock", film->folder);
    }
    if (is_marked_bad(film)) {
        err = ERR_INVALID;
    } else {
        err = index_check(film, name);
        if (err != 0 && err != ERR_NOT_FOUND) {
            err = film_make(film, error);
            if (err == 0) {
                err = index_check(film, name);
            }
        }
    }
    close(lock);
    return err;
}

int
kept_index_make(const struct kept_film *film, const char *name,
                struct kept_error *error)
{
    int err = index_try(film, name, error);

    if (err == ERR_FULL && room_make(film->folder)) {
        err = index_try(film, name, error);
    }
    return err;
}

int
kept_segment_make(const struct kept_film *film, const char *track,
                  uint32_t number, struct kept_error *error)
{
    char name[TRACK_NAME_LEN_MAX + 16];
    char index_name[TRACK_NAME_LEN_MAX + sizeof ".idx"];

    (void) snprintf(name, sizeof name, "%s.%u", track, number);
    (void) snprintf(index_name, sizeof index_name, "%s.idx", track);
    const int lock = segment_lock(film, name);
    if (lock < 0) {
        return io_fail(error, "lock", film->folder);
    }
    int err = segment_try(film, track, number, name, error);
    if (err == ERR_CHECKSUM) {
        (void) film_remove(film->folder, film->identity);
    } else if (err == ERR_FULL) {
        (void) room_make(film->folder);
    }
    /* the film may have been removed, to make room */
    if (err != 0 && err != ERR_NOT_FOUND && err != ERR_STALE) {
        err = kept_index_make(film, index_name, error);
        if (err == 0) {
            err = segment_try(film, track, number, name, error);
        }
    }
    close(lock);
    return err;
}

void
kept_touch(const char *folder, const char *identity)
{
    struct kept_path path;

    if (path_set(&path, folder, identity, "", "") == 0) {
        (void) utimensat(AT_FDCWD, path.text, NULL, 0);
    }
}

uint64_t
kept_shrink(const char *folder, uint64_t size_max)
{
    struct kept_folders all = {0};

    folders_list(folder, &all);
    if (all.count > 0) {
        qsort(all.list, all.count, sizeof *all.list, folder_compare);
    }
    for (size_t i = 0; i < all.count && all.size > size_max; i++) {
        if (film_remove(folder, all.list[i].identity)) {
            all.size -= all.list[i].size;
        }
    }
    free(all.list);
    return all.size;
}
