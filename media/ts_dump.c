/* SPDX-License-Identifier: Apache-2.0 */

/*
 * For tests: turns single-track MP4 files into transport streams for HLS.
 *
 *     ts_dump FOLDER TARGET_MS NAME=FILE...
 *
 * writes FOLDER/master.m3u8 and, for each NAME and for each video with the
 * first audio ("v0~a0"), FOLDER/<tracks>/{index.m3u8,<n>.ts,all.ts}, the last
 * being the segments one behind the other. The first video is cut at its key
 * frames and the others where it is. With the variable TS_DUMP_KEY, 32
 * hexadecimal digits, segments are encrypted with AES-128 under key.bin.
 */

#include "media/crypt/aes128.h"
#include "media/hls/ts_playlist.h"
#include "media/testing/film.h"
#include "media/ts/ts.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

/* Small and odd, so that everything is split somewhere. */
#define PIECE_IN 4093
#define PIECE_OUT 8191

static uint8_t key[AES128_KEY_SIZE];
static bool has_key;

static struct transform *
encrypted(struct transform *plain, uint32_t number)
{
    uint8_t iv[AES128_BLOCK_SIZE];
    struct transform *t;
    aes128_iv_of_segment(number, iv);
    test_stop_on(aes128_transform_open(plain, 0, key, iv, &t), "key");
    return t;
}

/* `samples` are the bytes of each source. */
static void
transform_run(struct transform *t, const uint8_t *const *samples,
              struct ts_inputs *inputs, struct buffer *out)
{
    uint8_t piece[PIECE_OUT];
    struct ts_range range = {0};
    uint64_t size_in = 0, size_out = 0;
    for (;;) {
        if (range.size == 0 && !ts_inputs_next(inputs, &range))
            range.size = 0;
        const uint64_t len = range.size < PIECE_IN ? range.size : PIECE_IN;
        struct transform_io io = {samples[range.source] + range.offset,
                                  (size_t) len, piece, sizeof piece};
        test_stop_on(t->run(t, &io), "transform");
        const uint64_t taken = len - io.in_len;
        const size_t put = sizeof piece - io.out_len;
        range.offset += taken;
        range.size -= taken;
        size_in += taken;
        size_out += put;
        buffer_append(out, piece, put);
        if (taken == 0 && put == 0)
            break;
    }
    if (size_in != t->size_in || size_out != t->size_out)
        test_stop("transform", "sizes are not what was said");
}

static void
segment_write(const struct test_track *const *tracks, size_t count,
              uint32_t number, struct buffer *out)
{
    struct ts_source sources[TS_SOURCES_MAX];
    const uint8_t *samples[TS_SOURCES_MAX] = {NULL};
    void *memory[TS_SOURCES_MAX] = {NULL};
    for (size_t i = 0; i < count; i++) {
        const struct test_track *track = tracks[i];
        struct segment s;
        sources[i] = (struct ts_source){.info = &track->index.info};
        if (track_index_segment(&track->index, number, &s) != 0)
            continue;
        const struct segment_map map =
            test_map_open(buffer_bytes(&track->media), &s, &memory[i]);
        sources[i].samples = map.samples;
        sources[i].sample_count = map.sample_count;
        sources[i].decode_time = s.decode_time;
        samples[i] = track->media.ptr + segment_samples_start(&s);
    }
    struct transform *t;
    struct ts_inputs inputs;
    test_stop_on(ts_transform_open(sources, count, number, &t), "segment");
    if (has_key)
        t = encrypted(t, number);
    ts_inputs_begin(&inputs, sources, count);
    transform_run(t, samples, &inputs, out);
    t->close(t);
    for (size_t i = 0; i < count; i++)
        free(memory[i]);
}

static void
tracks_dump(const char *folder, const struct test_track *const *tracks,
            size_t count)
{
    char path[4096];
    struct buffer b, all;
    buffer_init(&b, TEST_OUTPUT_SIZE_MAX);
    buffer_init(&all, TEST_OUTPUT_SIZE_MAX);
    snprintf(path, sizeof path, "%s/%s%s%s", folder, tracks[0]->index.info.name,
             count > 1 ? "~" : "", count > 1 ? tracks[1]->index.info.name : "");
    mkdir(path, 0777);
    for (uint32_t i = 0; i < tracks[0]->index.info.segment_count; i++) {
        char name[32];
        b.len = 0;
        segment_write(tracks, count, i, &b);
        snprintf(name, sizeof name, "%u.ts", i);
        test_file_save_in(path, name, buffer_bytes(&b));
        buffer_append_bytes(&all, buffer_bytes(&b));
    }
    test_stop_on(all.err, folder);
    test_file_save_in(path, "all.ts", buffer_bytes(&all));
    const struct hls_key playlist_key = {.uri = BYTES_LITERAL("../key.bin")};
    const struct hls_keys keys = {.list = &playlist_key, .count = 1};
    b.len = 0;
    ts_media_playlist_write(&tracks[0]->index.info, has_key ? &keys : NULL, &b);
    test_stop_on(b.err, folder);
    test_file_save_in(path, "index.m3u8", buffer_bytes(&b));
    buffer_fini(&all);
    buffer_fini(&b);
}

static void
master_dump(const char *folder, const struct test_track *tracks, size_t count)
{
    static struct asset asset;
    struct buffer b;
    buffer_init(&b, TEST_OUTPUT_SIZE_MAX);
    for (size_t i = 0; i < count; i++)
        asset.tracks[asset.track_count++] = tracks[i].index.info;
    ts_multivariant_write(&asset, NULL, &b);
    test_stop_on(b.err, folder);
    test_file_save_in(folder, "master.m3u8", buffer_bytes(&b));
    buffer_fini(&b);
}

int
main(int argc, char **argv)
{
    static struct test_track tracks[ASSET_TRACKS_MAX];
    const struct test_track *audio = NULL;
    if (argc < 4 || argc - 3 > ASSET_TRACKS_MAX)
        test_stop("usage", "ts_dump FOLDER TARGET_MS NAME=FILE...");
    const size_t count = (size_t) argc - 3;
    test_films_store(argv + 3, count, (uint32_t) atoi(argv[2]), tracks);
    mkdir(argv[1], 0777);
    if (getenv("TS_DUMP_KEY") != NULL) {
        test_hex_read(getenv("TS_DUMP_KEY"), key);
        has_key = true;
        test_file_save_in(argv[1], "key.bin", bytes_of(key, sizeof key));
    }
    for (size_t i = count; i-- > 0;) {
        if (tracks[i].index.info.kind == TRACK_AUDIO)
            audio = &tracks[i];
    }
    for (size_t i = 0; i < count; i++) {
        const struct test_track *pair[] = {&tracks[i], audio};
        tracks_dump(argv[1], pair, 1);
        if (audio != NULL && tracks[i].index.info.kind == TRACK_VIDEO)
            tracks_dump(argv[1], pair, 2);
    }
    master_dump(argv[1], tracks, count);
    for (size_t i = 0; i < count; i++)
        test_track_fini(&tracks[i]);
    return 0;
}
