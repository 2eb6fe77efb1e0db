/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_VODST_AUDIENCE_PLAYLISTS_H
#define PROGRAMS_VODST_AUDIENCE_PLAYLISTS_H

/*
 * Media playlists that players hold at the moment. Equal texts are parsed and
 * kept once, whoever fetched them: a thousand viewers of a film cost one copy.
 */

#include "programs/vodst/playlist_parse.h"

struct playlists; /* belongs to one thread */

struct playlists *playlists_new(void); /* NULL: no memory */
void playlists_free(struct playlists *playlists);

/* Copies what it keeps of the text. As media_playlist_parse. Each success is
 * given back by playlists_release. */
int playlists_take(struct playlists *playlists, struct bytes text,
                   const struct media_playlist **out);
void playlists_release(struct playlists *playlists,
                       const struct media_playlist *playlist);

#endif
