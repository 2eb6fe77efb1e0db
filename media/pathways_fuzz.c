/* SPDX-License-Identifier: Apache-2.0 */
/* Any text as the pathways of a play. What is taken makes a playlist whose
 * lines, and an MPD whose tags, are as many as they should be. */

#include "media/index.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t
count_of(const struct buffer *text, uint8_t byte)
{
    size_t count = 0;
    for (size_t i = 0; i < text->len; i++)
        count += text->ptr[i] == byte;
    return count;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct asset asset = {
        .track_count = 1,
        .tracks[0] = {.kind = TRACK_VIDEO,
                      .name = "v0",
                      .codecs = "avc1",
                      .language = "und",
                      .timescale = 1,
                      .frame_rate_den = 1},
    };
    struct pathways steering;
    struct buffer out;

    if (pathways_parse(bytes_of(data, size), &steering) != 0)
        return 0;
    buffer_init(&out, (1u << 20) + 16 * size);
    hls_multivariant_write(&asset, &steering, &out);
    assert(out.err == 0);
    assert(count_of(&out, '\n') == 4 + 2 * steering.count);
    out.len = 0;
    dash_mpd_write(&asset, &steering, &out);
    assert(out.err == 0);
    assert(count_of(&out, '\n') == 13 + steering.count);
    assert(count_of(&out, '<') == 14 + 2 * steering.count);
    assert(count_of(&out, '>') == 14 + 2 * steering.count);
    assert(count_of(&out, '"') % 2 == 0);
    buffer_fini(&out);
    return 0;
}
