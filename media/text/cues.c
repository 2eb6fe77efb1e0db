/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Both formats are lines: times, then the lines of a text. WebVTT ends a text
 * at a blank line; SubRip knows no such thing for certain, so there it ends at
 * the next times and the number before them.
 */

#include "media/text/cues.h"

#include "core/err.h"
#include "media/markup.h"
#include "media/text/encoding.h"

#include <stdlib.h>
#include <strings.h>

#define HOURS_DIGITS_MAX 4

struct reader {
    struct bytes rest; /* UTF-8, lines ended by LF */
    struct bytes line;
    uint32_t number; /* of the line; from 1 */
    struct cues *cues;
    struct cue *cue;         /* is being read, or NULL */
    size_t last_line;        /* where in cues->bytes the text's last starts */
    bool is_number_possible; /* that line is digits alone, and right before */
    struct cues_error *error;
};

static const struct bytes arrow = {(const uint8_t *) "-->", 3};

static int
fail(struct reader *r, int err, const char *reason)
{
    *r->error = (struct cues_error){r->number, reason};
    return err;
}

/* ---- lines ---- */

static bool
line_take(struct reader *r)
{
    if (r->rest.len == 0)
        return false;
    const uint8_t *end = memchr(r->rest.ptr, '\n', r->rest.len);
    const size_t len = end != NULL ? (size_t) (end - r->rest.ptr) : r->rest.len;
    const size_t step = len + (end != NULL);
    r->line = bytes_of(r->rest.ptr, len);
    r->rest = bytes_of(r->rest.ptr + step, r->rest.len - step);
    r->number++;
    return true;
}

static bool
is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\f';
}

static struct bytes
trimmed(struct bytes text)
{
    while (text.len > 0 && is_space(text.ptr[0]))
        text = bytes_of(text.ptr + 1, text.len - 1);
    while (text.len > 0 && is_space(text.ptr[text.len - 1]))
        text.len--;
    return text;
}

static bool
has_arrow(struct bytes line)
{
    return line.len > 0
           && memmem(line.ptr, line.len, arrow.ptr, arrow.len) != NULL;
}

/* ---- times ---- */

static bool
byte_take(struct bytes *text, uint8_t byte)
{
    if (text->len == 0 || text->ptr[0] != byte)
        return false;
    *text = bytes_of(text->ptr + 1, text->len - 1);
    return true;
}

static bool
digits_take(struct bytes *text, size_t count_min, size_t count_max,
            uint64_t *out)
{
    size_t count = 0;
    *out = 0;
    while (count < text->len && text->ptr[count] >= '0'
           && text->ptr[count] <= '9' && count <= count_max)
        *out = *out * 10 + (uint64_t) (text->ptr[count++] - '0');
    *text = bytes_of(text->ptr + count, text->len - count);
    return count >= count_min && count <= count_max;
}

/* "[h:]mm:ss.mmm", and what careless tools make of it in either format. */
static bool
time_take(struct bytes *text, uint64_t *out)
{
    uint64_t hours, minutes, seconds, ms;
    if (!digits_take(text, 1, HOURS_DIGITS_MAX, &hours) || !byte_take(text, ':')
        || !digits_take(text, 1, 2, &minutes))
        return false;
    if (!byte_take(text, ':')) {
        seconds = minutes;
        minutes = hours;
        hours = 0;
    } else if (!digits_take(text, 1, 2, &seconds))
        return false;
    if ((!byte_take(text, '.') && !byte_take(text, ','))
        || !digits_take(text, 3, 3, &ms) || minutes > 59 || seconds > 59)
        return false;
    *out = ((hours * 60 + minutes) * 60 + seconds) * 1000 + ms;
    return true;
}

/* The settings are left in `line`. */
static bool
times_take(struct bytes *line, struct cue *cue)
{
    *line = trimmed(*line);
    if (!time_take(line, &cue->start_ms))
        return false;
    *line = trimmed(*line);
    if (line->len < arrow.len || memcmp(line->ptr, arrow.ptr, arrow.len) != 0)
        return false;
    *line = trimmed(bytes_of(line->ptr + arrow.len, line->len - arrow.len));
    return time_take(line, &cue->end_ms)
           && (line->len == 0 || is_space(line->ptr[0]));
}

