/* SPDX-License-Identifier: Apache-2.0 */

#include "media/testing/movie.h"

#include "core/err.h"

#include <assert.h>
#include <stdlib.h>

/* ---- the samples ---- */

static struct test_movie
with_defaults(const struct test_movie *movie)
{
    struct test_movie m = *movie;
    if (m.kind != TRACK_AUDIO && m.kind != TRACK_TEXT)
        m.kind = TRACK_VIDEO;
    const bool is_video = m.kind == TRACK_VIDEO;
    const bool is_text = m.kind == TRACK_TEXT;
    if (m.codec == NULL)
        m.codec = is_video ? "avc1" : is_text ? "wvtt" : "mp4a";
    if (m.timescale == 0)
        m.timescale = is_video ? 24000 : is_text ? 1000 : 44100;
    if (m.text_head == NULL)
        m.text_head = "WEBVTT";
    if (m.movie_timescale == 0)
        m.movie_timescale = 1000;
    if (m.sample_count == 0)
        m.sample_count = 1;
    if (m.sample_duration == 0)
        m.sample_duration = is_video ? 1001 : is_text ? 1000 : 1024;
    if (m.last_duration == 0)
        m.last_duration = m.sample_duration;
    if (m.samples_per_chunk == 0)
        m.samples_per_chunk = m.sample_count;
    if (m.language == NULL)
        m.language = "und";
    if (m.without == NULL)
        m.without = "";
    return m;
}

static bool
is_sync(const struct test_movie *m, uint32_t i)
{
    return m->gop == 0 || i % m->gop == 0;
}

static uint32_t
size_of(const struct test_movie *m, uint32_t i)
{
    if (m->texts != NULL)
        return (uint32_t) m->texts[i].len;
    if (m->sample_size != 0)
        return m->sample_size;
    if (m->compact_bits == 4)
        return i % 16;
    if (m->gop != 0 && is_sync(m, i))
        return 200 + i % 7;
    return 20 + i * 7 % 31;
}

/* In display order the delay is one sample. What does not fill a group of
 * P B B at the end of a GOP is in display order. */
static uint32_t
composition_of(const struct test_movie *m, uint32_t i)
{
    const uint32_t in_gop = m->gop == 0 ? i : i % m->gop;
    const uint32_t gop_start = i - in_gop;
    uint32_t length = m->gop == 0 ? m->sample_count : m->gop;
    if (length > m->sample_count - gop_start)
        length = m->sample_count - gop_start;
    uint32_t samples = 1;
    if (in_gop > 0 && (in_gop - 1) / 3 < (length - 1) / 3)
        samples = (in_gop - 1) % 3 == 0 ? 3 : 0;
    return samples * m->sample_duration;
}

static uint32_t
offset_of(const struct test_movie *m, uint32_t i)
{
    const uint32_t offset = m->has_b_frames ? composition_of(m, i) : 0;
    return offset + (uint32_t) m->composition_shift;
}

static void
sample_write(const struct test_movie *m, uint32_t i, struct buffer *out)
{
    if (m->texts != NULL) {
        buffer_append_bytes(out, m->texts[i]);
        return;
    }
    for (uint32_t k = size_of(m, i); k > 0; k--)
        buffer_append_u8(out, (uint8_t) i);
}

/* ---- boxes ---- */

/* A box that is left out is written and taken back. */
struct writer {
    struct test_movie m;
    struct buffer *out;
    uint32_t track_index;
};

#define TRACKS_MAX 4

static size_t
begin(struct writer *w, const char *type)
{
    const size_t start = w->out->len;
    buffer_append_be32(w->out, 0);
    buffer_append(w->out, type, 4);
    return start;
}

static size_t
begin_full(struct writer *w, const char *type, uint8_t version, uint32_t flags)
{
    const size_t start = begin(w, type);
    buffer_append_be32(w->out, (uint32_t) version << 24 | flags);
    return start;
}

static void
end(struct writer *w, size_t start)
{
    assert(w->out->err == 0);
    store_be32(w->out->ptr + start, (uint32_t) (w->out->len - start));
    if (memcmp(w->out->ptr + start + 4, w->m.without, strlen(w->m.without)) == 0
        && w->m.without[0] != 0)
        w->out->len = start;
}

