/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_ESDS_H
#define MEDIA_ESDS_H

/*
 * The box esds (ISO/IEC 14496-1 §7.2.6, 14496-14 §3.1.2): which codec an mp4a
 * is of, and its configuration. Internal to media/.
 */

#include "core/bytes.h"

#define ESDS_OBJECT_AAC 0x40
#define ESDS_OBJECT_MPEG2_AAC_MAIN 0x66
#define ESDS_OBJECT_MPEG2_AAC_SSR 0x68
#define ESDS_OBJECT_MPEG2_MP3 0x69
#define ESDS_OBJECT_MP3 0x6b

struct esds {
    uint8_t object;      /* objectTypeIndication */
    struct bytes config; /* AudioSpecificConfig; empty: there is none */
};

/* `descriptors` is what stands behind version and flags; config points into
 * it. ERR_INVALID when it does not say the codec. */
int esds_parse(struct bytes descriptors, struct esds *out);

#endif
