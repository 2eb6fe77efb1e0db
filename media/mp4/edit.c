/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What of the media is presented, and when: edit lists (ISO/IEC 14496-12
 * §8.6.6), the decode times at which fragments start, and offsets below 0.
 *
 *      empty edits      one stretch of the media
 *     |<-- delay -->|<-- media_time ... duration -->|
 *
 * is all that a player of segments can be told: the delay by the decode time
 * of the first segment, the rest by an edit list in the init segment. Edits
 * that follow each other in the media are one stretch; any others are refused.
 */

#include "media/mp4/box.h"

#include "core/err.h"

#include <stdlib.h>

#define TIME_MAX ((uint64_t) 1 << 61) /* ticks; sums of two fit int64_t */
/* Decoders of sound need some frames before what is heard: AAC one or two,
 * Opus 80 ms. What an encoder puts there (priming) is less than this. */
#define SOUND_LEAD_MS 200
#define RATE_NORMAL 0x10000u

/* ---- the edit list ---- */

struct edit {
    uint64_t duration; /* ticks of the movie */
    int64_t media_time;
    uint32_t rate;
};

static struct edit
edit_take(struct cursor *c, uint8_t version)
{
    struct edit e;
    e.duration = version == 1 ? cursor_be64(c) : cursor_be32(c);
    e.media_time =
        version == 1 ? (int64_t) cursor_be64(c) : (int32_t) cursor_be32(c);
    e.rate = cursor_be32(c);
    return e;
}

/* In ticks of the track, to the nearest; TIME_MAX stands for too much. */
static uint64_t
ticks_of(uint64_t duration, uint32_t timescale, uint32_t movie_timescale)
{
    const unsigned __int128 scaled =
        ((unsigned __int128) duration * timescale + movie_timescale / 2)
        / movie_timescale;
    return scaled < TIME_MAX ? (uint64_t) scaled : TIME_MAX;
}

/* What was read of the list so far, durations in ticks of the movie. */
struct stretch {
    bool is_there, is_over;
    uint64_t delay, duration;
    int64_t media_time;
};

static int
stretch_add(const struct mp4_parse *parse, const struct box *elst,
            const struct edit *e, uint64_t rounding, uint32_t timescale,
            uint32_t movie_timescale, struct stretch *s)
{
    if (e->media_time == -1) {
        s->is_over = s->is_there; /* at the end a pause is nothing */
        if (!s->is_there
            && __builtin_add_overflow(s->delay, e->duration, &s->delay))
            return box_fail(parse, elst, ERR_LIMIT, "delay is too long");
        return 0;
    }
    if (e->media_time < 0)
        return box_fail(parse, elst, ERR_INVALID,
                        "edit starts before the media");
    if ((uint64_t) e->media_time >= TIME_MAX)
        return box_fail(parse, elst, ERR_INVALID,
                        "edit starts behind the last sample");
    if (e->rate != RATE_NORMAL)
        return box_fail(parse, elst, ERR_UNSUPPORTED,
                        "edit plays at another speed than 1");
    if (s->is_over)
        return box_fail(parse, elst, ERR_UNSUPPORTED,
                        "empty edit between two others");
    if (!s->is_there) {
        s->is_there = true;
        s->media_time = e->media_time;
        s->duration = e->duration;
        return 0;
    }
    const int64_t end =
        s->media_time
        + (int64_t) ticks_of(s->duration, timescale, movie_timescale);
    if (s->duration == 0 || llabs(e->media_time - end) > (int64_t) rounding)
        return box_fail(parse, elst, ERR_UNSUPPORTED,
                        "edits leave out or repeat a part of the media");
    if (e->duration == 0)
        s->duration = 0;
    else if (__builtin_add_overflow(s->duration, e->duration, &s->duration))
        return box_fail(parse, elst, ERR_LIMIT, "edits are too long");
    return 0;
}

