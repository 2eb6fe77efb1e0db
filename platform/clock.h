/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PLATFORM_CLOCK_H
#define PLATFORM_CLOCK_H

#include <stdint.h>

/* Unix time in ms as it was at the program's start, moved on by the monotonic
 * clock: comparable between machines to start with, and never goes back. */
uint64_t clock_now_ms(void);

/* Unix time as the system says it now, for what people and other programs name
 * by it: it may be set forward and back. */
uint64_t clock_unix_s(void);
uint64_t clock_unix_ms(void);

/* Random bytes from the kernel; ends the program when it has none. */
void random_fill(void *out, unsigned size);
uint64_t random_u64(void);

#endif
