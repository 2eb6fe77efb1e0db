/* SPDX-License-Identifier: Apache-2.0 */

/*
 *   wvtt  boxes: a vttc for each cue that is seen, or vtte for none. A cue that
 *         is seen for longer than a sample is in each of them.
 *   tx3g  u16 size, text, then boxes with its styles. An empty text is a gap.
 */

#include "media/mp4/mp4_text.h"

#include "core/err.h"
#include "media/markup.h"
#include "media/mp4/box.h"
#include "media/text/encoding.h"

#include <stdlib.h>

#define SEEN_MAX 64              /* cues at once */
#define TIME_MS_MAX 35999999999u /* 9999 hours and a bit */
#define TEXT_UTF8_SIZE_MAX \
    (3u << 18)               /* bytes: those of a sample in Latin-1 \
                              */
#define TX3G_FACE_AT 32      /* in the sample entry, of its style */
#define STYLE_RECORD_SIZE 12 /* bytes */

enum face { FACE_BOLD = 1, FACE_ITALIC = 2, FACE_UNDERLINED = 4 };
#define FACES (FACE_BOLD | FACE_ITALIC | FACE_UNDERLINED)

/* Of wvtt, a cue of a sample. */
struct seen {
    uint32_t cue; /* in the list */
    bool has_id;
    uint32_t id;
};

struct seens {
    struct seen list[SEEN_MAX];
    size_t count;
};

struct reader {
    const struct mp4_track *track;
    int64_t zero_us;
    struct mp4_parse parse; /* of a sample, or of the sample entry */
    struct box whole;       /* that, as the parent of its boxes */
    uint8_t *memory;        /* of the largest sample */
    struct buffer text;     /* in UTF-8 */
    struct cues cues;
    struct seens seen, before; /* in the sample, and in that before it */
    uint64_t before_end;       /* ticks */
    uint8_t faces;             /* of tx3g, where no style says otherwise */
};

static int
sample_fail(const struct reader *r, int err, const char *reason)
{
    return box_fail(&r->parse, &r->whole, err, reason);
}

/* ---- times ---- */

static uint64_t
time_ms(const struct reader *r, uint64_t ticks)
{
    const __int128 time = (__int128) ticks - r->track->media_time;
    const uint32_t timescale = r->track->timescale;
    const __int128 us =
        (time * 1000000 + timescale / 2) / timescale - r->zero_us;
    const __int128 ms = (us + 500) / 1000;
    return us <= 0 ? 0 : ms > TIME_MS_MAX ? TIME_MS_MAX : (uint64_t) ms;
}

/* ---- cues ---- */

/* A cue of the sample, of which settings and text are to be appended. */
static int
cue_begin(struct reader *r, uint32_t number, struct cue **out)
{
    const struct mp4_sample *s = &r->track->samples[number];
    struct cues *cues = &r->cues;
    const int err = cues_reserve(cues);
    if (err != 0)
        return sample_fail(r, err, err_text(err));
    *out = &cues->list[cues->count];
    **out = (struct cue){
        .start_ms = time_ms(r, s->decode_time),
        .end_ms = time_ms(r, s->decode_time + s->duration),
        .line = number + 1,
        .offset = (uint32_t) cues->bytes.len,
    };
    return 0;
}

/* Keeps it, unless there is nothing to see of it. */
static int
cue_end(struct reader *r, struct cue *cue)
{
    struct cues *cues = &r->cues;
    if (cues->bytes.err != 0)
        return sample_fail(r, cues->bytes.err, err_text(cues->bytes.err));
    cue->text_size =
        (uint32_t) cues->bytes.len - cue->offset - cue->settings_size;
    if (cue->text_size > CUE_TEXT_SIZE_MAX)
        return sample_fail(r, ERR_LIMIT, "the text of a cue is too long");
    if (cue->text_size == 0)
        cues->bytes.len = cue->offset;
    else
        cues->count++;
    return 0;
}

/* Those that no time is left of go when all is read. */
static void
cues_sift(struct cues *cues)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < cues->count; i++) {
        if (cues->list[i].end_ms > cues->list[i].start_ms)
            cues->list[kept++] = cues->list[i];
    }
    cues->count = kept;
}

