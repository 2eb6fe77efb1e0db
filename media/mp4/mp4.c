/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The boxes of the file itself (ISO/IEC 14496-12): finds moov at either end,
 * then each moof of a fragmented file. What sidx and mfra say of those is not
 * needed.
 */

#include "media/mp4/box.h"

#include "core/err.h"

#include <stdlib.h>

#define TOP_BOXES_MAX 2000000 /* a file of nothing but headers ends here */
#define MOOF_SIZE_MAX (16u << 20)

#define MOOV BOX_TYPE('m', 'o', 'o', 'v')
#define MOOF BOX_TYPE('m', 'o', 'o', 'f')

/* ---- the file ---- */

/* Reads the header of the box at `offset`. */
static int
top_box_read(const struct mp4_parse *parse, const struct mp4_source *source,
             uint64_t offset, uint32_t *type, uint64_t *size)
{
    uint8_t header[16] = {0};
    const uint64_t left = source->size - offset;
    const size_t len = left < sizeof header ? (size_t) left : sizeof header;
    const int err = source->read(source->context, offset, header, len);
    *type = load_be32(header + 4);
    if (err != 0)
        return mp4_fail(parse, *type, offset, err, "file cannot be read");
    if (len < 8)
        return mp4_fail(parse, *type, offset, ERR_TRUNCATED,
                        "file ends inside the header of a box");
    *size = load_be32(header);
    size_t header_size = 8;
    if (*size == 1) {
        *size = load_be64(header + 8);
        header_size = 16;
    } else if (*size == 0) {
        *size = left;
    }
    if (*size < header_size || len < header_size)
        return mp4_fail(parse, *type, offset, ERR_INVALID,
                        "box is smaller than its header (not an MP4 file?)");
    return 0;
}

/* Walks over the boxes of the file. */
struct top_box {
    uint32_t type;
    uint64_t offset, size;
};

/* The box behind *box, all 0 to begin with; one of size 0 is the end. */
static int
top_box_next(const struct mp4_parse *parse, const struct mp4_source *source,
             struct top_box *box)
{
    box->offset += box->size;
    box->size = 0;
    if (box->offset >= source->size)
        return 0;
    const int err =
        top_box_read(parse, source, box->offset, &box->type, &box->size);
    if (err == 0 && box->size > source->size - box->offset)
        return mp4_fail(parse, box->type, box->offset, ERR_TRUNCATED,
                        "box is larger than the file (truncated file)");
    return err;
}

static int
moov_find(const struct mp4_parse *parse, const struct mp4_source *source,
          struct top_box *box)
{
    for (int i = 0; i < TOP_BOXES_MAX; i++) {
        const int err = top_box_next(parse, source, box);
        if (err != 0)
            return err;
        if (box->size == 0)
            return mp4_fail(parse, MOOV, source->size, ERR_INVALID,
                            "file has no moov box");
        if (box->type == MOOV)
            return 0;
    }
    return mp4_fail(parse, MOOV, box->offset, ERR_LIMIT,
                    "too many boxes before it");
}

static int
box_load(const struct mp4_parse *parse, const struct mp4_source *source,
         const struct top_box *box, uint64_t size_max, uint8_t **out)
{
    if (box->size > size_max)
        return mp4_fail(parse, box->type, box->offset, ERR_LIMIT,
                        "box is too large");
    uint8_t *memory = malloc((size_t) box->size);
    if (memory == NULL)
        return mp4_fail(parse, box->type, box->offset, ERR_MEMORY,
                        "out of memory");
    const int err =
        source->read(source->context, box->offset, memory, (size_t) box->size);
    if (err != 0) {
        free(memory);
        return mp4_fail(parse, box->type, box->offset, err,
                        "file cannot be read");
    }
    *out = memory;
    return 0;
}

/* ---- fragments ---- */

static int
moof_read(struct mp4_parse *parse, const struct mp4_source *source,
          const struct top_box *box, struct moov *moov, struct mp4_movie *movie)
{
    uint8_t *memory;
    int err = box_load(parse, source, box, MOOF_SIZE_MAX, &memory);
    if (err != 0)
        return err;
    parse->memory = memory;
    parse->offset = box->offset;
    err = moof_parse(parse, (size_t) box->size, moov, movie);
    free(memory);
    return err;
}

static int
moofs_read(struct mp4_parse *parse, const struct mp4_source *source,
           struct moov *moov, struct mp4_movie *movie)
{
    struct top_box box = {0};
    for (int i = 0; i < TOP_BOXES_MAX; i++) {
        int err = top_box_next(parse, source, &box);
        if (err != 0 || box.size == 0)
            return err;
        if (box.type == MOOF
            && (err = moof_read(parse, source, &box, moov, movie)) != 0)
            return err;
    }
    return mp4_fail(parse, MOOF, box.offset, ERR_LIMIT, "too many boxes");
}

/* ---- the film ---- */

static int
movie_read(struct mp4_parse *parse, const struct mp4_source *source,
           struct moov *moov, struct mp4_movie *movie)
{
    struct top_box box = {0};
    uint8_t *memory;
    int err = moov_find(parse, source, &box);
    if (err != 0
        || (err = box_load(parse, source, &box, MP4_MOOV_SIZE_MAX, &memory))
               != 0)
        return err;
    movie->memory = memory;
    parse->memory = memory;
    parse->offset = box.offset;
    if ((err = moov_parse(parse, (size_t) box.size, moov, movie)) != 0
        || (parse->is_fragmented && movie->track_count + movie->text_count > 0
            && (err = moofs_read(parse, source, moov, movie)) != 0)
        || (err = extents_check(parse)) != 0)
        return err;
    return presentation_set(parse, moov, movie);
}

static int
movie_open(struct mp4_parse *parse, const struct mp4_source *source,
           struct mp4_movie *out)
{
    struct mp4_movie movie = {0};
    struct moov *moov = calloc(1, sizeof *moov);
    const int err = moov == NULL
                        ? mp4_fail(parse, MOOV, 0, ERR_MEMORY, "out of memory")
                        : movie_read(parse, source, moov, &movie);
    free(moov);
    free(parse->extents.list);
    if (err != 0)
        mp4_close(&movie);
    else
        *out = movie;
    return err;
}

int
mp4_open(const struct mp4_source *source, struct mp4_movie *out,
         struct mp4_error *error)
{
    struct mp4_parse parse = {
        .file_size = source->size,
        .samples_left = MP4_SAMPLES_MAX,
        .bytes_left = source->size,
        .error = error,
    };
    return movie_open(&parse, source, out);
}

int
mp4_open_texts(const struct mp4_source *source, struct mp4_movie *out,
               struct mp4_error *error)
{
    struct mp4_parse parse = {
        .file_size = source->size,
        .samples_left = MP4_SAMPLES_MAX,
        .bytes_left = source->size,
        .is_text_only = true,
        .error = error,
    };
    return movie_open(&parse, source, out);
}

void
mp4_close(struct mp4_movie *movie)
{
    for (size_t i = 0; i < movie->track_count; i++) {
        free(movie->tracks[i].samples);
        free(movie->tracks[i].entry_memory);
    }
    for (size_t i = 0; i < movie->text_count; i++)
        free(movie->texts[i].samples);
    free(movie->memory);
    *movie = (struct mp4_movie){0};
}
