/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_INDEX_FORMAT_H
#define MEDIA_INDEX_FORMAT_H

/*
 * The bytes of an index behind the seal (media/sealed.h). Internal to media/.
 *
 *   track record                      media/track_record.h
 *   sample flags      u32 le          INDEX_HAS_*
 *   duration_default  u32 le          of every sample but the last,
 *   duration_last     u32 le          unless the records have durations
 *   segments          segment_count x INDEX_SEGMENT_SIZE
 *   samples           sample_count x
 *     size << 1 | sync   u32 le
 *     composition offset i32 le       with INDEX_HAS_COMPOSITION
 *     duration           u32 le       with INDEX_HAS_DURATIONS
 */

#include "media/index.h"

#define INDEX_MAGIC "VODSTidx"
#define INDEX_VERSION 2

#define INDEX_HAS_COMPOSITION 1u
#define INDEX_HAS_DURATIONS 2u

#define INDEX_SEGMENT_SIZE 40 /* bytes */
#define INDEX_SAMPLE_SIZE_MAX 0x7fffffffu

static inline uint32_t
index_sample_record_size(uint32_t flags)
{
    return 4 + (flags & INDEX_HAS_COMPOSITION ? 4 : 0)
           + (flags & INDEX_HAS_DURATIONS ? 4 : 0);
}

static inline void
index_sample_load(const struct track_index *index, uint32_t number,
                  struct sample *out)
{
    const uint8_t *p =
        index->samples + (size_t) number * index->sample_record_size;
    const uint32_t word = load_le32(p);
    out->size = word >> 1;
    out->is_sync = word & 1;
    out->composition_offset = 0;
    p += 4;
    if (index->sample_flags & INDEX_HAS_COMPOSITION) {
        out->composition_offset = (int32_t) load_le32(p);
        p += 4;
    }
    if (index->sample_flags & INDEX_HAS_DURATIONS)
        out->duration = load_le32(p);
    else if (number + 1 == index->info.sample_count)
        out->duration = index->duration_last;
    else
        out->duration = index->duration_default;
}

static inline void
index_segment_load(const struct track_index *index, uint32_t number,
                   struct segment *out)
{
    const uint8_t *p = index->segments + (size_t) number * INDEX_SEGMENT_SIZE;
    out->number = load_le32(p);
    out->first_sample = load_le32(p + 4);
    out->sample_count = load_le32(p + 8);
    out->size = load_le32(p + 12);
    out->offset = load_le64(p + 16);
    out->decode_time = load_le64(p + 24);
    out->duration = load_le32(p + 32);
    /* 4 bytes of zero keep the records aligned */
}

#endif
