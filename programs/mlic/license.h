/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_MLIC_LICENSE_H
#define PROGRAMS_MLIC_LICENSE_H

/*
 * The DRM core: which of the keys that a player asks for it gets, and under which
 * policy. License systems read what players send and write what they get; each is
 * a file of its own, license_<name>.c.
 */

#include "core/buffer.h"
#include "programs/mlic/policy.h"
#include "programs/mlic/store.h"

#define LICENSE_KEYS_MAX 128               /* of one request */
#define LICENSE_BODY_SIZE_MAX (256u << 10) /* of what is written */

struct fairplay;
struct widevine_signer;

struct license_request {
    enum license_system_id system;
    bool is_persistent;                   /* it is to be stored */
    const struct widevine_signer *signer; /* of Widevine */
    const struct fairplay *fairplay;      /* of FairPlay */
    struct bytes body;                    /* as it came; the HTTP request's */
    unsigned kid_count;
    uint8_t kids[LICENSE_KEYS_MAX][CRYPT_KEY_SIZE]; /* they differ */
};

struct license_key {
    enum refusal refusal; /* others than REFUSAL_NONE: no key is here */
    struct key_name name; /* empty with REFUSAL_KEY */
    struct crypt_key key;
    struct license_policy policy;
};

/* For whom; all that a decision goes by. */
struct license_asker {
    char service[CONTENT_ID_LEN_MAX + 1];
    char viewer[VIEWER_KEY_LEN_MAX + 1]; /* to count plays by; empty: unknown */
    struct entitlement entitlement;
    struct policy_rule rules[POLICY_RULES_MAX];
    unsigned rule_count;
    unsigned plays;   /* at once; 0: no limit */
    unsigned classes; /* bits; those that the service has agreed to */
    uint64_t now_s, lease_s;
};

/* Decides on each key, keys[i] (zeroed) for kids[i], and notes plays and uses. Wipe the
 * keys. As database.h. */
int license_decide(struct store *store, const struct license_request *request,
                   const struct license_asker *asker, struct license_key *keys);

/* What would be given by the entitlement and the rules alone. */
struct license_prospect {
    unsigned classes; /* bits of enum crypt_class; 0: nothing */
    char version[CONTENT_ID_LEN_MAX + 1]; /* of the first such key */
};
/* As license_decide, and nothing is noted. */
int license_foresee(struct store *store, const struct license_request *request,
                    const struct license_asker *asker,
                    struct license_prospect *out);

/* ---- systems ---- */

struct license_system {
    const char *content_type; /* of the license */
    /* Of what is written, where that is a question to another service, which
     * answers with the license; NULL: what is written is the license. */
    const char *upstream_type;
    /* ERR_INVALID, with the reason; ERR_LIMIT: too many keys. */
    int (*read)(struct bytes body, struct license_request *out,
                const char **reason);
    /* The keys that are granted, one at least. */
    void (*write)(const struct license_request *request,
                  const struct license_key *keys, struct buffer *out);
    /* The license in what the other service answers, or with ERR_INVALID what
     * it did instead; NULL: the answer is the license. */
    int (*take)(struct bytes answer, struct buffer *out, const char **reason);
};

extern const struct license_system license_clearkey;
extern const struct license_system license_fairplay;
extern const struct license_system license_identity;
extern const struct license_system license_playready;
extern const struct license_system license_widevine;

/* Adds a KID that is not there yet. ERR_LIMIT. */
int license_kid_add(struct license_request *request,
                    const uint8_t kid[CRYPT_KEY_SIZE]);

#endif
