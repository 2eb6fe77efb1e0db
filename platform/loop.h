/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PLATFORM_LOOP_H
#define PLATFORM_LOOP_H

/* The one event loop of a daemon. */

struct event_base;

/* Runs until SIGTERM or SIGINT; SIGHUP does nothing. 0, or ERR_MEMORY. */
int loop_run(struct event_base *base);

#endif
