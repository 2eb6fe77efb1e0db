/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_INDEX_FORMAT_H
#define MEDIA_INDEX_FORMAT_H

/*
 * The bytes of an index behind the seal (media/sealed.h): a track record
 * (media/track_record.h), and a record for each segment. Internal to media/.
 *
 *    0  offset        u64 le
 *    8  decode time   u64 le
 *   16  map size      u32 le
 *   20  header size   u32 le
 *   24  size          u32 le
 *   28  key size      u32 le
 *   32  sample count  u32 le
 *   36  duration      u32 le
 */

#include "media/index.h"

#define INDEX_MAGIC "VODSTidx"
#define INDEX_VERSION 3

#define INDEX_SEGMENT_SIZE 40 /* bytes */

static inline void
index_segment_load(const struct track_index *index, uint32_t number,
                   struct segment *out)
{
    const uint8_t *p = index->segments + (size_t) number * INDEX_SEGMENT_SIZE;
    out->number = number;
    out->offset = load_le64(p);
    out->decode_time = load_le64(p + 8);
    out->map_size = load_le32(p + 16);
    out->header_size = load_le32(p + 20);
    out->size = load_le32(p + 24);
    out->key_size = load_le32(p + 28);
    out->sample_count = load_le32(p + 32);
    out->duration = load_le32(p + 36);
}

static inline void
index_segment_append(const struct segment *segment, struct buffer *out)
{
    buffer_append_le64(out, segment->offset);
    buffer_append_le64(out, segment->decode_time);
    buffer_append_le32(out, segment->map_size);
    buffer_append_le32(out, segment->header_size);
    buffer_append_le32(out, segment->size);
    buffer_append_le32(out, segment->key_size);
    buffer_append_le32(out, segment->sample_count);
    buffer_append_le32(out, segment->duration);
}

/* Appends the index of a track, whose info is checked by the caller;
 * `records` are of its segments. */
int index_file_append(const struct track_info *info, struct bytes records,
                      struct buffer *out);

/* Sets the bandwidths, of the segments that the index has: duration and
 * segment_duration_max of the info are known to be theirs. */
void index_bandwidths_set(struct track_info *info,
                          const struct track_index *index);

#endif