static void
zeros(struct writer *w, size_t len)
{
    for (size_t i = 0; i < len; i++)
        buffer_append_u8(w->out, 0);
}

static void
time_field(struct writer *w, uint64_t v)
{
    if (w->m.is_wide)
        buffer_append_be64(w->out, v);
    else
        buffer_append_be32(w->out, (uint32_t) v);
}

static void
mvhd(struct writer *w)
{
    const size_t box = begin_full(w, "mvhd", w->m.is_wide, 0);
    time_field(w, 0);
    time_field(w, 0);
    buffer_append_be32(w->out, w->m.movie_timescale);
    time_field(w, 0);
    zeros(w, 80);
    end(w, box);
}

static void
tkhd(struct writer *w)
{
    const bool is_video = w->m.kind == TRACK_VIDEO;
    const size_t box = begin_full(w, "tkhd", w->m.is_wide, 3);
    time_field(w, 0);
    time_field(w, 0);
    buffer_append_be32(w->out, w->track_index + 1); /* its ID */
    zeros(w, 4);
    time_field(w, 0);
    zeros(w, 16);
    for (int i = 0; i < 9; i++)
        buffer_append_be32(w->out, w->m.matrix == NULL ? 0 : w->m.matrix[i]);
    buffer_append_be32(w->out, is_video ? 640u << 16 : 0);
    buffer_append_be32(w->out, is_video ? 360u << 16 : 0);
    end(w, box);
}

static void
edit(struct writer *w, uint64_t duration, int64_t media_time)
{
    time_field(w, duration);
    time_field(w, (uint64_t) media_time);
    buffer_append_be32(w->out, 0x10000);
}

static void
edits_given(struct writer *w)
{
    const size_t edts = begin(w, "edts");
    const size_t elst = begin_full(w, "elst", w->m.is_wide, 0);
    buffer_append_be32(w->out, w->m.edit_count);
    for (uint32_t i = 0; i < w->m.edit_count; i++) {
        const struct test_edit *e = &w->m.edits[i];
        edit(w, e->duration, e->media_time);
        if (e->rate != 0)
            store_be32(w->out->ptr + w->out->len - 4, e->rate);
    }
    end(w, elst);
    end(w, edts);
}

static void
edts(struct writer *w)
{
    if (w->m.edit_count > 0) {
        edits_given(w);
        return;
    }
    if (!w->m.has_edit && !w->m.has_empty_edit)
        return;
    const size_t edts = begin(w, "edts");
    const size_t elst = begin_full(w, "elst", w->m.is_wide, 0);
    buffer_append_be32(w->out, (uint32_t) w->m.has_edit + w->m.has_empty_edit);
    if (w->m.has_empty_edit)
        edit(w, 500, -1);
    if (w->m.has_edit)
        edit(w, w->m.edit_duration, w->m.media_time);
    end(w, elst);
    end(w, edts);
}

static void
mdhd(struct writer *w)
{
    const char *l = w->m.language;
    const size_t box = begin_full(w, "mdhd", w->m.is_wide, 0);
    time_field(w, 0);
    time_field(w, 0);
    buffer_append_be32(w->out, w->m.timescale);
    time_field(w, (uint64_t) w->m.sample_count * w->m.sample_duration);
    buffer_append_be16(w->out, (uint16_t) ((l[0] & 31) << 10 | (l[1] & 31) << 5
                                           | (l[2] & 31)));
    zeros(w, 2);
    end(w, box);
}

static void
elng(struct writer *w)
{
    if (w->m.extended_language == NULL)
        return;
    const size_t box = begin_full(w, "elng", 0, 0);
    buffer_append_text(w->out, w->m.extended_language);
    zeros(w, 1);
    end(w, box);
}

static void
hdlr(struct writer *w, const char *handler)
{
    const size_t box = begin_full(w, "hdlr", 0, 0);
    zeros(w, 4);
    buffer_append_text(w->out, handler);
    zeros(w, 13);
    end(w, box);
}

