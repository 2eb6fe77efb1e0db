/* SPDX-License-Identifier: Apache-2.0 */
/* The contents heard of and their rings, see core/demand_contents.h. */

#include "core/demand_contents.h"
#include "core/content.h"
#include "core/err.h"

#include <assert.h>
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
        index_put(&contents->index, contents->list[i].hash, i);
    return 0;
}

static void
total_take(struct contents *contents, uint32_t i)
{
    struct ring *ring = &contents->rings[i];
    ring->is_touched = false;
    contents->totals[i] = (struct ring_total){
        .served = ring->served.total,
        .offloaded = {ring->offloaded[NODE_ROLE_ORIGIN].total,
                      ring->offloaded[NODE_ROLE_REDIRECTOR].total},
    };
}

/* Room for `capacity` in all that has one a ring. */
static int
rings_resize(struct contents *contents, uint32_t capacity)
{
    struct ring *rings =
        realloc(contents->rings, capacity * sizeof *contents->rings);
    if (rings == NULL)
        return ERR_MEMORY;
    contents->rings = rings;
    struct ring_total *totals =
        realloc(contents->totals, capacity * sizeof *totals);
    if (totals == NULL)
        return ERR_MEMORY;
    contents->totals = totals;
    uint32_t *touched = realloc(contents->touched, capacity * sizeof *touched);
    if (touched == NULL)
        return ERR_MEMORY;
    contents->touched = touched;
    struct demand_rate *rates =
        realloc(contents->rates, capacity * sizeof *rates);
    if (rates == NULL)
        return ERR_MEMORY;
    contents->rates = rates;
    contents->ring_capacity = capacity;
    return 0;
}

static int
ring_add(struct contents *contents, uint32_t position)
{
    const uint32_t capacity = contents->ring_capacity;
    if (contents->ring_count == capacity) {
        int err = rings_resize(contents, capacity < 64 ? 64 : capacity * 3 / 2);
        if (err != 0)
            return err;
    }
    struct ring *ring = &contents->rings[contents->ring_count++];
    memset(ring, 0, sizeof *ring);
    ring->content = position;
    contents->list[position].ring = contents->ring_count;
    return 0;
}

/* The last ring takes the place of ring i. */
static void
ring_remove(struct contents *contents, uint32_t i)
{
    contents->list[contents->rings[i].content].ring = 0;
    contents->ring_count--;
    if (i < contents->ring_count) {
        contents->rings[i] = contents->rings[contents->ring_count];
        contents->list[contents->rings[i].content].ring = i + 1;
    }
}

void
contents_fini(struct contents *contents)
{
    while (contents->texts != NULL) {
        struct text_chunk *next = contents->texts->next;
        free(contents->texts);
        contents->texts = next;
    }
    free(contents->list);
    free(contents->index.slots);
    free(contents->rings);
    free(contents->totals);
    free(contents->touched);
    free(contents->rates);
}

bool
contents_find(const struct contents *contents, struct bytes id, uint64_t hash,
              uint32_t *position)
{
    struct index_walk walk = index_walk(hash);
    uint32_t at;
    while (index_next(&contents->index, &walk, &at)) {
        const struct content *c = &contents->list[at];
        if (c->hash == hash && bytes_equal(bytes_of(c->id, c->id_len), id)) {
            *position = at;
            return true;
        }
    }
    return false;
}

size_t
contents_prefetch(const struct contents *contents, const uint64_t *hashes,
                  size_t count, uint32_t *positions)
{
    const struct index *index = &contents->index;
    const struct content *found[CONTENTS_PREFETCH_MAX];
    size_t found_count = 0;
    assert(count <= CONTENTS_PREFETCH_MAX);
    if (index->size == 0)
        return 0;
    for (size_t i = 0; i < count; i++)
        __builtin_prefetch(&index->slots[hashes[i] & (index->size - 1)]);
    for (size_t i = 0; i < count; i++) {
        struct index_walk walk = index_walk(hashes[i]);
        if (!index_next(index, &walk, &positions[found_count]))
            continue;
        found[found_count] = &contents->list[positions[found_count]];
        __builtin_prefetch(found[found_count++], 1);
    }
    for (size_t i = 0; i < found_count; i++) {
        __builtin_prefetch(found[i]->id);
        if (found[i]->ring != 0)
            __builtin_prefetch(&contents->rings[found[i]->ring - 1], 1);
    }
    return found_count;
}

int
contents_intern(struct contents *contents, struct bytes id, uint32_t *position)
{
    uint64_t hash = content_hash(id);
    if (contents_find(contents, id, hash, position))
        return 0;
    if (contents->count == CONTENTS_MAX)
        return ERR_LIMIT;
    int err = array_grow(&contents->list, contents->count, &contents->capacity,
                         sizeof *contents->list);
    if (err != 0 || (err = index_grow(contents)) != 0)
        return err;
    const uint8_t *kept = text_keep(contents, id);
    if (kept == NULL)
        return ERR_MEMORY;
    *position = contents->count++;
    contents->list[*position] = (struct content){
        .hash = hash,
        .id = kept,
        .id_len = (uint32_t) id.len,
    };
    index_put(&contents->index, hash, *position);
    return 0;
}

struct ring *
contents_ring(struct contents *contents, uint32_t position)
{
    if (contents->list[position].ring == 0 && ring_add(contents, position) != 0)
        return NULL;
    const uint32_t i = contents->list[position].ring - 1;
    struct ring *ring = &contents->rings[i];
    if (!ring->is_touched) {
        ring->is_touched = true;
        contents->touched[contents->touched_count++] = i;
    }
    return ring;
}

void
contents_total(struct contents *contents)
{
    for (uint32_t i = 0; i < contents->touched_count; i++)
        total_take(contents, contents->touched[i]);
    contents->touched_count = 0;
}

void
contents_rotate(struct contents *contents, uint64_t from, uint64_t to)
{
    contents->touched_count = 0;
    for (uint32_t i = 0; i < contents->ring_count;) {
        if (ring_rotate(&contents->rings[i], from, to))
            total_take(contents, i++);
        else
            ring_remove(contents, i);
    }
}
