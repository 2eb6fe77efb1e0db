/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PLATFORM_LOOP_H
#define PLATFORM_LOOP_H

/* The one event loop of a daemon, and its waits. */

#include <stdint.h>
#include <sys/time.h>

struct event_base;

/* Runs until SIGTERM or SIGINT; SIGHUP does nothing. 0, or ERR_MEMORY. */
int loop_run(struct event_base *base);

struct timeval loop_ms(uint64_t ms);

/* The wait before the next try: doubled from first_ms for each failure up to
 * max_ms, and spread (a half to one and a half of it) so that many do not come
 * together. */
struct timeval loop_back_off(unsigned failure_count, unsigned first_ms,
                             unsigned max_ms);

#endif
