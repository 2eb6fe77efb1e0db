/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_VODST_INGEST_PIECES_H
#define PROGRAMS_VODST_INGEST_PIECES_H

/*
 * A long film is encoded in pieces of some minutes, so that a run that is
 * killed loses one of them at most. Each has an encoder of its own, wherever a
 * run begins, so the result is the same however often it was killed.
 */

#include "media/mp4/mp4.h"
#include "programs/vodst/ingest_encode.h"
#include "programs/vodst/ingest_work.h"

#define PIECES_MAX 256
#define PIECE_MS_MAX 600000 /* its key frames are told one by one */

/* Says how many pieces there are, of about `piece_ms`, where the film is such
 * that they fit together: of constant rate, with an index to seek by, and not of days. */
void pieces_plan(const struct source *source, uint32_t piece_ms,
                 struct encode_plan *plan);

/*
 * Encodes what earlier runs have not, sound and thumbnails last. Where the
 * pieces do not fit together all is encoded at once, and plan->piece_count is
 * 0. As encode_run.
 */
int pieces_encode(struct progress *progress, const struct source *source,
                  struct encode_plan *plan, struct work *work,
                  uint64_t *frame_count);

/* One rendition of all pieces, as if it were one file. */
struct pieces {
    struct mp4_track track; /* samples and sample entry belong to this */
    struct mp4_source source;
    struct piece_file *files;
    unsigned count;
    struct mp4_movie first; /* whose sample entry it is */
    bool has_first;
};

/* ERR_UNSUPPORTED: they do not fit together. pieces_close whatever comes of it.
 * *reason is static text on failure. */
int pieces_open(const char *folder, const struct encode_plan *plan,
                unsigned rung, struct pieces *out, const char **reason);
void pieces_close(struct pieces *pieces);

#endif
