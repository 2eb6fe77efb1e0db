/* SPDX-License-Identifier: Apache-2.0 */
/* Time and randomness from the kernel. */

#include "platform/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

static uint64_t
read_ms(clockid_t clock)
{
    struct timespec t;
    if (clock_gettime(clock, &t) != 0)
        abort(); /* both clocks exist on every Linux */
    return (uint64_t) t.tv_sec * 1000 + (uint64_t) t.tv_nsec / 1000000;
}

/* Monotonic to Unix time, taken once before main() so that threads agree. */
static uint64_t offset_ms;

__attribute__((constructor)) static void
offset_take(void)
{
    offset_ms = read_ms(CLOCK_REALTIME) - read_ms(CLOCK_MONOTONIC);
}

uint64_t
clock_now_ms(void)
{
    return read_ms(CLOCK_MONOTONIC) + offset_ms;
}

uint64_t
clock_unix_s(void)
{
    return read_ms(CLOCK_REALTIME) / 1000;
}

uint64_t
clock_unix_ms(void)
{
    return read_ms(CLOCK_REALTIME);
}

void
random_fill(void *out, unsigned size)
{
    uint8_t *p = out;
    while (size > 0) {
        ssize_t n = getrandom(p, size, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            abort(); /* going on without randomness would be worse */
        p += n;
        size -= (unsigned) n;
    }
}

uint64_t
random_u64(void)
{
    uint64_t v;
    random_fill(&v, sizeof v);
    return v;
}
