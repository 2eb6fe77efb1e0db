/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_CMCD_H
#define CORE_CMCD_H

/*
 * What players say of themselves with each request: Common Media Client Data
 * (CTA-5004), "bl=2300,bs,cid=\"film\"" in an argument or in headers.
 */

#include "core/bytes.h"

/* The value of `key` in one such text: of a string what stands between its
 * quotes, of a key without a value "1". Points into the text. False when it is
 * not there, or stands behind something that is no CMCD. */
bool cmcd_find(struct bytes text, struct bytes key, struct bytes *value);

#endif
