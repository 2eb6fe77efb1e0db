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
 *      "jwks_url": "https://..",   and more, which change: asked for again each
 *      "jwks_refresh_s": 300,      so often, and when an entitlement names a key
 *                                  that is not known,
 *      "jwks_pause_s": 10,         but not more often than this; what was got last
 *      "jwks_grace_s": 86400,      is used so much longer when the URL fails
 *      "callback": {               asked before a license is given (callback.h)
 *         "url": "https://..", "secret_file": "callback.key",
 *         "timeout_ms": 1000,
 *         "failures": 5,           in a row, and nobody asks
 *         "pause_s": 10,           for so long
 *         "max_age_s": 60,         answers hold that long at most
 *         "fail": "refuse",        when it fails; or "cached": what was allowed
 *         "stale_s": 600},         is, for so much longer
 *      "rate_per_s": 1000, "burst": 2000,                   license requests
 *      "plays": 3,                 at once for a viewer, at most
 *      "systems": ["widevine"],     no others
 *      "security": "hardware", "output": "hdcp-1",          for all, at least
 *      "rules": [{"classes": ["UHD"], "systems": ["widevine"], ...}]
 *   }]}
 *
 * A rule is for all classes and systems that it does not name, and sets one or
 * more of "refuse", "never_persistent" (true), "security", "output" (as in an
 * entitlement), "license_s", "playback_s" (at most). Files are below the folder
 * of this one, unless their paths begin with a slash. A secret's file is one line
 * of 64 hex digits and more, which nobody but its owner may read.
 */

#include "platform/jwks.h"
#include "programs/mlic/callback.h"
#include "programs/mlic/policy.h"

#define SERVICES_MAX 4096
#define SERVICE_KEYS_MAX 64

struct service {
    char id[CONTENT_ID_LEN_MAX + 1];
    char issuer[JWT_ISSUER_LEN_MAX + 1];
    struct jwk *keys[SERVICE_KEYS_MAX];
    unsigned key_count;
    struct jwks_config jwks_config; /* url NULL: none; it is the service's */
    struct jwks *jwks;              /* NULL: none, or not begun */
    struct callback_config callback_config; /* as jwks_config */
    struct callback *callback;              /* as jwks */
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

/* Makes them ready to ask and be asked; client (which takes https://, too) and
 * callbacks outlive them. From `before` (NULL is fine), which these are to take the
 * place of, and which is then to be freed, they take over what is known of the
 * same URLs and what each may still ask. ERR_MEMORY, and `before` is as it was. */
int services_begin(struct services *services, struct services *before,
                   struct http_client *client, struct callbacks *callbacks);

/* Looks after keys; to be called each second or so. */
void services_tick(struct services *services, uint64_t now_ms);

struct services_verdict {
    enum refusal refusal;
    const char *reason;      /* for the service's developers */
    struct service *service; /* NULL: not known */
    struct jwks *wanted;     /* may know its key when asked anew; NULL: none */
};

/* Whose entitlement this is, and what it says; times as clock_unix_s and
 * clock_now_ms. */
void services_judge(struct services *services, struct bytes jwt, uint64_t now_s,
                    uint64_t now_ms, struct entitlement *out,
                    struct services_verdict *verdict);

/* NULL: there is none. */
struct service *services_find(const struct services *services,
                              const char *issuer);

/* In order of issuer; NULL: no more. */
const struct service *services_at(const struct services *services, unsigned i);

/* True: it may make a request now, and has made it. */
bool service_may_ask(struct service *service, uint64_t now_ms);

#endif
