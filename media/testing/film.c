/* SPDX-License-Identifier: Apache-2.0 */

#include "media/testing/film.h"

#include "core/err.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define PATH_SIZE 4096

void
test_stop(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, why);
    exit(1);
}

void
test_stop_on(int err, const char *what)
{
    if (err != 0)
        test_stop(what, err_name(err));
}

struct bytes
test_file_load(const char *path)
{
    struct stat st;
    FILE *f = fopen(path, "rb");
    if (f == NULL || fstat(fileno(f), &st) != 0)
        test_stop(path, "cannot be opened");
    const size_t size = (size_t) st.st_size;
    uint8_t *p = malloc(size + 1);
    if (p == NULL || fread(p, 1, size, f) != size)
        test_stop(path, "cannot be read");
    fclose(f);
    return bytes_of(p, size);
}

void
test_file_free(struct bytes file)
{
    free((void *) (uintptr_t) file.ptr);
}

void
test_file_save(const char *path, struct bytes bytes)
{
    FILE *f = fopen(path, "wb");
    if (f == NULL || fwrite(bytes.ptr, 1, bytes.len, f) != bytes.len
        || fclose(f) != 0)
        test_stop(path, "cannot be written");
}

void
test_file_save_in(const char *folder, const char *name, struct bytes bytes)
{
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    test_file_save(path, bytes);
}

void
test_hex_read(const char *text, uint8_t out[16])
{
    for (size_t i = 0; i < 16; i++) {
        unsigned byte;
        if (sscanf(text + 2 * i, "%2x", &byte) != 1)
            test_stop(text, "is not 32 hexadecimal digits");
        out[i] = (uint8_t) byte;
    }
}

void
test_film_open(const char *path, const struct bytes *file,
               struct mp4_movie *out)
{
    struct mp4_error error;
    const int err = test_movie_open(file, out, &error);
    if (err == 0)
        return;
    fprintf(stderr, "%s: %s: box '%s' at %llu: %s (%s)\n",
            program_invocation_short_name, path, error.box,
            (unsigned long long) error.offset, error.reason, err_name(err));
    exit(1);
}

struct cuts {
    uint64_t *times;
    uint32_t count;
    uint32_t timescale;
};

static void
film_store(const char *name, const char *path, uint32_t target_ms,
           struct cuts *cuts, struct test_track *out)
{
    struct bytes file = test_file_load(path);
    struct mp4_movie movie;
    test_film_open(path, &file, &movie);
    const struct mp4_track *track = &movie.tracks[0];
    if (cuts->times == NULL) {
        test_stop_on(
            segment_cuts_of_video(track, target_ms, &cuts->times, &cuts->count),
            path);
        cuts->timescale = track->timescale;
    }
    const struct mp4_source source = {test_movie_read, &file, file.len};
    const struct track_build build = {
        .track = track,
        .source = &source,
        .cuts = cuts->times,
        .cut_count = cuts->count,
        .cut_timescale = cuts->timescale,
        .name = name,
    };
    test_stop_on(test_track_store(out, build), path);
    mp4_close(&movie);
    test_file_free(file);
}

void
test_films_store(char *const *films, size_t count, uint32_t target_ms,
                 struct test_track *out)
{
    struct cuts cuts = {0};
    for (size_t i = 0; i < count; i++) {
        char name[PATH_SIZE];
        snprintf(name, sizeof name, "%s", films[i]);
        char *path = strchr(name, '=');
        if (path == NULL)
            test_stop(films[i], "is not NAME=FILE");
        *path++ = 0;
        film_store(name, path, target_ms, &cuts, &out[i]);
    }
    free(cuts.times);
}
