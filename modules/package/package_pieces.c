/* SPDX-License-Identifier: Apache-2.0 */

#include "modules/package/package_pieces.h"

#include <stdlib.h>

#include "core/err.h"

static bool
piece_has(const struct piece *piece, uint64_t offset)
{
    return offset >= piece->offset && offset - piece->offset < piece->len;
}

static const struct piece *
piece_find(struct pieces *pieces, uint64_t offset)
{
    for (size_t i = 0; i < pieces->count; i++) {
        const size_t at = (pieces->hint + i) % pieces->count;

        if (piece_has(&pieces->list[at], offset)) {
            pieces->hint = at;
            return &pieces->list[at];
        }
    }
    return NULL;
}

int
pieces_read(void *context, uint64_t offset, void *out, size_t len)
{
    struct pieces *pieces = context;

    while (len > 0) {
        const struct piece *piece = piece_find(pieces, offset);

        if (piece == NULL) {
            pieces->missing_offset = offset;
            pieces->missing_len = len;
            return ERR_UNAVAILABLE;
        }
        const size_t at = (size_t) (offset - piece->offset);
        const size_t n = piece->len - at < len ? piece->len - at : len;

        memcpy(out, piece->bytes + at, n);
        out = (uint8_t *) out + n;
        offset += n;
        len -= n;
    }
    return 0;
}

int
pieces_add(struct pieces *pieces, uint64_t offset, uint8_t *bytes, size_t len)
{
    int err = 0;

    if (len > PIECES_SIZE_MAX - pieces->size) {
        err = ERR_LIMIT;
    } else if (pieces->count == pieces->capacity) {
        const size_t capacity =
            pieces->capacity == 0 ? 16 : pieces->capacity * 2;
        struct piece *list =
            realloc(pieces->list, capacity * sizeof *pieces->list);

        if (list == NULL) {
            err = ERR_MEMORY;
        } else {
            pieces->list = list;
            pieces->capacity = capacity;
        }
    }
    if (err != 0) {
        free(bytes);
        return err;
    }
    pieces->list[pieces->count++] = (struct piece){offset, len, bytes};
    pieces->size += len;
    pieces->missing_len = 0;
    return 0;
}

void
pieces_fini(struct pieces *pieces)
{
    for (size_t i = 0; i < pieces->count; i++) {
        free(pieces->list[i].bytes);
    }
    free(pieces->list);
    *pieces = (struct pieces){0};
}
