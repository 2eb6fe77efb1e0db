/* SPDX-License-Identifier: Apache-2.0 */
/* A key, a zero, any text: what is found lies within it. */

#include "core/cmcd.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *zero = size > 0 ? memchr(data, 0, size) : NULL;
    if (zero == NULL)
        return 0;
    const struct bytes key = bytes_of(data, (size_t) (zero - data));
    const struct bytes text = bytes_of(zero + 1, size - key.len - 1);
    struct bytes value;
    if (!cmcd_find(text, key, &value))
        return 0;
    assert(key.len > 0 && key.len <= text.len);
    if (value.ptr < text.ptr || value.ptr > text.ptr + text.len)
        assert(bytes_equal(value, bytes_of_text("1")));
    else
        assert(value.len <= (size_t) (text.ptr + text.len - value.ptr));
    return 0;
}
