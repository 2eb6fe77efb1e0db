/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_VODST_FETCH_H
#define PROGRAMS_VODST_FETCH_H

/* One HTTP request, waited for: all that the short-lived commands need. */

#include "core/buffer.h"

/* Appends the body and sets the HTTP status. ERR_UPSTREAM when nobody answers,
 * ERR_TIMEOUT, ERR_LIMIT (over body->size_max), ERR_MEMORY. */
int fetch(const char *url, unsigned timeout_ms, struct buffer *body,
          int *status);

/* The same with another method, and a JSON body that may be empty. */
int fetch_send(const char *method, const char *url, struct bytes json,
               unsigned timeout_ms, struct buffer *body, int *status);

#endif