int
edit_list_parse(const struct mp4_parse *parse, const struct box *elst,
                uint32_t movie_timescale, struct mp4_track *track,
                struct track_state *state)
{
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
    struct stretch s = {0};
    const uint32_t scale = movie_timescale == 0 ? 1 : movie_timescale;
    const uint64_t rounding = track->timescale / scale + 1;
    for (uint32_t i = 0; i < count; i++) {
        const struct edit e = edit_take(&c, version);
        const int err =
            stretch_add(parse, elst, &e, rounding, track->timescale, scale, &s);
        if (err != 0)
            return err;
    }
    if (movie_timescale == 0 && (s.delay != 0 || s.duration != 0))
        return box_fail(parse, elst, ERR_INVALID,
                        "edit without a timescale of the movie");
    state->has_edit = s.is_there;
    state->delay = ticks_of(s.delay, track->timescale, scale);
    if (state->delay == TIME_MAX)
        return box_fail(parse, elst, ERR_LIMIT, "delay is too long");
    /* of a fragmented file it knows the length of what moov holds, if any */
    state->edit_duration = parse->is_fragmented
                               ? 0
                               : ticks_of(s.duration, track->timescale, scale);
    state->edit_rounding = rounding;
    track->media_time = s.media_time;
    return 0;
}

/* ---- one track ---- */

static int64_t
presentation_time(const struct mp4_track *track, uint32_t number)
{
    const struct mp4_sample *s = &track->samples[number];
    return (int64_t) s->decode_time + s->composition_offset - track->media_time;
}

/* Offsets below 0 become ones that are not, and the edit starts later by as
 * much: of a fragmented file FFmpeg moves all pictures by the lowest one. */
