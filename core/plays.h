/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_PLAYS_H
#define CORE_PLAYS_H

/*
 * What a node remembers of the plays it saw lately: which it serves, and where
 * it sent the others. From that follows which plays are new to it, and that
 * one which moved is left alone for a while (rule: at most one move in five
 * minutes). A table of fixed size in memory that processes share, without a
 * lock; of plays in one bucket the one not seen for longest is forgotten.
 *
 * Two workers that put plays into the same slot in the same instant can mix
 * them: one play is then forgotten, or is held by the other's clock. That a
 * place is one of a node that takes plays, its reader checks anyway.
 */

#include "core/bytes.h"

#define PLAYS_SEEN_S 300 /* a play that asked nothing for so long is new */
/* A play that came or went stays there for so long: five minutes, and the
 * longest TTL of a steering manifest, so that of a player that is steered and
 * a node that redirects the player moves first and they do not both act. */
#define PLAYS_HOLD_S 330

struct play_slot {
    uint32_t tag; /* of the key; 0: empty */
    uint32_t seen_s;
    uint32_t since_s; /* it is where it is */
    uint32_t place;
};

#define PLAYS_BUCKET 4 /* slots: a cache line */

struct plays {
    uint32_t bucket_count; /* a power of two */
    uint32_t unused[15];
    struct play_slot slots[]; /* zeroed: empty */
};

/* Where a play is: here, here since a full node passed it on, or a node by
 * its hash (never a value below PLAY_ELSEWHERE). */
enum { PLAY_HERE, PLAY_HERE_SPILLED, PLAY_ELSEWHERE };
uint32_t play_place_of(uint64_t node_hash);

struct play_memory {
    bool is_known; /* the rest is set */
    bool is_held;
    uint32_t place;
};

/* `key` names the play at this node; `now_s` as of pace_add's clock. */
void plays_find(const struct plays *plays, uint64_t key, uint32_t now_s,
                struct play_memory *out);
void plays_note(struct plays *plays, uint64_t key, uint32_t now_s,
                uint32_t place);

#endif
