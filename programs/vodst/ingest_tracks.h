/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_VODST_INGEST_TRACKS_H
#define PROGRAMS_VODST_INGEST_TRACKS_H

/* The tracks of what was made, as st-api takes them. */

#include <jansson.h>

/* A list, by the folder's asset.idx. ERR_IO, ERR_MEMORY, or what
 * asset_decode says. */
int tracks_read(const char *folder, json_t **out);

#endif
