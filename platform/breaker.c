/* SPDX-License-Identifier: Apache-2.0 */

#include "platform/breaker.h"

bool
breaker_may_ask(struct breaker *breaker, uint64_t now_ms)
{
    if (breaker->state == BREAKER_OPEN && now_ms >= breaker->tries_ms) {
        breaker->state = BREAKER_HALF_OPEN;
        return true;
    }
    return breaker->state == BREAKER_CLOSED;
}

bool
breaker_answered(struct breaker *breaker)
{
    const bool has_closed = breaker->state != BREAKER_CLOSED;
    *breaker = (struct breaker){.state = BREAKER_CLOSED};
    return has_closed;
}

bool
breaker_failed(struct breaker *breaker, const struct breaker_config *config,
               uint64_t now_ms)
{
    const enum breaker_state before = breaker->state;
    breaker->failures++;
    /* of an open one: a question of before, which does not put the try off */
    if (before == BREAKER_OPEN
        || (before == BREAKER_CLOSED
            && breaker->failures < config->failures_max))
        return false;
    breaker->state = BREAKER_OPEN;
    breaker->tries_ms = now_ms + config->pause_ms;
    return before == BREAKER_CLOSED;
}