static void
dinf(struct writer *w)
{
    const size_t dinf = begin(w, "dinf");
    const size_t dref = begin_full(w, "dref", 0, 0);
    buffer_append_be32(w->out, 1);
    end(w, begin_full(w, "url ", 0, 1));
    end(w, dref);
    end(w, dinf);
}

/* High profile, level 3.0; parameter sets that no decoder would take. */
static void
avcc(struct writer *w)
{
    static const uint8_t config[] = {1, 0x64, 0, 0x1e, 0xff, 0xe1, 0,
                                     1, 0x67, 1, 0,    1,    0x68};
    const size_t box = begin(w, "avcC");
    buffer_append(w->out, config, sizeof config);
    end(w, box);
}

/* Main profile, main tier, level 3.1: "1.6.L93.B0". */
static void
hvcc(struct writer *w)
{
    static const uint8_t config[] = {1,    1,    0x60, 0, 0,  0,    0xb0, 0,
                                     0,    0,    0,    0, 93, 0xf0, 0,    0xfc,
                                     0xfd, 0xf8, 0xf8, 0, 0,  0xf,  0};
    const size_t box = begin(w, "hvcC");
    buffer_append(w->out, config, sizeof config);
    end(w, box);
}

/* AAC-LC, 44.1 kHz, two channels; lengths in the four-byte form of FFmpeg. */
static void
esds(struct writer *w)
{
    static const uint8_t descriptors[] = {
        3,    0x80, 0x80, 0x80, 34, 0,    1,    0, 4,    0x80, 0x80, 0x80, 20,
        0x40, 0x15, 0,    0,    0,  0,    1,    0, 0,    0,    1,    0,    0,
        5,    0x80, 0x80, 0x80, 2,  0x12, 0x10, 6, 0x80, 0x80, 0x80, 1,    2};
    const size_t box = begin_full(w, "esds", 0, 0);
    buffer_append(w->out, descriptors, sizeof descriptors);
    end(w, box);
}

static void
text_config(struct writer *w)
{
    if (strcmp(w->m.codec, "tx3g") == 0) {
        buffer_append_be32(w->out, w->m.text_flags);
        zeros(w, 20);
        buffer_append_u8(w->out, w->m.text_faces);
        zeros(w, 5);
        return;
    }
    const size_t box = begin(w, "vttC");
    buffer_append_text(w->out, w->m.text_head);
    end(w, box);
}

static void
stsd(struct writer *w)
{
    const size_t stsd = begin_full(w, "stsd", 0, 0);
    buffer_append_be32(w->out, 1);
    const size_t entry = begin(w, w->m.codec);
    zeros(w, 6);
    buffer_append_be16(w->out, 1);
    if (w->m.kind == TRACK_AUDIO) {
        zeros(w, 8);
        buffer_append_be16(w->out, 2);
        buffer_append_be16(w->out, 16);
        zeros(w, 4);
        buffer_append_be32(w->out, 44100u << 16);
        esds(w);
    } else if (w->m.kind == TRACK_TEXT) {
        text_config(w);
    } else {
        zeros(w, 16);
        buffer_append_be16(w->out, 640);
        buffer_append_be16(w->out, 360);
        zeros(w, 50);
        if (w->m.codec[0] == 'h')
            hvcc(w);
        else
            avcc(w);
    }
    end(w, entry);
    end(w, stsd);
}

static uint32_t
duration_of(const struct test_movie *m, uint32_t i)
{
    if (m->gap_sample != 0 && i == m->gap_sample)
        return m->gap_duration;
    return i + 1 == m->sample_count ? m->last_duration : m->sample_duration;
}

static void
stts(struct writer *w)
{
    const size_t box = begin_full(w, "stts", 0, 0);
    const size_t count_at = w->out->len;
    uint32_t count = 0, start = 0;
    buffer_append_be32(w->out, 0);
    for (uint32_t i = 1; i <= w->m.sample_count; i++) {
        const uint32_t duration = duration_of(&w->m, start);
        if (i < w->m.sample_count && duration_of(&w->m, i) == duration)
            continue;
        buffer_append_be32(w->out, i - start);
        buffer_append_be32(w->out, duration);
        start = i;
        count++;
    }
    store_be32(w->out->ptr + count_at, count);
    end(w, box);
}

