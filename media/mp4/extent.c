/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Which bytes of the file are samples, so that none is of two: a few bytes of
 * boxes cannot stand for terabytes, and what is cut by one track's samples is
 * no other's.
 */

#include "media/mp4/box.h"

#include "core/err.h"

#include <stdlib.h>

static int
extents_grow(struct extents *extents)
{
    const size_t capacity =
        extents->capacity == 0 ? 1024 : extents->capacity * 2;
    struct extent *list =
        realloc(extents->list, capacity * sizeof *extents->list);
    if (list == NULL)
        return ERR_MEMORY;
    extents->list = list;
    extents->capacity = capacity;
    return 0;
}

int
extent_add(struct mp4_parse *parse, const struct box *box, uint64_t start,
           uint64_t size)
{
    struct extents *extents = &parse->extents;
    if (start > parse->file_size || size > parse->file_size - start)
        return box_fail(parse, box, ERR_TRUNCATED,
                        "a sample lies beyond the end of the file "
                        "(truncated file)");
    if (size > parse->bytes_left)
        return box_fail(parse, box, ERR_INVALID, "samples overlap");
    parse->bytes_left -= size;
    if (size == 0)
        return 0;
    struct extent *last =
        extents->count == 0 ? NULL : &extents->list[extents->count - 1];
    if (last != NULL && last->end == start && last->box_offset == box->offset) {
        last->end += size;
        return 0;
    }
    if (extents->count == extents->capacity && extents_grow(extents) != 0)
        return box_fail(parse, box, ERR_MEMORY, "out of memory");
    extents->list[extents->count++] =
        (struct extent){start, start + size, box->offset, box->type};
    return 0;
}

static int
extent_compare(const void *a, const void *b)
{
    const struct extent *x = a, *y = b;
    return (x->start > y->start) - (x->start < y->start);
}

int
extents_check(const struct mp4_parse *parse)
{
    const struct extents *extents = &parse->extents;
    if (extents->count == 0)
        return 0;
    qsort(extents->list, extents->count, sizeof *extents->list, extent_compare);
    for (size_t i = 1; i < extents->count; i++) {
        const struct extent *e = &extents->list[i];
        if (e->start < extents->list[i - 1].end)
            return mp4_fail(parse, e->box_type, e->box_offset, ERR_INVALID,
                            "samples overlap");
    }
    return 0;
}
