/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_VODST_FETCH_H
#define PROGRAMS_VODST_FETCH_H

/* One HTTP request, waited for: all that the short-lived commands need. */

#include "core/buffer.h"

/* Appends the body and sets the HTTP status. ERR_UPSTREAM when nobody answers,
 * ERR_TIMEOUT, ERR_LIMIT (over body->size_max), ERR_MEMORY. */
int fetch(const char *url, unsigned timeout_ms, struct buffer *body,
          int *status);

/* The same with another method. */
struct fetch_request {
    const char *method, *url;
    struct bytes json; /* what is sent, may be empty */
    const char *key;   /* for who is asked and whom that names; "": none */
    unsigned timeout_ms;
};
int fetch_send(const struct fetch_request *request, struct buffer *body,
               int *status);

#endif
