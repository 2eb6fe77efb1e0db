/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The encoded list, see core/revocations.h.
 *
 *   0  magic  8  form  12  count  16  number
 *  24  sessions, 8 B each, in ascending order
 *      XXH3_64bits of all before it
 */

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "core/revocations.h"

#include "core/err.h"

#include <stdlib.h>

#define FORM 1
#define HEADER_SIZE 24
#define CHECKSUM_SIZE 8

_Static_assert(HEADER_SIZE + CHECKSUM_SIZE + 8 * REVOCATIONS_MAX
                   == REVOCATIONS_SIZE_MAX,
               "the size of a list of as many as there may be");

static const uint8_t magic[8] = {'V', 'O', 'D', 'S', 'T', 'R', 'V', 'K'};

static int
session_compare(const void *a_void, const void *b_void)
{
    const uint64_t *a = a_void, *b = b_void;
    return (*a > *b) - (*a < *b);
}

int
revocations_encode(uint64_t number, uint64_t *sessions, size_t count,
                   struct buffer *out)
{
    const size_t start = out->len;
    size_t distinct = 0;
    if (count > REVOCATIONS_MAX)
        return ERR_LIMIT;
    if (count > 0)
        qsort(sessions, count, sizeof *sessions, session_compare);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || sessions[i] != sessions[i - 1])
            sessions[distinct++] = sessions[i];
    buffer_append(out, magic, sizeof magic);
    buffer_append_le32(out, FORM);
    buffer_append_le32(out, (uint32_t) distinct);
    buffer_append_le64(out, number);
    for (size_t i = 0; i < distinct; i++)
        buffer_append_le64(out, sessions[i]);
    if (out->err == 0)
        buffer_append_le64(out,
                           XXH3_64bits(out->ptr + start, out->len - start));
    return out->err;
}

static int
frame_check(struct bytes encoded, uint32_t *count)
{
    if (encoded.len < HEADER_SIZE + CHECKSUM_SIZE)
        return ERR_TRUNCATED;
    if (memcmp(encoded.ptr, magic, sizeof magic) != 0)
        return ERR_INVALID;
    if (load_le32(encoded.ptr + 8) != FORM)
        return ERR_VERSION;
    *count = load_le32(encoded.ptr + 12);
    if (*count > REVOCATIONS_MAX)
        return ERR_LIMIT;
    const size_t end = HEADER_SIZE + (size_t) *count * 8;
    if (encoded.len < end + CHECKSUM_SIZE)
        return ERR_TRUNCATED;
    if (encoded.len > end + CHECKSUM_SIZE)
        return ERR_INVALID;
    return XXH3_64bits(encoded.ptr, end) == load_le64(encoded.ptr + end)
               ? 0
               : ERR_CHECKSUM;
}

int
revocations_decode(struct bytes encoded, struct revocations **out)
{
    uint32_t count;
    int err = frame_check(encoded, &count);
    if (err != 0)
        return err;
    struct revocations *read =
        malloc(sizeof *read + count * sizeof *read->sessions);
    if (read == NULL)
        return ERR_MEMORY;
    read->number = load_le64(encoded.ptr + 16);
    read->count = count;
    for (uint32_t i = 0; i < count; i++) {
        read->sessions[i] = load_le64(encoded.ptr + HEADER_SIZE + 8 * i);
        if (i > 0 && read->sessions[i] <= read->sessions[i - 1]) {
            free(read);
            return ERR_INVALID;
        }
    }
    *out = read;
    return 0;
}

bool
revocations_has(const struct revocations *revocations, uint64_t session)
{
    return revocations->count > 0
           && bsearch(&session, revocations->sessions, revocations->count,
                      sizeof session, session_compare)
                  != NULL;
}
