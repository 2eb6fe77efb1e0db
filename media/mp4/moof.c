/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A fragment (ISO/IEC 14496-12 §8.8): the samples that its moof adds to the
 * tracks. They follow each other in time: a gap before a fragment is the length
 * of the sample before it, but of text nothing is seen in it, and a fragment
 * that starts sooner shortens that one.
 */

#include "media/mp4/box.h"

#include "core/err.h"
#include "media/fragment.h"

#include <stdlib.h>

#define TRUN_RECORD (TRUN_DURATION | TRUN_SIZE | TRUN_FLAGS | TRUN_COMPOSITION)

#define SAMPLE_IS_NOT_SYNC 0x10000u
#define DECODE_TIME_MAX ((uint64_t) 1 << 60) /* ticks */

/* One traf. `track` is NULL for one of a kind that is passed over. */
struct fragment {
    struct mp4_track *track;
    struct track_state *state;
    struct fragment_defaults defaults;
    uint64_t base; /* of the runs' data offsets */
    uint64_t next; /* where a run without one goes on */
};

/* ---- samples ---- */

static int
samples_reserve(struct mp4_parse *parse, const struct box *trun,
                struct fragment *f, uint32_t count)
{
    struct mp4_track *track = f->track;
    if (count > parse->samples_left)
        return box_fail(parse, trun, ERR_LIMIT, "too many samples");
    parse->samples_left -= count;
    const uint32_t wanted = track->sample_count + count;
    uint32_t capacity = f->state->capacity < 64 ? 64 : f->state->capacity;
    while (capacity < wanted)
        capacity += capacity / 2;
    if (capacity == f->state->capacity)
        return 0;
    struct mp4_sample *samples =
        realloc(track->samples, capacity * sizeof *samples);
    if (samples == NULL)
        return box_fail(parse, trun, ERR_MEMORY, "out of memory");
    track->samples = samples;
    f->state->capacity = capacity;
    return 0;
}

/* A table of records, and what they leave out. */
struct run {
    struct cursor records;
    uint32_t flags, count, first_flags;
};

static struct mp4_sample
record_take(struct run *run, uint32_t number, const struct fragment_defaults *d,
            bool is_video)
{
    struct mp4_sample s = {.duration = d->duration, .size = d->size};
    uint32_t flags = d->flags;
    if (run->flags & TRUN_DURATION)
        s.duration = cursor_be32(&run->records);
    if (run->flags & TRUN_SIZE)
        s.size = cursor_be32(&run->records);
    if (run->flags & TRUN_FLAGS)
        flags = cursor_be32(&run->records);
    else if (number == 0 && run->flags & TRUN_FIRST_FLAGS)
        flags = run->first_flags;
    /* version 0 is unsigned, and yet written with offsets below 0 */
    if (run->flags & TRUN_COMPOSITION)
        s.composition_offset = (int32_t) cursor_be32(&run->records);
    s.is_sync = !is_video || (flags & SAMPLE_IS_NOT_SYNC) == 0;
    return s;
}

/* Bytes of all samples of the run, which need not be kept. */
static uint64_t
run_size(const struct run *run, const struct fragment_defaults *d)
{
    struct run copy = *run;
    if (!(run->flags & TRUN_SIZE))
        return (uint64_t) run->count * d->size;
    uint64_t size = 0;
    for (uint32_t i = 0; i < run->count; i++)
        size += record_take(&copy, i, d, false).size;
    return size;
}

static int
samples_add(struct mp4_parse *parse, const struct box *trun, struct run *run,
            uint64_t start, struct fragment *f)
{
    struct mp4_track *track = f->track;
    int err = samples_reserve(parse, trun, f, run->count);
    if (err != 0)
        return err;
    for (uint32_t i = 0; i < run->count; i++) {
        struct mp4_sample s =
            record_take(run, i, &f->defaults, track->kind == TRACK_VIDEO);
        s.offset = start;
        s.decode_time = f->state->decode_time;
        start += s.size;
        f->state->decode_time += s.duration;
        track->samples[track->sample_count++] = s;
    }
    return 0;
}