/* ---- cues ---- */

static int
cue_begin(struct reader *r, bool is_webvtt)
{
    struct cues *cues = r->cues;
    struct cue cue = {.line = r->number, .offset = (uint32_t) cues->bytes.len};
    struct bytes line = r->line;
    if (!times_take(&line, &cue))
        return fail(r, ERR_INVALID, "not the times of a cue");
    if (cue.end_ms < cue.start_ms)
        return fail(r, ERR_INVALID, "the cue ends before it starts");
    const int err = cues_reserve(cues);
    if (err != 0)
        return fail(r, err,
                    err == ERR_LIMIT ? "too many cues" : "out of memory");
    if (is_webvtt)
        cue_settings_append(line, &cues->bytes);
    cue.settings_size = (uint32_t) cues->bytes.len - cue.offset;
    if (cue.settings_size > CUE_SETTINGS_SIZE_MAX)
        return fail(r, ERR_LIMIT, "the settings of the cue are too long");
    r->cue = &cues->list[cues->count];
    *r->cue = cue;
    r->is_number_possible = false;
    r->last_line = cues->bytes.len;
    return 0;
}

/* Keeps the cue that was begun, unless there is nothing to see of it. */
static int
cue_end(struct reader *r)
{
    struct cue *cue = r->cue;
    struct buffer *bytes = &r->cues->bytes;
    r->cue = NULL;
    if (cue == NULL)
        return 0;
    if (bytes->err != 0)
        return fail(r, bytes->err, err_text(bytes->err));
    cue->text_size = (uint32_t) bytes->len - cue->offset - cue->settings_size;
    if (cue->text_size > CUE_TEXT_SIZE_MAX)
        return fail(r, ERR_LIMIT, "the text of the cue is too long");
    if (cue->text_size == 0 || cue->end_ms == cue->start_ms)
        bytes->len = cue->offset;
    else
        r->cues->count++;
    return 0;
}

/* Another line of the text begins. */
static void
text_line_begin(struct reader *r)
{
    struct buffer *bytes = &r->cues->bytes;
    r->last_line = bytes->len;
    if (bytes->len > r->cue->offset + r->cue->settings_size)
        buffer_append_u8(bytes, '\n');
}

static int
text_take(struct reader *r,
          void (*append)(struct bytes line, struct buffer *out))
{
    text_line_begin(r);
    const size_t start = r->cues->bytes.len;
    append(r->line, &r->cues->bytes);
    if (r->cues->bytes.len == start)
        r->cues->bytes.len = r->last_line;
    /* a line cannot make it much longer before this is seen */
    if (r->cues->bytes.len - r->cue->offset
        > CUE_SETTINGS_SIZE_MAX + CUE_TEXT_SIZE_MAX)
        return fail(r, ERR_LIMIT, "the text of the cue is too long");
    return 0;
}

/* ---- WebVTT ---- */

static bool
line_is_word(struct bytes line, const char *word, bool may_go_on)
{
    const size_t len = strlen(word);
    if (line.len < len || memcmp(line.ptr, word, len) != 0)
        return false;
    return line.len == len
           || (is_space(line.ptr[len])
               && (may_go_on || trimmed(line).len == len));
}

static void
line_append(struct bytes line, struct buffer *out)
{
    buffer_append_bytes(out, line);
}

/* The rest of a block goes to `out`, or nowhere. */
static void
block_take(struct reader *r, struct buffer *out)
{
    do {
        if (out != NULL) {
            buffer_append_bytes(out, r->line);
            buffer_append_u8(out, '\n');
        }
    } while (line_take(r) && r->line.len > 0);
    if (out != NULL)
        buffer_append_u8(out, '\n');
}

