/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_VODST_AUDIENCE_PLAYER_H
#define PROGRAMS_VODST_AUDIENCE_PLAYER_H

/*
 * One emulated viewer, who plays one content once: asks for the play, follows
 * redirects, reads the playlists, keeps a buffer of video and audio filled at
 * the pace of playback, and goes on elsewhere when a node fails.
 */

#include "platform/http.h"
#include "programs/vodst/audience_playlists.h"
#include "programs/vodst/audience_report.h"

#define PLAYER_RENDITION_BEST 0
#define PLAYER_RENDITION_WORST (-1)

struct event_base;
struct player;

/* What all players of an audience share; outlives them. */
struct player_room {
    struct event_base *base;
    struct http_client *client;
    struct playlists *playlists;
    struct audience_report *report;
    const char *playbacks_url; /* st-api's, POSTed to; or NULL and */
    const char *playback_url;  /* played directly */
    int rendition;             /* place in the order of bandwidth, best first */
    uint64_t watch_ms;         /* film time; 0: the whole film */
    uint64_t buffer_ms;        /* film time */
    double speed;              /* film time per time */
    unsigned timeout_ms;       /* of each request, at most */
    uint64_t random_state;     /* seeded: the same run twice */
    void (*ended)(struct player *player, bool failed, void *context);
    void *context;
};

/* Uniform in [0, 1), from the room's seed. */
double player_room_random(struct player_room *room);

/* Begins to play; NULL: no memory. `ended` is called once, later, and the
 * player is gone after it. The id is a place in the report's contents. */
struct player *player_new(struct player_room *room, size_t content,
                          uint64_t number);

/* Stops a player before its end, without `ended`; a stall under way is
 * counted up to now. */
void player_free(struct player *player);

#endif
