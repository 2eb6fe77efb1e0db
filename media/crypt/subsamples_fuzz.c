/* SPDX-License-Identifier: Apache-2.0 */

/* A sample entry, a u16 le of its size before it, and samples with a u16 le of
 * their size before each: what is found adds up to the sample. */

#include "media/crypt/subsamples.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
part_take(struct bytes *input, struct bytes *part)
{
    if (input->len < 2)
        return false;
    const size_t len = load_le16(input->ptr);
    *part =
        bytes_of(input->ptr + 2, len < input->len - 2 ? len : input->len - 2);
    *input = bytes_of(part->ptr + part->len, input->len - 2 - part->len);
    return true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes input = bytes_of(data, size), part;
    struct subsample_reader *reader;
    if (!part_take(&input, &part) || subsample_reader_new(part, &reader) != 0
        || reader == NULL)
        return 0;
    while (part_take(&input, &part)) {
        struct subsample subsamples[SUBSAMPLES_MAX];
        uint16_t count;
        uint64_t sum = 0;
        if (subsample_reader_next(reader, part, subsamples, &count) != 0)
            break;
        for (unsigned i = 0; i < count; i++)
            sum += (uint64_t) subsamples[i].clear + subsamples[i].rest;
        if (count > SUBSAMPLES_MAX || sum != part.len)
            abort();
    }
    subsample_reader_free(reader);
    return 0;
}
