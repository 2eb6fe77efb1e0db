/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as what a URL of keys answers. */

#include "platform/jwks.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct jwk *keys[JWKS_KEYS_MAX];
    unsigned count = 0, passed = 0;
    const char *reason = NULL;
    if (jwks_read(bytes_of(data, size), "name", keys, &count, &passed, &reason)
        != 0) {
        assert(reason != NULL && count == 0);
        return 0;
    }
    assert(count >= 1 && count + passed <= JWKS_KEYS_MAX);
    assert(passed == 0 || reason != NULL);
    for (unsigned i = 0; i < count; i++) {
        assert(jwk_kid(keys[i])[0] != '\0');
        jwk_free(keys[i]);
    }
    return 0;
}
