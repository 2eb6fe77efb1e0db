/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_TEXT_CUES_H
#define MEDIA_TEXT_CUES_H

/*
 * Reads subtitles, WebVTT (W3C) or SubRip, into cues of WebVTT in the order of
 * their start. What a player would pass over in silence is an error here where
 * a text would be lost: someone is there who can mend the file.
 */

#include "core/buffer.h"

#define CUES_FILE_SIZE_MAX (16u << 20) /* bytes */
#define CUES_MAX 100000u
#define CUE_TEXT_SIZE_MAX (16u << 10)  /* bytes */
#define CUE_SETTINGS_SIZE_MAX 1024u    /* bytes */
#define CUES_HEAD_SIZE_MAX (16u << 10) /* bytes */

struct cue {
    uint64_t start_ms, end_ms; /* end > start */
    uint32_t line;             /* of its times in the file, from 1 */
    uint32_t offset;           /* in cues.bytes */
    uint32_t settings_size, text_size;
};

struct cues {
    struct cue *list;
    uint32_t count, capacity;
    struct buffer bytes;
    struct buffer head; /* STYLE and REGION blocks, each with a blank line
                         * behind it */
};

/* "line:0 align:start", or empty. */
static inline struct bytes
cue_settings(const struct cues *cues, const struct cue *cue)
{
    return bytes_of(cues->bytes.ptr + cue->offset, cue->settings_size);
}

/* Lines of cue text, none of them empty and without one behind the last; never
 * holds "-->". */
static inline struct bytes
cue_text(const struct cues *cues, const struct cue *cue)
{
    return bytes_of(cues->bytes.ptr + cue->offset + cue->settings_size,
                    cue->text_size);
}

struct cues_error {
    uint32_t line; /* from 1 */
    const char *reason;
};

/*
 * A file that begins with "WEBVTT" is that, any other is SubRip. Cues without
 * text and those that end when they start are left out, so are comments and
 * the names of cues. ERR_INVALID, ERR_LIMIT, ERR_MEMORY; *error says where and
 * why.
 */
int cues_read(struct bytes file, struct cues *out, struct cues_error *error);
void cues_free(struct cues *cues);

/* ---- for readers of other files ---- */

/* Room for one more at the end of the list: ERR_LIMIT, ERR_MEMORY. */
int cues_reserve(struct cues *cues);

/* Of "line:0 size:50%" what a player knows, with one space between. */
void cue_settings_append(struct bytes text, struct buffer *out);

#endif
