/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Finds the moov of a file and reads its tracks. Boxes: ISO/IEC 14496-12.
 */

#include "media/mp4/box.h"

#include "core/err.h"

#include <stdlib.h>

#define TOP_BOXES_MAX 100000 /* a file of nothing but headers ends here */

#define MOOV BOX_TYPE('m', 'o', 'o', 'v')
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

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

static int
moov_find(const struct mp4_parse *parse, const struct mp4_source *source,
          uint64_t *offset, uint64_t *size)
{
    uint64_t at = 0;
    for (int i = 0; at < source->size; i++) {
        uint32_t type = 0;
        uint64_t box_size = 0;
        if (i == TOP_BOXES_MAX)
            return mp4_fail(parse, MOOV, at, ERR_LIMIT,
                            "too many boxes before it");
        const int err = top_box_read(parse, source, at, &type, &box_size);
        if (err != 0)
            return err;
        if (box_size > source->size - at)
            return mp4_fail(parse, type, at, ERR_TRUNCATED,
                            "box is larger than the file (truncated file)");
        if (type == MOOV) {
            *offset = at;
            *size = box_size;
            return 0;
        }
        at += box_size;
    }
    return mp4_fail(parse, MOOV, source->size, ERR_INVALID,
                    "file has no moov box");
}

static int
moov_load(const struct mp4_parse *parse, const struct mp4_source *source,
          uint64_t offset, uint64_t size, uint8_t **out)
{
    if (size > MP4_MOOV_SIZE_MAX)
        return mp4_fail(parse, MOOV, offset, ERR_LIMIT, "box is too large");
    uint8_t *memory = malloc((size_t) size);
    if (memory == NULL)
        return mp4_fail(parse, MOOV, offset, ERR_MEMORY, "out of memory");
    const int err =
        source->read(source->context, offset, memory, (size_t) size);
    if (err != 0) {
        free(memory);
        return mp4_fail(parse, MOOV, offset, err, "file cannot be read");
    }
    *out = memory;
    return 0;
}

/* ---- a track ---- */

struct track_boxes {
    struct box trak, tkhd, edts, elst, mdia, mdhd, hdlr, minf, dinf, dref;
    struct box stsd;
    struct sample_boxes tables;
};

static int
sample_boxes_collect(const struct mp4_parse *parse, struct track_boxes *t)
{
    struct sample_boxes *s = &t->tables;
    const struct box_want of_stbl[] = {
        {BOX_TYPE('s', 't', 's', 'd'), &t->stsd},
        {BOX_TYPE('s', 't', 't', 's'), &s->stts},
        {BOX_TYPE('c', 't', 't', 's'), &s->ctts},
        {BOX_TYPE('s', 't', 's', 'c'), &s->stsc},
        {BOX_TYPE('s', 't', 's', 'z'), &s->stsz},
        {BOX_TYPE('s', 't', 'z', '2'), &s->stz2},
        {BOX_TYPE('s', 't', 'c', 'o'), &s->stco},
        {BOX_TYPE('c', 'o', '6', '4'), &s->co64},
        {BOX_TYPE('s', 't', 's', 's'), &s->stss},
    };
    int err = boxes_collect(parse, &s->stbl, s->stbl.body, of_stbl,
                            COUNT_OF(of_stbl));
    return err != 0 ? err
                    : box_require(parse, &s->stbl, &t->stsd,
                                  BOX_TYPE('s', 't', 's', 'd'));
}

/* From trak down to stbl; hdlr first, so that a track of another kind may be
 * built as it likes below. */
static int
track_boxes_collect(const struct mp4_parse *parse, struct track_boxes *t)
{
    const struct box_want of_trak[] = {
        {BOX_TYPE('t', 'k', 'h', 'd'), &t->tkhd},
        {BOX_TYPE('e', 'd', 't', 's'), &t->edts},
        {BOX_TYPE('m', 'd', 'i', 'a'), &t->mdia},
    };
    const struct box_want of_mdia[] = {
        {BOX_TYPE('m', 'd', 'h', 'd'), &t->mdhd},
        {BOX_TYPE('h', 'd', 'l', 'r'), &t->hdlr},
        {BOX_TYPE('m', 'i', 'n', 'f'), &t->minf},
    };
    int err = boxes_collect(parse, &t->trak, t->trak.body, of_trak,
                            COUNT_OF(of_trak));
    if (err != 0
        || (err = box_require(parse, &t->trak, &t->mdia,
                              BOX_TYPE('m', 'd', 'i', 'a')))
               != 0)
        return err;
    err = boxes_collect(parse, &t->mdia, t->mdia.body, of_mdia,
                        COUNT_OF(of_mdia));
    return err != 0 ? err
                    : box_require(parse, &t->mdia, &t->hdlr,
                                  BOX_TYPE('h', 'd', 'l', 'r'));
}