static void
ctts(struct writer *w)
{
    if (!w->m.has_b_frames && w->m.composition_shift == 0)
        return;
    const size_t box = begin_full(w, "ctts", w->m.is_wide, 0);
    buffer_append_be32(w->out, w->m.sample_count);
    for (uint32_t i = 0; i < w->m.sample_count; i++) {
        buffer_append_be32(w->out, 1);
        buffer_append_be32(w->out, offset_of(&w->m, i));
    }
    end(w, box);
}

static void
stsc(struct writer *w)
{
    const uint32_t rest = w->m.sample_count % w->m.samples_per_chunk;
    const uint32_t chunks = w->m.sample_count / w->m.samples_per_chunk;
    const size_t box = begin_full(w, "stsc", 0, 0);
    buffer_append_be32(w->out, rest == 0 ? 1 : 2);
    for (int last = 0; last <= (rest != 0); last++) {
        buffer_append_be32(w->out, last ? chunks + 1 : 1);
        buffer_append_be32(w->out, last ? rest : w->m.samples_per_chunk);
        buffer_append_be32(w->out, 1);
    }
    end(w, box);
}

static void
stsz(struct writer *w)
{
    const uint32_t bits = w->m.compact_bits;
    const size_t box = begin_full(w, bits != 0 ? "stz2" : "stsz", 0, 0);
    buffer_append_be32(w->out, bits != 0 ? bits : w->m.sample_size);
    buffer_append_be32(w->out, w->m.sample_count);
    for (uint32_t i = 0; i < w->m.sample_count; i++) {
        const uint32_t size = size_of(&w->m, i);
        if (bits == 16)
            buffer_append_be16(w->out, (uint16_t) size);
        else if (bits == 8 || (bits == 4 && i % 2 == 0))
            buffer_append_u8(w->out, (uint8_t) (bits == 8 ? size : size << 4));
        else if (bits == 4)
            w->out->ptr[w->out->len - 1] |= (uint8_t) size;
        else if (w->m.sample_size == 0)
            buffer_append_be32(w->out, size);
    }
    end(w, box);
}

static void
stco(struct writer *w, uint64_t media_offset)
{
    const uint32_t per_chunk = w->m.samples_per_chunk;
    const size_t box = begin_full(w, w->m.is_wide ? "co64" : "stco", 0, 0);
    buffer_append_be32(w->out, (w->m.sample_count + per_chunk - 1) / per_chunk);
    for (uint32_t i = 0; i < w->m.sample_count; i++) {
        if (i % per_chunk == 0)
            time_field(w, media_offset);
        media_offset += size_of(&w->m, i);
        if (i % per_chunk == per_chunk - 1)
            media_offset += w->m.chunk_gap;
    }
    end(w, box);
}

static void
stss(struct writer *w)
{
    if (w->m.gop == 0)
        return;
    const size_t box = begin_full(w, "stss", 0, 0);
    buffer_append_be32(w->out, (w->m.sample_count + w->m.gop - 1) / w->m.gop);
    for (uint32_t i = 0; i < w->m.sample_count; i += w->m.gop)
        buffer_append_be32(w->out, i + 1);
    end(w, box);
}

static void
tref(struct writer *w)
{
    if (!w->m.is_chapters)
        return;
    const size_t tref = begin(w, "tref");
    const size_t chap = begin(w, "chap");
    buffer_append_be32(w->out, 1);
    end(w, chap);
    end(w, tref);
}

static void
udta(struct writer *w)
{
    if (w->m.role == NULL)
        return;
    const size_t udta = begin(w, "udta");
    const size_t kind = begin_full(w, "kind", 0, 0);
    buffer_append_text(w->out, "urn:mpeg:dash:role:2011");
    zeros(w, 1);
    buffer_append_text(w->out, w->m.role);
    zeros(w, 1);
    end(w, kind);
    end(w, udta);
}

