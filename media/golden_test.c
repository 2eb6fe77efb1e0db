/* SPDX-License-Identifier: Apache-2.0 */

/*
 *     golden_test FOLDER            compares what is written for a few films
 *                                   with FOLDER/<content>/
 *     golden_test FOLDER --update   rewrites those files
 *     golden_test --seeds FOLDER    writes seeds for the fuzz targets
 */

#include "media/clip.h"
#include "media/image/image_track.h"
#include "media/key_frame.h"
#include "media/testing/box_dump.h"
#include "media/testing/film.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define OUTPUT_SIZE_MAX (1u << 24)
#define TRACKS_MAX 3

struct content {
    const char *name;
    struct {
        const char *name, *label;
        struct test_movie movie;
    } tracks[TRACKS_MAX];
};

/* What each shows: pictures out of order with priming of sound, and a last
 * audio frame of its own length; pictures of which none depends on another;
 * sound in two languages. */
static const struct content contents[] = {
    {"film",
     {{"v0",
       "",
       {.sample_count = 120,
        .gop = 48,
        .has_b_frames = true,
        .has_edit = true,
        .media_time = 1001}},
      {"a0",
       "English",
       {.kind = TRACK_AUDIO,
        .sample_count = 217,
        .last_duration = 700,
        .has_edit = true,
        .media_time = 1024,
        .language = "eng"}}}},
    {"pictures",
     {{"v0",
       "",
       {.timescale = 12800,
        .sample_duration = 512,
        .sample_count = 150,
        .sample_size = 40}}}},
    {"sound",
     {{"a0",
       "日本語",
       {.kind = TRACK_AUDIO, .sample_count = 200, .language = "jpn"}},
      {"a1",
       "English",
       {.kind = TRACK_AUDIO, .sample_count = 200, .language = "eng"}}}},
};

static bool is_update;
static unsigned different;

static bool
file_is(const char *path, struct bytes bytes)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        return false;
    uint8_t *held = malloc(bytes.len + 1);
    const size_t len = fread(held, 1, bytes.len + 1, f);
    const bool is_same = len == bytes.len && memcmp(held, bytes.ptr, len) == 0;
    free(held);
    fclose(f);
    return is_same;
}

static void
compare(const char *folder, const char *content, const char *name,
        struct buffer *b)
{
    char path[4096];
    test_stop_on(b->err, name);
    snprintf(path, sizeof path, "%s/%s", folder, content);
    mkdir(path, 0777);
    snprintf(path, sizeof path, "%s/%s/%s", folder, content, name);
    if (is_update) {
        test_file_save(path, buffer_bytes(b));
    } else if (!file_is(path, buffer_bytes(b))) {
        printf("--- %s is different; what is written now:\n%.*s\n", path,
               (int) b->len, (const char *) b->ptr);
        different++;
    }
    b->len = 0;
}

/* The header of a key frame's segment: what comes out before any of it goes
 * in. */
static void
key_frame_compare(const char *folder, const char *content,
                  const struct track_index *index, struct buffer *text)
{
    uint8_t header[1024];
    struct transform *key;
    struct transform_io io = {.out = header, .out_len = sizeof header};
    char name[64];
    if (key_frame_transform_open(index, 1, &key) != 0)
        return;
    if (key->run(key, &io) != 0)
        abort();
    key->close(key);
    box_dump(bytes_of(header, (size_t) (io.out - header)), text);
    snprintf(name, sizeof name, "%s.iframes.1.txt", index->info.name);
    compare(folder, content, name, text);
}

static void
track_compare(const char *folder, const char *content,
              const struct test_track *t)
{
    const struct track_index *index = &t->index;
    struct buffer boxes, text;
    struct segment s;
    char name[64];
    const char *track = index->info.name;
    buffer_init(&boxes, OUTPUT_SIZE_MAX);
    buffer_init(&text, OUTPUT_SIZE_MAX);
    hls_media_playlist_write(index, &text);
    snprintf(name, sizeof name, "%s.m3u8", track);
    compare(folder, content, name, &text);
    if (index->info.kind == TRACK_VIDEO) {
        hls_iframe_playlist_write(index, &text);
        snprintf(name, sizeof name, "%s.iframes.m3u8", track);
        compare(folder, content, name, &text);
        key_frame_compare(folder, content, index, &text);
    }
    cmaf_init_write(&index->info, &boxes);
    box_dump(buffer_bytes(&boxes), &text);
    snprintf(name, sizeof name, "%s.init.txt", track);
    compare(folder, content, name, &text);
    for (uint32_t i = 0; track_index_segment(index, i, &s) == 0; i++) {
        box_dump(bytes_of(t->media.ptr + segment_start(&s), s.header_size),
                 &text);
        snprintf(name, sizeof name, "%s.%u.txt", track, i);
        compare(folder, content, name, &text);
    }
    buffer_fini(&text);
    buffer_fini(&boxes);
}

