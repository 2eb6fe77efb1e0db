/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PLATFORM_BREAKER_H
#define PLATFORM_BREAKER_H

/*
 * A circuit breaker: after so many failures in a row nobody asks any more for a
 * pause; then one may try, and its answer ends it or its failure begins the pause
 * anew. Time is the caller's, in ms. Plain data: zeroed it is closed.
 */

#include <stdbool.h>
#include <stdint.h>

struct breaker_config {
    unsigned failures_max; /* in a row; 1 and more */
    uint64_t pause_ms;
};

enum breaker_state { BREAKER_CLOSED, BREAKER_HALF_OPEN, BREAKER_OPEN };

struct breaker {
    enum breaker_state state; /* half-open: one tries */
    unsigned failures;        /* in a row */
    uint64_t tries_ms;        /* when open: from when on one may try */
};

/* True: it may be asked, and breaker_answered or breaker_failed is to follow. */
bool breaker_may_ask(struct breaker *breaker, uint64_t now_ms);
/* True: this has closed it. */
bool breaker_answered(struct breaker *breaker);
/* True: this has opened it. */
bool breaker_failed(struct breaker *breaker,
                    const struct breaker_config *config, uint64_t now_ms);

#endif