static void
trak(struct writer *w, uint64_t media_offset)
{
    const size_t trak = begin(w, "trak");
    tkhd(w);
    tref(w);
    edts(w);
    const size_t mdia = begin(w, "mdia");
    mdhd(w);
    elng(w);
    hdlr(w, w->m.kind == TRACK_VIDEO  ? "vide"
            : w->m.kind == TRACK_TEXT ? "text"
                                      : "soun");
    const size_t minf = begin(w, "minf");
    dinf(w);
    const size_t stbl = begin(w, "stbl");
    stsd(w);
    stts(w);
    ctts(w);
    stsc(w);
    stsz(w);
    stco(w, media_offset);
    stss(w);
    end(w, stbl);
    end(w, minf);
    end(w, mdia);
    udta(w);
    end(w, trak);
}

static void
text_trak(struct writer *w)
{
    const size_t trak = begin(w, "trak");
    const size_t mdia = begin(w, "mdia");
    hdlr(w, "text");
    end(w, mdia);
    end(w, trak);
}

/* ---- fragments ---- */

#define TEXT_TRACK_ID 7

static void
trex(struct writer *w, uint32_t id)
{
    const size_t box = begin_full(w, "trex", 0, 0);
    buffer_append_be32(w->out, id);
    buffer_append_be32(w->out, 1);
    buffer_append_be32(w->out, w->m.sample_duration);
    buffer_append_be32(w->out, id == 1 ? w->m.sample_size : 5);
    buffer_append_be32(w->out, 0x10000);
    end(w, box);
}

static void
mvex(struct writer *w)
{
    const size_t mvex = begin(w, "mvex");
    trex(w, 1);
    if (w->m.has_text_fragments)
        trex(w, TEXT_TRACK_ID);
    end(w, mvex);
}

static void
tfhd(struct writer *w, uint32_t id, uint64_t moof_offset)
{
    const enum test_base base = w->m.fragment_base;
    const size_t box = begin_full(w, "tfhd", 0,
                                  base == TEST_BASE_OFFSET    ? 1
                                  : base == TEST_BASE_IS_MOOF ? 0x20000
                                                              : 0);
    buffer_append_be32(w->out, id);
    if (base == TEST_BASE_OFFSET)
        buffer_append_be64(w->out, moof_offset);
    end(w, box);
}

/* Three samples of 5 bytes each at the start of mdat. */
static void
text_traf(struct writer *w, uint64_t moof_offset, uint32_t data_offset)
{
    const size_t traf = begin(w, "traf");
    tfhd(w, TEXT_TRACK_ID, moof_offset);
    const size_t trun = begin_full(w, "trun", 0, 1);
    buffer_append_be32(w->out, 3);
    buffer_append_be32(w->out, data_offset);
    end(w, trun);
    end(w, traf);
}

static void
traf(struct writer *w, uint32_t first, uint32_t count, uint64_t moof_offset,
     uint32_t data_offset)
{
    const bool is_implied =
        w->m.fragment_base == TEST_BASE_IMPLIED && w->m.has_text_fragments;
    const size_t traf = begin(w, "traf");
    tfhd(w, 1, moof_offset);
    if (!w->m.is_without_decode_times) {
        const uint32_t number = first / w->m.samples_per_chunk;
        const size_t tfdt = begin_full(w, "tfdt", w->m.is_wide, 0);
        time_field(w, w->m.fragment_time
                          + (uint64_t) first * w->m.sample_duration
                          + w->m.fragment_gap * number);
        end(w, tfdt);
    }
    /* data offset, duration, size, flags, composition offset */
    const uint32_t flags =
        0xd00 | (w->m.sample_size == 0 ? 0x200 : 0) | (is_implied ? 0 : 1);
    const size_t trun = begin_full(w, "trun", w->m.is_wide, flags);
    buffer_append_be32(w->out, count);
    if (!is_implied)
        buffer_append_be32(w->out, data_offset);
    for (uint32_t i = first; i < first + count; i++) {
        const bool is_last = i + 1 == w->m.sample_count;
        buffer_append_be32(w->out,
                           is_last ? w->m.last_duration : w->m.sample_duration);
        if (w->m.sample_size == 0)
            buffer_append_be32(w->out, size_of(&w->m, i));
        buffer_append_be32(w->out, is_sync(&w->m, i) ? 0 : 0x10000);
        buffer_append_be32(w->out, offset_of(&w->m, i));
    }
    end(w, trun);
    end(w, traf);
}

