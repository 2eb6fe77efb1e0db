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

#include "core/err.h"
#include "media/crypt/aes128.h"
#include "media/hls/ts_playlist.h"
#include "media/index.h"
#include "media/mp4/mp4.h"
#include "media/timeline.h"
#include "media/ts/ts.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define OUTPUT_SIZE_MAX (1u << 30)

/* Small and odd, so that everything is split somewhere. */
#define PIECE_IN 4093
#define PIECE_OUT 8191

struct cut {
    uint32_t first, count; /* samples */
    uint64_t offset;       /* in the track's bytes */
    uint64_t decode_time;
};

struct film_track {
    struct track_info info;
    struct mp4_movie movie;
    struct sample *samples;
    uint8_t *bytes; /* of all samples, one behind the other */
    struct cut *cuts;
    uint32_t cut_count;
    struct buffer timeline;
};

static uint8_t key[AES128_KEY_SIZE];
static bool has_key;

struct cuts {
    uint64_t *times;
    uint32_t count;
    uint32_t timescale;
};

static void
stop(const char *what, const char *why)
{
    fprintf(stderr, "ts_dump: %s: %s\n", what, why);
    exit(1);
}

static void
stop_on(int err, const char *what)
{
    if (err != 0)
        stop(what, err_name(err));
}

static void *
memory(size_t count, size_t size)
{
    void *p = calloc(count + 1, size);
    if (p == NULL)
        stop("memory", "there is none left");
    return p;
}

/* The caller frees. */
static struct bytes
file_load(const char *path)
{
    struct stat st;
    FILE *f = fopen(path, "rb");
    if (f == NULL || fstat(fileno(f), &st) != 0)
        stop(path, "cannot be opened");
    uint8_t *p = memory((size_t) st.st_size, 1);
    if (fread(p, 1, (size_t) st.st_size, f) != (size_t) st.st_size)
        stop(path, "cannot be read");
    fclose(f);
    return bytes_of(p, (size_t) st.st_size);
}

static void
file_save(const char *folder, const char *name, struct bytes bytes)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    if (f == NULL || fwrite(bytes.ptr, 1, bytes.len, f) != bytes.len
        || fclose(f) != 0)
        stop(path, "cannot be written");
}

static int
memory_read(void *context, uint64_t offset, void *out, size_t len)
{
    const struct bytes *file = context;
    if (offset > file->len || len > file->len - offset)
        return ERR_TRUNCATED;
    memcpy(out, file->ptr + offset, len);
    return 0;
}

/* ---- a track ---- */

static int64_t
shown_at(const struct mp4_track *track, uint32_t number)
{
    const struct mp4_sample *s = &track->samples[number];
    return (int64_t) s->decode_time + s->composition_offset - track->media_time;
}

/* Whether the sample is the one to cut at: the nearest to the time. */
static bool
is_at_cut(const struct mp4_track *track, uint32_t number,
          const struct cuts *cuts, uint32_t cut)
{
    const struct mp4_sample *s = &track->samples[number];
    const __int128 middle =
        (__int128) shown_at(track, number) * 2 + s->duration;
    return s->is_sync
           && middle * cuts->timescale
                  >= (__int128) cuts->times[cut] * 2 * track->timescale;
}

static void
track_cut(struct film_track *t, const struct mp4_track *track,
          const struct cuts *cuts)
{
    uint64_t offset = 0;
    uint32_t cut = 0;
    t->cuts = memory(cuts->count, sizeof *t->cuts);
    for (uint32_t i = 0; i < track->sample_count; i++) {
        if (i == 0 || (cut < cuts->count && is_at_cut(track, i, cuts, cut))) {
            t->cuts[t->cut_count++] =
                (struct cut){i, 0, offset, track->samples[i].decode_time};
            cut++;
        }
        t->cuts[t->cut_count - 1].count++;
        offset += track->samples[i].size;
    }
}

static void
timeline_set(struct film_track *t, const struct mp4_track *track)
{
    buffer_init(&t->timeline, OUTPUT_SIZE_MAX);
    uint64_t start = 0;
    for (uint32_t i = 0; i < t->cut_count; i++) {
        uint64_t end = track->duration;
        if (i + 1 < t->cut_count)
            end = (uint64_t) shown_at(track, t->cuts[i + 1].first);
        const struct timeline_run run = {(uint32_t) (end - start), 1};
        timeline_append(&t->timeline, &run);
        if (run.duration > t->info.segment_duration_max)
            t->info.segment_duration_max = run.duration;
        start = end;
    }
    t->info.timeline = buffer_bytes(&t->timeline);
    t->info.segment_count = t->cut_count;
}