/* From the line with the times to the blank line, or the end. */
static int
webvtt_cue_take(struct reader *r)
{
    int err = cue_begin(r, true);
    while (err == 0 && line_take(r) && r->line.len > 0) {
        if (has_arrow(r->line)) { /* no blank line was there */
            if ((err = cue_end(r)) == 0)
                err = cue_begin(r, true);
        } else {
            err = text_take(r, line_append);
        }
    }
    return err != 0 ? err : cue_end(r);
}

/* STYLE and REGION count before the first cue only. */
static int
webvtt_head_take(struct reader *r)
{
    struct buffer *head = r->cues->count == 0 ? &r->cues->head : NULL;
    block_take(r, head);
    if (head != NULL && head->err != 0)
        return fail(r, head->err, "STYLE and REGION are too long");
    if (head != NULL && has_arrow(buffer_bytes(head)))
        return fail(r, ERR_INVALID, "a STYLE or REGION that does not end");
    return 0;
}

static int
webvtt_block_take(struct reader *r)
{
    if (has_arrow(r->line))
        return webvtt_cue_take(r);
    if (line_is_word(r->line, "STYLE", false)
        || line_is_word(r->line, "REGION", false))
        return webvtt_head_take(r);
    if (line_is_word(r->line, "NOTE", true)) {
        block_take(r, NULL);
        return 0;
    }
    if (line_take(r) && has_arrow(r->line)) /* that was the cue's name */
        return webvtt_cue_take(r);
    return fail(r, ERR_INVALID, "a text without the times of its cue");
}

static int
webvtt_read(struct reader *r)
{
    line_take(r);
    while (r->line.len > 0 && line_take(r) && !has_arrow(r->line))
        ;
    int err = has_arrow(r->line) ? webvtt_cue_take(r) : 0;
    while (err == 0 && line_take(r)) {
        if (r->line.len > 0)
            err = webvtt_block_take(r);
    }
    return err;
}

/* ---- SubRip ---- */

/* "<i>", "</B>": the length of the tag that WebVTT has, too, or 0. */
static size_t
tag_length(struct bytes text, bool *is_end, char *letter)
{
    *is_end = text.len > 1 && text.ptr[1] == '/';
    const size_t at = *is_end ? 2 : 1;
    if (text.len < at + 2 || text.ptr[at + 1] != '>')
        return 0;
    *letter = (char) (text.ptr[at] | 0x20);
    return *letter == 'i' || *letter == 'b' || *letter == 'u' ? at + 2 : 0;
}

/* What no longer comes on a line: each search for it goes to the line's end,
 * and so is done once. */
struct line_ends {
    bool has_no_angle, has_no_brace;
};

/* "<font color=...>", "</font>", "{\an8}": nothing WebVTT has. */
static size_t
foreign_length(struct bytes text, struct line_ends *ends)
{
    static const char *const starts[] = {"<font", "</font", "{\\"};
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        const size_t len = strlen(starts[i]);
        const char *start = (const char *) text.ptr;
        const bool is_brace = starts[i][0] == '{';
        bool *has_none = is_brace ? &ends->has_no_brace : &ends->has_no_angle;
        if (*has_none || text.len <= len
            || strncasecmp(start, starts[i], len) != 0)
            continue;
        const uint8_t *end = memchr(text.ptr, is_brace ? '}' : '>', text.len);
        *has_none = end == NULL;
        return end != NULL ? (size_t) (end - text.ptr) + 1 : 0;
    }
    return 0;
}

static void
subrip_line_append(struct bytes line, struct buffer *out)
{
    struct line_ends ends = {0};
    line = trimmed(line);
    while (line.len > 0 && out->err == 0) {
        bool is_end;
        char letter;
        size_t len = 1;
        if (line.ptr[0] == '<'
            && (len = tag_length(line, &is_end, &letter)) > 0)
            buffer_printf(out, "<%s%c>", is_end ? "/" : "", letter);
        else if ((len = foreign_length(line, &ends)) == 0) {
            markup_append_char(out, line.ptr[0]);
            len = 1;
        }
        line = bytes_of(line.ptr + len, line.len - len);
    }
}

/* The number of the cue that begins was taken for the last line of a text. */
static int
subrip_times(struct reader *r)
{
    if (r->is_number_possible)
        r->cues->bytes.len = r->last_line;
    const int err = cue_end(r);
    return err != 0 ? err : cue_begin(r, false);
}

