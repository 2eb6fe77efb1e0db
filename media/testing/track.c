/* SPDX-License-Identifier: Apache-2.0 */

#include "media/testing/track.h"

#include "media/track_record.h"

#include <assert.h>

#define MEDIA_SIZE_MAX (64u << 20)

static void
track_init(struct test_track *t)
{
    buffer_init(&t->media, MEDIA_SIZE_MAX);
    buffer_init(&t->file, INDEX_SIZE_MAX);
}

static void
track_open(struct test_track *t)
{
    const int err = track_index_open(buffer_bytes(&t->file), &t->index);
    assert(err == 0);
}

int
test_track_store(struct test_track *t, struct track_build build)
{
    track_init(t);
    build.sink = test_sink(&t->media);
    const int err = track_file_build(&build, &t->file);
    if (err == 0) {
        track_open(t);
        assert(t->index.info.media_size == t->media.len);
    }
    return err;
}

void
test_track_make(struct test_track *t, const struct test_movie *movie,
                const char *name, uint32_t target_ms,
                const struct test_movie *cuts)
{
    track_init(t);
    test_track_build(movie, name, target_ms, cuts, &t->media, &t->file);
    track_open(t);
}

void
test_index_make(struct test_track *t, const struct test_movie *movie,
                uint32_t target_ms)
{
    track_init(t);
    test_track_build(movie, "v0", target_ms, NULL, NULL, &t->file);
    track_open(t);
}

void
test_text_make(struct test_track *t, struct text_build build,
               const char *webvtt)
{
    struct cues cues;
    struct cues_error error;
    int err = cues_read(bytes_of_text(webvtt), &cues, &error);
    assert(err == 0);
    build.cues = &cues;
    track_init(t);
    err = text_track_build(&build, &t->media, &t->file);
    assert(err == 0);
    track_open(t);
    cues_free(&cues);
}

void
test_track_fini(struct test_track *t)
{
    buffer_fini(&t->file);
    buffer_fini(&t->media);
}

struct track_info
test_info(enum track_kind kind, const char *name, const char *codecs,
          const char *language, const char *label)
{
    static const uint8_t timeline[] = {0, 4, 0, 0, 3, 0, 0, 0};
    static const uint8_t entry[] = {0, 0, 0, 8, 't', 'e', 's', 't'};
    struct track_info info = {.kind = kind,
                              .timescale = 512,
                              .duration = 3072,
                              .sample_count = 72,
                              .segment_count = 3,
                              .segment_duration_max = 1024,
                              .bandwidth_peak = 1000,
                              .bandwidth_average = 600,
                              .timeline = {timeline, sizeof timeline}};
    const int err = track_texts_set(&info, name, label, language, codecs);
    assert(err == 0);
    if (kind == TRACK_VIDEO) {
        info.width = 640;
        info.height = 360;
        info.frame_rate_num = 30000;
        info.frame_rate_den = 1001;
    }
    if (kind == TRACK_AUDIO) {
        info.channels = 2;
        info.sample_rate = 48000;
    }
    if (kind != TRACK_TEXT)
        info.sample_entry = bytes_of(entry, sizeof entry);
    return info;
}

const char *
test_text(struct buffer *b)
{
    buffer_append_u8(b, 0);
    assert(b->err == 0);
    return (const char *) b->ptr;
}