static void
samples_set(struct film_track *t, const struct mp4_track *track,
            struct bytes file)
{
    uint64_t size = 0;
    t->samples = memory(track->sample_count, sizeof *t->samples);
    for (uint32_t i = 0; i < track->sample_count; i++)
        size += track->samples[i].size;
    t->bytes = memory(size, 1);
    t->info.media_size = size;
    size = 0;
    for (uint32_t i = 0; i < track->sample_count; i++) {
        const struct mp4_sample *s = &track->samples[i];
        const int64_t offset = track->kind == TRACK_VIDEO
                                   ? s->composition_offset - track->media_time
                                   : 0;
        t->samples[i] =
            (struct sample){s->size, s->duration, (int32_t) offset, s->is_sync};
        memcpy(t->bytes + size, file.ptr + s->offset, s->size);
        size += s->size;
    }
}

static void
track_open(struct film_track *t, const char *name, const char *path,
           uint32_t target_ms, struct cuts *cuts)
{
    struct mp4_error error;
    struct bytes file = file_load(path);
    const struct mp4_source source = {memory_read, &file, file.len};
    stop_on(mp4_open(&source, &t->movie, &error), path);
    const struct mp4_track *track = &t->movie.tracks[0];
    if (cuts->times == NULL) {
        stop_on(
            segment_cuts_of_video(track, target_ms, &cuts->times, &cuts->count),
            path);
        cuts->timescale = track->timescale;
    }
    struct track_info *info = &t->info;
    snprintf(info->name, sizeof info->name, "%s", name);
    snprintf(info->codecs, sizeof info->codecs, "%s", track->codecs);
    snprintf(info->language, sizeof info->language, "%s", track->language);
    info->kind = track->kind;
    info->timescale = track->timescale;
    info->duration = track->duration;
    info->media_time = track->media_time;
    info->sample_entry = track->sample_entry;
    info->sample_count = track->sample_count;
    info->width = track->width;
    info->height = track->height;
    info->channels = track->channels;
    info->sample_rate = track->sample_rate;
    info->frame_rate_num = track->sample_count * track->timescale;
    info->frame_rate_den = (uint32_t) track->duration;
    samples_set(t, track, file);
    track_cut(t, track, cuts);
    timeline_set(t, track);
    info->bandwidth_average = info->bandwidth_peak =
        (uint32_t) (info->media_size * 8 * info->timescale / info->duration);
    free((void *) (uintptr_t) file.ptr);
}

/* ---- segments ---- */

static struct transform *
encrypted(struct transform *plain, uint32_t number)
{
    uint8_t iv[AES128_BLOCK_SIZE];
    struct transform *t;
    aes128_iv_of_segment(number, iv);
    stop_on(aes128_transform_open(plain, 0, key, iv, &t), "key");
    return t;
}