/* ---- boxes ---- */

static int
trun_open(const struct mp4_parse *parse, const struct box *trun,
          struct fragment *f, struct run *out)
{
    uint8_t version;
    struct run run = {0};
    run.records = full_box_cursor(trun, &version, &run.flags);
    run.count = cursor_be32(&run.records);
    if (run.flags & TRUN_DATA_OFFSET) {
        const int32_t offset = (int32_t) cursor_be32(&run.records);
        if (offset < 0 && f->base < (uint64_t) - (int64_t) offset)
            return box_fail(parse, trun, ERR_INVALID,
                            "samples start before the file");
        f->next = f->base + (uint64_t) (int64_t) offset;
    }
    if (run.flags & TRUN_FIRST_FLAGS)
        run.first_flags = cursor_be32(&run.records);
    if (run.records.is_short)
        return box_fail(parse, trun, ERR_TRUNCATED, "box is too small");
    const uint32_t record_size =
        4 * (uint32_t) __builtin_popcount(run.flags & TRUN_RECORD);
    if ((uint64_t) run.count * record_size > run.records.rest.len)
        return box_fail(parse, trun, ERR_TRUNCATED,
                        "box is too small for its sample count");
    /* or a few bytes would be millions of samples */
    if (!(run.flags & TRUN_SIZE) && f->defaults.size == 0 && run.count > 0)
        return box_fail(parse, trun, ERR_INVALID, "samples have no size");
    *out = run;
    return 0;
}

static int
trun_parse(struct mp4_parse *parse, const struct box *trun, struct fragment *f)
{
    struct run run;
    int err = trun_open(parse, trun, f, &run);
    if (err != 0)
        return err;
    const uint64_t start = f->next;
    const uint64_t size = run_size(&run, &f->defaults);
    if (f->track == NULL) {
        f->next += size;
        return 0;
    }
    if ((err = extent_add(parse, trun, start, size)) != 0
        || (err = samples_add(parse, trun, &run, start, f)) != 0)
        return err;
    f->next = start + size;
    return 0;
}

/* When the fragment's first sample is decoded; none: behind the last. */
static int
tfdt_parse(const struct mp4_parse *parse, const struct box *tfdt,
           struct fragment *f)
{
    uint8_t version;
    uint32_t flags;
    struct cursor c = full_box_cursor(tfdt, &version, &flags);
    const uint64_t time = version == 0 ? cursor_be32(&c) : cursor_be64(&c);
    const uint32_t count = f->track->sample_count;
    const bool is_text = f->track->kind == TRACK_TEXT;
    if (c.is_short)
        return box_fail(parse, tfdt, ERR_TRUNCATED, "box is too small");
    if (time >= DECODE_TIME_MAX)
        return box_fail(parse, tfdt, ERR_LIMIT, "decode time is too late");
    if (count > 0) {
        struct mp4_sample *last = &f->track->samples[count - 1];
        if (time <= last->decode_time && time != f->state->decode_time)
            return box_fail(parse, tfdt, ERR_INVALID,
                            "fragment starts before the one in front of it");
        const bool is_gap = time > f->state->decode_time;
        if (time - last->decode_time > UINT32_MAX && !is_text)
            return box_fail(parse, tfdt, ERR_LIMIT,
                            "gap before the fragment is too long");
        if (!is_gap || !is_text)
            last->duration = (uint32_t) (time - last->decode_time);
    }
    f->state->decode_time = time;
    return 0;
}

static void
track_find(uint32_t id, struct moov *moov, struct mp4_movie *movie,
           struct fragment *f)
{
    for (size_t i = 0; i < movie->track_count; i++) {
        if (movie->tracks[i].id == id && f->track == NULL) {
            f->track = &movie->tracks[i];
            f->state = &moov->states[i];
        }
    }
    for (size_t i = 0; i < movie->text_count; i++) {
        if (movie->texts[i].id == id && f->track == NULL) {
            f->track = &movie->texts[i];
            f->state = &moov->text_states[i];
        }
    }
    for (size_t i = 0; i < moov->defaults_count; i++) {
        if (moov->defaults[i].track_id == id)
            f->defaults = moov->defaults[i];
    }
}

