/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_TEXT_CUES_REREAD_H
#define MEDIA_TEXT_CUES_REREAD_H

/* For fuzz targets: cues can be written as WebVTT, and are the same when read
 * again; abort() where not. */

#include "media/text/cues.h"

#include <inttypes.h>
#include <stdlib.h>

static inline void
cues_write(const struct cues *cues, struct buffer *out)
{
    buffer_append_text(out, "WEBVTT\n\n");
    buffer_append_bytes(out, buffer_bytes(&cues->head));
    for (uint32_t i = 0; i < cues->count; i++) {
        const struct cue *c = &cues->list[i];
        const uint64_t times[] = {c->start_ms, c->end_ms};
        for (size_t k = 0; k < 2; k++)
            buffer_printf(
                out, "%s%" PRIu64 ":%02" PRIu64 ":%02" PRIu64 ".%03" PRIu64,
                k == 0 ? "" : " --> ", times[k] / 3600000,
                times[k] / 60000 % 60, times[k] / 1000 % 60, times[k] % 1000);
        buffer_append_text(out, " ");
        buffer_append_bytes(out, cue_settings(cues, c));
        buffer_append_text(out, "\n");
        buffer_append_bytes(out, cue_text(cues, c));
        buffer_append_text(out, "\n\n");
    }
    if (out->err != 0)
        abort();
}

static inline void
cues_compare(const struct cues *a, const struct cues *b)
{
    if (a->count != b->count
        || !bytes_equal(buffer_bytes(&a->head), buffer_bytes(&b->head)))
        abort();
    for (uint32_t i = 0; i < a->count; i++) {
        const struct cue *x = &a->list[i], *y = &b->list[i];
        if (x->start_ms != y->start_ms || x->end_ms != y->end_ms
            || x->end_ms <= x->start_ms
            || (i > 0 && a->list[i - 1].start_ms > x->start_ms)
            || !bytes_equal(cue_settings(a, x), cue_settings(b, y))
            || !bytes_equal(cue_text(a, x), cue_text(b, y)))
            abort();
    }
}

static inline void
cues_reread(const struct cues *cues)
{
    struct cues again;
    struct cues_error error;
    struct buffer text;
    buffer_init(&text, CUES_FILE_SIZE_MAX);
    cues_write(cues, &text);
    if (cues_read(buffer_bytes(&text), &again, &error) != 0)
        abort();
    cues_compare(cues, &again);
    cues_free(&again);
    buffer_fini(&text);
}

#endif
