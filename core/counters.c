/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The counter file of core/counters.h.
 *
 *   header   0  magic  8  form  12  slot_count  16  heap_size
 *           20  contents_max  24  id_bytes  32  boot
 *           64  overflow   128  used   192  heap_used   (a cache line each)
 *   slot     0  hash   8  id_ref  12  starved  16  requests  24  bytes
 *           32  starts  40  offloaded
 *   changes  per block of slots: how often something was counted in it, 4 B
 *   heap     per id: length (1 byte), the id
 *
 * The life of a slot: hash 0 (free) -> hash set by compare-and-swap (claimed)
 * -> id_ref set by compare-and-swap (published). hash and id_ref never change
 * again. Whoever meets a claimed slot of its hash before the id is published
 * publishes its own: so a worker killed in between leaves nothing stuck, and
 * the loser of the race compares ids and goes on probing when they differ.
 *
 * Of what a request adds, `requests` comes last but one and the block's change
 * last: who reads in the other order misses nothing that either says was
 * counted. A worker killed in between leaves a request that is seen with the
 * block's next one.
 */

#include "core/content.h"
#include "core/counters.h"
#include "core/err.h"

#define COUNTERS_FORM 2
#define HEADER_SIZE 4096
#define SLOT_SIZE 48
#define CHANGE_SIZE sizeof(uint32_t)
#define PROBES_MAX 1024
#define SLOTS_MAX 0xf0000000u
#define HEAP_MAX 0xfffffff0u

#define ID_REF_NONE 0u
#define ID_REF_DEAD 0xffffffffu /* claimed, but the heap was full */

static const uint8_t magic[8] = {'V', 'O', 'D', 'S', 'T', 'C', 'N', 'T'};

struct header {
    uint8_t magic[8];
    uint32_t form;
    uint32_t slot_count;
    uint32_t heap_size;
    uint32_t contents_max;
    uint32_t id_bytes;
    uint32_t zero;
    uint64_t boot;
    uint64_t pad0[3];
    uint64_t overflow; /* requests */
    uint64_t pad1[7];
    uint64_t used; /* slots */
    uint64_t pad2[7];
    uint64_t heap_used; /* bytes; may pass heap_size when the heap is full */
};

struct slot {
    uint64_t hash;
    uint32_t id_ref; /* offset in the heap + 1 */
    uint32_t starved;
    uint64_t requests;
    uint64_t bytes;
    uint64_t starts;
    uint64_t offloaded;
};

_Static_assert(sizeof(struct header) <= HEADER_SIZE, "header too large");
_Static_assert(sizeof(struct slot) == SLOT_SIZE, "slots are 48 bytes");
_Static_assert(offsetof(struct header, overflow) == 64, "own cache line");
_Static_assert(offsetof(struct header, used) == 128, "own cache line");
_Static_assert(offsetof(struct header, heap_used) == 192, "own cache line");

static struct header *
header_of(const struct counters *c)
{
    return (struct header *) (void *) c->map;
}

static struct slot *
slot_of(const struct counters *c, uint32_t index)
{
    return (struct slot *) (void *) (c->map + HEADER_SIZE) + index;
}

static uint32_t *
changes_of(const struct counters *c)
{
    return (uint32_t *) (void *) slot_of(c, c->slot_count);
}

static uint32_t
block_count_for(uint32_t slot_count)
{
    return slot_count / COUNTERS_BLOCK_SLOTS
           + (slot_count % COUNTERS_BLOCK_SLOTS != 0);
}

static uint8_t *
heap_of(const struct counters *c)
{
    return (uint8_t *) (changes_of(c) + block_count_for(c->slot_count));
}

/*
 * 64 bytes a content, header and changes included: 4/3 slots a content, less
 * some. Small files, where the header weighs more, take theirs on top.
 */
static uint32_t
slot_count_for(uint32_t contents_max)
{
    if (contents_max < 1024)
        return contents_max + contents_max / 3 + 1;
    const uint64_t size =
        (uint64_t) contents_max * 64 - HEADER_SIZE - CHANGE_SIZE;
    return (uint32_t) (size * COUNTERS_BLOCK_SLOTS
                       / (SLOT_SIZE * COUNTERS_BLOCK_SLOTS + CHANGE_SIZE));
}

static size_t
file_size(uint32_t slot_count, uint64_t heap_size)
{
    return HEADER_SIZE + (size_t) slot_count * SLOT_SIZE
           + block_count_for(slot_count) * CHANGE_SIZE + (size_t) heap_size;
}

static uint64_t
counter_load(const uint64_t *value)
{
    return __atomic_load_n(value, __ATOMIC_RELAXED);
}

static void
counter_add(uint64_t *value, uint64_t n)
{
    __atomic_fetch_add(value, n, __ATOMIC_RELAXED);
}