static int
media_boxes_collect(const struct mp4_parse *parse, struct track_boxes *t)
{
    const struct box_want of_edts[] = {
        {BOX_TYPE('e', 'l', 's', 't'), &t->elst},
    };
    const struct box_want of_minf[] = {
        {BOX_TYPE('d', 'i', 'n', 'f'), &t->dinf},
        {BOX_TYPE('s', 't', 'b', 'l'), &t->tables.stbl},
    };
    const struct box_want of_dinf[] = {
        {BOX_TYPE('d', 'r', 'e', 'f'), &t->dref},
    };
    int err;
    if ((err = box_require(parse, &t->trak, &t->tkhd,
                           BOX_TYPE('t', 'k', 'h', 'd')))
            != 0
        || (err = box_require(parse, &t->mdia, &t->mdhd,
                              BOX_TYPE('m', 'd', 'h', 'd')))
               != 0
        || (err = box_require(parse, &t->mdia, &t->minf,
                              BOX_TYPE('m', 'i', 'n', 'f')))
               != 0
        || (err = boxes_collect(parse, &t->edts, t->edts.body, of_edts,
                                COUNT_OF(of_edts)))
               != 0
        || (err = boxes_collect(parse, &t->minf, t->minf.body, of_minf,
                                COUNT_OF(of_minf)))
               != 0
        || (err = boxes_collect(parse, &t->dinf, t->dinf.body, of_dinf,
                                COUNT_OF(of_dinf)))
               != 0
        || (err = box_require(parse, &t->minf, &t->tables.stbl,
                              BOX_TYPE('s', 't', 'b', 'l')))
               != 0)
        return err;
    return sample_boxes_collect(parse, t);
}

static int
hdlr_parse(const struct mp4_parse *parse, const struct box *hdlr,
           uint32_t *handler)
{
    uint8_t version;
    uint32_t flags;
    struct cursor c = full_box_cursor(hdlr, &version, &flags);
    cursor_be32(&c);
    *handler = cursor_be32(&c);
    return c.is_short ? box_fail(parse, hdlr, ERR_TRUNCATED, "box is too small")
                      : 0;
}

static int
tkhd_parse(const struct mp4_parse *parse, const struct box *tkhd,
           struct mp4_track *track)
{
    uint8_t version;
    uint32_t flags;
    struct cursor c = full_box_cursor(tkhd, &version, &flags);
    cursor_bytes(&c, version == 1 ? 16 : 8); /* times of creation, change */
    track->id = cursor_be32(&c);
    cursor_bytes(&c, version == 1 ? 12 : 8); /* reserved, duration */
    cursor_bytes(&c, 16 + 36);               /* layer, group, volume, matrix */
    const uint32_t width = cursor_be32(&c) >> 16;
    const uint32_t height = cursor_be32(&c) >> 16;
    if (c.is_short)
        return box_fail(parse, tkhd, ERR_TRUNCATED, "box is too small");
    /* as shown, where pixels are not square: what RESOLUTION means */
    if (track->kind == TRACK_VIDEO && width != 0 && height != 0) {
        track->width = width;
        track->height = height;
    }
    return 0;
}

static void
language_decode(uint16_t packed, char *out)
{
    for (int i = 0; i < 3; i++) {
        const int letter = packed >> (10 - 5 * i) & 0x1f;
        if (letter < 1 || letter > 26) {
            strncpy(out, "und", 4);
            return;
        }
        out[i] = (char) (0x60 + letter);
    }
    out[3] = 0;
}

static int
mdhd_parse(const struct mp4_parse *parse, const struct box *mdhd,
           struct mp4_track *track)
{
    uint8_t version;
    uint32_t flags;
    struct cursor c = full_box_cursor(mdhd, &version, &flags);
    cursor_bytes(&c, version == 1 ? 16 : 8);
    track->timescale = cursor_be32(&c);
    cursor_bytes(&c, version == 1 ? 8 : 4); /* the samples say it better */
    const uint16_t language = cursor_be16(&c);
    if (c.is_short)
        return box_fail(parse, mdhd, ERR_TRUNCATED, "box is too small");
    if (version > 1)
        return box_fail(parse, mdhd, ERR_UNSUPPORTED, "unknown version");
    if (track->timescale == 0)
        return box_fail(parse, mdhd, ERR_INVALID, "timescale is 0");
    language_decode(language, track->language);
    return 0;
}

