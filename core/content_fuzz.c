/* SPDX-License-Identifier: Apache-2.0 */
/* Any path: what is accepted has parts that are valid and lie within it. */

#include "core/content.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct play_path parts;
    if (play_path_parse(bytes_of(data, size), &parts) != 0)
        return 0;
    assert(parts.token.len > 0 && parts.rest.len > 0);
    assert(content_id_is_valid(parts.content));
    assert(content_hash(parts.content) != 0);
    assert(parts.token.ptr == data);
    assert(parts.rest.ptr + parts.rest.len == data + size);
    assert(parts.token.len + parts.content.len + parts.rest.len + 2 == size);
    return 0;
}
