/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_VODST_INGEST_LADDER_H
#define PROGRAMS_VODST_INGEST_LADDER_H

/*
 * A ladder for one film: what its pictures need at each height is measured, and
 * only renditions that make a difference are made.
 */

#include "programs/vodst/ingest_encode.h"

/* What one height takes at the quality that is asked for, in kbit/s. */
struct rung_need {
    unsigned average, peak; /* of all samples, of the one that takes most */
};

/* Heights that may be in a ladder and are not above the source, best first, as
 * rungs of the plan with what they may take at most. */
void ladder_candidates(const struct source *source, struct encode_plan *plan);

/*
 * Of the plan's rungs takes the best, and then each that takes at most
 * LADDER_SHARE_MAX of the one before, until one takes so little that nobody
 * needs less. What a rung may take at its peaks comes from what was measured.
 */
#define LADDER_SHARE_MAX 0.7
#define LADDER_KBPS_ENOUGH 150
void ladder_choose(const struct rung_need *needs, struct encode_plan *plan);

/*
 * Encodes some seconds of the film at all candidates, in a folder of its own
 * inside `folder`, and leaves the plan with those that are chosen. Where nothing
 * can be measured the candidates stay. ERR_TIMEOUT, ERR_IO.
 */
int ladder_measure(struct progress *progress, const struct source *source,
                   const char *folder, struct encode_plan *plan);

#endif