/* Bytes that no more than a zero ends, as UTF-8 into r->text. */
static int
text_take(struct reader *r, struct bytes text)
{
    uint32_t line;
    while (text.len > 0 && text.ptr[text.len - 1] == 0)
        text.len--;
    r->text.len = 0;
    const int err = text_as_utf8(text, &r->text, &line);
    return err == ERR_INVALID
               ? sample_fail(r, err, "a text is not in its encoding")
           : err != 0 ? sample_fail(r, err, err_text(err))
                      : 0;
}

/* Writes the lines of a text, but for empty ones: those end a cue. */
struct lines {
    struct buffer *out;
    size_t start;
    bool is_broken; /* a line has ended */
};

static struct lines
lines_begin(struct reader *r)
{
    return (struct lines){.out = &r->cues.bytes, .start = r->cues.bytes.len};
}

static void
line_go_on(struct lines *l)
{
    if (l->is_broken && l->out->len > l->start)
        buffer_append_u8(l->out, '\n');
    l->is_broken = false;
}

/* ---- wvtt ---- */

static bool
is_behind_dashes(const struct lines *l)
{
    return l->out->len >= l->start + 2
           && memcmp(l->out->ptr + l->out->len - 2, "--", 2) == 0;
}

/* An arrow would be read as times. */
static void
payload_append(struct reader *r)
{
    struct lines lines = lines_begin(r);
    for (size_t i = 0; i < r->text.len; i++) {
        const uint8_t c = r->text.ptr[i];
        if (c == '\n') {
            lines.is_broken = true;
            continue;
        }
        line_go_on(&lines);
        if (c == '>' && is_behind_dashes(&lines))
            markup_append_char(lines.out, c);
        else
            buffer_append_u8(lines.out, c);
    }
}

static int
settings_take(struct reader *r, const struct box *sttg, struct cue *cue)
{
    if (!box_is_there(sttg))
        return 0;
    const int err = text_take(r, sttg->body);
    if (err != 0)
        return err;
    for (size_t i = 0; i < r->text.len; i++) {
        if (r->text.ptr[i] == '\n')
            r->text.ptr[i] = ' ';
    }
    cue_settings_append(buffer_bytes(&r->text), &r->cues.bytes);
    cue->settings_size = (uint32_t) r->cues.bytes.len - cue->offset;
    return cue->settings_size > CUE_SETTINGS_SIZE_MAX ? box_fail(
               &r->parse, sttg, ERR_LIMIT, "the settings of a cue are too long")
                                                      : 0;
}

static struct bytes
bytes_of_cue(const struct cues *cues, const struct cue *cue)
{
    return bytes_of(cues->bytes.ptr + cue->offset,
                    cue->settings_size + cue->text_size);
}

/* The same cue as one of the sample before, or NULL. */
static struct seen *
seen_before(struct reader *r, const struct seen *now)
{
    const struct cue *cue = &r->cues.list[now->cue];
    for (size_t i = 0; i < r->before.count; i++) {
        struct seen *s = &r->before.list[i];
        const struct cue *other = &r->cues.list[s->cue];
        if (s->has_id == now->has_id && s->id == now->id
            && other->settings_size == cue->settings_size
            && bytes_equal(bytes_of_cue(&r->cues, other),
                           bytes_of_cue(&r->cues, cue)))
            return s;
    }
    return NULL;
}

/* The last of the list is one that goes on, or it is new. */
static int
seen_add(struct reader *r, const struct box *vsid)
{
    struct cues *cues = &r->cues;
    struct seen now = {.cue = cues->count - 1, .has_id = box_is_there(vsid)};
    if (now.has_id && vsid->body.len >= 4)
        now.id = load_be32(vsid->body.ptr);
    if (r->seen.count == SEEN_MAX)
        return sample_fail(r, ERR_LIMIT, "too many cues at once");
    struct seen *before = seen_before(r, &now);
    if (before != NULL) {
        const struct cue *last = &cues->list[now.cue];
        cues->list[before->cue].end_ms = last->end_ms;
        cues->bytes.len = last->offset;
        cues->count--;
        now.cue = before->cue;
        *before = r->before.list[--r->before.count];
    }
    r->seen.list[r->seen.count++] = now;
    return 0;
}

