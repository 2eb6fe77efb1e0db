/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_MLIC_SERVICES_H
#define PROGRAMS_MLIC_SERVICES_H

/*
 * Services, each with its own keys, rules and limits, from a file of JSON:
 *
 *   {"services": [{
 *      "id": "kino",               whose entitlements; their "iss", too, unless
 *      "issuer": "https://..",     that is told
 *      "keys": [{"kid": "1", "secret_file": "kino.key"},    HS256
 *               {"jwk": {"kty": "EC", ...}}],               ES256, RS256
 *      "jwks_file": "kino.jwks",   more of them (RFC 7517 §5)
 *      "rate_per_s": 1000, "burst": 2000,                   license requests
 *      "plays": 3,                 at once for a viewer, at most
 *      "rules": [{"classes": ["UHD"], "systems": ["widevine"], ...}]
 *   }]}
 *
 * A rule is for all classes and systems that it does not name, and sets one or
 * more of "refuse", "never_persistent" (true), "security", "output" (as in an
 * entitlement), "license_s", "playback_s" (at most). Files are below the folder
 * of this one, unless their paths begin with a slash. A secret's file is one line
 * of 64 hex digits and more, which nobody but its owner may read.
 */

#include "platform/jwt.h"
#include "programs/mlic/policy.h"

#define SERVICES_MAX 4096
#define SERVICE_KEYS_MAX 64

struct service {
    char id[CONTENT_ID_LEN_MAX + 1];
    char issuer[JWT_ISSUER_LEN_MAX + 1];
    struct jwk *keys[SERVICE_KEYS_MAX];
    unsigned key_count;
    struct policy_rule rules[POLICY_RULES_MAX];
    unsigned rule_count;
    uint32_t rate_per_s, burst; /* 0: no limit */
    uint32_t plays;             /* 0: no limit */
    double allowance;           /* what it may still ask, at this time */
    uint64_t allowance_ms;
};

struct services;

/* The reason of a failure is logged, with the file and what is wrong where.
 * ERR_NOT_FOUND, ERR_DENIED, ERR_INVALID, ERR_LIMIT, ERR_IO, ERR_MEMORY. */
int services_read(const char *path, struct services **out);
void services_free(struct services *services); /* NULL is fine */

/* Takes over what each may still ask. NULL is fine. */
void services_inherit(struct services *services, const struct services *before);

/* Whose entitlement this is, and what it says. A refusal with the reason in the
 * service's words, for its developers. */
enum refusal services_judge(struct services *services, struct bytes jwt,
                            uint64_t now_s, struct service **service,
                            struct entitlement *out, const char **reason);

/* True: it may make a request now, and has made it. */
bool service_may_ask(struct service *service, uint64_t now_ms);

#endif
