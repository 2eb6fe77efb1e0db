/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as what a service answers: a line of Cache-Control, then the body. */

#include "programs/mlic/callback_answer.h"

#include "media/crypt/keys.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = memchr(data, '\n', size);
    const size_t len = end != NULL ? (size_t) (end - data) : 0;
    struct callback_answer answer = {.license_s = 7};
    const char *reason = NULL;
    char header[256];
    if (len < sizeof header) {
        memcpy(header, data, len);
        header[len] = '\0';
        (void) callback_age_read(header);
    }
    const struct bytes body =
        end != NULL ? bytes_of(end + 1, size - len - 1) : bytes_of(data, size);
    if (callback_answer_read(body, &answer, &reason) != 0) {
        assert(reason != NULL && answer.license_s == 7);
        return 0;
    }
    assert(answer.classes == UINT32_MAX
           || answer.classes < 1u << CRYPT_CLASS_COUNT);
    assert(strnlen(answer.reason, sizeof answer.reason) < sizeof answer.reason);
    return 0;
}