static int
subrip_read(struct reader *r)
{
    int err = 0;
    while (err == 0 && line_take(r)) {
        const struct bytes line = trimmed(r->line);
        uint64_t number;
        const bool is_number = bytes_number(line, &number);
        if (has_arrow(line))
            err = subrip_times(r);
        else if (r->cue != NULL) {
            err = text_take(r, subrip_line_append);
            r->is_number_possible = is_number;
        } else if (line.len > 0 && !is_number)
            err = fail(r, ERR_INVALID, "neither WebVTT nor SubRip");
    }
    return err != 0 ? err : cue_end(r);
}

/* ---- all of it ---- */

static int
cue_compare(const void *a, const void *b)
{
    const struct cue *x = a, *y = b;
    if (x->start_ms != y->start_ms)
        return x->start_ms < y->start_ms ? -1 : 1;
    return x->line < y->line ? -1 : x->line > y->line;
}

static int
utf8_read(struct bytes text, struct cues *out, struct cues_error *error)
{
    struct reader r = {.rest = text, .cues = out, .error = error};
    const uint8_t *end = text.len > 0 ? memchr(text.ptr, '\n', text.len) : NULL;
    const struct bytes first =
        bytes_of(text.ptr, end != NULL ? (size_t) (end - text.ptr) : text.len);
    const int err =
        line_is_word(first, "WEBVTT", true) ? webvtt_read(&r) : subrip_read(&r);
    if (err == 0 && out->count > 0)
        qsort(out->list, out->count, sizeof *out->list, cue_compare);
    return err;
}

int
cues_read(struct bytes file, struct cues *out, struct cues_error *error)
{
    struct cues cues = {0};
    struct buffer text;
    *error = (struct cues_error){1, "the file is too large"};
    if (file.len > CUES_FILE_SIZE_MAX)
        return ERR_LIMIT;
    /* a byte of Windows-1252 becomes three, "&" five */
    buffer_init(&text, 3 * CUES_FILE_SIZE_MAX);
    buffer_init(&cues.bytes, 6 * CUES_FILE_SIZE_MAX);
    buffer_init(&cues.head, CUES_HEAD_SIZE_MAX);
    error->reason = "not in the encoding that its byte order mark names";
    int err = text_as_utf8(file, &text, &error->line);
    if (text.err != 0)
        error->reason = err_text(text.err);
    if (err == 0)
        err = utf8_read(buffer_bytes(&text), &cues, error);
    buffer_fini(&text);
    if (err == 0)
        *out = cues;
    else
        cues_free(&cues);
    return err;
}

void
cue_settings_append(struct bytes text, struct buffer *out)
{
    static const char *const names[] = {
        "align:", "line:", "position:", "region:", "size:", "vertical:"};
    const size_t start = out->len;
    while ((text = trimmed(text)).len > 0) {
        size_t len = 0;
        while (len < text.len && !is_space(text.ptr[len]))
            len++;
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            const size_t name_len = strlen(names[i]);
            if (len <= name_len || memcmp(text.ptr, names[i], name_len) != 0)
                continue;
            if (out->len > start)
                buffer_append_u8(out, ' ');
            buffer_append(out, text.ptr, len);
        }
        text = bytes_of(text.ptr + len, text.len - len);
    }
}

int
cues_reserve(struct cues *cues)
{
    if (cues->count == CUES_MAX)
        return ERR_LIMIT;
    if (cues->count < cues->capacity)
        return 0;
    const uint32_t capacity = cues->capacity == 0 ? 64 : 2 * cues->capacity;
    struct cue *list = realloc(cues->list, capacity * sizeof *list);
    if (list == NULL)
        return ERR_MEMORY;
    cues->list = list;
    cues->capacity = capacity;
    return 0;
}

void
cues_free(struct cues *cues)
{
    free(cues->list);
    buffer_fini(&cues->bytes);
    buffer_fini(&cues->head);
    *cues = (struct cues){0};
}
