/* SPDX-License-Identifier: Apache-2.0 */
/* The memory of plays, see core/plays.h. */

#include "core/plays.h"

static uint32_t
load(const uint32_t *value)
{
    return __atomic_load_n(value, __ATOMIC_RELAXED);
}

static void
store(uint32_t *value, uint32_t now)
{
    if (load(value) != now) /* or workers would take turns with the line */
        __atomic_store_n(value, now, __ATOMIC_RELAXED);
}

static uint32_t
tag_of(uint64_t key)
{
    const uint32_t tag = (uint32_t) (key >> 32);
    return tag != 0 ? tag : 1;
}

static size_t
bucket_of(const struct plays *plays, uint64_t key)
{
    return (size_t) ((uint32_t) key & (plays->bucket_count - 1)) * PLAYS_BUCKET;
}

/* A worker whose clock is ahead may just have noted what is, to this one, in
 * the next second. */
static uint32_t
age_s(const uint32_t *then_s, uint32_t now_s)
{
    const uint32_t then = load(then_s);
    return then < now_s ? now_s - then : 0;
}

static bool
is_slot_of(const struct play_slot *slot, uint32_t tag, uint32_t now_s)
{
    return load(&slot->tag) == tag
           && age_s(&slot->seen_s, now_s) <= PLAYS_SEEN_S;
}

/* The play's slot, or else the one that it may take. */
static struct play_slot *
slot_for(struct plays *plays, uint64_t key, uint32_t now_s)
{
    struct play_slot *slots = &plays->slots[bucket_of(plays, key)];
    struct play_slot *oldest = slots;
    for (size_t i = 0; i < PLAYS_BUCKET; i++) {
        if (is_slot_of(&slots[i], tag_of(key), now_s))
            return &slots[i];
        if (load(&slots[i].seen_s) < load(&oldest->seen_s))
            oldest = &slots[i];
    }
    return oldest;
}

uint32_t
play_place_of(uint64_t node_hash)
{
    const uint32_t place = (uint32_t) node_hash;
    return place < PLAY_ELSEWHERE ? place + PLAY_ELSEWHERE : place;
}

void
plays_find(const struct plays *plays, uint64_t key, uint32_t now_s,
           struct play_memory *out)
{
    const struct play_slot *slots = &plays->slots[bucket_of(plays, key)];
    *out = (struct play_memory){0};
    for (size_t i = 0; i < PLAYS_BUCKET; i++) {
        if (!is_slot_of(&slots[i], tag_of(key), now_s))
            continue;
        out->is_known = true;
        out->is_held = age_s(&slots[i].since_s, now_s) < PLAYS_HOLD_S;
        out->place = load(&slots[i].place);
        return;
    }
}

void
plays_note(struct plays *plays, uint64_t key, uint32_t now_s, uint32_t place)
{
    struct play_slot *slot = slot_for(plays, key, now_s);
    if (!is_slot_of(slot, tag_of(key), now_s) || load(&slot->place) != place) {
        store(&slot->place, place);
        store(&slot->since_s, now_s);
    }
    store(&slot->seen_s, now_s);
    store(&slot->tag, tag_of(key));
}