static void
transform_run(struct transform *t, const struct film_track *const *tracks,
              const uint64_t *offsets, struct ts_inputs *inputs,
              struct buffer *out)
{
    uint8_t piece[PIECE_OUT];
    struct ts_range range = {0};
    uint64_t size_in = 0, size_out = 0;
    for (;;) {
        if (range.size == 0 && !ts_inputs_next(inputs, &range))
            range.size = 0;
        const uint64_t len = range.size < PIECE_IN ? range.size : PIECE_IN;
        struct transform_io io = {tracks[range.source]->bytes
                                      + offsets[range.source] + range.offset,
                                  (size_t) len, piece, sizeof piece};
        stop_on(t->run(t, &io), "transform");
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
        stop("transform", "sizes are not what was said");
}

static void
segment_write(const struct film_track *const *tracks, size_t count,
              uint32_t number, struct buffer *out)
{
    struct ts_source sources[TS_SOURCES_MAX];
    uint64_t offsets[TS_SOURCES_MAX] = {0};
    for (size_t i = 0; i < count; i++) {
        const struct film_track *track = tracks[i];
        sources[i] = (struct ts_source){.info = &track->info};
        if (number >= track->cut_count)
            continue;
        const struct cut *cut = &track->cuts[number];
        sources[i].samples = track->samples + cut->first;
        sources[i].sample_count = cut->count;
        sources[i].decode_time = cut->decode_time;
        offsets[i] = cut->offset;
    }
    struct transform *t;
    struct ts_inputs inputs;
    stop_on(ts_transform_open(sources, count, number, &t), "segment");
    if (has_key)
        t = encrypted(t, number);
    ts_inputs_begin(&inputs, sources, count);
    transform_run(t, tracks, offsets, &inputs, out);
    t->close(t);
}

static void
tracks_dump(const char *folder, const struct film_track *const *tracks,
            size_t count)
{
    char path[4096];
    struct buffer b, all;
    buffer_init(&b, OUTPUT_SIZE_MAX);
    buffer_init(&all, OUTPUT_SIZE_MAX);
    snprintf(path, sizeof path, "%s/%s%s%s", folder, tracks[0]->info.name,
             count > 1 ? "~" : "", count > 1 ? tracks[1]->info.name : "");
    mkdir(path, 0777);
    for (uint32_t i = 0; i < tracks[0]->cut_count; i++) {
        char name[32];
        b.len = 0;
        segment_write(tracks, count, i, &b);
        snprintf(name, sizeof name, "%u.ts", i);
        file_save(path, name, buffer_bytes(&b));
        buffer_append_bytes(&all, buffer_bytes(&b));
    }
    stop_on(all.err, folder);
    file_save(path, "all.ts", buffer_bytes(&all));
    const struct hls_key playlist_key = {.uri = BYTES_LITERAL("../key.bin")};
    b.len = 0;
    ts_media_playlist_write(&tracks[0]->info, has_key ? &playlist_key : NULL,
                            &b);
    stop_on(b.err, folder);
    file_save(path, "index.m3u8", buffer_bytes(&b));
    buffer_fini(&all);
    buffer_fini(&b);
}

static void
master_dump(const char *folder, const struct film_track *tracks, size_t count)
{
    static struct asset asset;
    struct buffer b;
    buffer_init(&b, OUTPUT_SIZE_MAX);
    for (size_t i = 0; i < count; i++)
        asset.tracks[asset.track_count++] = tracks[i].info;
    ts_multivariant_write(&asset, NULL, &b);
    stop_on(b.err, folder);
    file_save(folder, "master.m3u8", buffer_bytes(&b));
    buffer_fini(&b);
}

static void
key_read(const char *text)
{
    for (size_t i = 0; i < sizeof key; i++) {
        unsigned byte;
        if (sscanf(text + 2 * i, "%2x", &byte) != 1)
            stop("TS_DUMP_KEY", "is not 32 hexadecimal digits");
        key[i] = (uint8_t) byte;
    }
    has_key = true;
}

static void
track_close(struct film_track *t)
{
    mp4_close(&t->movie);
    free(t->samples);
    free(t->bytes);
    free(t->cuts);
    buffer_fini(&t->timeline);
}

int
main(int argc, char **argv)
{
    static struct film_track tracks[ASSET_TRACKS_MAX];
    const struct film_track *audio = NULL;
    struct cuts cuts = {0};
    size_t count = 0;
    if (argc < 4 || argc - 3 > ASSET_TRACKS_MAX)
        stop("usage", "ts_dump FOLDER TARGET_MS NAME=FILE...");
    mkdir(argv[1], 0777);
    if (getenv("TS_DUMP_KEY") != NULL) {
        key_read(getenv("TS_DUMP_KEY"));
        file_save(argv[1], "key.bin", bytes_of(key, sizeof key));
    }
    for (int i = 3; i < argc; i++) {
        char *path = strchr(argv[i], '=');
        if (path == NULL)
            stop(argv[i], "is not NAME=FILE");
        *path++ = 0;
        struct film_track *t = &tracks[count++];
        track_open(t, argv[i], path, (uint32_t) atoi(argv[2]), &cuts);
        if (audio == NULL && t->info.kind == TRACK_AUDIO)
            audio = t;
    }
    for (size_t i = 0; i < count; i++) {
        const struct film_track *pair[] = {&tracks[i], audio};
        tracks_dump(argv[1], pair, 1);
        if (audio != NULL && tracks[i].info.kind == TRACK_VIDEO)
            tracks_dump(argv[1], pair, 2);
    }
    master_dump(argv[1], tracks, count);
    for (size_t i = 0; i < count; i++)
        track_close(&tracks[i]);
    free(cuts.times);
    return 0;
}
