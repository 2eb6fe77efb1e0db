/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_TS_TS_SCHEDULE_H
#define MEDIA_TS_TS_SCHEDULE_H

/*
 * In which order the samples of a segment stand in the stream, which of them
 * share a PES packet, and when they are decoded. Internal to media/ts/.
 */

#include "media/ts/ts.h"

/* What becomes one PES packet: a picture, or some frames of sound. */
struct ts_element {
    size_t source;
    uint32_t first, count; /* samples */
    uint64_t size;         /* bytes of them */
    int64_t ticks;         /* decoding time */
};

bool ts_element_next(struct ts_inputs *inputs, struct ts_element *out);

/* Ticks from the presentation's 0 as 90 kHz of the stream, rounded to the
 * nearest: each from its own distance from 0, so that nothing adds up. Not
 * wrapped to 33 bits. */
int64_t ts_time(int64_t ticks, uint32_t timescale);

#endif
