/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_MLIC_UPSTREAM_H
#define PROGRAMS_MLIC_UPSTREAM_H

/*
 * A service of others that makes licenses of what was decided here, asked over
 * HTTPS without holding up the loop. For the loop's thread.
 */

#include "platform/http.h"
#include "programs/mlic/license.h"

struct upstream;

struct upstream_config {
    const char *url;      /* https://; http:// only to a loopback address */
    const char *key_file; /* sent as Authorization: Bearer; or NULL */
    const char *ca_file;  /* PEM; NULL: whom the system trusts */
    const char *certificate_file, *certificate_key_file; /* both or none */
    unsigned timeout_ms;
};

/* The reason of a failure is logged. ERR_INVALID, ERR_MEMORY, or as
 * key_file_read. */
int upstream_new(struct event_base *base, const struct upstream_config *config,
                 struct upstream **out);
/* When it is not asked any more. NULL is fine. */
void upstream_free(struct upstream *upstream);

bool upstream_is_asked(const struct upstream *upstream); /* now */

/* Answers the request with what the service makes of `question`, which is not
 * kept; else with 502 or 504 and the reason, and counts *failures. `name` is the
 * system's, for messages. */
void upstream_ask(struct upstream *upstream, struct http_request *request,
                  const struct license_system *system, const char *name,
                  struct bytes question, uint64_t *failures);

#endif
