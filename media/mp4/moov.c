/* SPDX-License-Identifier: Apache-2.0 */

/*
 * moov: the tracks of a film, what they are and the samples of its tables.
 * Boxes: ISO/IEC 14496-12. Of text only wvtt and tx3g are read, and no
 * chapters; tracks of time codes and the like are passed over.
 */

#include "media/mp4/box.h"

#include "core/err.h"

#include <stdlib.h>

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* ---- a track ---- */

struct track_boxes {
    struct box trak, tkhd, tref, edts, elst;
    struct box mdia, mdhd, elng, hdlr, minf, dinf, dref, stsd;
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
        {BOX_TYPE('t', 'r', 'e', 'f'), &t->tref},
        {BOX_TYPE('e', 'd', 't', 's'), &t->edts},
        {BOX_TYPE('m', 'd', 'i', 'a'), &t->mdia},
    };
    const struct box_want of_mdia[] = {
        {BOX_TYPE('m', 'd', 'h', 'd'), &t->mdhd},
        {BOX_TYPE('e', 'l', 'n', 'g'), &t->elng},
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

/* Neither turned nor moved nor scaled; all zero is written by some for that,
 * and without its last field a matrix has no meaning. */
static bool
matrix_is_plain(const uint32_t *matrix)
{
    static const uint32_t unity[9] = {0x10000, 0, 0, 0,         0x10000,
                                      0,       0, 0, 0x40000000};
    return matrix[8] == 0 || memcmp(matrix, unity, sizeof unity) == 0;
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
    cursor_bytes(&c, 16);                    /* layer, group, volume */
    for (size_t i = 0; i < COUNT_OF(track->matrix); i++)
        track->matrix[i] = cursor_be32(&c);
    const uint32_t width = cursor_be32(&c) >> 16;
    const uint32_t height = cursor_be32(&c) >> 16;
    if (c.is_short)
        return box_fail(parse, tkhd, ERR_TRUNCATED, "box is too small");
    if (track->kind != TRACK_VIDEO || matrix_is_plain(track->matrix))
        memset(track->matrix, 0, sizeof track->matrix);
    if (track->kind != TRACK_VIDEO)
        return 0;
    /* as shown, where pixels are not square: what RESOLUTION means */
    if (width != 0 && height != 0) {
        track->width = width;
        track->height = height;
    }
    if (track_is_on_its_side(track->matrix)) {
        const uint32_t side = track->width;
        track->width = track->height;
        track->height = side;
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

/* BCP 47, and so better than the three letters of mdhd. What could not stand
 * in a playlist is not taken. */
static void
elng_parse(const struct box *elng, struct mp4_track *track)
{
    uint8_t version;
    uint32_t flags;
    char tag[sizeof track->language] = "";
    if (!box_is_there(elng))
        return;
    const struct cursor c = full_box_cursor(elng, &version, &flags);
    for (size_t i = 0; i < c.rest.len && c.rest.ptr[i] != 0; i++) {
        const char letter = (char) c.rest.ptr[i];
        if (i + 1 == sizeof tag
            || (letter != '-' && (letter < '0' || letter > '9')
                && (letter < 'A' || letter > 'Z')
                && (letter < 'a' || letter > 'z')))
            return;
        tag[i] = letter;
    }
    if (tag[0] != 0)
        memcpy(track->language, tag, sizeof tag);
}

/* ---- text ---- */

/* The type of its first sample entry, or 0 where it has none. A track that is
 * of no known kind may lack any box. */
static int
entry_type_find(const struct mp4_parse *parse, const struct track_boxes *t,
                uint32_t *out)
{
    static const uint32_t path[] = {BOX_TYPE('s', 't', 'b', 'l'),
                                    BOX_TYPE('s', 't', 's', 'd')};
    struct box box = t->minf;
    *out = 0;
    for (size_t i = 0; i < COUNT_OF(path) && box_is_there(&box); i++) {
        const struct box parent = box;
        const struct box_want want = {path[i], &box};
        const int err = boxes_collect(parse, &parent, parent.body, &want, 1);
        if (err != 0)
            return err;
    }
    /* version and flags, count, size */
    if (box.body.len >= 16)
        *out = load_be32(box.body.ptr + 12);
    return 0;
}

/* ISO/IEC 14496-12 §8.10.4, and what DASH calls such a track. */
static bool
kind_is_forced(const struct box *kind)
{
    static const char scheme[] = "urn:mpeg:dash:role:2011";
    uint8_t version;
    uint32_t flags;
    struct cursor c = full_box_cursor(kind, &version, &flags);
    const struct bytes uri = cursor_bytes(&c, sizeof scheme);
    const struct bytes value = c.rest;
    return !c.is_short && memcmp(uri.ptr, scheme, sizeof scheme) == 0
           && (bytes_equal(value, BYTES_LITERAL("forced-subtitle\0"))
               || bytes_equal(value, BYTES_LITERAL("forced_subtitle\0")));
}

static int
kinds_parse(const struct mp4_parse *parse, const struct box *trak,
            struct mp4_track *track)
{
    struct box udta, box;
    const struct box_want want = {BOX_TYPE('u', 'd', 't', 'a'), &udta};
    int err = boxes_collect(parse, trak, trak->body, &want, 1);
    if (err != 0)
        return err;
    for (struct bytes rest = udta.body;;) {
        err = box_next(parse, &udta, &rest, &box);
        if (err != 0 || !box_is_there(&box))
            return err;
        if (box.type == BOX_TYPE('k', 'i', 'n', 'd') && kind_is_forced(&box))
            track->is_forced = true;
    }
}

/* Tracks that this one names as its chapters. */
static int
chapters_note(const struct mp4_parse *parse, const struct box *tref,
              struct moov *moov)
{
    struct box chap;
    const struct box_want want = {BOX_TYPE('c', 'h', 'a', 'p'), &chap};
    const int err = boxes_collect(parse, tref, tref->body, &want, 1);
    struct cursor c = cursor_of(chap.body);
    while (err == 0 && c.rest.len >= 4 && moov->chapter_count < MP4_TEXTS_MAX)
        moov->chapters[moov->chapter_count++] = cursor_be32(&c);
    return err;
}

static bool
is_chapters(const struct moov *moov, uint32_t id)
{
    for (size_t i = 0; i < moov->chapter_count; i++) {
        if (moov->chapters[i] == id)
            return true;
    }
    return false;
}

static void
chapters_drop(struct moov *moov, struct mp4_movie *movie)
{
    size_t kept = 0;
    for (size_t i = 0; i < movie->text_count; i++) {
        if (is_chapters(moov, movie->texts[i].id)) {
            free(movie->texts[i].samples);
            continue;
        }
        movie->texts[kept] = movie->texts[i];
        moov->text_states[kept++] = moov->text_states[i];
    }
    movie->text_count = kept;
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

/* ---- the movie ---- */

static int
track_fill(struct mp4_parse *parse, struct track_boxes *boxes,
           uint32_t movie_timescale, struct mp4_track *track,
           struct track_state *state)
{
    int err;
    if ((err = media_boxes_collect(parse, boxes)) != 0
        || (err = mdhd_parse(parse, &boxes->mdhd, track)) != 0
        || (err = sample_entry_parse(parse, &boxes->stsd, track)) != 0
        || (err = tkhd_parse(parse, &boxes->tkhd, track)) != 0
        || (err = dref_check(parse, &boxes->dref)) != 0
        || (err = edit_list_parse(parse, &boxes->elst, movie_timescale, track,
                                  state))
               != 0
        || (err = sample_table_parse(parse, &boxes->tables, track)) != 0)
        return err;
    elng_parse(&boxes->elng, track);
    state->mdhd = boxes->mdhd;
    state->elst = boxes->elst;
    state->capacity = track->sample_count;
    if (track->sample_count > 0) {
        const struct mp4_sample *last =
            &track->samples[track->sample_count - 1];
        state->decode_time = last->decode_time + last->duration;
    }
    return 0;
}

/* 0: it is passed over. */
static int
kind_find(const struct mp4_parse *parse, const struct track_boxes *boxes,
          uint32_t handler, enum track_kind *out)
{
    uint32_t type;
    *out = 0;
    switch (handler) {
    case BOX_TYPE('v', 'i', 'd', 'e'):
        *out = parse->is_text_only ? 0 : TRACK_VIDEO;
        return 0;
    case BOX_TYPE('s', 'o', 'u', 'n'):
        *out = parse->is_text_only ? 0 : TRACK_AUDIO;
        return 0;
    case BOX_TYPE('t', 'e', 'x', 't'):
    case BOX_TYPE('s', 'b', 't', 'l'):
    case BOX_TYPE('s', 'u', 'b', 't'):
        break;
    default:
        return 0;
    }
    const int err = entry_type_find(parse, boxes, &type);
    if (err == 0 && (type == TEXT_WVTT || type == TEXT_TX3G))
        *out = TRACK_TEXT;
    return err;
}

static int
text_parse(struct mp4_parse *parse, struct track_boxes *boxes,
           uint32_t movie_timescale, struct moov *moov, struct mp4_movie *movie)
{
    struct mp4_track track = {.kind = TRACK_TEXT};
    if (movie->text_count == MP4_TEXTS_MAX)
        return box_fail(parse, &boxes->trak, ERR_LIMIT, "too many tracks");
    int err = track_fill(parse, boxes, movie_timescale, &track,
                         &moov->text_states[movie->text_count]);
    movie->texts[movie->text_count++] =
        track; /* also what failed: its memory */
    return err != 0 ? err
                    : kinds_parse(parse, &boxes->trak,
                                  &movie->texts[movie->text_count - 1]);
}

/* Adds the track unless it is of another kind. */
static int
trak_parse(struct mp4_parse *parse, const struct box *trak,
           uint32_t movie_timescale, struct moov *moov, struct mp4_movie *movie)
{
    struct track_boxes boxes = {.trak = *trak};
    uint32_t handler;
    int err = track_boxes_collect(parse, &boxes);
    if (err != 0 || (err = hdlr_parse(parse, &boxes.hdlr, &handler)) != 0)
        return err;
    struct mp4_track track = {0};
    if ((err = chapters_note(parse, &boxes.tref, moov)) != 0
        || (err = kind_find(parse, &boxes, handler, &track.kind)) != 0
        || track.kind == 0)
        return err;
    if (track.kind == TRACK_TEXT)
        return text_parse(parse, &boxes, movie_timescale, moov, movie);
    if (movie->track_count == MP4_TRACKS_MAX)
        return box_fail(parse, trak, ERR_LIMIT, "too many tracks");
    struct track_state *state = &moov->states[movie->track_count];
    err = track_fill(parse, &boxes, movie_timescale, &track, state);
    movie->tracks[movie->track_count++] =
        track; /* also what failed: its memory */
    return err;
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
trex_parse(const struct mp4_parse *parse, const struct box *trex,
           struct moov *moov)
{
    uint8_t version;
    uint32_t flags;
    struct cursor c = full_box_cursor(trex, &version, &flags);
    struct fragment_defaults d = {.track_id = cursor_be32(&c)};
    const uint32_t description = cursor_be32(&c);
    d.duration = cursor_be32(&c);
    d.size = cursor_be32(&c);
    d.flags = cursor_be32(&c);
    if (c.is_short)
        return box_fail(parse, trex, ERR_TRUNCATED, "box is too small");
    if (description > 1)
        return box_fail(parse, trex, ERR_UNSUPPORTED,
                        "samples of a second sample entry");
    if (moov->defaults_count == FRAGMENT_DEFAULTS_MAX)
        return box_fail(parse, trex, ERR_LIMIT, "too many tracks");
    moov->defaults[moov->defaults_count++] = d;
    return 0;
}

/* Each child of the wanted type, one after the other. */
static int
mvex_parse(const struct mp4_parse *parse, const struct box *mvex,
           struct moov *moov)
{
    struct bytes rest = mvex->body;
    for (;;) {
        struct box box;
        int err = box_next(parse, mvex, &rest, &box);
        if (err != 0 || !box_is_there(&box))
            return err;
        if (box.type == BOX_TYPE('t', 'r', 'e', 'x')
            && (err = trex_parse(parse, &box, moov)) != 0)
            return err;
    }
}

static int
traks_parse(struct mp4_parse *parse, const struct box *box,
            uint32_t movie_timescale, struct moov *moov,
            struct mp4_movie *movie)
{
    struct bytes rest = box->body;
    for (;;) {
        struct box trak;
        int err = box_next(parse, box, &rest, &trak);
        if (err != 0 || !box_is_there(&trak))
            return err;
        if (trak.type == BOX_TYPE('t', 'r', 'a', 'k')
            && (err = trak_parse(parse, &trak, movie_timescale, moov, movie))
                   != 0)
            return err;
    }
}

int
moov_parse(struct mp4_parse *parse, size_t size, struct moov *moov,
           struct mp4_movie *movie)
{
    struct bytes rest = bytes_of(parse->memory, size);
    struct box box, mvhd, mvex;
    const struct box file = {.type = BOX_TYPE('m', 'o', 'o', 'v'),
                             .offset = parse->offset};
    const struct box_want wants[] = {
        {BOX_TYPE('m', 'v', 'h', 'd'), &mvhd},
        {BOX_TYPE('m', 'v', 'e', 'x'), &mvex},
    };
    uint32_t movie_timescale;
    int err;
    if ((err = box_next(parse, &file, &rest, &box)) != 0
        || (err = boxes_collect(parse, &box, box.body, wants, COUNT_OF(wants)))
               != 0
        || (err = box_require(parse, &box, &mvhd, BOX_TYPE('m', 'v', 'h', 'd')))
               != 0
        || (err = mvhd_parse(parse, &mvhd, &movie_timescale)) != 0)
        return err;
    parse->is_fragmented = box_is_there(&mvex);
    if ((err = mvex_parse(parse, &mvex, moov)) != 0
        || (err = traks_parse(parse, &box, movie_timescale, moov, movie)) != 0)
        return err;
    chapters_drop(moov, movie);
    if (movie->track_count == 0 && !parse->is_text_only)
        return box_fail(parse, &box, ERR_INVALID,
                        "no video and no audio track");
    return 0;
}