/* What no picture has to be looked at for. */
static int
sheet_make(void *context, uint32_t number, struct buffer *out)
{
    buffer_append_be16(out, 0xffd8);
    buffer_append_le32(out, number);
    buffer_append_be16(out, 0xffd9);
    return out->err;
}

/* Manifests with thumbnails, and of a part of the film. */
static void
extras_compare(const char *folder, struct asset *asset)
{
    struct buffer sheets, index, text;
    struct track_index images;
    const struct clip clip = {.start_us = 2500000, .end_us = CLIP_TO_END};
    buffer_init(&sheets, OUTPUT_SIZE_MAX);
    buffer_init(&index, INDEX_SIZE_MAX);
    buffer_init(&text, OUTPUT_SIZE_MAX);
    const struct image_build build = {.sheet_read = sheet_make,
                                      .sink = test_sink(&sheets),
                                      .width = 320,
                                      .height = 180,
                                      .columns = 2,
                                      .rows = 1,
                                      .interval_ms = 2000,
                                      .duration_ms = 5006,
                                      .name = "i0"};
    if (image_track_build(&build, &index) != 0
        || track_index_open(buffer_bytes(&index), &images) != 0)
        abort();
    hls_media_playlist_write(&images, &text);
    compare(folder, "extras", "i0.m3u8", &text);
    asset->tracks[asset->track_count++] = images.info;
    hls_multivariant_write(asset, NULL, &text);
    compare(folder, "extras", "master.m3u8", &text);
    dash_mpd_write(asset, NULL, &text);
    compare(folder, "extras", "manifest.mpd", &text);
    asset->has_trick_play = true;
    dash_mpd_write(asset, NULL, &text);
    compare(folder, "extras", "trick.manifest.mpd", &text);
    if (asset_clip(asset, &clip) != 0)
        abort();
    hls_multivariant_write(asset, NULL, &text);
    compare(folder, "extras", "part.master.m3u8", &text);
    dash_mpd_write(asset, NULL, &text);
    compare(folder, "extras", "part.manifest.mpd", &text);
    buffer_fini(&text);
    buffer_fini(&index);
    buffer_fini(&sheets);
}

static void
content_compare(const char *folder, const struct content *content)
{
    static struct asset asset;
    struct test_track tracks[TRACKS_MAX];
    struct buffer text;
    buffer_init(&text, OUTPUT_SIZE_MAX);
    memset(&asset, 0, sizeof asset);
    for (size_t i = 0; i < TRACKS_MAX && content->tracks[i].name; i++) {
        struct test_track *t = &tracks[i];
        test_track_make(t, &content->tracks[i].movie, content->tracks[i].name,
                        2000, &content->tracks[0].movie);
        snprintf(t->index.info.label, sizeof t->index.info.label, "%s",
                 content->tracks[i].label);
        asset.tracks[asset.track_count++] = t->index.info;
        track_compare(folder, content->name, t);
    }
    hls_multivariant_write(&asset, NULL, &text);
    compare(folder, content->name, "master.m3u8", &text);
    dash_mpd_write(&asset, NULL, &text);
    compare(folder, content->name, "manifest.mpd", &text);
    if (content == &contents[0])
        extras_compare(folder, &asset);
    for (size_t i = 0; i < TRACKS_MAX && content->tracks[i].name; i++)
        test_track_fini(&tracks[i]);
    buffer_fini(&text);
}

/* ---- seeds ---- */

static void
seed_write(const char *folder, const char *target, const char *name,
           struct buffer *b)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, target);
    mkdir(path, 0777);
    snprintf(path, sizeof path, "%s/%s/%s", folder, target, name);
    test_file_save(path, buffer_bytes(b));
    b->len = 0;
}

