/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_MLIC_ENTITLEMENT_H
#define PROGRAMS_MLIC_ENTITLEMENT_H

/*
 * What a service, or st-api for it, lets a viewer have: the claims of a JWT. The
 * signature and the times are judged before (platform/jwt.h).
 *
 *   iss         who signs; aud: "mlic", or a list with it; exp: needed
 *   sub         the viewer
 *   jti         an id of it; needed where it is good once
 *   content     an id;  version: of it, or else any
 *   classes     of ["SD","HD","UHD","AUDIO"]; without it all
 *   license_s   how long a license may be kept;  playback_s: from the first play
 *   persistent  true: it may be stored
 *   output      "none", "hdcp-1" or "hdcp-2.2", or such by class: {"UHD":...}
 *   security    "software" or "hardware", or such by class
 *   plays       how many may play at once for this viewer;  play: which one it is
 *   network     "192.0.2.0/24": from where alone
 *   single_use  true: it gives each key once
 *
 * A claim that would restrict and cannot be understood refuses all of it: what is
 * none of these and none of RFC 7519's is such a claim.
 */

#include "core/content.h"
#include "core/network.h"
#include "media/crypt/keys.h"

#include <jansson.h>

#define ENTITLEMENT_VIEWER_LEN_MAX 128
#define ENTITLEMENT_ID_LEN_MAX 64

#define OUTPUT_PROTECTIONS(X) \
    X(NONE, "none")           \
    X(HDCP_1, "hdcp-1")       \
    X(HDCP_2_2, "hdcp-2.2")

enum output_protection {
#define OUTPUT_PROTECTION(symbol, name) OUTPUT_##symbol,
    OUTPUT_PROTECTIONS(OUTPUT_PROTECTION)
#undef OUTPUT_PROTECTION
};

#define SECURITY_LEVELS(X)  \
    X(SOFTWARE, "software") \
    X(HARDWARE, "hardware")

enum security_level {
#define SECURITY_LEVEL(symbol, name) SECURITY_##symbol,
    SECURITY_LEVELS(SECURITY_LEVEL)
#undef SECURITY_LEVEL
};

struct entitlement {
    char viewer[ENTITLEMENT_VIEWER_LEN_MAX + 1]; /* these empty: not told */
    char id[ENTITLEMENT_ID_LEN_MAX + 1];
    char play[ENTITLEMENT_ID_LEN_MAX + 1];
    char content[CONTENT_ID_LEN_MAX + 1]; /* not empty */
    char version[CONTENT_ID_LEN_MAX + 1];
    unsigned classes; /* bits of enum crypt_class */
    uint64_t expires_s;
    uint32_t license_s, playback_s; /* 0: not told */
    bool is_persistent, is_single_use;
    enum output_protection output[CRYPT_CLASS_COUNT];
    enum security_level security[CRYPT_CLASS_COUNT];
    unsigned plays;         /* 0: no limit */
    struct network network; /* family 0: any */
};

/* ERR_INVALID: *reason names the claim. */
int entitlement_read(const json_t *claims, struct entitlement *out,
                     const char **reason);

#endif
