/* SPDX-License-Identifier: Apache-2.0 */

/*
 * For tests: turns single-track MP4 files into what an origin serves.
 *
 *     cmaf_dump FOLDER TARGET_MS NAME=FILE...
 *
 * writes FOLDER/master.m3u8, FOLDER/asset.idx and for each NAME
 * FOLDER/NAME.mp4, FOLDER/NAME.idx and
 * FOLDER/NAME/{index.m3u8,init.mp4,<n>.m4s,all.mp4}, the last being init
 * segment and segments one behind the other. The first video is cut at its key
 * frames and the others where it is.
 */

#include "core/err.h"
#include "media/index.h"
#include "media/mp4/mp4.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define OUTPUT_SIZE_MAX (1u << 30)

struct cuts {
    uint64_t *times;
    uint32_t count;
    uint32_t timescale;
};

static void
stop(const char *what, const char *why)
{
    fprintf(stderr, "cmaf_dump: %s: %s\n", what, why);
    exit(1);
}

static void
stop_on(int err, const char *what)
{
    if (err != 0)
        stop(what, err_name(err));
}

/* The caller frees. */
static struct bytes
file_load(const char *path)
{
    struct stat st;
    FILE *f = fopen(path, "rb");
    if (f == NULL || fstat(fileno(f), &st) != 0)
        stop(path, "cannot be opened");
    uint8_t *p = malloc((size_t) st.st_size + 1);
    if (p == NULL || fread(p, 1, (size_t) st.st_size, f) != (size_t) st.st_size)
        stop(path, "cannot be read");
    fclose(f);
    return bytes_of(p, (size_t) st.st_size);
}

static void
file_save(const char *folder, const char *name, struct bytes bytes)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    if (f == NULL || fwrite(bytes.ptr, 1, bytes.len, f) != bytes.len
        || fclose(f) != 0)
        stop(path, "cannot be written");
}

static int
memory_read(void *context, uint64_t offset, void *out, size_t len)
{
    const struct bytes *file = context;
    if (offset > file->len || len > file->len - offset)
        return ERR_TRUNCATED;
    memcpy(out, file->ptr + offset, len);
    return 0;
}

static void
movie_open(const char *path, struct bytes *file, struct mp4_movie *movie)
{
    const struct mp4_source source = {memory_read, file, file->len};
    struct mp4_error error;
    const int err = mp4_open(&source, movie, &error);
    if (err == 0)
        return;
    fprintf(stderr, "cmaf_dump: %s: box '%s' at %llu: %s (%s)\n", path,
            error.box, (unsigned long long) error.offset, error.reason,
            err_name(err));
    exit(1);
}

static int
sink_append(void *context, struct bytes bytes)
{
    struct buffer *out = context;
    buffer_append_bytes(out, bytes);
    return out->err;
}

/* `file` is the track file. */
static void
segments_save(const struct track_index *index, struct bytes file,
              const char *folder)
{
    struct buffer b, all;
    struct segment s;
    buffer_init(&b, OUTPUT_SIZE_MAX);
    buffer_init(&all, OUTPUT_SIZE_MAX);
    cmaf_init_write(&index->info, &b);
    file_save(folder, "init.mp4", buffer_bytes(&b));
    buffer_append_bytes(&all, buffer_bytes(&b));
    for (uint32_t i = 0; track_index_segment(index, i, &s) == 0; i++) {
        char name[32];
        const struct bytes bytes =
            bytes_of(file.ptr + segment_start(&s), segment_length(&s));
        snprintf(name, sizeof name, "%u.m4s", i);
        file_save(folder, name, bytes);
        buffer_append_bytes(&all, bytes);
    }
    stop_on(all.err, folder);
    file_save(folder, "all.mp4", buffer_bytes(&all));
    b.len = 0;
    hls_media_playlist_write(index, &b);
    file_save(folder, "index.m3u8", buffer_bytes(&b));
    buffer_fini(&all);
    buffer_fini(&b);
}

/* The info's sample entry lies in the index, which is kept for it. */
static void
track_dump(const char *folder, uint32_t target_ms, const char *name,
           const char *path, struct cuts *cuts, struct track_info *info)
{
    struct bytes file = file_load(path);
    struct mp4_movie movie;
    movie_open(path, &file, &movie);
    const struct mp4_track *track = &movie.tracks[0];
    if (cuts->times == NULL) {
        stop_on(
            segment_cuts_of_video(track, target_ms, &cuts->times, &cuts->count),
            path);
        cuts->timescale = track->timescale;
    }
    const struct mp4_source source = {memory_read, &file, file.len};
    struct buffer stored, b;
    struct track_index index;
    char text[4096];
    buffer_init(&stored, OUTPUT_SIZE_MAX);
    buffer_init(&b, INDEX_SIZE_MAX);
    const struct track_build build = {
        .track = track,
        .source = &source,
        .sink = {sink_append, &stored},
        .cuts = cuts->times,
        .cut_count = cuts->count,
        .cut_timescale = cuts->timescale,
        .name = name,
    };
    stop_on(track_file_build(&build, &b), path);
    stop_on(track_index_open(buffer_bytes(&b), &index), path);
    snprintf(text, sizeof text, "%s.mp4", name);
    file_save(folder, text, buffer_bytes(&stored));
    snprintf(text, sizeof text, "%s.idx", name);
    file_save(folder, text, buffer_bytes(&b));
    snprintf(text, sizeof text, "%s/%s", folder, name);
    mkdir(text, 0777);
    segments_save(&index, buffer_bytes(&stored), text);
    buffer_fini(&stored);
    *info = index.info;
    mp4_close(&movie);
    free((void *) (uintptr_t) file.ptr);
}

int
main(int argc, char **argv)
{
    static struct asset asset, decoded;
    struct cuts cuts = {0};
    struct buffer b;
    if (argc < 4 || argc - 3 > ASSET_TRACKS_MAX)
        stop("usage", "cmaf_dump FOLDER TARGET_MS NAME=FILE...");
    mkdir(argv[1], 0777);
    for (int i = 3; i < argc; i++) {
        char *path = strchr(argv[i], '=');
        if (path == NULL)
            stop(argv[i], "is not NAME=FILE");
        *path++ = 0;
        track_dump(argv[1], (uint32_t) atoi(argv[2]), argv[i], path, &cuts,
                   &asset.tracks[asset.track_count++]);
    }
    buffer_init(&b, ASSET_SIZE_MAX);
    stop_on(asset_encode(&asset, &b), "asset");
    stop_on(asset_decode(buffer_bytes(&b), &decoded), "asset");
    file_save(argv[1], "asset.idx", buffer_bytes(&b));
    b.len = 0;
    hls_multivariant_write(&asset, NULL, &b);
    file_save(argv[1], "master.m3u8", buffer_bytes(&b));
    buffer_fini(&b);
    free(cuts.times);
    return 0;
}