static void
moof(struct writer *w, uint32_t first, uint32_t count, uint32_t data_offset)
{
    const uint64_t offset = w->out->len;
    const uint32_t text_size = w->m.has_text_fragments ? 15 : 0;
    const size_t moof = begin(w, "moof");
    const size_t mfhd = begin_full(w, "mfhd", 0, 0);
    buffer_append_be32(w->out, first / w->m.samples_per_chunk + 1);
    end(w, mfhd);
    if (w->m.has_text_fragments)
        text_traf(w, offset, data_offset);
    traf(w, first, count, offset, data_offset + text_size);
    end(w, moof);
}

static void
fragment(struct writer *w, uint32_t first)
{
    const uint32_t left = w->m.sample_count - first;
    const uint32_t count =
        w->m.samples_per_chunk < left ? w->m.samples_per_chunk : left;
    const size_t start = w->out->len;
    end(w, begin(w, "sidx"));
    const size_t moof_start = w->out->len;
    moof(w, first, count, 0);
    const size_t size = w->out->len - moof_start;
    w->out->len = start;
    end(w, begin(w, "sidx"));
    moof(w, first, count, (uint32_t) size + 8);
    const size_t mdat = begin(w, "mdat");
    if (w->m.has_text_fragments)
        zeros(w, 15);
    for (uint32_t i = first; i < first + count; i++)
        sample_write(&w->m, i, w->out);
    end(w, mdat);
}

/* ---- the file ---- */

static void
ftyp(struct writer *w)
{
    const size_t box = begin(w, "ftyp");
    buffer_append_text(w->out, "isom");
    zeros(w, 4);
    buffer_append_text(w->out, "isom");
    end(w, box);
}

static void
moov(struct writer *w, uint64_t media_offset)
{
    const size_t moov = begin(w, "moov");
    mvhd(w);
    if (w->m.has_text_track)
        text_trak(w);
    trak(w, media_offset);
    if (w->m.is_fragmented)
        mvex(w);
    end(w, moov);
}

/* What moov of a fragmented film knows of: nothing, or the first chunk. */
static struct writer
moov_writer(const struct writer *w)
{
    struct writer of_moov = *w;
    if (w->m.is_fragmented)
        of_moov.m.sample_count = w->m.is_hybrid ? w->m.samples_per_chunk : 0;
    return of_moov;
}

static void
mdat(struct writer *w)
{
    const size_t box = begin(w, "mdat");
    if (w->m.is_wide)
        zeros(w, 8);
    for (uint32_t i = 0; i < w->m.sample_count; i++) {
        sample_write(&w->m, i, w->out);
        if (i % w->m.samples_per_chunk == w->m.samples_per_chunk - 1)
            zeros(w, w->m.chunk_gap);
    }
    end(w, box);
    if (w->m.is_wide) {
        store_be32(w->out->ptr + box, 1);
        store_be64(w->out->ptr + box + 8, w->out->len - box);
    } else if (w->m.is_open_size) {
        store_be32(w->out->ptr + box, 0);
    }
}

void
test_movie_write(const struct test_movie *movie, struct buffer *out)
{
    struct writer w = {with_defaults(movie), out, 0};
    const uint32_t mdat_header = w.m.is_wide ? 16 : 8;
    ftyp(&w);
    const struct test_movie whole = w.m;
    w = moov_writer(&w);
    if (w.m.is_moov_last) {
        const size_t media_offset = out->len + mdat_header;
        mdat(&w);
        moov(&w, media_offset);
        return;
    }
    /* twice: where the media starts follows from the size of moov */
    const size_t start = out->len;
    moov(&w, 0);
    const size_t media_offset = out->len + mdat_header;
    out->len = start;
    moov(&w, media_offset);
    mdat(&w);
    if (!whole.is_fragmented)
        return;
    const uint32_t first = w.m.sample_count;
    w.m = whole;
    for (uint32_t i = first; i < whole.sample_count;
         i += whole.samples_per_chunk)
        fragment(&w, i);
}

