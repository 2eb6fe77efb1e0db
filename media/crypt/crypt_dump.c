/* SPDX-License-Identifier: Apache-2.0 */

/*
 * For tests: what media/crypt/ makes of the first track of an MP4 file.
 *
 *     crypt_dump subsamples FILE    a line for each sample: offset, size,
 *                                   then clear+rest of each subsample
 */

#include "core/err.h"
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

int
main(int argc, char **argv)
{
    struct mp4_movie movie;
    struct mp4_error error;
    if (argc < 3)
        stop("usage", "crypt_dump subsamples FILE");
    const struct bytes file = file_load(argv[2]);
    stop_on(test_movie_open(&file, &movie, &error), argv[2]);
    subsamples_print(file, &movie.tracks[0]);
    mp4_close(&movie);
    free((void *) (uintptr_t) file.ptr);
    return 0;
}
