/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_MLIC_SERVICES_PRIVATE_H
#define PROGRAMS_MLIC_SERVICES_PRIVATE_H

/* What services_read.c makes, for services.c. */

#include "programs/mlic/services.h"

struct services {
    struct service *list; /* in order of issuer */
    unsigned count;
};

#endif