/* The samples of a track may lie in another file only on paper. */
static int
dref_check(const struct mp4_parse *parse, const struct box *dref)
{
    if (!box_is_there(dref))
        return 0;
    uint8_t version;
    uint32_t flags;
    struct cursor c = full_box_cursor(dref, &version, &flags);
    const uint32_t count = cursor_be32(&c);
    struct bytes rest = c.rest;
    struct box entry;
    if (c.is_short)
        return box_fail(parse, dref, ERR_TRUNCATED, "box is too small");
    if (count == 0)
        return 0;
    const int err = box_next(parse, dref, &rest, &entry);
    if (err != 0)
        return err;
    if (!box_is_there(&entry))
        return box_fail(parse, dref, ERR_TRUNCATED,
                        "box is too small for its entry count");
    full_box_cursor(&entry, &version, &flags);
    if ((flags & 1) == 0)
        return box_fail(parse, &entry, ERR_UNSUPPORTED,
                        "samples are in another file");
    return 0;
}

/* ---- what is presented ---- */

struct edit {
    bool is_there;
    uint64_t duration; /* ticks of the movie; 0: all that follows */
    int64_t media_time;
};

/* The first edit that shows media; empty edits (a delay) are passed over. */
static int
elst_parse(const struct mp4_parse *parse, const struct box *elst,
           struct edit *out)
{
    *out = (struct edit){0};
    if (!box_is_there(elst))
        return 0;
    uint8_t version;
    uint32_t flags;
    struct cursor c = full_box_cursor(elst, &version, &flags);
    const uint32_t count = cursor_be32(&c);
    if (version > 1)
        return box_fail(parse, elst, ERR_UNSUPPORTED, "unknown version");
    if (c.is_short || count > c.rest.len / (version == 1 ? 20 : 12))
        return box_fail(parse, elst, ERR_TRUNCATED,
                        "box is too small for its entry count");
    for (uint32_t i = 0; i < count; i++) {
        struct edit e = {.is_there = true};
        e.duration = version == 1 ? cursor_be64(&c) : cursor_be32(&c);
        e.media_time = version == 1 ? (int64_t) cursor_be64(&c)
                                    : (int32_t) cursor_be32(&c);
        cursor_be32(&c); /* rate */
        if (e.media_time == -1)
            continue;
        if (e.media_time < 0)
            return box_fail(parse, elst, ERR_INVALID,
                            "edit starts before the media");
        *out = e;
        return 0;
    }
    return 0;
}

/* Where the last of the samples ends, in composition time. */
static int64_t
media_end(const struct mp4_track *track)
{
    int64_t end = 0;
    for (uint32_t i = 0; i < track->sample_count; i++) {
        const struct mp4_sample *s = &track->samples[i];
        const int64_t e =
            (int64_t) (s->decode_time + s->duration) + s->composition_offset;
        if (e > end)
            end = e;
    }
    return end;
}

/* The edit's length is in ticks of the movie, often 1 ms, so it counts only
 * where it takes off more than that rounding. */
static int
presentation_set(const struct mp4_parse *parse, const struct edit *edit,
                 const struct box *elst, const struct box *mdhd,
                 uint32_t movie_timescale, struct mp4_track *track)
{
    const int64_t end = media_end(track);
    if (end <= edit->media_time)
        return box_fail(parse, edit->is_there ? elst : mdhd, ERR_INVALID,
                        edit->is_there ? "edit starts behind the last sample"
                                       : "track has no duration");
    const uint64_t all = (uint64_t) (end - edit->media_time);
    track->media_time = edit->media_time;
    track->duration = all;
    if (edit->duration == 0)
        return 0;
    if (movie_timescale == 0)
        return box_fail(parse, elst, ERR_INVALID,
                        "edit without a timescale of the movie");
    const unsigned __int128 scaled =
        (unsigned __int128) edit->duration * track->timescale / movie_timescale;
    const uint64_t tick = track->timescale / movie_timescale + 1;
    if (scaled > 0 && scaled + tick < all)
        track->duration = (uint64_t) scaled;
    return 0;
}

/* ---- the movie ---- */

static int
track_fill(struct mp4_parse *parse, struct track_boxes *boxes,
           uint32_t movie_timescale, struct mp4_track *track)
{
    struct edit edit;
    int err;
    if ((err = media_boxes_collect(parse, boxes)) != 0
        || (err = mdhd_parse(parse, &boxes->mdhd, track)) != 0
        || (err = sample_entry_parse(parse, &boxes->stsd, track)) != 0
        || (err = tkhd_parse(parse, &boxes->tkhd, track)) != 0
        || (err = dref_check(parse, &boxes->dref)) != 0
        || (err = elst_parse(parse, &boxes->elst, &edit)) != 0
        || (err = sample_table_parse(parse, &boxes->tables, track)) != 0)
        return err;
    err = presentation_set(parse, &edit, &boxes->elst, &boxes->mdhd,
                           movie_timescale, track);
    if (err != 0) {
        free(track->samples);
        track->samples = NULL;
    }
    return err;
}

