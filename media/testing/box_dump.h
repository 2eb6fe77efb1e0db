/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_TESTING_BOX_DUMP_H
#define MEDIA_TESTING_BOX_DUMP_H

/*
 * For tests: boxes as lines of text, for golden files and eyes. An unknown box
 * is shown as its bytes; one that does not fit as "broken".
 */

#include "core/buffer.h"

void box_dump(struct bytes boxes, struct buffer *out);

#endif
