/* SPDX-License-Identifier: Apache-2.0 */

/*
 * For tests: what media/crypt/ makes of the first track of an MP4 file.
 *
 *     crypt_dump subsamples FILE    a line for each sample: offset, size,
 *                                   then clear+rest of each subsample
 *     crypt_dump cenc|cbcs FILE KEY KID LEAD OUT
 *                                   init segment and segments; the first LEAD
 *                                   ones are clear, - for no word on it
 */

#include "core/err.h"
#include "media/crypt/cenc.h"
#include "media/crypt/subsamples.h"
#include "media/testing/movie.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static void
stop(const char *what, const char *why)
{
    fprintf(stderr, "crypt_dump: %s: %s\n", what, why);
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
subsamples_print(struct bytes file, const struct mp4_track *track)
{
    struct subsample_reader *reader;
    stop_on(subsample_reader_new(track->sample_entry, &reader), "entry");
    for (uint32_t i = 0; i < track->sample_count; i++) {
        const struct mp4_sample *s = &track->samples[i];
        struct subsample subsamples[SUBSAMPLES_MAX];
        uint16_t count = 0;
        if (reader != NULL)
            stop_on(subsample_reader_next(
                        reader, bytes_of(file.ptr + s->offset, s->size),
                        subsamples, &count),
                    "sample");
        printf("%llu %u", (unsigned long long) s->offset, s->size);
        for (unsigned j = 0; j < count; j++)
            printf(" %u+%u", subsamples[j].clear, subsamples[j].rest);
        printf("\n");
    }
    subsample_reader_free(reader);
}

static void
hex_read(const char *text, uint8_t *out)
{
    for (int i = 0; i < CRYPT_KEY_SIZE; i++) {
        unsigned byte;
        if (sscanf(text + 2 * i, "%2x", &byte) != 1)
            stop(text, "is not hex");
        out[i] = (uint8_t) byte;
    }
}

/* All of a segment, in pieces of up to `piece` bytes, or where it lies. */
static void
transform_run(struct transform *t, struct bytes in, size_t piece,
              struct buffer *out)
{
    uint8_t *block = malloc(t->size_out);
    struct transform_io io = {in.ptr, 0, block, 0};
    if (block == NULL || t->size_in != in.len)
        stop("transform", "is not of the samples' size");
    const uint8_t *in_end = in.ptr + in.len, *out_end = block + t->size_out;
    unsigned seed = 1;
    while (io.out < out_end) {
        const struct transform_io before = io;
        seed = seed * 1103515245u + 12345u;
        io.in_len = seed / 65536 % piece + 1;
        io.out_len = seed / 8192 % piece + 1;
        if (io.in_len > (size_t) (in_end - io.in))
            io.in_len = (size_t) (in_end - io.in);
        if (io.out_len > (size_t) (out_end - io.out))
            io.out_len = (size_t) (out_end - io.out);
        stop_on(t->run(t, &io), "transform");
        if (io.in == before.in && io.out == before.out)
            stop("transform", "stands still");
    }
    if (io.in != in_end)
        stop("transform", "left samples");
    buffer_append(out, block, t->size_out);
    t->close(t);
    free(block);
}

/* As the module does it, from the stored form. */
static void
segment_write(const struct track_index *index, struct bytes file,
              const struct segment *s, const struct crypt *crypt,
              struct buffer *out)
{
    const struct bytes box = bytes_of(file.ptr + s->offset, s->map_size);
    const struct bytes in =
        bytes_of(file.ptr + segment_start(s) + s->header_size, s->size);
    const size_t start = out->len;
    struct segment_map map;
    size_t memory_size;
    stop_on(segment_map_memory_size(box, &memory_size), "map");
    void *memory = malloc(memory_size);
    stop_on(segment_map_decode(box, s, memory, &map), "map");
    const struct cenc_segment segment = {
        &index->info, bytes_of(file.ptr + segment_start(s), s->header_size),
        s->number, &map};
    struct buffer again;
    buffer_init(&again, 1u << 30);
    static const size_t pieces[] = {1u << 24, 7, 40, 5000};
    for (int i = 0; i < 4; i++) {
        struct transform *t;
        again.len = 0;
        stop_on(cenc_transform_open(&segment, crypt, &t), "transform");
        transform_run(t, in, pieces[i], i == 0 ? out : &again);
        if (i > 0
            && !bytes_equal(buffer_bytes(&again),
                            bytes_of(out->ptr + start, out->len - start)))
            stop("transform", "depends on the pieces");
    }
    stop_on(out->err, "segment");
    buffer_fini(&again);
    free(memory);
}

static int
sink_append(void *context, struct bytes bytes)
{
    struct buffer *out = context;
    buffer_append_bytes(out, bytes);
    return out->err;
}

static void
film_write(struct bytes file, const struct mp4_track *track, struct crypt crypt,
           int lead, const char *path)
{
    uint64_t *cuts = NULL, audio_cuts[] = {0, 1, 2};
    struct buffer stored, b, out;
    struct track_index index;
    struct segment s;
    const struct mp4_source source = {test_movie_read, &file, file.len};
    struct track_build build = {.track = track,
                                .source = &source,
                                .sink = {sink_append, &stored},
                                .cuts = audio_cuts,
                                .cut_count = 3,
                                .cut_timescale = 1,
                                .name = "t0"};
    if (track->kind == TRACK_VIDEO) {
        stop_on(segment_cuts_of_video(track, 1000, &cuts, &build.cut_count),
                "cuts");
        build.cuts = cuts;
        build.cut_timescale = track->timescale;
    }
    buffer_init(&stored, 1u << 30);
    buffer_init(&b, INDEX_SIZE_MAX);
    buffer_init(&out, 1u << 30);
    stop_on(track_file_build(&build, &b), "index");
    stop_on(track_index_open(buffer_bytes(&b), &index), "index");
    cenc_init_write(&index.info, &crypt, bytes_of(NULL, 0), &out);
    for (uint32_t i = 0; track_index_segment(&index, i, &s) == 0; i++) {
        crypt.is_clear = (int) i < lead;
        segment_write(&index, buffer_bytes(&stored), &s, &crypt, &out);
    }
    FILE *f = fopen(path, "wb");
    if (f == NULL || fwrite(out.ptr, 1, out.len, f) != out.len
        || fclose(f) != 0)
        stop(path, "cannot be written");
    buffer_fini(&stored);
    buffer_fini(&b);
    buffer_fini(&out);
    free(cuts);
}

int
main(int argc, char **argv)
{
    struct mp4_movie movie;
    struct mp4_error error;
    if (argc != 3 && argc != 7)
        stop("usage", "crypt_dump subsamples FILE, crypt_dump cenc|cbcs FILE "
                      "KEY KID LEAD OUT");
    const struct bytes file = file_load(argv[2]);
    stop_on(test_movie_open(&file, &movie, &error), argv[2]);
    if (argc == 7) {
        struct crypt crypt = {
            .scheme = strcmp(argv[1], "cbcs") ? CRYPT_CENC : CRYPT_CBCS,
            .has_periods = argv[5][0] != '-',
            .iv_base = UINT64_MAX - 3, /* passes 0 */
        };
        hex_read(argv[3], crypt.key.key);
        hex_read(argv[4], crypt.key.kid);
        hex_read(argv[4], crypt.key.iv);
        film_write(file, &movie.tracks[0], crypt, atoi(argv[5]), argv[6]);
    } else {
        subsamples_print(file, &movie.tracks[0]);
    }
    mp4_close(&movie);
    free((void *) (uintptr_t) file.ptr);
    return 0;
}
