/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a daemon's loop until it is told to stop. */

#include "platform/loop.h"

#include "core/err.h"
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
