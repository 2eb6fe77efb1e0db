/* SPDX-License-Identifier: Apache-2.0 */
/* The request: a key for each class in each period, and the elements that the
 * provider may fill for each system (SPEKE v2: what is there is answered). */
#include "media/crypt/cpix_private.h"

#include <openssl/evp.h>

static const struct {
    const char *name;
    const char *filter; /* pixels, as 1024x576 and 1920x1080 */
} tracks[CRYPT_CLASS_COUNT] = {
    [CRYPT_CLASS_SD] = {"SD", "<cpix:VideoFilter maxPixels=\"589824\"/>"},
    [CRYPT_CLASS_HD] = {"HD", "<cpix:VideoFilter minPixels=\"589825\" "
                              "maxPixels=\"2073600\"/>"},
    [CRYPT_CLASS_UHD] = {"UHD", "<cpix:VideoFilter minPixels=\"2073601\"/>"},
    [CRYPT_CLASS_AUDIO] = {"AUDIO", "<cpix:AudioFilter/>"},
};

const char *
cpix_scheme_name(enum crypt_scheme scheme)
{
    switch (scheme) {
    case CRYPT_CENC:
        return "cenc";
    case CRYPT_CBCS:
        return "cbcs";
    case CRYPT_AES128: /* is none of Common Encryption's */
        break;
    }
    return NULL;
}

/* A UUID of version 8 (RFC 9562). */
static void
kid_make(const struct cpix_request *request, unsigned class, uint32_t period,
         uint8_t kid[CRYPT_KEY_SIZE])
{
    uint8_t digest[EVP_MAX_MD_SIZE] = {0};
    struct buffer what;
    buffer_init(&what, 512);
    buffer_append_bytes(&what, request->folder);
    buffer_printf(&what, " %d %s %u", request->scheme, tracks[class].name,
                  period);
    (void) EVP_Digest(what.ptr, what.len, digest, NULL, EVP_sha256(), NULL);
    buffer_fini(&what);
    memcpy(kid, digest, CRYPT_KEY_SIZE);
    kid[6] = (uint8_t) (kid[6] & 0x0f) | 0x80;
    kid[8] = (uint8_t) (kid[8] & 0x3f) | 0x80;
}

typedef void key_write(const struct cpix_request *request, unsigned class,
                       uint32_t period, unsigned system, struct buffer *out);

static void
keys_write(const struct cpix_request *request, key_write *write,
           unsigned system, struct buffer *out)
{
    for (uint32_t period = 0; period < request->period_count; period++)
        for (unsigned class = 0; class < CRYPT_CLASS_COUNT; class ++)
            write(request, class, period, system, out);
}

static void
kid_write(const struct cpix_request *request, unsigned class, uint32_t period,
          struct buffer *out)
{
    uint8_t kid[CRYPT_KEY_SIZE];
    kid_make(request, class, period, kid);
    buffer_append_text(out, " kid=\"");
    crypt_uuid_append(kid, out);
    buffer_append_text(out, "\"");
}

static void
content_key_write(const struct cpix_request *request, unsigned class,
                  uint32_t period, unsigned unused, struct buffer *out)
{
    const char *scheme = cpix_scheme_name(request->scheme);
    buffer_append_text(out, "<cpix:ContentKey");
    kid_write(request, class, period, out);
    if (scheme != NULL)
        buffer_printf(out, " commonEncryptionScheme=\"%s\"", scheme);
    buffer_append_text(out, "/>\n");
}

/* What a system has use for; of PSSH and ContentProtectionData FairPlay has
 * none. ClearKey is nothing of a provider's: its boxes are of all keys. */
static const char *
system_parts(enum crypt_system system)
{
#define HLS_PARTS                                 \
    "<cpix:HLSSignalingData playlist=\"media\"/>" \
    "<cpix:HLSSignalingData playlist=\"master\"/>"
    switch (system) {
    case CRYPT_SYSTEM_WIDEVINE:
    case CRYPT_SYSTEM_PLAYREADY:
        return "<cpix:PSSH/><cpix:ContentProtectionData/>" HLS_PARTS;
    case CRYPT_SYSTEM_FAIRPLAY:
        return HLS_PARTS;
    case CRYPT_SYSTEM_COMMON:
        break;
    }
    return NULL;
}

static void
system_write(const struct cpix_request *request, unsigned class,
             uint32_t period, unsigned system, struct buffer *out)
{
    buffer_append_text(out, "<cpix:DRMSystem");
    kid_write(request, class, period, out);
    buffer_printf(out, " systemId=\"%s\">%s</cpix:DRMSystem>\n",
                  crypt_system_id(system), system_parts(system));
}

