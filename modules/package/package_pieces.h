/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MODULES_PACKAGE_PACKAGE_PIECES_H
#define MODULES_PACKAGE_PACKAGE_PIECES_H

/*
 * A file that comes in pieces from far away, for readers that cannot wait: what
 * is not there is noted, the reader fails, and is started again when it is. No
 * nginx.
 */

#include "media/mp4/mp4.h"

#define PIECES_SIZE_MAX ((size_t) 96 << 20) /* bytes, of all */

struct piece {
    uint64_t offset;
    size_t len;
    uint8_t *bytes; /* malloc'ed */
};

/* Zeroed is empty. */
struct pieces {
    struct piece *list;
    size_t count, capacity;
    size_t size; /* bytes, of all */
    size_t hint; /* where the last read ended: most go on there */
    uint64_t missing_offset;
    size_t missing_len; /* 0: nothing was missing */
};

/* For struct mp4_source. ERR_UNAVAILABLE: this is missing now. */
int pieces_read(void *pieces, uint64_t offset, void *out, size_t len);

/* Takes the malloc'ed bytes over, in either outcome; nothing is missing then.
 * ERR_LIMIT, ERR_MEMORY. */
int pieces_add(struct pieces *pieces, uint64_t offset, uint8_t *bytes,
               size_t len);

void pieces_fini(struct pieces *pieces);

#endif