static void
subsamples_seed_write(const char *folder, struct buffer *b)
{
    static const struct sample samples[] = {
        {.size = 700, .duration = 1001, .is_sync = true},
        {.size = 90, .duration = 1001, .composition_offset = -1001},
    };
    static const struct subsample subsamples[] = {
        {30, 400}, {70, 200}, {90, 0}};
    static const uint16_t counts[] = {2, 1};
    const struct segment_map map = {samples, 2, subsamples, counts};
    buffer_append_le32(b, 2);
    buffer_append_le32(b, 790);
    segment_map_encode(&map, b);
    seed_write(folder, "segment_map", "subsamples", b);
}

/* Small ones: a fuzzer wants many runs a second. */
static void
seeds_write(const char *folder)
{
    static const struct test_edit late_edits[] = {{50, -1, 0}, {500, 1024, 0}};
    static const struct {
        const char *name;
        struct test_movie movie;
    } seeds[] = {
        {"b-frames",
         {.sample_count = 10,
          .gop = 4,
          .has_b_frames = true,
          .has_edit = true,
          .media_time = 1001,
          .compact_bits = 8}},
        {"sound",
         {.kind = TRACK_AUDIO,
          .sample_count = 8,
          .last_duration = 70,
          .has_edit = true,
          .media_time = 1024,
          .sample_size = 3}},
        {"hevc-wide",
         {.codec = "hvc1",
          .sample_count = 6,
          .gop = 3,
          .is_wide = true,
          .compact_bits = 4,
          .samples_per_chunk = 2}},
        {"moov-last",
         {.codec = "avc3",
          .sample_count = 6,
          .is_moov_last = true,
          .sample_size = 2,
          .has_text_track = true,
          .has_empty_edit = true}},
        {"fragmented",
         {.sample_count = 6,
          .gop = 3,
          .has_b_frames = true,
          .samples_per_chunk = 3,
          .is_fragmented = true}},
        {"fragmented-text",
         {.sample_count = 4,
          .samples_per_chunk = 2,
          .sample_size = 2,
          .is_fragmented = true,
          .is_hybrid = true,
          .has_text_fragments = true,
          .fragment_base = TEST_BASE_IMPLIED}},
        {"fragmented-wide",
         {.kind = TRACK_AUDIO,
          .sample_count = 4,
          .samples_per_chunk = 2,
          .is_wide = true,
          .is_fragmented = true,
          .extended_language = "pt-BR",
          .fragment_base = TEST_BASE_OFFSET,
          .edits = late_edits,
          .edit_count = 2,
          .fragment_time = 4096}},
    };
    static struct asset asset;
    struct test_track held[sizeof seeds / sizeof seeds[0]];
    struct buffer b;
    buffer_init(&b, OUTPUT_SIZE_MAX);
    subsamples_seed_write(folder, &b);
    for (size_t i = 0; i < sizeof seeds / sizeof seeds[0]; i++) {
        struct test_track *t = &held[asset.track_count];
        struct segment s;
        test_movie_write(&seeds[i].movie, &b);
        seed_write(folder, "mp4", seeds[i].name, &b);
        if (seeds[i].movie.is_fragmented)
            continue;
        test_track_make(t, &seeds[i].movie, seeds[i].name, 100, NULL);
        if (track_index_segment(&t->index, 0, &s) != 0)
            abort();
        buffer_append_le32(&b, s.sample_count);
        buffer_append_le32(&b, s.size);
        buffer_append(&b, t->media.ptr + s.offset, s.map_size);
        seed_write(folder, "segment_map", seeds[i].name, &b);
        asset.tracks[asset.track_count++] = t->index.info;
        buffer_append_bytes(&b, buffer_bytes(&t->file));
        seed_write(folder, "index", seeds[i].name, &b);
        if (asset_encode(&asset, &b) != 0)
            abort();
        seed_write(folder, "track", seeds[i].name, &b);
    }
    for (size_t i = 0; i < asset.track_count; i++)
        test_track_fini(&held[i]);
    buffer_fini(&b);
}

int
main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--seeds") == 0) {
        seeds_write(argv[2]);
        return 0;
    }
    is_update = argc == 3 && strcmp(argv[2], "--update") == 0;
    if (argc < 2 || (argc == 3 && !is_update)) {
        fprintf(stderr, "usage: golden_test FOLDER [--update]\n");
        return 1;
    }
    for (size_t i = 0; i < sizeof contents / sizeof contents[0]; i++)
        content_compare(argv[1], &contents[i]);
    printf("%u files are different\n", different);
    return different != 0;
}
