/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests and benchmarks: turns the single-track files <track>.mp4 of a
 * folder into the stored form, the video tracks named first; and subtitles,
 * s0.srt or s0.vtt, whose language and label are given with them.
 *
 *   package_test_ingest FOLDER SEGMENT_MS v0 [v1 ...] a0 [...]
 *       [s0.srt:LANGUAGE:LABEL ...]
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/err.h"
#include "media/index.h"
#include "media/mp4/mp4.h"
#include "media/text/text_track.h"

struct cuts {
    uint64_t *times;
    uint32_t count, timescale;
    uint64_t duration; /* of the video */
};

static void
die(const char *name, int err)
{
    fprintf(stderr, "package_test_ingest: %s: %s\n", name, err_text(err));
    exit(1);
}

static int
file_source_read(void *context, uint64_t offset, void *out, size_t len)
{
    const int *fd = context;
    ssize_t n = pread(*fd, out, len, (off_t) offset);

    return n == (ssize_t) len ? 0 : n < 0 ? ERR_IO : ERR_TRUNCATED;
}

static void
path_of(char *out, size_t size, const char *folder, const char *name,
        const char *suffix)
{
    if (snprintf(out, size, "%s/%s%s", folder, name, suffix) >= (int) size) {
        die(folder, ERR_LIMIT);
    }
}

static void
file_write(const char *path, struct bytes bytes)
{
    FILE *file = fopen(path, "wb");

    if (file == NULL || fwrite(bytes.ptr, 1, bytes.len, file) != bytes.len
        || fclose(file) != 0) {
        die(path, ERR_IO);
    }
}

static int
file_append(void *context, struct bytes bytes)
{
    FILE *file = context;

    return fwrite(bytes.ptr, 1, bytes.len, file) == bytes.len ? 0 : ERR_IO;
}

/* The index stays in memory: the asset's sample entries point into it. */
static struct track_info
track_ingest(const char *folder, const char *name, uint32_t segment_ms,
             struct cuts *cuts)
{
    char path[4096], part[4096];
    struct stat status;
    struct mp4_movie *movie = calloc(1, sizeof *movie);
    struct mp4_error where;
    struct buffer text;
    struct track_index index;
    int err;

    path_of(path, sizeof path, folder, name, ".mp4");
    int fd = open(path, O_RDONLY);
    if (fd < 0 || fstat(fd, &status) != 0 || movie == NULL) {
        die(path, ERR_IO);
    }
    struct mp4_source source = {.read = file_source_read,
                                .context = &fd,
                                .size = (uint64_t) status.st_size};
    err = mp4_open(&source, movie, &where);
    if (err != 0) {
        fprintf(stderr, "%s: %s\n", where.box, where.reason);
        die(path, err);
    }
    const struct mp4_track *track = &movie->tracks[0];
    if (cuts->times == NULL) {
        err = segment_cuts_of_video(track, segment_ms, &cuts->times,
                                    &cuts->count);
        cuts->timescale = track->timescale;
        cuts->duration = track->duration;
    }
    path_of(part, sizeof part, folder, name, ".part");
    FILE *file = fopen(part, "wb");
    if (file == NULL) {
        die(part, ERR_IO);
    }
    struct track_build build = {.track = track,
                                .source = &source,
                                .sink = {file_append, file},
                                .cuts = cuts->times,
                                .cut_count = cuts->count,
                                .cut_timescale = cuts->timescale,
                                .name = name,
                                .label = name,
                                .language = track->language};
    buffer_init(&text, INDEX_SIZE_MAX);
    if (err == 0) {
        err = track_file_build(&build, &text);
    }
    if (err == 0) {
        err = track_index_open(buffer_bytes(&text), &index);
    }
    if (err != 0) {
        die(path, err);
    }
    if (fclose(file) != 0 || rename(part, path) != 0) {
        die(part, ERR_IO);
    }
    path_of(path, sizeof path, folder, name, ".idx");
    file_write(path, buffer_bytes(&text));
    mp4_close(movie);
    free(movie);
    close(fd);
    return index.info;
}

static void
cues_load(const char *path, struct cues *out)
{
    static uint8_t bytes[CUES_FILE_SIZE_MAX];
    struct cues_error error;
    FILE *file = fopen(path, "rb");

    if (file == NULL) {
        die(path, ERR_IO);
    }
    size_t len = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    int err = cues_read(bytes_of(bytes, len), out, &error);
    if (err != 0) {
        fprintf(stderr, "line %u: %s\n", error.line, error.reason);
        die(path, err);
    }
}

/* `what` is "s0.srt:de:Deutsch", and changed. */
static struct track_info
text_ingest(const char *folder, char *what, const struct cuts *cuts)
{
    char path[4096];
    struct cues cues;
    struct buffer text, bytes;
    struct track_index index;
    const char *name = strtok(what, ":");
    const char *language = strtok(NULL, ":"), *label = strtok(NULL, ":");

    path_of(path, sizeof path, folder, name, "");
    cues_load(path, &cues);
    struct text_build build = {.cues = &cues,
                               .cuts = cuts->times,
                               .cut_count = cuts->count,
                               .timescale = cuts->timescale,
                               .duration = cuts->duration,
                               .name = name,
                               .language = language,
                               .label = label};
    *strchr(name, '.') = '\0';
    buffer_init(&text, TEXT_TRACK_SIZE_MAX);
    buffer_init(&bytes, INDEX_SIZE_MAX);
    int err = text_track_build(&build, &text, &bytes);
    if (err == 0) {
        err = track_index_open(buffer_bytes(&bytes), &index);
    }
    if (err != 0) {
        die(path, err);
    }
    path_of(path, sizeof path, folder, name, ".text");
    file_write(path, buffer_bytes(&text));
    path_of(path, sizeof path, folder, name, ".idx");
    file_write(path, buffer_bytes(&bytes));
    buffer_fini(&text);
    cues_free(&cues);
    return index.info;
}

int
main(int argc, char **argv)
{
    static struct asset asset;
    struct cuts cuts = {0};
    struct buffer text;
    char path[4096];

    if (argc < 4 || argc - 3 > ASSET_TRACKS_MAX) {
        fprintf(stderr, "usage: package_test_ingest FOLDER SEGMENT_MS TRACK"
                        "...\n");
        return 2;
    }
    for (int i = 3; i < argc; i++) {
        asset.tracks[asset.track_count++] =
            strchr(argv[i], ':') != NULL
                ? text_ingest(argv[1], argv[i], &cuts)
                : track_ingest(argv[1], argv[i],
                               (uint32_t) strtoul(argv[2], NULL, 10), &cuts);
    }
    buffer_init(&text, ASSET_SIZE_MAX);
    int err = asset_encode(&asset, &text);
    if (err != 0) {
        die("asset.idx", err);
    }
    path_of(path, sizeof path, argv[1], "asset", ".idx");
    file_write(path, buffer_bytes(&text));
    buffer_fini(&text);
    free(cuts.times);
    return 0;
}
