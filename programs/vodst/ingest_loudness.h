/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_VODST_INGEST_LOUDNESS_H
#define PROGRAMS_VODST_INGEST_LOUDNESS_H

/* How loud a film's sounds are, measured before they are encoded. */

#include "programs/vodst/ingest_encode.h"

/* Of one sound, by FFmpeg, which reads all of it. Tells what is wrong by
 * progress_error. */
int loudness_measure(struct progress *progress, const struct source *source,
                     unsigned audio, double lufs, struct loudness *out);

/* The JSON that FFmpeg's filter ends with; false: there is none. */
bool loudness_parse(const char *text, struct loudness *out);

#endif
