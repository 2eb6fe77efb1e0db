/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_MLIC_CALLBACK_ANSWER_H
#define PROGRAMS_MLIC_CALLBACK_ANSWER_H

/*
 * What a service answers when it is asked for a license (callback.h), of JSON:
 *
 *   allow       true or false; needed
 *   reason      a text of up to 128 bytes, for the viewer's page
 *   classes     of those asked for, those that it allows; without it all
 *   license_s, playback_s   at most
 *   max_age     seconds that the answer holds
 *
 * An answer with anything else in it is none: it may be meant to restrict.
 */

#include "core/bytes.h"

#define CALLBACK_REASON_LEN_MAX 128
#define CALLBACK_AGE_UNKNOWN UINT32_MAX

struct callback_answer {
    bool allows;
    char reason[CALLBACK_REASON_LEN_MAX + 1];
    unsigned classes;               /* bits of enum crypt_class */
    uint32_t license_s, playback_s; /* 0: not told */
    uint32_t max_age_s;             /* or CALLBACK_AGE_UNKNOWN */
};

/* ERR_INVALID, with the reason. */
int callback_answer_read(struct bytes body, struct callback_answer *out,
                         const char **reason);

/* Seconds by a header Cache-Control (RFC 9111 §5.2.2; NULL: none), 0 where it is
 * not to be kept, or CALLBACK_AGE_UNKNOWN. */
uint32_t callback_age_read(const char *header);

#endif
