/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a daemon's loop until it is told to stop; how long to wait. */

#include "platform/loop.h"

#include "core/err.h"
#include "platform/clock.h"
#include "platform/log.h"

#include <signal.h>
#include <stddef.h>

#include <event2/event.h>

static void
stop(evutil_socket_t number, short what, void *base)
{
    log_info("main: stop (signal %d)", (int) number);
    event_base_loopbreak(base);
}

int
loop_run(struct event_base *base)
{
    static const int numbers[] = {SIGTERM, SIGINT};
    struct event *signals[2] = {NULL, NULL};
    int err = 0;
    signal(SIGHUP, SIG_IGN);
    for (size_t i = 0; i < 2 && err == 0; i++) {
        signals[i] = evsignal_new(base, numbers[i], stop, base);
        if (signals[i] == NULL || event_add(signals[i], NULL) != 0)
            err = ERR_MEMORY;
    }
    if (err == 0)
        event_base_dispatch(base);
    for (size_t i = 0; i < 2; i++)
        if (signals[i] != NULL)
            event_free(signals[i]);
    return err;
}

struct timeval
loop_ms(uint64_t ms)
{
    return (struct timeval){.tv_sec = (time_t) (ms / 1000),
                            .tv_usec = (suseconds_t) (ms % 1000) * 1000};
}

struct timeval
loop_back_off(unsigned failure_count, unsigned first_ms, unsigned max_ms)
{
    uint64_t ms = first_ms;
    for (unsigned i = 1; i < failure_count && ms < max_ms; i++)
        ms *= 2;
    if (ms > max_ms)
        ms = max_ms;
    return loop_ms(ms / 2 + random_u64() % (ms + 1));
}
