/* SPDX-License-Identifier: Apache-2.0 */

#include "media/key_frame.h"

#include "core/err.h"
#include "media/segment_map.h"
#include "media/timeline.h"

#include <stdlib.h>

#define HEADER_SIZE_MAX 1024 /* bytes; of one sample */

struct key_frame_transform {
    struct transform super; /* first */
    struct buffer header;
    size_t header_put;
};

static int
key_frame_run(struct transform *self, struct transform_io *io)
{
    struct key_frame_transform *t = (struct key_frame_transform *) self;
    const size_t left = t->header.len - t->header_put;
    size_t len = left < io->out_len ? left : io->out_len;
    memcpy(io->out, t->header.ptr + t->header_put, len);
    t->header_put += len;
    io->out += len;
    io->out_len -= len;
    len = io->in_len < io->out_len ? io->in_len : io->out_len;
    if (len > 0)
        memcpy(io->out, io->in, len);
    io->in += len;
    io->in_len -= len;
    io->out += len;
    io->out_len -= len;
    return 0;
}

static void
key_frame_close(struct transform *self)
{
    struct key_frame_transform *t = (struct key_frame_transform *) self;
    buffer_fini(&t->header);
    free(t);
}

/* When the segment is presented; its decode time is another. */
static uint64_t
segment_time(const struct track_info *info, uint32_t number)
{
    struct bytes timeline = info->timeline;
    struct timeline_run run;
    uint64_t time = 0;
    for (; number > 0 && timeline_take(&timeline, &run); number -= run.count) {
        if (run.count > number)
            run.count = number;
        time += (uint64_t) run.duration * run.count;
    }
    return time;
}

/* The edit list takes off what the offset 0 of a sample adds. */
static int
header_write(const struct track_index *index, const struct segment *from,
             struct buffer *out)
{
    const struct sample sample = {
        .size = from->key_size, .duration = from->duration, .is_sync = true};
    const struct segment_map map = {.samples = &sample, .sample_count = 1};
    const struct segment segment = {
        .number = from->number,
        .sample_count = 1,
        .size = from->key_size,
        .decode_time = segment_time(&index->info, from->number),
    };
    cmaf_segment_header_write(&index->info, &segment, &map, out);
    return out->err;
}

int
key_frame_transform_open(const struct track_index *index, uint32_t number,
                         struct transform **out)
{
    struct segment segment;
    int err = track_index_segment(index, number, &segment);
    if (err != 0)
        return err;
    if (segment.key_size == 0 || index->info.key_bandwidth_peak == 0)
        return ERR_NOT_FOUND; /* of sound every sample would be one */
    struct key_frame_transform *t = calloc(1, sizeof *t);
    if (t == NULL)
        return ERR_MEMORY;
    buffer_init(&t->header, HEADER_SIZE_MAX);
    err = header_write(index, &segment, &t->header);
    if (err != 0) {
        key_frame_close(&t->super);
        return err;
    }
    t->super = (struct transform){.size_in = segment.key_size,
                                  .size_out = t->header.len + segment.key_size,
                                  .run = key_frame_run,
                                  .close = key_frame_close};
    *out = &t->super;
    return 0;
}