static int
composition_raise(const struct mp4_parse *parse,
                  const struct track_state *state, struct mp4_track *track)
{
    int64_t lowest = 0, highest = 0;
    for (uint32_t i = 0; i < track->sample_count; i++) {
        const int64_t offset = track->samples[i].composition_offset;
        lowest = offset < lowest ? offset : lowest;
        highest = offset > highest ? offset : highest;
    }
    if (lowest == 0)
        return 0;
    if (highest - lowest > INT32_MAX)
        return box_fail(parse, &state->mdhd, ERR_INVALID,
                        "composition offsets are too far apart");
    for (uint32_t i = 0; i < track->sample_count; i++)
        track->samples[i].composition_offset -= (int32_t) lowest;
    track->media_time -= lowest;
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
duration_set(const struct mp4_parse *parse, const struct track_state *state,
             struct mp4_track *track)
{
    const int64_t end = media_end(track);
    if (end <= track->media_time)
        return state->has_edit ? box_fail(parse, &state->elst, ERR_INVALID,
                                          "edit starts behind the last sample")
                               : box_fail(parse, &state->mdhd, ERR_INVALID,
                                          "track has no duration");
    track->duration = (uint64_t) (end - track->media_time);
    const uint64_t duration = state->edit_duration;
    if (duration > 0 && duration + state->edit_rounding < track->duration)
        track->duration = duration;
    return 0;
}

/* Drops what is shown only after the end; what is before one that is shown
 * stays, as it may be needed for that. */
static void
tail_trim(struct mp4_track *track)
{
    while (track->sample_count > 1
           && presentation_time(track, track->sample_count - 1)
                  >= (int64_t) track->duration)
        track->sample_count--;
}

/* The sample that decoding has to start with for what is shown at 0. */
static uint32_t
first_needed(const struct mp4_track *track)
{
    const int64_t lead =
        track->kind == TRACK_VIDEO
            ? 0
            : (int64_t) track->timescale * SOUND_LEAD_MS / 1000;
    uint32_t first = 0;
    for (uint32_t i = 1; i < track->sample_count; i++) {
        if (track->samples[i].is_sync && presentation_time(track, i) <= -lead)
            first = i;
    }
    return first;
}

static void
samples_drop(struct mp4_track *track, uint32_t count)
{
    track->sample_count -= count;
    memmove(track->samples, track->samples + count,
            track->sample_count * sizeof *track->samples);
}

/* A player shows what it decodes, and so a film has to start with the picture
 * it is cut at. A millisecond is rounding. */
static int
head_trim(const struct mp4_parse *parse, const struct track_state *state,
          struct mp4_track *track)
{
    samples_drop(track, first_needed(track));
    if (track->kind == TRACK_AUDIO)
        return 0;
    int64_t start = 0;
    for (uint32_t i = 0; i < track->sample_count; i++) {
        const int64_t time = presentation_time(track, i);
        start = time < start ? time : start;
    }
    if (-start > (int64_t) track->timescale / 1000)
        return box_fail(parse, state->has_edit ? &state->elst : &state->mdhd,
                        ERR_UNSUPPORTED, "edit starts between two key frames");
    track->media_time += start;
    track->duration += (uint64_t) -start;
    return 0;
}

/* Decode times count from what the edit list does not jump over. */
static int
times_move(const struct mp4_parse *parse, const struct track_state *state,
           struct mp4_track *track)
{
    const uint64_t first = track->samples[0].decode_time;
    const uint64_t over = track->media_time <= 0 ? 0
                          : (uint64_t) track->media_time < first
                              ? (uint64_t) track->media_time
                              : first;
    for (uint32_t i = 0; i < track->sample_count; i++)
        track->samples[i].decode_time -= over;
    track->media_time -= (int64_t) over;
    if (track->samples[0].decode_time >= track->duration)
        return box_fail(parse, &state->mdhd, ERR_INVALID,
                        "track has no duration");
    if (track->duration >= TIME_MAX)
        return box_fail(parse, &state->mdhd, ERR_LIMIT, "track is too long");
    return 0;
}

static int
track_present(const struct mp4_parse *parse, const struct track_state *state,
              struct mp4_track *track)
{
    int err;
    if (track->sample_count == 0)
        return box_fail(parse, &state->mdhd, ERR_INVALID,
                        "track has no samples");
    if (track->samples[track->sample_count - 1].decode_time >= TIME_MAX)
        return box_fail(parse, &state->mdhd, ERR_LIMIT, "track is too long");
    if ((err = composition_raise(parse, state, track)) != 0
        || (err = duration_set(parse, state, track)) != 0)
        return err;
    tail_trim(track);
    if ((err = head_trim(parse, state, track)) != 0)
        return err;
    return times_move(parse, state, track);
}

/* Of text, which needs no others to be read, what is cut off goes, and the
 * delay becomes part of media_time. */
static void
text_present(const struct track_state *state, struct mp4_track *track)
{
    const uint64_t end = (uint64_t) track->media_time + state->edit_duration;
    uint32_t kept = 0;
    while (kept < track->sample_count
           && (state->edit_duration == 0
               || track->samples[kept].decode_time < end)) {
        struct mp4_sample *s = &track->samples[kept++];
        if (state->edit_duration != 0
            && s->decode_time + s->duration > end + state->edit_rounding)
            s->duration = (uint32_t) (end - s->decode_time);
    }
    track->sample_count = kept;
    track->media_time -= (int64_t) state->delay;
}

/* ---- all of them ---- */

static void
delays_add(const struct moov *moov, struct mp4_movie *movie)
{
    for (size_t i = 0; i < movie->track_count; i++) {
        struct mp4_track *t = &movie->tracks[i];
        const uint64_t delay = moov->states[i].delay;
        for (uint32_t k = 0; k < t->sample_count && delay > 0; k++)
            t->samples[k].decode_time += delay;
        t->duration += delay;
    }
}

/* The film starts with the track that starts first: a recording's times may
 * count from anywhere. */
static void
start_take(struct mp4_movie *movie)
{
    uint64_t start = UINT64_MAX;
    uint32_t timescale = 1;
    for (size_t i = 0; i < movie->track_count; i++) {
        const struct mp4_track *t = &movie->tracks[i];
        const uint64_t time = t->samples[0].decode_time;
        if ((unsigned __int128) time * timescale
            < (unsigned __int128) start * t->timescale) {
            start = time;
            timescale = t->timescale;
        }
    }
    for (size_t i = 0; i < movie->track_count; i++) {
        struct mp4_track *t = &movie->tracks[i];
        const uint64_t ticks =
            (uint64_t) ((unsigned __int128) start * t->timescale / timescale);
        for (uint32_t k = 0; k < t->sample_count && ticks > 0; k++)
            t->samples[k].decode_time -= ticks;
        t->duration -= ticks;
    }
    for (size_t i = 0; i < movie->text_count; i++) {
        struct mp4_track *t = &movie->texts[i];
        t->media_time +=
            (int64_t) ((unsigned __int128) start * t->timescale / timescale);
    }
}

int
presentation_set(const struct mp4_parse *parse, struct moov *moov,
                 struct mp4_movie *movie)
{
    for (size_t i = 0; i < movie->track_count; i++) {
        const int err =
            track_present(parse, &moov->states[i], &movie->tracks[i]);
        if (err != 0)
            return err;
    }
    for (size_t i = 0; i < movie->text_count; i++)
        text_present(&moov->text_states[i], &movie->texts[i]);
    if (parse->is_text_only)
        return 0;
    /* what is alone in its file may belong to others, and keeps the delay that
     * it has to those */
    if (movie->track_count == 1)
        start_take(movie);
    delays_add(moov, movie);
    if (movie->track_count > 1)
        start_take(movie);
    return 0;
}