void
test_movies_write(const struct test_movie *movies, uint32_t count,
                  struct buffer *out)
{
    struct writer w = {with_defaults(&movies[0]), out, 0};
    size_t media_offsets[TRACKS_MAX];
    assert(count <= TRACKS_MAX);
    ftyp(&w);
    for (uint32_t i = 0; i < count; i++) {
        w.m = with_defaults(&movies[i]);
        media_offsets[i] = out->len + 8;
        mdat(&w);
    }
    const size_t moov = begin(&w, "moov");
    mvhd(&w);
    for (uint32_t i = 0; i < count; i++) {
        w.m = with_defaults(&movies[i]);
        w.track_index = i;
        trak(&w, media_offsets[i]);
    }
    end(&w, moov);
}

size_t
test_movie_find(struct bytes file, const char *type, unsigned nth)
{
    for (size_t i = 4; i + 4 <= file.len; i++) {
        if (memcmp(file.ptr + i, type, 4) == 0 && nth-- == 0)
            return i - 4;
    }
    assert(!"no such box");
    return 0;
}

int
test_movie_read(void *context, uint64_t offset, void *out, size_t len)
{
    const struct bytes *file = context;
    if (offset > file->len || len > file->len - offset)
        return ERR_TRUNCATED;
    memcpy(out, file->ptr + offset, len);
    return 0;
}

int
test_movie_open(const struct bytes *file, struct mp4_movie *out,
                struct mp4_error *error)
{
    struct bytes copy = *file;
    const struct mp4_source source = {test_movie_read, &copy, file->len};
    return mp4_open(&source, out, error);
}

static int
sink_append(void *context, struct bytes bytes)
{
    struct buffer *out = context;
    buffer_append_bytes(out, bytes);
    return out->err;
}

static int
sink_drop(void *context, struct bytes bytes)
{
    return 0;
}

struct track_sink
test_sink(struct buffer *out)
{
    return (struct track_sink){sink_append, out};
}

void
test_track_build(const struct test_movie *movie, const char *name,
                 uint32_t target_ms, const struct test_movie *cuts,
                 struct buffer *track_file, struct buffer *index)
{
    struct buffer file, cuts_file;
    struct mp4_movie m, cut_by;
    struct mp4_error error;
    struct track_build build = {.name = name};
    uint64_t *times;
    buffer_init(&file, TEST_MOVIE_SIZE_MAX);
    buffer_init(&cuts_file, TEST_MOVIE_SIZE_MAX);
    test_movie_write(movie, &file);
    test_movie_write(cuts == NULL ? movie : cuts, &cuts_file);
    struct bytes bytes = buffer_bytes(&file);
    const struct bytes cuts_bytes = buffer_bytes(&cuts_file);
    int err = test_movie_open(&bytes, &m, &error);
    assert(err == 0);
    err = test_movie_open(&cuts_bytes, &cut_by, &error);
    assert(err == 0);
    err = segment_cuts_of_video(&cut_by.tracks[0], target_ms, &times,
                                &build.cut_count);
    assert(err == 0);
    const struct mp4_source source = {test_movie_read, &bytes, bytes.len};
    build.track = &m.tracks[0];
    build.source = &source;
    build.sink = track_file != NULL ? test_sink(track_file)
                                    : (struct track_sink){sink_drop, NULL};
    build.cuts = times;
    build.cut_timescale = cut_by.tracks[0].timescale;
    err = track_file_build(&build, index);
    assert(err == 0);
    free(times);
    mp4_close(&cut_by);
    mp4_close(&m);
    buffer_fini(&cuts_file);
    buffer_fini(&file);
}

struct segment_map
test_map_open(struct bytes track_file, const struct segment *segment,
              void **memory)
{
    const struct bytes box =
        bytes_of(track_file.ptr + segment->offset, segment->map_size);
    struct segment_map map = {0};
    size_t size = 0;
    int err = segment_map_memory_size(box, &size);
    assert(err == 0);
    *memory = malloc(size);
    err = segment_map_decode(box, segment, *memory, &map);
    assert(err == 0);
    return map;
}
