/* SPDX-License-Identifier: Apache-2.0 */

/*
 * For tests: turns single-track MP4 files into what an origin serves.
 *
 *     cmaf_dump FOLDER TARGET_MS NAME=FILE...
 *
 * writes FOLDER/master.m3u8, FOLDER/asset.idx and for each NAME
 * FOLDER/NAME.mp4, FOLDER/NAME.idx and
 * FOLDER/NAME/{index.m3u8,init.mp4,<n>.m4s,all.mp4}, the last being init
 * segment and segments one behind the other. The first video is cut at its key
 * frames and the others where it is.
 */

#include "media/testing/film.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static void
segments_save(const struct test_track *t, const char *folder)
{
    struct buffer b, all;
    struct segment s;
    buffer_init(&b, TEST_OUTPUT_SIZE_MAX);
    buffer_init(&all, TEST_OUTPUT_SIZE_MAX);
    cmaf_init_write(&t->index.info, &b);
    test_file_save_in(folder, "init.mp4", buffer_bytes(&b));
    buffer_append_bytes(&all, buffer_bytes(&b));
    for (uint32_t i = 0; track_index_segment(&t->index, i, &s) == 0; i++) {
        char name[32];
        const struct bytes bytes =
            bytes_of(t->media.ptr + segment_start(&s), segment_length(&s));
        snprintf(name, sizeof name, "%u.m4s", i);
        test_file_save_in(folder, name, bytes);
        buffer_append_bytes(&all, bytes);
    }
    test_stop_on(all.err, folder);
    test_file_save_in(folder, "all.mp4", buffer_bytes(&all));
    b.len = 0;
    hls_media_playlist_write(&t->index, &b);
    test_file_save_in(folder, "index.m3u8", buffer_bytes(&b));
    buffer_fini(&all);
    buffer_fini(&b);
}

static void
track_save(const struct test_track *t, const char *folder)
{
    char text[4096];
    const char *name = t->index.info.name;
    snprintf(text, sizeof text, "%s.mp4", name);
    test_file_save_in(folder, text, buffer_bytes(&t->media));
    snprintf(text, sizeof text, "%s.idx", name);
    test_file_save_in(folder, text, buffer_bytes(&t->file));
    snprintf(text, sizeof text, "%s/%s", folder, name);
    mkdir(text, 0777);
    segments_save(t, text);
}

static void
asset_save(const struct asset *asset, const char *folder)
{
    static struct asset decoded;
    struct buffer b;
    buffer_init(&b, ASSET_SIZE_MAX);
    test_stop_on(asset_encode(asset, &b), "asset");
    test_stop_on(asset_decode(buffer_bytes(&b), &decoded), "asset");
    test_file_save_in(folder, "asset.idx", buffer_bytes(&b));
    b.len = 0;
    hls_multivariant_write(asset, NULL, &b);
    test_file_save_in(folder, "master.m3u8", buffer_bytes(&b));
    buffer_fini(&b);
}

int
main(int argc, char **argv)
{
    static struct asset asset;
    static struct test_track tracks[ASSET_TRACKS_MAX];
    if (argc < 4 || argc - 3 > ASSET_TRACKS_MAX)
        test_stop("usage", "cmaf_dump FOLDER TARGET_MS NAME=FILE...");
    const size_t count = (size_t) argc - 3;
    test_films_store(argv + 3, count, (uint32_t) atoi(argv[2]), tracks);
    mkdir(argv[1], 0777);
    for (size_t i = 0; i < count; i++) {
        track_save(&tracks[i], argv[1]);
        asset.tracks[asset.track_count++] = tracks[i].index.info;
    }
    asset_save(&asset, argv[1]);
    for (size_t i = 0; i < count; i++)
        test_track_fini(&tracks[i]);
    return 0;
}
