/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_PACE_H
#define CORE_PACE_H

/*
 * How busy a node is by its own measure: the requests and bytes of the last
 * second. It lies in memory that processes share and needs no lock: anybody
 * adds and reads at any time. Zeroed is valid.
 */

#include "core/bytes.h"

/* What a play asks for beside its first request as it starts: playlists, init
 * segments, a buffer of segments. Counted as it is let in, because a crowd
 * that starts in one second asks for all that only in the next ones. */
#define PACE_START_REQUESTS 10

#define PACE_TICK_MS 125
#define PACE_SECOND (1000 / PACE_TICK_MS)
#define PACE_TICKS (2 * PACE_SECOND) /* one who adds late does no harm */

struct pace_tick {
    uint64_t requests; /* the tick's number << 32 | count */
    uint64_t kibibytes;
};

struct pace {
    struct pace_tick ticks[PACE_TICKS];
};

struct pace_rate {
    uint64_t requests; /* in the last second */
    uint64_t bits;
};

/* `now_ms` is of a clock that all who share it have in common, and that never
 * goes back. */
void pace_add(struct pace *pace, uint64_t now_ms, uint32_t requests,
              uint64_t bytes);
void pace_read(const struct pace *pace, uint64_t now_ms, struct pace_rate *out);

#endif
