/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_PATHWAYS_H
#define MEDIA_PATHWAYS_H

/*
 * The pathways of a play: several places with the same film, and whom a player
 * asks which of them to use. What content steering needs to know of, in a
 * multivariant playlist and in an MPD.
 */

#include "core/bytes.h"

#define PATHWAYS_MAX 8

struct pathway {
    struct bytes name;  /* PATHWAY-ID, serviceLocation */
    struct bytes base;  /* of its URIs, with the slash; empty: the manifest's */
    struct bytes query; /* of what is asked there, with the "?"; empty: none */
};

struct pathways {
    struct bytes server_uri;
    struct pathway list[PATHWAYS_MAX]; /* the first to start with */
    size_t count;                      /* at least 2 */
};

/* "<server-uri> <name> <base>[?<query>] <name> ...", "." for an empty base.
 * ERR_INVALID also for what does not fit into a quoted string, ERR_LIMIT. The
 * parts point into the text. */
int pathways_parse(struct bytes text, struct pathways *out);

#endif
