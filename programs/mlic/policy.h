/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_MLIC_POLICY_H
#define PROGRAMS_MLIC_POLICY_H

/*
 * From what a viewer is entitled to, to what a license says: by a service's table
 * of rules, in which each row that fits makes it stricter. License systems see
 * the policy and nothing of services.
 */

#include "programs/mlic/entitlement.h"

#define POLICY_RULES_MAX 64 /* two of them for what is for all */

#define LICENSE_SYSTEMS(X)    \
    X(CLEARKEY, "clearkey")   \
    X(IDENTITY, "identity")   \
    X(WIDEVINE, "widevine")   \
    X(PLAYREADY, "playready") \
    X(FAIRPLAY, "fairplay")

enum license_system_id {
#define LICENSE_SYSTEM(symbol, name) LICENSE_##symbol,
    LICENSE_SYSTEMS(LICENSE_SYSTEM)
#undef LICENSE_SYSTEM
        LICENSE_SYSTEM_COUNT
};

/* Why there is no license, or not for a key: X(symbol, code, HTTP status,
 * sentence). The code is what programs and the audit go by. */
#define REFUSALS(X)                                                           \
    X(NONE, "granted", 200, "")                                               \
    X(NO_ENTITLEMENT, "no-entitlement", 401, "no entitlement was sent")       \
    X(INVALID, "entitlement-invalid", 401,                                    \
      "the entitlement is not genuine, or is not understood")                 \
    X(EXPIRED, "entitlement-expired", 401, "the entitlement is not good now") \
    X(SERVICE, "service-unknown", 401, "no such service is known here")       \
    X(USED, "entitlement-used", 403,                                          \
      "the entitlement has given this key already")                           \
    X(CONTENT, "content-not-entitled", 403,                                   \
      "the entitlement is of another content")                                \
    X(CLASS, "class-not-entitled", 403,                                       \
      "the entitlement does not include this quality")                        \
    X(KEY, "key-unknown", 404, "there is no such key")                        \
    X(NETWORK, "network-not-entitled", 403,                                   \
      "the entitlement is for another network")                               \
    X(PLAYS, "too-many-plays", 403, "as many play as may at once")            \
    X(PERSISTENCE, "persistence-not-entitled", 403,                           \
      "the license may not be stored")                                        \
    X(SECURITY, "security-too-low", 403,                                      \
      "this license system is too weak for this quality")                     \
    X(SYSTEM, "system-not-allowed", 403,                                      \
      "the service does not allow this license system")                       \
    X(RATE, "rate-exceeded", 429, "the service asks more often than it may")  \
    X(UNREACHABLE, "service-unreachable", 503,                                \
      "the service cannot be asked now")                                      \
    X(REFUSED, "service-refused", 403, "the service does not allow it")

enum refusal {
#define REFUSAL(symbol, code, status, sentence) REFUSAL_##symbol,
    REFUSALS(REFUSAL)
#undef REFUSAL
        REFUSAL_COUNT
};

const char *refusal_code(enum refusal refusal);
const char *refusal_sentence(enum refusal refusal);
int refusal_status(enum refusal refusal); /* of HTTP */

/* A row. What is 0 leaves things as they are. */
struct policy_rule {
    unsigned systems; /* that it is for: bits of enum license_system_id */
    unsigned classes; /* that it is for: bits of enum crypt_class */
    bool is_refused;
    bool is_never_persistent;
    enum security_level security;   /* at least */
    enum output_protection output;  /* at least */
    uint32_t license_s, playback_s; /* at most */
};

/* Of a key. */
struct license_policy {
    enum security_level security;
    enum output_protection output;
    uint32_t license_s, playback_s; /* license_s of a key that
                                     * is given is never 0; playback_s 0: as
                                     * long as the license */
    bool is_persistent;
};

/* For a key of these classes. Of several classes the strictest counts. */
enum refusal policy_make(const struct entitlement *entitlement,
                         const struct policy_rule *rules, unsigned rule_count,
                         enum license_system_id system, unsigned classes,
                         struct license_policy *out);

#endif
