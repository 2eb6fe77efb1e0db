/* SPDX-License-Identifier: Apache-2.0 */
#include "programs/mlic/policy.h"

static const struct {
    const char *code;
    int status;
    const char *sentence;
} refusals[] = {
#define REFUSAL(symbol, code, status, sentence) {code, status, sentence},
    REFUSALS(REFUSAL)
#undef REFUSAL
};

const char *
refusal_code(enum refusal refusal)
{
    return refusals[refusal].code;
}

const char *
refusal_sentence(enum refusal refusal)
{
    return refusals[refusal].sentence;
}

int
refusal_status(enum refusal refusal)
{
    return refusals[refusal].status;
}

/* What a license of the system can promise: ClearKey and identity keys are seen
 * by the page, so nothing is kept by hardware. */
static enum security_level
system_security(enum license_system_id system)
{
    return system == LICENSE_CLEARKEY || system == LICENSE_IDENTITY
               ? SECURITY_SOFTWARE
               : SECURITY_HARDWARE;
}

static uint32_t
shorter(uint32_t a, uint32_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

static void
rule_apply(const struct policy_rule *rule, struct license_policy *policy)
{
    if (rule->security > policy->security)
        policy->security = rule->security;
    if (rule->output > policy->output)
        policy->output = rule->output;
    policy->license_s = shorter(policy->license_s, rule->license_s);
    policy->playback_s = shorter(policy->playback_s, rule->playback_s);
    if (rule->is_never_persistent)
        policy->is_persistent = false;
}

enum refusal
policy_make(const struct entitlement *entitlement,
            const struct policy_rule *rules, unsigned rule_count,
            enum license_system_id system, unsigned classes,
            struct license_policy *out)
{
    struct license_policy policy = {
        .license_s = entitlement->license_s,
        .playback_s = entitlement->playback_s,
        .is_persistent = entitlement->is_persistent,
    };
    if ((classes & ~entitlement->classes) != 0)
        return REFUSAL_CLASS;
    for (unsigned i = 0; i < CRYPT_CLASS_COUNT; i++) {
        if ((classes & 1u << i) == 0)
            continue;
        if (entitlement->security[i] > policy.security)
            policy.security = entitlement->security[i];
        if (entitlement->output[i] > policy.output)
            policy.output = entitlement->output[i];
    }
    for (unsigned i = 0; i < rule_count; i++) {
        const struct policy_rule *rule = &rules[i];
        if ((rule->systems & 1u << system) == 0
            || (rule->classes & classes) == 0)
            continue;
        if (rule->is_refused)
            return REFUSAL_SYSTEM;
        rule_apply(rule, &policy);
    }
    if (policy.security > system_security(system))
        return REFUSAL_SECURITY;
    if (policy.output > OUTPUT_NONE
        && system_security(system) == SECURITY_SOFTWARE)
        return REFUSAL_SECURITY; /* nobody there would hold to it */
    *out = policy;
    return REFUSAL_NONE;
}
