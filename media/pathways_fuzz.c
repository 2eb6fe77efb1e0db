/* SPDX-License-Identifier: Apache-2.0 */
/* Any text as the pathways of a play. What is taken makes a playlist whose
 * lines are as many as they should be. */

#include "media/index.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct asset asset = {
        .track_count = 1,
        .tracks[0] = {.kind = TRACK_VIDEO, .name = "v0", .codecs = "avc1"},
    };
    struct pathways steering;
    struct buffer out;
    size_t lines = 0;

    asset.tracks[0].frame_rate_den = 1;
    if (pathways_parse(bytes_of(data, size), &steering) != 0)
        return 0;
    buffer_init(&out, (1u << 20) + 16 * size);
    hls_multivariant_write(&asset, &steering, &out);
    assert(out.err == 0);
    for (size_t i = 0; i < out.len; i++)
        lines += out.ptr[i] == '\n';
    assert(lines == 4 + 2 * steering.count);
    buffer_fini(&out);
    return 0;
}
