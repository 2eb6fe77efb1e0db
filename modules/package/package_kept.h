/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MODULES_PACKAGE_PACKAGE_KEPT_H
#define MODULES_PACKAGE_PACKAGE_KEPT_H

/*
 * What is kept on a local disk of films that nobody ingested. A film has a
 * folder by its identity; in it lies what media/plain.h makes at first touch,
 * and each segment that was asked for since, whole, as "<track>.<n>":
 *
 *   <folder>/film.0a, segment.0a, ...    locks
 *   <folder>/<identity>/asset.idx, v0.idx, v0.places, v0.0, v0.17, ...,
 *                       s0.idx, s0.text
 *   <folder>/<identity>.part/            while it is made
 *   <folder>/<identity>.bad              made for nothing: no good as a film
 *
 * Everything comes into its place by a rename. All here may block, and be
 * called by any thread of any process; no nginx.
 */

#include "media/plain.h"

#include <sys/stat.h>

#define KEPT_IDENTITY_LEN 32 /* hex */
#define KEPT_BAD_S 10        /* so long a bad film is not looked at again */

struct kept_film {
    const char *folder;
    const char *path;                /* of the film */
    const struct mp4_source *source; /* its bytes, without the text tracks;
                                      * NULL: those of the path */
    char identity[KEPT_IDENTITY_LEN + 1];
    time_t modified;
    uint32_t segment_ms;
};

/* What a failure has to tell; empty when it was told before. */
struct kept_error {
    char reason[512];
};

/* Sets identity and time: the same file, as long as it is not changed, wherever
 * it is moved. */
void kept_identity_set(struct kept_film *film, const struct stat *of);

/* Of one that is far away, by its URI, size and tag. */
struct kept_far {
    struct bytes uri;
    uint64_t size, tag;
    time_t modified; /* -1: not known */
};
void kept_identity_set_far(struct kept_film *film, const struct kept_far *of);

/* Makes what is kept of the film, unless it is there and `name` of it, an index
 * file, is whole. One caller makes it, and the others wait. ERR_NOT_FOUND: no
 * such track; ERR_STALE: another file than that of the identity; ERR_INVALID
 * and the like: a bad film; ERR_IO, ERR_MEMORY; ERR_FULL: the disk is, though
 * the films used longest ago went. */
int kept_index_make(const struct kept_film *film, const char *name,
                    struct kept_error *error);

/* Makes the segment's file, unless it is there. */
int kept_segment_make(const struct kept_film *film, const char *track,
                      uint32_t number, struct kept_error *error);

/* "film v0.17" was used now. */
void kept_touch(const char *folder, const char *identity);

/* Removes the films used longest ago until no more than size_max is taken, and
 * what is left of killed processes; not what is being made. Returns the bytes
 * that are taken then. */
uint64_t kept_shrink(const char *folder, uint64_t size_max);

#endif
