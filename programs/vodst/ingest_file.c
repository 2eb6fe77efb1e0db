/* SPDX-License-Identifier: Apache-2.0 */
/* An open file for the MP4 reader, see programs/vodst/ingest_file.h. */

#include "programs/vodst/ingest_file.h"

#include "core/err.h"

#include <errno.h>
#include <unistd.h>

static int
file_read_at(void *context, uint64_t offset, void *out, size_t len)
{
    const int *fd = context;
    uint8_t *at = out;
    while (len > 0) {
        ssize_t got = pread(*fd, at, len, (off_t) offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? ERR_IO : ERR_TRUNCATED;
        at += got;
        len -= (size_t) got;
        offset += (uint64_t) got;
    }
    return 0;
}

struct mp4_source
file_mp4_source(int *fd, uint64_t size)
{
    return (struct mp4_source){file_read_at, fd, size};
}