static int
tfhd_parse(const struct mp4_parse *parse, const struct box *tfhd,
           struct moov *moov, struct mp4_movie *movie, struct fragment *f)
{
    uint8_t version;
    uint32_t flags;
    struct cursor c = full_box_cursor(tfhd, &version, &flags);
    track_find(cursor_be32(&c), moov, movie, f);
    if (flags & TFHD_BASE_OFFSET)
        f->base = cursor_be64(&c);
    else if (flags & TFHD_BASE_IS_MOOF)
        f->base = parse->offset;
    const uint32_t description = flags & TFHD_DESCRIPTION ? cursor_be32(&c) : 1;
    if (flags & TFHD_DURATION)
        f->defaults.duration = cursor_be32(&c);
    if (flags & TFHD_SIZE)
        f->defaults.size = cursor_be32(&c);
    if (flags & TFHD_FLAGS)
        f->defaults.flags = cursor_be32(&c);
    if (c.is_short)
        return box_fail(parse, tfhd, ERR_TRUNCATED, "box is too small");
    if (f->base > parse->file_size)
        return box_fail(parse, tfhd, ERR_TRUNCATED,
                        "data lies beyond the end of the file "
                        "(truncated file)");
    if (description != 1 && f->track != NULL && f->track->kind != TRACK_TEXT)
        return box_fail(parse, tfhd, ERR_UNSUPPORTED,
                        "samples of a second sample entry");
    f->next = f->base;
    return 0;
}

/* Sets *data_end to where its data ends: there the next traf's data starts
 * where that says nothing of it. */
static int
traf_parse(struct mp4_parse *parse, const struct box *traf, struct moov *moov,
           struct mp4_movie *movie, uint64_t *data_end)
{
    struct box tfhd, tfdt;
    const struct box_want wants[] = {
        {BOX_TYPE('t', 'f', 'h', 'd'), &tfhd},
        {BOX_TYPE('t', 'f', 'd', 't'), &tfdt},
    };
    struct fragment f = {.base = *data_end};
    int err;
    if ((err = boxes_collect(parse, traf, traf->body, wants, 2)) != 0
        || (err = box_require(parse, traf, &tfhd, BOX_TYPE('t', 'f', 'h', 'd')))
               != 0
        || (err = tfhd_parse(parse, &tfhd, moov, movie, &f)) != 0
        || (f.track != NULL && box_is_there(&tfdt)
            && (err = tfdt_parse(parse, &tfdt, &f)) != 0))
        return err;
    struct bytes rest = traf->body;
    for (;;) {
        struct box box;
        if ((err = box_next(parse, traf, &rest, &box)) != 0)
            return err;
        if (!box_is_there(&box))
            break;
        if (box.type == BOX_TYPE('t', 'r', 'u', 'n')
            && (err = trun_parse(parse, &box, &f)) != 0)
            return err;
    }
    *data_end = f.next;
    return 0;
}

int
moof_parse(struct mp4_parse *parse, size_t size, struct moov *moov,
           struct mp4_movie *movie)
{
    struct bytes rest = bytes_of(parse->memory, size);
    const struct box file = {.type = BOX_TYPE('m', 'o', 'o', 'f'),
                             .offset = parse->offset};
    struct box moof, traf;
    uint64_t data_end = parse->offset;
    int err = box_next(parse, &file, &rest, &moof);
    if (err != 0)
        return err;
    rest = moof.body;
    for (;;) {
        if ((err = box_next(parse, &moof, &rest, &traf)) != 0)
            return err;
        if (!box_is_there(&traf))
            return 0;
        if (traf.type == BOX_TYPE('t', 'r', 'a', 'f')
            && (err = traf_parse(parse, &traf, moov, movie, &data_end)) != 0)
            return err;
    }
}
