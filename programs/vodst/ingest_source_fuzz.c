/* SPDX-License-Identifier: Apache-2.0 */
/* ffprobe's JSON speaks of files from strangers: any of it is read into
 * bounds, and what is taken can be made a command line of. */

#include "programs/vodst/ingest_encode.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct source source;
    static const unsigned heights[] = {720, 480, 360};
    const char *reason = NULL;
    if (source_parse(bytes_of(data, size), &source, &reason) != 0) {
        assert(reason != NULL);
        return 0;
    }
    struct encode_plan plan = {.segment_ms = 4000,
                               .crf = 23,
                               .preset = "veryfast",
                               .audio_count = source.audio_count};
    ladder_fit(heights, 3, &source, &plan);
    assert(plan.rung_count + plan.audio_count > 0);
    struct buffer text;
    const char *argv[ENCODE_ARGUMENTS_MAX];
    buffer_init(&text, 1 << 16);
    assert(encode_arguments(&source, &plan, &text, argv) == 0);
    buffer_fini(&text);
    return 0;
}
