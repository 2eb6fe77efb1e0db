/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_VODST_MANAGER_ASK_H
#define PROGRAMS_VODST_MANAGER_ASK_H

/* How the commands of operators ask the Manager. */

#include "core/buffer.h"

struct manager_question {
    const char *program; /* "vodst status": begins what is printed on failure */
    const char *dir;     /* the state folder of `vodst up` */
    const char *url;     /* the Manager's, or NULL: as the folder says */
    const char *method;
    const char *path; /* "/v1/status" */
    const char *json; /* what is sent, "" for nothing */
};

/* Appends the answer's body and sets its HTTP status; goes on to the Manager
 * that leads, with the key of the state folder. Says on stderr what failed and
 * what helps: ERR_NOT_FOUND (nothing is up there), ERR_UPSTREAM, ERR_TIMEOUT,
 * ERR_LIMIT, ERR_MEMORY. */
int manager_ask(const struct manager_question *question, struct buffer *answer,
                int *status);

#endif
