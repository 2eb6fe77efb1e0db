/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_PLAIN_H
#define MEDIA_PLAIN_H

/*
 * A plain film is one MP4 with all its tracks, as it came. What is made of it
 * at first touch is all that ingest would make but the track files of picture
 * and sound: for these the places that each segment is made from when it is
 * first asked for. Text is small, and made at once.
 */

#include "media/index.h"
#include "media/mp4/mp4.h"

/* What is made, file by file, "asset.idx" last: "v0.idx", "v0.places",
 * "s0.text". */
struct plain_sink {
    int (*write)(void *context, const char *name, struct bytes bytes);
    void *context;
};

/* Cuts where the first picture has key frames. Without `has_texts` there are no
 * text tracks: their samples lie all over the film. *error is set for a film
 * that is no good: ERR_INVALID, ERR_TRUNCATED, ERR_UNSUPPORTED, ERR_LIMIT; its
 * box is empty where no one box is to blame. */
int plain_film_layout(const struct mp4_source *source, uint32_t segment_ms,
                      bool has_texts, const struct plain_sink *sink,
                      struct mp4_error *error);

#endif
