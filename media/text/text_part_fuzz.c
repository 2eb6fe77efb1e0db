/* SPDX-License-Identifier: Apache-2.0 */

/* Any bytes as the stored text of two segments: how long the header of each is
 * and where the second starts, then the text. */

#include "core/err.h"
#include "media/index_format.h"
#include "media/text/text_part.h"

#include <assert.h>

#define PREFIX_SIZE 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
segment_add(struct buffer *records, uint64_t offset, size_t size,
            uint8_t header_size)
{
    const size_t header = header_size < size ? header_size : size;
    const struct segment s = {.offset = offset,
                              .header_size = (uint32_t) header,
                              .size = (uint32_t) (size - header),
                              .decode_time = offset == 0 ? 0 : 2000,
                              .duration = 2000};
    index_segment_append(&s, records);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < PREFIX_SIZE || size > UINT16_MAX)
        return 0;
    const struct bytes text = bytes_of(data + PREFIX_SIZE, size - PREFIX_SIZE);
    const size_t cut = (size_t) data[2] << 8 | data[3];
    const size_t first = cut < text.len ? cut : text.len;
    struct buffer records, out;
    struct text_part part;
    buffer_init(&records, 1024);
    buffer_init(&out, 1u << 20);
    segment_add(&records, 0, first, data[0]);
    segment_add(&records, first, text.len - first, data[1]);
    const struct track_index index = {
        .info = {.kind = TRACK_TEXT, .timescale = 1000, .segment_count = 2},
        .segments = records.ptr};
    for (uint32_t i = 0; i < 3; i++) {
        out.len = 0;
        int err = text_part_find(&index, i / 2, (i + 1) / 2, &part);
        assert(err == 0);
        err = text_part_write(
            &index, &part,
            bytes_of(text.ptr + part.start, (size_t) (part.end - part.start)),
            &out);
        assert(err == 0 || err == ERR_INVALID);
    }
    buffer_fini(&out);
    buffer_fini(&records);
    return 0;
}