static int
vttc_parse(struct reader *r, uint32_t number, const struct box *vttc)
{
    struct box vsid, sttg, payl;
    struct cue *cue;
    const struct box_want wants[] = {
        {BOX_TYPE('v', 's', 'i', 'd'), &vsid},
        {BOX_TYPE('s', 't', 't', 'g'), &sttg},
        {BOX_TYPE('p', 'a', 'y', 'l'), &payl},
    };
    const uint32_t count = r->cues.count;
    int err = boxes_collect(&r->parse, vttc, vttc->body, wants, 3);
    if (err != 0 || !box_is_there(&payl))
        return err;
    if ((err = cue_begin(r, number, &cue)) != 0
        || (err = settings_take(r, &sttg, cue)) != 0
        || (err = text_take(r, payl.body)) != 0)
        return err;
    payload_append(r);
    err = cue_end(r, cue);
    return err == 0 && r->cues.count > count ? seen_add(r, &vsid) : err;
}

static int
wvtt_parse(struct reader *r, uint32_t number, struct bytes sample)
{
    const struct mp4_sample *s = &r->track->samples[number];
    int err = 0;
    r->before = r->seen;
    r->seen.count = 0;
    if (r->before_end != s->decode_time)
        r->before.count = 0;
    r->before_end = s->decode_time + s->duration;
    while (err == 0) {
        struct box box;
        err = box_next(&r->parse, &r->whole, &sample, &box);
        if (err == 0 && !box_is_there(&box))
            break;
        if (err == 0 && box.type == BOX_TYPE('v', 't', 't', 'c'))
            err = vttc_parse(r, number, &box);
    }
    return err;
}

/* ---- tx3g ---- */

/* The records of styl, in the order of the text. */
struct styles {
    struct bytes records;
    uint8_t faces; /* where there is none */
};

static uint8_t
faces_at(struct styles *s, uint32_t character)
{
    while (s->records.len > 0 && load_be16(s->records.ptr + 2) <= character)
        s->records = bytes_of(s->records.ptr + STYLE_RECORD_SIZE,
                              s->records.len - STYLE_RECORD_SIZE);
    if (s->records.len == 0 || load_be16(s->records.ptr) > character)
        return s->faces;
    return s->records.ptr[6] & FACES;
}

static const char tags[] = {'b', 'i', 'u'}; /* as the bits of enum face */

static void
faces_change(struct buffer *out, uint8_t from, uint8_t to)
{
    if (from == to)
        return;
    for (int i = 2; i >= 0; i--) {
        if (from & 1 << i)
            buffer_printf(out, "</%c>", tags[i]);
    }
    for (int i = 0; i < 3; i++) {
        if (to & 1 << i)
            buffer_printf(out, "<%c>", tags[i]);
    }
}

static void
styled_append(struct reader *r, struct styles *styles)
{
    struct lines lines = lines_begin(r);
    uint8_t faces = 0;
    uint32_t character = 0;
    for (size_t i = 0; i < r->text.len; i++) {
        const uint8_t c = r->text.ptr[i];
        const bool is_first = (c & 0xc0) != 0x80; /* byte of a character */
        character += is_first;
        if (c == '\n') {
            lines.is_broken = true;
            continue;
        }
        line_go_on(&lines);
        if (is_first) {
            const uint8_t wanted = faces_at(styles, character - 1);
            faces_change(lines.out, faces, wanted);
            faces = wanted;
        }
        markup_append_char(lines.out, c);
    }
    faces_change(lines.out, faces, 0);
}

static int
styl_parse(const struct reader *r, const struct box *styl, struct styles *out)
{
    struct cursor c = cursor_of(styl->body);
    const size_t size = (size_t) cursor_be16(&c) * STYLE_RECORD_SIZE;
    const struct bytes records = cursor_bytes(&c, size);
    if (c.is_short)
        return box_fail(&r->parse, styl, ERR_TRUNCATED,
                        "box is too small for its entry count");
    out->records = records;
    return 0;
}

static int
modifiers_parse(const struct reader *r, struct bytes rest, struct styles *out)
{
    for (;;) {
        struct box box;
        int err = box_next(&r->parse, &r->whole, &rest, &box);
        if (err != 0 || !box_is_there(&box))
            return err;
        if (box.type == BOX_TYPE('s', 't', 'y', 'l')
            && (err = styl_parse(r, &box, out)) != 0)
            return err;
    }
}

