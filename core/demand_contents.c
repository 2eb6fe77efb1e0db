/* SPDX-License-Identifier: Apache-2.0 */
/* The contents heard of and their rings, see core/demand_contents.h. */

#include "core/demand_contents.h"
#include "core/content.h"
#include "core/err.h"

#include <stdlib.h>

#define TEXT_CHUNK_SIZE 65536

struct text_chunk {
    struct text_chunk *next;
    size_t used;
    uint8_t text[TEXT_CHUNK_SIZE];
};

static const uint8_t *
text_keep(struct contents *contents, struct bytes text)
{
    struct text_chunk *chunk = contents->texts;
    if (chunk == NULL || chunk->used + text.len > TEXT_CHUNK_SIZE) {
        chunk = malloc(sizeof *chunk);
        if (chunk == NULL)
            return NULL;
        chunk->next = contents->texts;
        chunk->used = 0;
        contents->texts = chunk;
    }
    uint8_t *kept = chunk->text + chunk->used;
    memcpy(kept, text.ptr, text.len);
    chunk->used += text.len;
    return kept;
}

static int
index_grow(struct contents *contents)
{
    if (index_has_room(&contents->index, contents->count))
        return 0;
    int err = index_double(&contents->index);
    if (err != 0)
        return err;
    for (uint32_t i = 0; i < contents->count; i++)
        index_put(&contents->index,
                  content_hash(content_id(content_at(contents, i))), i);
    return 0;
}

/* Room for one more. */
static int
blocks_grow(struct contents *contents)
{
    struct content **block = contents->blocks;
    size_t size = (size_t) 1 << BLOCK_POWER; /* contents */
    for (; contents->count >= 2 * size - (1u << BLOCK_POWER); size *= 2)
        block++;
    if (*block == NULL)
        *block = aligned_alloc(CONTENT_SIZE, size * CONTENT_SIZE);
    return *block == NULL ? ERR_MEMORY : 0;
}

static bool
is_content(const struct contents *contents, uint32_t position, struct bytes id)
{
    return bytes_equal(content_id(content_at(contents, position)), id);
}

void
contents_fini(struct contents *contents)
{
    while (contents->texts != NULL) {
        struct text_chunk *next = contents->texts->next;
        free(contents->texts);
        contents->texts = next;
    }
    for (unsigned i = 0; i < BLOCKS_MAX; i++)
        free(contents->blocks[i]);
    free(contents->index.slots);
    rings_fini(&contents->rings);
    free(contents->rates);
}

bool
contents_find(const struct contents *contents, struct bytes id, uint64_t hash,
              uint32_t *position)
{
    struct index_walk walk = index_walk(hash);
    uint32_t at;
    while (index_next(&contents->index, &walk, &at)) {
        if (is_content(contents, at, id)) {
            *position = at;
            return true;
        }
    }
    return false;
}

void
contents_prefetch(const struct contents *contents, const uint64_t *hashes,
                  size_t count, uint64_t bucket, uint32_t *positions)
{
    const struct index *index = &contents->index;
    for (size_t i = 0; i < count && index->size > 0; i++)
        __builtin_prefetch(&index->slots[hashes[i] & (index->size - 1)]);
    for (size_t i = 0; i < count; i++) {
        struct index_walk walk = index_walk(hashes[i]);
        if (index_next(index, &walk, &positions[i]))
            __builtin_prefetch(content_at(contents, positions[i]), 1);
        else
            positions[i] = CONTENT_UNKNOWN;
    }
    for (size_t i = 0; i < count; i++) {
        if (positions[i] == CONTENT_UNKNOWN)
            continue;
        const struct content *c = content_at(contents, positions[i]);
        __builtin_prefetch(content_id(c).ptr);
        if (c->ring != 0)
            rings_prefetch(&contents->rings, c->ring - 1, bucket);
    }
}

int
contents_intern(struct contents *contents, struct bytes id, uint64_t hash,
                uint32_t *position)
{
    if ((*position != CONTENT_UNKNOWN && is_content(contents, *position, id))
        || contents_find(contents, id, hash, position))
        return 0;
    if (contents->count >= contents->count_max)
        return ERR_LIMIT;
    int err = blocks_grow(contents);
    if (err != 0 || (err = index_grow(contents)) != 0)
        return err;
    struct content new = {.id_len = (uint32_t) id.len};
    if (id.len <= sizeof new.id.near)
        memcpy(new.id.near, id.ptr, id.len);
    else if ((new.id.far = text_keep(contents, id)) == NULL)
        return ERR_MEMORY;
    *position = contents->count++;
    *content_at(contents, *position) = new;
    index_put(&contents->index, hash, *position);
    return 0;
}

int
contents_ring(struct contents *contents, uint32_t position, uint32_t *ring)
{
    struct content *content = content_at(contents, position);
    if (content->ring == 0) {
        int err =
            array_grow(&contents->rates, contents->rings.count,
                       &contents->rates_capacity, sizeof *contents->rates);
        if (err == 0)
            err = rings_take(&contents->rings, position, ring);
        if (err != 0)
            return err;
        content->ring = *ring + 1;
    }
    *ring = content->ring - 1;
    return 0;
}

void
contents_rotate(struct contents *contents, uint64_t from, uint64_t to)
{
    struct rings *rings = &contents->rings;
    uint32_t i = rings->unused_count;
    rings_rotate(rings, from, to);
    for (; i < rings->unused_count; i++) {
        uint32_t *content = &rings->contents[rings->unused[i]];
        content_at(contents, *content)->ring = 0;
        *content = RING_UNUSED;
    }
}
