/* SPDX-License-Identifier: Apache-2.0 */

/* Any bytes as subtitles. */

#include "media/text/cues_reread.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cues cues;
    struct cues_error error;
    if (size > 1u << 16 || cues_read(bytes_of(data, size), &cues, &error) != 0)
        return 0;
    cues_reread(&cues);
    cues_free(&cues);
    return 0;
}
