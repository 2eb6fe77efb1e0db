/* SPDX-License-Identifier: Apache-2.0 */

#include "programs/st-api/revoked.h"

#include "core/err.h"
#include "core/revocations.h"

#include <stdlib.h>

struct revoked {
    uint64_t number;
    struct buffer list;
};

int
revoked_load(struct catalogue *catalogue, struct revoked **out)
{
    struct revoked *revoked = calloc(1, sizeof *revoked);
    if (revoked == NULL)
        return ERR_MEMORY;
    buffer_init(&revoked->list, REVOCATIONS_SIZE_MAX);
    int err =
        catalogue_revocations(catalogue, &revoked->number, &revoked->list);
    if (err != 0)
        revoked_free(revoked);
    else
        *out = revoked;
    return err;
}

void
revoked_free(struct revoked *revoked)
{
    if (revoked == NULL)
        return;
    buffer_fini(&revoked->list);
    free(revoked);
}

uint64_t
revoked_number(const struct revoked *revoked)
{
    return revoked->number;
}

struct bytes
revoked_list(const struct revoked *revoked)
{
    return buffer_bytes(&revoked->list);
}
