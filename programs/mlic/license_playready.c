/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PlayReady licenses are made by Microsoft's Server SDK, which needs a license of
 * its own and Windows Server. So a back end there is asked, with the challenge as
 * it came and what was decided:
 *
 *   {"challenge": BASE64,
 *    "keys": [{"kid": "00112233-..", "key": BASE64,
 *              "rights": {"security_level": 2000, "persistent": false,
 *                         "expire_after_s": 600,
 *                         "expire_after_first_play_s": 7200,
 *                         "hdcp_type": 1,
 *                         "output": {"compressed_digital_video": 500,
 *                                    "uncompressed_digital_video": 300,
 *                                    "analog_video": 200}}}]}
 *
 * Its answer, SOAP too, is the player's. Security levels and output protection
 * levels are those of learn.microsoft.com/playready/overview; hdcp_type is there
 * where HDCP 2.2 is wanted, which needs a restriction of its own.
 */

#include "programs/mlic/license_playready.h"

#include "core/err.h"
#include "media/crypt/signal.h"

#include <openssl/evp.h>

static void
base64_append(struct bytes bytes, struct buffer *out)
{
    uint8_t text[64 + 1];
    for (size_t at = 0; at < bytes.len; at += 48) {
        const size_t left = bytes.len - at;
        const int len = EVP_EncodeBlock(text, bytes.ptr + at,
                                        (int) (left < 48 ? left : 48));
        buffer_append(out, text, (size_t) len);
    }
    explicit_bzero(text, sizeof text);
}

static void
rights_append(const struct license_policy *policy, struct buffer *out)
{
    const bool has_hdcp = policy->output != OUTPUT_NONE;
    buffer_printf(out,
                  "{\"security_level\":%d,\"persistent\":%s,"
                  "\"expire_after_s\":%u",
                  policy->security == SECURITY_HARDWARE ? 3000 : 2000,
                  policy->is_persistent ? "true" : "false", policy->license_s);
    if (policy->playback_s > 0)
        buffer_printf(out, ",\"expire_after_first_play_s\":%u",
                      policy->playback_s);
    if (policy->output == OUTPUT_HDCP_2_2)
        buffer_append_text(out, ",\"hdcp_type\":1");
    buffer_printf(out,
                  ",\"output\":{\"compressed_digital_video\":%d,"
                  "\"uncompressed_digital_video\":%d,\"analog_video\":%d}}",
                  has_hdcp ? 500 : 400, has_hdcp ? 300 : 100,
                  has_hdcp ? 200 : 100);
}

static void
playready_write(const struct license_request *request,
                const struct license_key *keys, struct buffer *out)
{
    const char *comma = "";
    buffer_append_text(out, "{\"challenge\":\"");
    base64_append(request->body, out);
    buffer_append_text(out, "\",\"keys\":[");
    for (unsigned i = 0; i < request->kid_count; i++) {
        if (keys[i].refusal != REFUSAL_NONE)
            continue;
        buffer_printf(out, "%s{\"kid\":\"", comma);
        crypt_uuid_append(request->kids[i], out);
        buffer_append_text(out, "\",\"key\":\"");
        base64_append(bytes_of(keys[i].key.key, CRYPT_KEY_SIZE), out);
        buffer_append_text(out, "\",\"rights\":");
        rights_append(&keys[i].policy, out);
        buffer_append_u8(out, '}');
        comma = ",";
    }
    buffer_append_text(out, "]}");
}

const struct license_system license_playready = {
    .content_type = "text/xml; charset=utf-8",
    .upstream_type = "application/json",
    .read = playready_challenge_read,
    .write = playready_write,
};
