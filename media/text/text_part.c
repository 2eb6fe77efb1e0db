/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Reads the segments that text_track.c writes, and no other WebVTT: a line of
 * times, lines of text that has no "-->", an empty line.
 */

#include "media/text/text_part.h"

#include "core/err.h"
#include "media/text/text_track.h"

#define ARROW " --> "
#define HOURS_MAX 1000000000u

typedef unsigned __int128 wide;

static const struct bytes segment_start_text = {
    (const uint8_t *) TEXT_SEGMENT_START("0"),
    sizeof TEXT_SEGMENT_START("0") - 1};

static bool
text_take(struct bytes *from, struct bytes text)
{
    if (from->len < text.len || memcmp(from->ptr, text.ptr, text.len) != 0)
        return false;
    *from = bytes_of(from->ptr + text.len, from->len - text.len);
    return true;
}

/* Digits and what is behind them. */
static bool
number_take(struct bytes *from, const char *behind, uint64_t max, uint64_t *out)
{
    uint64_t value = 0;
    size_t len = 0;
    for (; len < from->len && from->ptr[len] >= '0' && from->ptr[len] <= '9';
         len++) {
        value = value * 10 + (uint64_t) (from->ptr[len] - '0');
        if (value > max)
            return false;
    }
    *from = bytes_of(from->ptr + len, from->len - len);
    *out = value;
    return len > 0 && text_take(from, bytes_of_text(behind));
}

static bool
time_take(struct bytes *from, const char *behind, uint64_t *ms)
{
    uint64_t hours, minutes, seconds, rest;
    if (!number_take(from, ":", HOURS_MAX, &hours)
        || !number_take(from, ":", 59, &minutes)
        || !number_take(from, ".", 59, &seconds)
        || !number_take(from, behind, 999, &rest))
        return false;
    *ms = ((hours * 60 + minutes) * 60 + seconds) * 1000 + rest;
    return true;
}

/* All to the empty line behind it, and that. */
static bool
block_take(struct bytes *from, struct bytes *out)
{
    const uint8_t *end = memmem(from->ptr, from->len, "\n\n", 2);
    if (end == NULL)
        return false;
    const size_t len = (size_t) (end - from->ptr) + 2;
    *out = bytes_of(from->ptr, len);
    *from = bytes_of(from->ptr + len, from->len - len);
    return true;
}

static uint64_t
time_since(uint64_t ms, uint64_t zero_ms)
{
    return ms > zero_ms ? ms - zero_ms : 0;
}

/* Those that start in the segment; of the first all that are seen in it. */
static int
cues_write(struct bytes cues, uint64_t starts_from_ms, uint64_t zero_ms,
           struct buffer *out)
{
    while (cues.len > 0) {
        struct bytes block;
        uint64_t start_ms, end_ms;
        if (!block_take(&cues, &block) || !time_take(&block, ARROW, &start_ms)
            || !time_take(&block, "", &end_ms)
            || (block.ptr[0] != ' ' && block.ptr[0] != '\n'))
            return ERR_INVALID;
        if (start_ms < starts_from_ms || end_ms <= zero_ms)
            continue;
        text_time_write(time_since(start_ms, zero_ms), out);
        buffer_append_text(out, ARROW);
        text_time_write(time_since(end_ms, zero_ms), out);
        buffer_append_bytes(out, block);
    }
    return out->err;
}

/* Rounded up or to the nearest ms. */
static uint64_t
ms_of(uint64_t ticks, uint32_t timescale, bool is_up)
{
    const uint32_t more = is_up ? timescale - 1 : timescale / 2;
    return (uint64_t) (((wide) ticks * 1000 + more) / timescale);
}

int
text_part_find(const struct track_index *index, uint32_t first, uint32_t last,
               struct text_part *out)
{
    struct segment from, to;
    if (index->info.kind != TRACK_TEXT || last < first
        || track_index_segment(index, first, &from) != 0
        || track_index_segment(index, last, &to) != 0)
        return ERR_NOT_FOUND;
    *out = (struct text_part){first, last, segment_start(&from),
                              segment_start(&to) + segment_length(&to)};
    return 0;
}

int
text_part_write(const struct track_index *index, const struct text_part *part,
                struct bytes stored, struct buffer *out)
{
    const uint32_t timescale = index->info.timescale;
    uint64_t zero_ms = 0;
    int err = stored.len == part->end - part->start ? 0 : ERR_INVALID;
    for (uint32_t i = part->first; err == 0 && i <= part->last; i++) {
        struct segment s;
        (void) track_index_segment(index, i, &s);
        struct bytes head = bytes_of(
            stored.ptr + (segment_start(&s) - part->start), s.header_size);
        const struct bytes cues = bytes_of(head.ptr + head.len, s.size);
        if (!text_take(&head, segment_start_text))
            return ERR_INVALID;
        if (i == part->first) {
            zero_ms = ms_of(s.decode_time, timescale, false);
            buffer_append_text(out, "WEBVTT\n\n");
            buffer_append_bytes(out, head);
        }
        err = cues_write(
            cues, i == part->first ? 0 : ms_of(s.decode_time, timescale, true),
            zero_ms, out);
    }
    return err;
}
