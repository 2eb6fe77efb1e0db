/* SPDX-License-Identifier: Apache-2.0 */

/* Any bytes as an index, as they are and under a right seal: without that the
 * checksum would keep all mutations from what lies behind it. */

#include "media/index_format.h"
#include "media/sealed.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
index_use(const struct track_index *index)
{
    struct buffer out;
    struct segment s;
    buffer_init(&out, 1u << 24);
    cmaf_init_write(&index->info, &out);
    hls_media_playlist_write(index, &out);
    hls_iframe_playlist_write(index, &out);
    for (uint32_t i = 0; track_index_segment(index, i, &s) == 0; i++) {
        if (segment_start(&s) + segment_length(&s) > index->info.media_size)
            abort();
    }
    buffer_fini(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct track_index index;
    struct buffer sealed;
    if (track_index_open(bytes_of(data, size), &index) == 0)
        index_use(&index);
    buffer_init(&sealed, INDEX_SIZE_MAX);
    const size_t start = sealed_begin(&sealed, INDEX_MAGIC, INDEX_VERSION);
    if (size > SEALED_HEADER_SIZE)
        buffer_append(&sealed, data + SEALED_HEADER_SIZE,
                      size - SEALED_HEADER_SIZE);
    sealed_end(&sealed, start);
    if (track_index_open(buffer_bytes(&sealed), &index) == 0)
        index_use(&index);
    buffer_fini(&sealed);
    return 0;
}
