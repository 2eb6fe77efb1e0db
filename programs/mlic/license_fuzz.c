/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as the claims of an entitlement, and as what players send. */

#include "programs/mlic/license_fairplay.h"
#include "programs/mlic/license_playready.h"
#include "programs/mlic/license_widevine.h"

#include "core/err.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
entitlement(struct bytes text)
{
    struct entitlement read;
    struct license_policy policy;
    const char *reason = NULL;
    json_t *json = json_loadb((const char *) text.ptr, text.len,
                              JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(json) && entitlement_read(json, &read, &reason) == 0) {
        assert(read.content[0] != '\0' && read.classes != 0);
        for (unsigned classes = 1; classes < 1u << CRYPT_CLASS_COUNT;
             classes++) {
            const enum refusal refusal =
                policy_make(&read, NULL, 0, LICENSE_CLEARKEY, classes, &policy);
            assert(refusal != REFUSAL_NONE || (classes & ~read.classes) == 0);
        }
    } else if (json_is_object(json)) {
        assert(reason != NULL);
    }
    json_decref(json);
}

typedef int request_read(struct bytes text, struct license_request *out,
                         const char **reason);

static void
request(request_read *read_one, struct bytes text)
{
    static struct license_request read; /* large */
    const char *reason = NULL;
    memset(&read, 0, sizeof read);
    if (read_one(text, &read, &reason) == 0)
        assert(read.kid_count >= 1 && read.kid_count <= LICENSE_KEYS_MAX);
    else
        assert(reason != NULL);
}

static void
spc(struct bytes text)
{
    const char *reason = NULL;
    struct fairplay_envelope envelope;
    struct fairplay_payload payload;
    if (fairplay_envelope_read(text, &envelope, &reason) == 0)
        assert(envelope.payload.len % 16 == 0);
    if (fairplay_payload_read(text, &payload, &reason) == 0)
        assert(payload.session.len == 112 && payload.tags.len % 8 == 0);
    assert(reason != NULL);
}

static void
answer(struct bytes text)
{
    const char *reason = NULL;
    struct buffer license;
    buffer_init(&license, 1u << 20);
    if (widevine_answer_read(text, &license, &reason) == 0)
        assert(license.len > 0);
    else
        assert(reason != NULL);
    buffer_fini(&license);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct bytes text = bytes_of(data, size);
    entitlement(text);
    request(license_clearkey.read, text);
    request(license_identity.read, text);
    request(playready_challenge_read, text);
    request(playready_object_read, text);
    request(playready_header_read, text);
    request(widevine_challenge_read, text);
    request(widevine_pssh_read, text);
    answer(text);
    request(fairplay_asset_read, text);
    spc(text);
    return 0;
}
