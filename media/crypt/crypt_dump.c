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

#include "media/crypt/cenc.h"
#include "media/crypt/subsamples.h"
#include "media/testing/film.h"

#include <stdio.h>
#include <stdlib.h>

static void
subsamples_print(struct bytes file, const struct mp4_track *track)
{
    struct subsample_reader *reader;
    test_stop_on(subsample_reader_new(track->sample_entry, &reader), "entry");
    for (uint32_t i = 0; i < track->sample_count; i++) {
        const struct mp4_sample *s = &track->samples[i];
        struct subsample subsamples[SUBSAMPLES_MAX];
        uint16_t count = 0;
        if (reader != NULL)
            test_stop_on(subsample_reader_next(
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

/* All of a segment, in pieces of up to `piece` bytes, or where it lies. */
static void
transform_run(struct transform *t, struct bytes in, size_t piece,
              struct buffer *out)
{
    uint8_t *block = malloc(t->size_out);
    struct transform_io io = {in.ptr, 0, block, 0};
    if (block == NULL || t->size_in != in.len)
        test_stop("transform", "is not of the samples' size");
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
        test_stop_on(t->run(t, &io), "transform");
        if (io.in == before.in && io.out == before.out)
            test_stop("transform", "stands still");
    }
    if (io.in != in_end)
        test_stop("transform", "left samples");
    buffer_append(out, block, t->size_out);
    t->close(t);
    free(block);
}

/* As the module does it, from the stored form. */
static void
segment_write(const struct test_track *track, const struct segment *s,
              const struct crypt *crypt, struct buffer *out)
{
    const uint8_t *header = track->media.ptr + segment_start(s);
    const struct bytes in = bytes_of(header + s->header_size, s->size);
    const size_t start = out->len;
    void *memory;
    const struct segment_map map =
        test_map_open(buffer_bytes(&track->media), s, &memory);
    const struct cenc_segment segment = {
        &track->index.info, bytes_of(header, s->header_size), s->number, &map};
    struct buffer again;
    buffer_init(&again, TEST_OUTPUT_SIZE_MAX);
    static const size_t pieces[] = {1u << 24, 7, 40, 5000};
    for (int i = 0; i < 4; i++) {
        struct transform *t;
        again.len = 0;
        test_stop_on(cenc_transform_open(&segment, crypt, &t), "transform");
        transform_run(t, in, pieces[i], i == 0 ? out : &again);
        if (i > 0
            && !bytes_equal(buffer_bytes(&again),
                            bytes_of(out->ptr + start, out->len - start)))
            test_stop("transform", "depends on the pieces");
    }
    test_stop_on(out->err, "segment");
    buffer_fini(&again);
    free(memory);
}

static void
film_write(struct bytes file, const struct mp4_track *track, struct crypt crypt,
           int lead, const char *path)
{
    uint64_t *cuts = NULL, audio_cuts[] = {0, 1, 2};
    struct test_track stored;
    struct buffer out;
    struct segment s;
    const struct mp4_source source = {test_movie_read, &file, file.len};
    struct track_build build = {.track = track,
                                .source = &source,
                                .cuts = audio_cuts,
                                .cut_count = 3,
                                .cut_timescale = 1,
                                .name = "t0"};
    if (track->kind == TRACK_VIDEO) {
        test_stop_on(
            segment_cuts_of_video(track, 1000, &cuts, &build.cut_count),
            "cuts");
        build.cuts = cuts;
        build.cut_timescale = track->timescale;
    }
    test_stop_on(test_track_store(&stored, build), "index");
    buffer_init(&out, TEST_OUTPUT_SIZE_MAX);
    cenc_init_write(&stored.index.info, &crypt, bytes_of(NULL, 0), &out);
    for (uint32_t i = 0; track_index_segment(&stored.index, i, &s) == 0; i++) {
        crypt.is_clear = (int) i < lead;
        segment_write(&stored, &s, &crypt, &out);
    }
    test_file_save(path, buffer_bytes(&out));
    test_track_fini(&stored);
    buffer_fini(&out);
    free(cuts);
}

int
main(int argc, char **argv)
{
    struct mp4_movie movie;
    if (argc != 3 && argc != 7)
        test_stop("usage",
                  "crypt_dump subsamples FILE, crypt_dump cenc|cbcs FILE "
                  "KEY KID LEAD OUT");
    const struct bytes file = test_file_load(argv[2]);
    test_film_open(argv[2], &file, &movie);
    if (argc == 7) {
        struct crypt crypt = {
            .scheme = strcmp(argv[1], "cbcs") ? CRYPT_CENC : CRYPT_CBCS,
            .has_periods = argv[5][0] != '-',
            .iv_base = UINT64_MAX - 3, /* passes 0 */
        };
        test_hex_read(argv[3], crypt.key.key);
        test_hex_read(argv[4], crypt.key.kid);
        test_hex_read(argv[4], crypt.key.iv);
        film_write(file, &movie.tracks[0], crypt, atoi(argv[5]), argv[6]);
    } else {
        subsamples_print(file, &movie.tracks[0]);
    }
    mp4_close(&movie);
    test_file_free(file);
    return 0;
}
