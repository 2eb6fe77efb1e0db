/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_VODST_INGEST_FILE_H
#define PROGRAMS_VODST_INGEST_FILE_H

/* An open file for the MP4 reader. */

#include "media/mp4/mp4.h"

/* *fd stays the caller's, and where it is, while the source is in use. */
struct mp4_source file_mp4_source(int *fd, uint64_t size);

#endif