/* Adds the track unless it is neither video nor audio. */
static int
trak_parse(struct mp4_parse *parse, const struct box *trak,
           uint32_t movie_timescale, struct mp4_movie *movie)
{
    struct track_boxes boxes = {.trak = *trak};
    uint32_t handler;
    int err = track_boxes_collect(parse, &boxes);
    if (err != 0 || (err = hdlr_parse(parse, &boxes.hdlr, &handler)) != 0)
        return err;
    struct mp4_track track = {0};
    if (handler == BOX_TYPE('v', 'i', 'd', 'e'))
        track.kind = TRACK_VIDEO;
    else if (handler == BOX_TYPE('s', 'o', 'u', 'n'))
        track.kind = TRACK_AUDIO;
    else
        return 0;
    if (movie->track_count == MP4_TRACKS_MAX)
        return box_fail(parse, trak, ERR_LIMIT, "too many tracks");
    if ((err = track_fill(parse, &boxes, movie_timescale, &track)) != 0)
        return err;
    movie->tracks[movie->track_count++] = track;
    return 0;
}

static int
mvhd_parse(const struct mp4_parse *parse, const struct box *mvhd,
           uint32_t *timescale)
{
    uint8_t version;
    uint32_t flags;
    struct cursor c = full_box_cursor(mvhd, &version, &flags);
    cursor_bytes(&c, version == 1 ? 16 : 8);
    *timescale = cursor_be32(&c);
    return c.is_short ? box_fail(parse, mvhd, ERR_TRUNCATED, "box is too small")
                      : 0;
}

static int
moov_parse(struct mp4_parse *parse, size_t size, struct mp4_movie *movie)
{
    struct bytes rest = bytes_of(parse->memory, size);
    struct box moov, mvhd, mvex, trak;
    const struct box file = {.type = MOOV, .offset = parse->offset};
    const struct box_want wants[] = {
        {BOX_TYPE('m', 'v', 'h', 'd'), &mvhd},
        {BOX_TYPE('m', 'v', 'e', 'x'), &mvex},
    };
    uint32_t movie_timescale;
    int err;
    if ((err = box_next(parse, &file, &rest, &moov)) != 0
        || (err =
                boxes_collect(parse, &moov, moov.body, wants, COUNT_OF(wants)))
               != 0
        || (err =
                box_require(parse, &moov, &mvhd, BOX_TYPE('m', 'v', 'h', 'd')))
               != 0
        || (err = mvhd_parse(parse, &mvhd, &movie_timescale)) != 0)
        return err;
    if (box_is_there(&mvex))
        return box_fail(parse, &mvex, ERR_UNSUPPORTED,
                        "file is fragmented; give it as progressive MP4");
    rest = moov.body;
    for (;;) {
        if ((err = box_next(parse, &moov, &rest, &trak)) != 0)
            return err;
        if (!box_is_there(&trak))
            break;
        if (trak.type != BOX_TYPE('t', 'r', 'a', 'k'))
            continue;
        if ((err = trak_parse(parse, &trak, movie_timescale, movie)) != 0)
            return err;
    }
    if (movie->track_count == 0)
        return box_fail(parse, &moov, ERR_INVALID,
                        "no video and no audio track");
    return 0;
}

int
mp4_open(const struct mp4_source *source, struct mp4_movie *out,
         struct mp4_error *error)
{
    struct mp4_parse parse = {
        .file_size = source->size,
        .samples_left = MP4_SAMPLES_MAX,
        .error = error,
    };
    uint64_t size = 0;
    uint8_t *memory = NULL;
    int err = moov_find(&parse, source, &parse.offset, &size);
    if (err != 0
        || (err = moov_load(&parse, source, parse.offset, size, &memory)) != 0)
        return err;
    parse.memory = memory;
    struct mp4_movie movie = {.memory = memory};
    if ((err = moov_parse(&parse, (size_t) size, &movie)) != 0) {
        mp4_close(&movie);
        return err;
    }
    *out = movie;
    return 0;
}

void
mp4_close(struct mp4_movie *movie)
{
    for (size_t i = 0; i < movie->track_count; i++)
        free(movie->tracks[i].samples);
    free(movie->memory);
    *movie = (struct mp4_movie){0};
}
