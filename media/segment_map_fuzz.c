/* SPDX-License-Identifier: Apache-2.0 */

/* Any bytes as a map: how many samples and bytes its segment has, then the
 * box, as it is and under a right seal. */

#include "media/sealed.h"
#include "media/segment_map.h"

#include <stdlib.h>

#define BOX_HEADER_SIZE 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
map_use(const struct segment_map *map, const struct segment *segment)
{
    uint64_t size = 0, subsamples_size = 0, subsample_count = 0;
    for (uint32_t i = 0; i < map->sample_count; i++) {
        size += map->samples[i].size;
        if (map->subsample_counts != NULL)
            subsample_count += map->subsample_counts[i];
    }
    for (uint64_t i = 0; i < subsample_count; i++)
        subsamples_size +=
            (uint64_t) map->subsamples[i].clear + map->subsamples[i].rest;
    if (size != segment->size
        || (map->subsample_counts != NULL && subsamples_size != size))
        abort();
}

static void
box_try(struct bytes box, const struct segment *segment)
{
    struct segment_map map;
    struct buffer again;
    size_t size;
    if (segment_map_memory_size(box, &size) != 0)
        return;
    void *memory = malloc(size + 1);
    if (segment_map_decode(box, segment, memory, &map) == 0) {
        map_use(&map, segment);
        buffer_init(&again, SEGMENT_MAP_SIZE_MAX);
        segment_map_encode(&map, &again);
        if (again.err != 0 || again.len > box.len)
            abort();
        buffer_fini(&again);
    }
    free(memory);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 8 + BOX_HEADER_SIZE + SEALED_HEADER_SIZE)
        return 0;
    const struct segment segment = {.sample_count = load_le32(data),
                                    .size = load_le32(data + 4)};
    box_try(bytes_of(data + 8, size - 8), &segment);
    struct buffer box;
    buffer_init(&box, SEGMENT_MAP_SIZE_MAX);
    buffer_append(&box, data + 8, BOX_HEADER_SIZE);
    const size_t start = sealed_begin(&box, "VODSTmap", 1);
    const size_t body = 8 + BOX_HEADER_SIZE + SEALED_HEADER_SIZE;
    buffer_append(&box, data + body, size - body);
    sealed_end(&box, start);
    if (box.err == 0) {
        store_be32(box.ptr, (uint32_t) box.len);
        memcpy(box.ptr + 4, "free", 4);
        box_try(buffer_bytes(&box), &segment);
    }
    buffer_fini(&box);
    return 0;
}