static void
rule_write(const struct cpix_request *request, unsigned class, uint32_t period,
           unsigned unused, struct buffer *out)
{
    buffer_append_text(out, "<cpix:ContentKeyUsageRule");
    kid_write(request, class, period, out);
    buffer_printf(out, " intendedTrackType=\"%s\">", tracks[class].name);
    if (request->has_periods)
        buffer_printf(
            out, "<cpix:KeyPeriodFilter periodId=\"" CPIX_PERIOD_ID "%u\"/>",
            period);
    buffer_printf(out, "%s</cpix:ContentKeyUsageRule>\n", tracks[class].filter);
}

static bool
system_is_asked(const struct cpix_request *request, enum crypt_system system)
{
    return request->scheme != CRYPT_AES128 && system_parts(system) != NULL
           && crypt_system_is_wanted(request->systems, system, request->scheme);
}

bool
cpix_request_is_speke(const struct cpix_request *request)
{
    bool is_asked = false;
    for (enum crypt_system i = 0; i < CRYPT_SYSTEM_COUNT; i++)
        is_asked = is_asked || system_is_asked(request, i);
    return is_asked;
}

static void
systems_write(const struct cpix_request *request, struct buffer *out)
{
    if (!cpix_request_is_speke(request))
        return;
    buffer_append_text(out, "<cpix:DRMSystemList>\n");
    for (enum crypt_system i = 0; i < CRYPT_SYSTEM_COUNT; i++)
        if (system_is_asked(request, i))
            keys_write(request, system_write, i, out);
    buffer_append_text(out, "</cpix:DRMSystemList>\n");
}

/* Of an answer this has the wrapped keys, too, which SPEKE v2 leaves out here
 * and the schema does not. */
static void
delivery_write(const struct cpix_recipient *recipient, struct buffer *out)
{
    struct bytes rest = cpix_recipient_certificate(recipient);
    uint8_t line[64 + 1];
    buffer_append_text(out, "<cpix:DeliveryDataList>\n"
                            "<cpix:DeliveryData id=\"packager\">"
                            "<cpix:DeliveryKey><ds:X509Data>"
                            "<ds:X509Certificate>");
    while (rest.len > 0) {
        const size_t len = rest.len < 48 ? rest.len : 48;
        const int n = EVP_EncodeBlock(line, rest.ptr, (int) len);
        buffer_append(out, line, (size_t) n);
        rest = bytes_of(rest.ptr + len, rest.len - len);
    }
    buffer_append_text(out, "</ds:X509Certificate></ds:X509Data>"
                            "</cpix:DeliveryKey></cpix:DeliveryData>\n"
                            "</cpix:DeliveryDataList>\n");
}

void
cpix_request_write(const struct cpix_request *request, struct buffer *out)
{
    buffer_append_text(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                            "<cpix:CPIX contentId=\"");
    buffer_append_bytes(out, request->folder);
    buffer_append_text(out, "\" version=\"2.3\" xmlns:cpix=\"" CPIX_NAMESPACE
                            "\" xmlns:pskc=\"" CPIX_PSKC_NAMESPACE "\"");
    if (request->recipient != NULL)
        buffer_append_text(out, " xmlns:ds=\"" CPIX_DS_NAMESPACE
                                "\" xmlns:enc=\"" CPIX_ENC_NAMESPACE "\"");
    buffer_append_text(out, ">\n");
    if (request->recipient != NULL)
        delivery_write(request->recipient, out);
    buffer_append_text(out, "<cpix:ContentKeyList>\n");
    keys_write(request, content_key_write, 0, out);
    buffer_append_text(out, "</cpix:ContentKeyList>\n");
    systems_write(request, out);
    if (request->has_periods) {
        buffer_append_text(out, "<cpix:ContentKeyPeriodList>\n");
        for (uint32_t i = 0; i < request->period_count; i++)
            buffer_printf(out,
                          "<cpix:ContentKeyPeriod id=\"" CPIX_PERIOD_ID
                          "%u\" index=\"%u\"/>\n",
                          i, i);
        buffer_append_text(out, "</cpix:ContentKeyPeriodList>\n");
    }
    buffer_append_text(out, "<cpix:ContentKeyUsageRuleList>\n");
    keys_write(request, rule_write, 0, out);
    buffer_append_text(out, "</cpix:ContentKeyUsageRuleList>\n</cpix:CPIX>\n");
}
