/* SPDX-License-Identifier: Apache-2.0 */
#include "programs/mlic/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define CLASS(name) (1u << CRYPT_CLASS_##name)
#define SYSTEM(name) (1u << LICENSE_##name)
#define ALL UINT32_MAX
#define HD_HARD                              \
    {                                        \
        [CRYPT_CLASS_HD] = SECURITY_HARDWARE \
    }
#define UHD_HDCP                            \
    {                                       \
        [CRYPT_CLASS_UHD] = OUTPUT_HDCP_2_2 \
    }

/* Of what all may have, with what a case says. */
static void
policies_are_the_strictest_of_all_that_fits(void **state)
{
    static const struct {
        const char *what;
        struct entitlement entitlement;
        struct policy_rule rules[3];
        enum license_system_id system;
        unsigned classes;
        enum refusal refusal;
        struct license_policy policy;
    } cases[] = {
        {"nothing said",
         {.classes = 15},
         {{0}},
         LICENSE_CLEARKEY,
         CLASS(SD),
         REFUSAL_NONE,
         {0}},
        {"a class it has not",
         {.classes = CLASS(SD)},
         {{0}},
         LICENSE_CLEARKEY,
         CLASS(HD),
         REFUSAL_CLASS,
         {0}},
        {"a key of two classes needs both",
         {.classes = CLASS(SD)},
         {{0}},
         LICENSE_CLEARKEY,
         CLASS(SD) | CLASS(HD),
         REFUSAL_CLASS,
         {0}},
        {"what is entitled is carried",
         {.classes = 15,
          .license_s = 60,
          .playback_s = 30,
          .is_persistent = true},
         {{0}},
         LICENSE_WIDEVINE,
         CLASS(SD),
         REFUSAL_NONE,
         {.license_s = 60, .playback_s = 30, .is_persistent = true}},
        {"a rule shortens",
         {.classes = 15, .license_s = 60},
         {{.systems = ALL, .classes = ALL, .license_s = 40, .playback_s = 9}},
         LICENSE_CLEARKEY,
         CLASS(SD),
         REFUSAL_NONE,
         {.license_s = 40, .playback_s = 9}},
        {"and never lengthens",
         {.classes = 15, .license_s = 60},
         {{.systems = ALL, .classes = ALL, .license_s = 80}},
         LICENSE_CLEARKEY,
         CLASS(SD),
         REFUSAL_NONE,
         {.license_s = 60}},
        {"the shortest of several",
         {.classes = 15},
         {{.systems = ALL, .classes = ALL, .license_s = 80},
          {.systems = ALL, .classes = ALL, .license_s = 20},
          {.systems = ALL, .classes = ALL, .license_s = 50}},
         LICENSE_CLEARKEY,
         CLASS(SD),
         REFUSAL_NONE,
         {.license_s = 20}},
        {"a rule of another system",
         {.classes = 15},
         {{.systems = SYSTEM(WIDEVINE), .classes = ALL, .is_refused = true}},
         LICENSE_CLEARKEY,
         CLASS(SD),
         REFUSAL_NONE,
         {0}},
        {"a rule of another class",
         {.classes = 15},
         {{.systems = ALL, .classes = CLASS(UHD), .is_refused = true}},
         LICENSE_CLEARKEY,
         CLASS(SD),
         REFUSAL_NONE,
         {0}},
        {"a rule of one of the key's classes",
         {.classes = 15},
         {{.systems = ALL, .classes = CLASS(UHD), .is_refused = true}},
         LICENSE_CLEARKEY,
         CLASS(SD) | CLASS(UHD),
         REFUSAL_SYSTEM,
         {0}},
        {"nothing is stored",
         {.classes = 15, .is_persistent = true},
         {{.systems = ALL, .classes = ALL, .is_never_persistent = true}},
         LICENSE_WIDEVINE,
         CLASS(SD),
         REFUSAL_NONE,
         {0}},
        {"hardware for HD, in software",
         {.classes = 15, .security = HD_HARD},
         {{0}},
         LICENSE_CLEARKEY,
         CLASS(HD),
         REFUSAL_SECURITY,
         {0}},
        {"so for an identity key",
         {.classes = 15, .security = HD_HARD},
         {{0}},
         LICENSE_IDENTITY,
         CLASS(HD),
         REFUSAL_SECURITY,
         {0}},
        {"hardware for HD, of SD",
         {.classes = 15, .security = HD_HARD},
         {{0}},
         LICENSE_CLEARKEY,
         CLASS(SD),
         REFUSAL_NONE,
         {0}},
        {"hardware for HD, in hardware",
         {.classes = 15, .security = HD_HARD},
         {{0}},
         LICENSE_PLAYREADY,
         CLASS(HD) | CLASS(SD),
         REFUSAL_NONE,
         {.security = SECURITY_HARDWARE}},
        {"output that nobody keeps",
         {.classes = 15, .output = UHD_HDCP},
         {{0}},
         LICENSE_CLEARKEY,
         CLASS(UHD),
         REFUSAL_SECURITY,
         {0}},
        {"output that is kept",
         {.classes = 15, .output = UHD_HDCP},
         {{.systems = ALL, .classes = ALL, .output = OUTPUT_HDCP_1}},
         LICENSE_FAIRPLAY,
         CLASS(UHD),
         REFUSAL_NONE,
         {.output = OUTPUT_HDCP_2_2}},
        {"a rule raises output",
         {.classes = 15},
         {{.systems = ALL,
           .classes = ALL,
           .output = OUTPUT_HDCP_1,
           .security = SECURITY_HARDWARE}},
         LICENSE_FAIRPLAY,
         CLASS(SD),
         REFUSAL_NONE,
         {.output = OUTPUT_HDCP_1, .security = SECURITY_HARDWARE}},
        {"a rule raises security too high",
         {.classes = 15},
         {{.systems = ALL, .classes = ALL, .security = SECURITY_HARDWARE}},
         LICENSE_CLEARKEY,
         CLASS(SD),
         REFUSAL_SECURITY,
         {0}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct license_policy made = {0};
        const enum refusal refusal =
            policy_make(&cases[i].entitlement, cases[i].rules, 3,
                        cases[i].system, cases[i].classes, &made);
        const struct license_policy *policy = &cases[i].policy;
        if (refusal != cases[i].refusal || made.security != policy->security
            || made.output != policy->output
            || made.license_s != policy->license_s
            || made.playback_s != policy->playback_s
            || made.is_persistent != policy->is_persistent)
            fail_msg("%s: %s", cases[i].what, refusal_code(refusal));
    }
}

/* Programs and the audit go by codes: they stay, and differ. */
static void
each_refusal_has_a_code_of_its_own(void **state)
{
    for (unsigned i = 0; i < REFUSAL_COUNT; i++) {
        assert_true(refusal_code(i)[0] != '\0');
        assert_true((refusal_sentence(i)[0] == '\0') == (i == REFUSAL_NONE));
        assert_true((refusal_status(i) == 200) == (i == REFUSAL_NONE));
        for (unsigned j = 0; j < i; j++)
            assert_string_not_equal(refusal_code(i), refusal_code(j));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(policies_are_the_strictest_of_all_that_fits),
        cmocka_unit_test(each_refusal_has_a_code_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