/* The id a published reference stands for; length 0 for a wild one. */
static struct bytes
id_of(const struct counters *c, uint32_t ref)
{
    if (ref == ID_REF_NONE || ref >= c->heap_size)
        return bytes_of(NULL, 0);
    const uint8_t *at = heap_of(c) + (ref - 1);
    uint8_t len = *at;
    if (len == 0 || len > CONTENT_ID_LEN_MAX || len > c->heap_size - ref)
        return bytes_of(NULL, 0);
    return bytes_of(at + 1, len);
}

/* Puts the id into the heap; its reference, or ID_REF_NONE: no room. */
static uint32_t
heap_put(struct counters *c, struct bytes id)
{
    struct header *header = header_of(c);
    uint64_t size = id.len + 1;

    /* looked at first, so that a full heap's mark does not run away */
    if (counter_load(&header->heap_used) > c->heap_size - size)
        return ID_REF_NONE;
    uint64_t offset =
        __atomic_fetch_add(&header->heap_used, size, __ATOMIC_RELAXED);
    if (offset > c->heap_size - size)
        return ID_REF_NONE;
    uint8_t *at = heap_of(c) + offset;
    at[0] = (uint8_t) id.len;
    memcpy(at + 1, id.ptr, id.len);
    return (uint32_t) offset + 1;
}

/* Publishes the id in a claimed slot, or finds that another did. Returns what
 * the slot refers to then. */
static uint32_t
slot_publish(struct counters *c, struct slot *slot, struct bytes id)
{
    uint32_t ref = heap_put(c, id);
    uint32_t found = ID_REF_NONE;
    if (ref == ID_REF_NONE)
        ref = ID_REF_DEAD;
    if (__atomic_compare_exchange_n(&slot->id_ref, &found, ref, false,
                                    __ATOMIC_RELEASE, __ATOMIC_ACQUIRE))
        return ref;
    return found;
}

/* True when the slot, whose hash is that of the id, holds the id. */
static bool
slot_holds(struct counters *c, struct slot *slot, struct bytes id)
{
    uint32_t ref = __atomic_load_n(&slot->id_ref, __ATOMIC_ACQUIRE);
    if (__builtin_expect(ref == ID_REF_NONE, 0))
        ref = slot_publish(c, slot, id);
    return bytes_equal(id_of(c, ref), id);
}

