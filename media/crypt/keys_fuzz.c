/* SPDX-License-Identifier: Apache-2.0 */

/* Any bytes as a key file; what is found has a place in the text. */

#include "media/crypt/keys.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct crypt_key_name name = {.folder = BYTES_LITERAL("film/1"),
                                        .class = CRYPT_CLASS_AUDIO};
    struct crypt_keys keys;
    unsigned line;
    if (crypt_keys_parse(bytes_of(data, size), &keys, &line) != 0)
        return 0;
    const struct crypt_key *key = crypt_keys_find(&keys, &name);
    if (key != NULL && size < 2 + 4 * CRYPT_KEY_SIZE)
        abort();
    crypt_keys_fini(&keys);
    return 0;
}
