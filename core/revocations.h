/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_REVOCATIONS_H
#define CORE_REVOCATIONS_H

/*
 * The plays whose tokens are good no more although they have not expired: the
 * sessions that st-api revoked, as a file that agents fetch and nginx reads.
 * Position independent, checksummed, and ordered by a number that only goes
 * up.
 */

#include "core/buffer.h"

#define REVOCATIONS_MAX 100000 /* sessions */
#define REVOCATIONS_SIZE_MAX (32 + 8 * REVOCATIONS_MAX)

struct revocations {
    uint64_t number;
    uint32_t count;
    uint64_t sessions[]; /* in order, each once */
};

/* Sorts the sessions. ERR_LIMIT, ERR_MEMORY. */
int revocations_encode(uint64_t number, uint64_t *sessions, size_t count,
                       struct buffer *out);

/* Verifies every byte; free(3) what it gives. ERR_TRUNCATED, ERR_CHECKSUM,
 * ERR_VERSION, ERR_INVALID, ERR_LIMIT, ERR_MEMORY. */
int revocations_decode(struct bytes encoded, struct revocations **out);

bool revocations_has(const struct revocations *revocations, uint64_t session);

#endif