/* Claims a free slot for the hash. *found is the hash it has then. */
static void
slot_claim(struct counters *c, struct slot *slot, uint64_t hash,
           uint64_t *found)
{
    *found = 0;
    if (__atomic_compare_exchange_n(&slot->hash, found, hash, false,
                                    __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
        counter_add(&header_of(c)->used, 1);
        *found = hash;
    }
}

static bool
has_room(const struct counters *c, struct bytes id)
{
    const struct header *header = header_of(c);
    return counter_load(&header->used) < header->contents_max
           && counter_load(&header->heap_used) + id.len + 1 <= c->heap_size;
}

/* Where probing for the hash begins. */
static uint32_t
slot_first(const struct counters *c, uint64_t hash)
{
    return (uint32_t) (((unsigned __int128) hash * c->slot_count) >> 64);
}

/* The id's slot, made when it is new; NULL: no room. */
static struct slot *
slot_find(struct counters *c, uint64_t hash, struct bytes id)
{
    uint32_t index = slot_first(c, hash);
    uint32_t probes = c->slot_count < PROBES_MAX ? c->slot_count : PROBES_MAX;

    while (probes-- > 0) {
        struct slot *slot = slot_of(c, index);
        uint64_t found = counter_load(&slot->hash);
        if (found == 0) {
            if (!has_room(c, id))
                return NULL;
            slot_claim(c, slot, hash, &found);
        }
        if (found == hash && slot_holds(c, slot, id))
            return slot;
        if (++index == c->slot_count)
            index = 0;
    }
    return NULL;
}

size_t
counters_file_size(uint32_t contents_max, uint32_t id_bytes)
{
    uint64_t heap_size = (uint64_t) contents_max * id_bytes;
    if (contents_max == 0 || contents_max > COUNTERS_CONTENTS_MAX
        || id_bytes < 2 || id_bytes > CONTENT_ID_LEN_MAX + 1
        || heap_size > HEAP_MAX)
        return 0;
    /* whole words, and room for one id at least */
    if (heap_size < CONTENT_ID_LEN_MAX + 1)
        heap_size = CONTENT_ID_LEN_MAX + 1;
    heap_size = (heap_size + 7) & ~(uint64_t) 7;
    return file_size(slot_count_for(contents_max), heap_size);
}

int
counters_format(void *map, size_t map_size, uint32_t contents_max,
                uint32_t id_bytes, uint64_t boot)
{
    size_t size = counters_file_size(contents_max, id_bytes);
    if (size == 0 || size != map_size || boot == 0
        || (uintptr_t) map % sizeof(uint64_t) != 0)
        return ERR_INVALID;
    uint32_t slot_count = slot_count_for(contents_max);
    struct header *header = map;
    *header = (struct header){
        .form = COUNTERS_FORM,
        .slot_count = slot_count,
        .heap_size = (uint32_t) (size - file_size(slot_count, 0)),
        .contents_max = contents_max,
        .id_bytes = id_bytes,
        .boot = boot,
    };
    memcpy(header->magic, magic, sizeof magic);
    return 0;
}

int
counters_open(void *map, size_t map_size, struct counters *out)
{
    const struct header *header = map;

    if (map_size < HEADER_SIZE)
        return ERR_TRUNCATED;
    if ((uintptr_t) map % sizeof(uint64_t) != 0
        || memcmp(header->magic, magic, sizeof magic) != 0)
        return ERR_INVALID;
    if (header->form != COUNTERS_FORM)
        return ERR_VERSION;
    if (header->slot_count == 0 || header->slot_count > SLOTS_MAX
        || header->heap_size < CONTENT_ID_LEN_MAX + 1
        || header->heap_size > HEAP_MAX + 7u || header->boot == 0
        || header->contents_max > header->slot_count)
        return ERR_INVALID;
    size_t size = file_size(header->slot_count, header->heap_size);
    if (map_size < size)
        return ERR_TRUNCATED;
    if (map_size > size)
        return ERR_INVALID;
    *out = (struct counters){
        .map = map,
        .map_size = map_size,
        .boot = header->boot,
        .slot_count = header->slot_count,
        .heap_size = header->heap_size,
    };
    return 0;
}

bool
counters_has_shape(const struct counters *c, uint32_t contents_max,
                   uint32_t id_bytes)
{
    const struct header *header = header_of(c);
    return header->contents_max == contents_max && header->id_bytes == id_bytes
           && c->map_size == counters_file_size(contents_max, id_bytes);
}

void
counters_add(struct counters *c, uint64_t hash, struct bytes id, uint64_t bytes,
             unsigned flags)
{
    struct slot *slot = NULL;

    if (hash != 0 && id.len > 0 && id.len <= CONTENT_ID_LEN_MAX)
        slot = slot_find(c, hash, id);
    if (slot == NULL) {
        counter_add(&header_of(c)->overflow, 1);
        return;
    }
    if (bytes != 0)
        counter_add(&slot->bytes, bytes);
    if (flags & COUNTERS_START)
        counter_add(&slot->starts, 1);
    if (flags & COUNTERS_OFFLOADED)
        counter_add(&slot->offloaded, 1);
    if (flags & COUNTERS_STARVED)
        __atomic_fetch_add(&slot->starved, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&slot->requests, 1, __ATOMIC_RELEASE);
    const size_t index = (size_t) (slot - slot_of(c, 0));
    __atomic_fetch_add(&changes_of(c)[index / COUNTERS_BLOCK_SLOTS], 1,
                       __ATOMIC_RELEASE);
}

void
counters_prefetch(const struct counters *c, uint64_t hash)
{
    const uint32_t index = slot_first(c, hash);
    const char *slot = (const char *) slot_of(c, index);
    /* for writing; a slot may lie across two cache lines */
    __builtin_prefetch(slot, 1);
    __builtin_prefetch(slot + SLOT_SIZE - 1, 1);
    __builtin_prefetch(&changes_of(c)[index / COUNTERS_BLOCK_SLOTS], 1);
}

uint32_t
counters_block_count(const struct counters *c)
{
    return block_count_for(c->slot_count);
}

const uint32_t *
counters_changes(const struct counters *c)
{
    return changes_of(c);
}

uint64_t
counters_requests(const struct counters *c, uint32_t slot)
{
    return __atomic_load_n(&slot_of(c, slot)->requests, __ATOMIC_ACQUIRE);
}

bool
counters_get(const struct counters *c, uint32_t index,
             struct counters_entry *out)
{
    const struct slot *slot = slot_of(c, index);
    const uint64_t hash = counter_load(&slot->hash);
    if (hash == 0)
        return false;
    const uint32_t ref = __atomic_load_n(&slot->id_ref, __ATOMIC_ACQUIRE);
    const struct bytes id = id_of(c, ref);
    if (!content_id_is_valid(id))
        return false;
    const uint64_t requests = counters_requests(c, index);
    *out = (struct counters_entry){
        .slot = index,
        .hash = hash,
        .id = id,
        .values =
            {
                .requests = requests,
                .bytes = counter_load(&slot->bytes),
                .starts = counter_load(&slot->starts),
                .offloaded = counter_load(&slot->offloaded),
                .starved = __atomic_load_n(&slot->starved, __ATOMIC_RELAXED),
            },
    };
    return true;
}

bool
counters_next(const struct counters *c, uint32_t *cursor,
              struct counters_entry *out)
{
    while (*cursor < c->slot_count) {
        if (counters_get(c, (*cursor)++, out))
            return true;
    }
    return false;
}

uint64_t
counters_overflow(const struct counters *c)
{
    return counter_load(&header_of(c)->overflow);
}

uint32_t
counters_used(const struct counters *c)
{
    uint64_t used = counter_load(&header_of(c)->used);
    return used < c->slot_count ? (uint32_t) used : c->slot_count;
}