static int
tx3g_parse(struct reader *r, uint32_t number, struct bytes sample)
{
    struct cursor c = cursor_of(sample);
    struct styles styles = {.faces = r->faces};
    struct cue *cue;
    const struct bytes text = cursor_bytes(&c, cursor_be16(&c));
    if (c.is_short)
        return sample_fail(r, ERR_TRUNCATED,
                           "a text is longer than its sample");
    int err = modifiers_parse(r, c.rest, &styles);
    if (err != 0 || (err = text_take(r, text)) != 0
        || (err = cue_begin(r, number, &cue)) != 0)
        return err;
    styled_append(r, &styles);
    return cue_end(r, cue);
}

/* ---- the track ---- */

static void
whole_set(struct reader *r, uint64_t offset, struct bytes bytes)
{
    r->parse.memory = bytes.ptr;
    r->parse.offset = offset;
    r->whole = (struct box){.type = load_be32(r->track->sample_entry.ptr + 4),
                            .offset = offset,
                            .body = bytes,
                            .all = bytes};
}

/* vttC: what stands before the first cue. */
static int
head_read(struct reader *r)
{
    const struct bytes entry = r->track->sample_entry;
    struct bytes file = BYTES_LITERAL("WEBVTT");
    struct box config = {0};
    struct cues_error error;
    int err;
    whole_set(r, r->track->entry_offset, entry);
    if (r->whole.type == TEXT_WVTT) {
        const struct box_want want = {BOX_TYPE('v', 't', 't', 'C'), &config};
        const size_t fields = 8 + TEXT_ENTRY_SIZE;
        err = boxes_collect(&r->parse, &r->whole,
                            bytes_of(entry.ptr + fields, entry.len - fields),
                            &want, 1);
        if (err != 0)
            return err;
        file = config.body;
        while (file.len > 0 && file.ptr[file.len - 1] == 0)
            file.len--;
        if (file.len < 6 || memcmp(file.ptr, "WEBVTT", 6) != 0)
            return box_fail(&r->parse, &config, ERR_INVALID,
                            "it does not begin as WebVTT does");
    } else {
        r->faces = entry.ptr[8 + TX3G_FACE_AT] & FACES;
    }
    err = cues_read(file, &r->cues, &error);
    if (err != 0)
        return box_fail(&r->parse, &config, err, error.reason);
    return r->cues.count == 0 ? 0
                              : box_fail(&r->parse, &config, ERR_INVALID,
                                         "a cue before the first sample");
}

static int
memory_take(struct reader *r)
{
    uint64_t total = 0;
    uint32_t largest = 1;
    for (uint32_t i = 0; i < r->track->sample_count; i++) {
        const struct mp4_sample *s = &r->track->samples[i];
        total += s->size;
        if (s->size > MP4_TEXT_SAMPLE_SIZE_MAX || total > CUES_FILE_SIZE_MAX) {
            whole_set(r, s->offset, bytes_of(NULL, 0));
            return sample_fail(r, ERR_LIMIT, "a sample is too large");
        }
        largest = s->size > largest ? s->size : largest;
    }
    r->memory = malloc(largest);
    return r->memory == NULL ? sample_fail(r, ERR_MEMORY, "out of memory") : 0;
}

static int
sample_read(struct reader *r, const struct mp4_source *source, uint32_t number)
{
    const struct mp4_sample *s = &r->track->samples[number];
    const struct bytes sample = bytes_of(r->memory, s->size);
    if (s->size == 0)
        return 0;
    whole_set(r, s->offset, sample);
    const int err =
        source->read(source->context, s->offset, r->memory, s->size);
    if (err != 0)
        return sample_fail(r, err, "file cannot be read");
    return r->whole.type == TEXT_WVTT ? wvtt_parse(r, number, sample)
                                      : tx3g_parse(r, number, sample);
}

int
mp4_text_read(const struct mp4_source *source, const struct mp4_track *track,
              int64_t zero_us, struct cues *out, struct mp4_error *error)
{
    struct reader r = {
        .track = track, .zero_us = zero_us, .parse = {.error = error}};
    buffer_init(&r.text, TEXT_UTF8_SIZE_MAX);
    int err = head_read(&r);
    if (err == 0)
        err = memory_take(&r);
    for (uint32_t i = 0; err == 0 && i < track->sample_count; i++)
        err = sample_read(&r, source, i);
    free(r.memory);
    buffer_fini(&r.text);
    if (err != 0) {
        cues_free(&r.cues);
        return err;
    }
    cues_sift(&r.cues);
    *out = r.cues;
    return 0;
}
