/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_MLIC_CALLBACK_QUESTION_H
#define PROGRAMS_MLIC_CALLBACK_QUESTION_H

/* What a service is asked (callback.h). */

#include "core/network.h"

#define CALLBACK_QUESTION_SIZE 32
#define CALLBACK_SIGNATURE_SIZE (sizeof "sha256=" + 64)

struct callback_question {
    const char *content;
    const char *viewer, *version, *play; /* empty: not told */
    unsigned classes;                    /* bits of enum crypt_class */
    const struct network *network;       /* family 0: not told */
};

/* By which an answer is remembered: all but the play. False: there is no memory.
 */
bool callback_question_digest(const struct callback_question *question,
                              const char *service, const char *url,
                              uint8_t out[CALLBACK_QUESTION_SIZE]);

/* The body, to be freed; NULL: there is no memory. */
char *callback_question_text(const struct callback_question *question,
                             const char *service);

/* "sha256=<64 hex>" of the time, a dot and the body. False: there is no memory. */
bool callback_question_sign(struct bytes secret, const char *time,
                            const char *body,
                            char out[CALLBACK_SIGNATURE_SIZE]);

#endif
