/* SPDX-License-Identifier: Apache-2.0 */
/* The limit of open files. */

#include "platform/descriptors.h"

#include "platform/log.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>

void
descriptors_raise(uint64_t wanted)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    if (wanted > limit.rlim_max)
        wanted = limit.rlim_max;
    if (limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = wanted;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        log_warn("main: cannot raise the limit of open files (%s)",
                 strerror(errno));
}
