/* SPDX-License-Identifier: Apache-2.0 */

/* Any bytes as a key server's answer; one key of four in each of two periods.
 */

#include "media/crypt/cpix.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct crypt_systems none;
    const struct cpix_request request = {.folder = BYTES_LITERAL("film/1"),
                                         .scheme = CRYPT_CENC,
                                         .period_count = 2,
                                         .has_periods = true,
                                         .systems = &none};
    struct crypt_key keys[2 * CRYPT_CLASS_COUNT];
    memset(keys, 0, sizeof keys);
    if (cpix_read(bytes_of(data, size), &request, keys) != 0)
        return 0;
    /* a document in which each of them is named, with a key */
    if (size < 2 * 2 * CRYPT_KEY_SIZE)
        abort();
    return 0;
}
