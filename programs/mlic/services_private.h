/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_MLIC_SERVICES_PRIVATE_H
#define PROGRAMS_MLIC_SERVICES_PRIVATE_H

/* What services_read.c and services_keys.c make, for services.c. */

#include "programs/mlic/services.h"
#include "programs/mlic/services_place.h"

#define SERVICES_FILE_SIZE_MAX (16u << 20)

struct services {
    struct service *list; /* in order of issuer */
    unsigned count;
};

/* Add to the service's keys; errors as services_read. */
int services_key_read(const struct place *place, json_t *json,
                      struct service *service);
int services_jwks_read(const struct place *place, const json_t *name,
                       struct service *service);
int services_jwks_url_read(const struct place *place, const json_t *object,
                           struct jwks_config *out);

#endif
