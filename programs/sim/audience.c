/* SPDX-License-Identifier: Apache-2.0 */
/* Who asks for what and when, see programs/sim/audience.h. */

#include "programs/sim/audience.h"

#include "core/err.h"

#include <math.h>
#include <stdlib.h>

static uint32_t
common_divisor(uint32_t a, uint32_t b)
{
    while (b != 0) {
        uint32_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static int
shares_init(struct audience *audience)
{
    const uint32_t count = audience->config->contents;
    double *weights = calloc(count, sizeof *weights);
    audience->shares = calloc(count, sizeof *audience->shares);
    if (weights == NULL || audience->shares == NULL) {
        free(weights);
        return ERR_MEMORY;
    }
    double sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        weights[i] = audience->config->names != NULL
                         ? audience->config->weights[i]
                         : pow(i + 1.0, -audience->config->zipf);
        sum += weights[i];
    }
    for (uint32_t i = 0; i < count; i++)
        audience->shares[i] = weights[i] / sum;
    int err = alias_init(&audience->ranks, weights, count);
    free(weights);
    return err;
}

/* Of so many plays that start over a time. */
static uint64_t
starts_in_step(struct audience *audience, double plays, uint64_t over_ms)
{
    return rng_poisson(&audience->rng, plays
                                           * (double) audience->config->step_ms
                                           / (double) over_ms);
}

int
audience_init(struct audience *audience, const struct sim_config *config)
{
    const uint32_t count = config->contents;
    *audience = (struct audience){
        .config = config,
        .rng = rng_of(config->seed, 1),
    };
    audience->swap_offset = (uint32_t) (rng_next(&audience->rng) % count);
    do
        audience->swap_step = (uint32_t) (rng_next(&audience->rng) % count) + 1;
    while (common_divisor(count, audience->swap_step) != 1);
    int err = shares_init(audience);
    if (err != 0) {
        audience_fini(audience);
        return err;
    }
    audience->arrivals = (struct arrivals){
        .rate = config->rate,
        .ramp_ms = (double) config->ramp_ms,
        .weights = config->weights,
        .content_count = count,
        .rng = rng_of(config->audience_seed, 0),
    };
    if (config->names != NULL)
        arrivals_next(&audience->arrivals);
    return 0;
}

void
audience_fini(struct audience *audience)
{
    alias_fini(&audience->ranks);
    free(audience->shares);
    audience->shares = NULL;
}

double
audience_plays(const struct audience *audience)
{
    const struct sim_config *config = audience->config;
    if (config->names != NULL)
        return 0; /* it begins with nobody */
    return config->utilisation * config->nodes * config->capacity;
}

double
audience_crowd(const struct audience *audience)
{
    const struct sim_config *config = audience->config;
    return config->flash_share * config->nodes * config->capacity;
}

uint32_t
audience_content(const struct audience *audience, uint32_t rank)
{
    if (!audience->is_swapped)
        return rank;
    uint64_t place = (uint64_t) rank * audience->swap_step;
    return (uint32_t) ((place + audience->swap_offset)
                       % audience->config->contents);
}

uint32_t
audience_crowd_content(const struct audience *audience)
{
    return audience->config->contents;
}

bool
audience_next(struct audience *audience, uint64_t now_ms, uint32_t *content)
{
    const struct sim_config *config = audience->config;
    if (config->names != NULL) {
        if (audience->arrivals.at_ms > (double) now_ms)
            return false;
        *content = (uint32_t) audience->arrivals.content;
        arrivals_next(&audience->arrivals);
        return true;
    }
    if (audience->drawn_ms != now_ms) {
        audience->drawn_ms = now_ms;
        audience->due = starts_in_step(audience, audience_plays(audience),
                                       config->watch_ms);
        if (config->swap_ms != 0 && now_ms >= config->swap_ms)
            audience->is_swapped = true;
    }
    if (audience->due == 0)
        return false;
    audience->due--;
    *content = audience_pick(audience);
    return true;
}

/* Linear up to the whole crowd in the ramp; then as many come as leave. */
uint64_t
audience_crowd_starts(struct audience *audience, uint64_t now_ms)
{
    const struct sim_config *config = audience->config;
    if (config->flash_share <= 0 || now_ms < config->flash_ms)
        return 0;
    const bool is_ramp = now_ms < config->flash_ms + config->flash_ramp_ms;
    const uint64_t over_ms = is_ramp ? config->flash_ramp_ms : config->watch_ms;
    return starts_in_step(audience, audience_crowd(audience), over_ms);
}

uint32_t
audience_pick(struct audience *audience)
{
    return audience_content(audience,
                            alias_draw(&audience->ranks, &audience->rng));
}

uint32_t
audience_segments(struct audience *audience)
{
    const struct sim_config *config = audience->config;
    const double mean = (double) config->watch_ms / (double) config->segment_ms;
    const uint64_t n = config->names != NULL
                           ? (uint64_t) ceil(mean)
                           : rng_geometric(&audience->rng, mean);
    return n < UINT16_MAX ? (uint32_t) n : UINT16_MAX;
}

struct bytes
content_name(const struct sim_config *config, uint32_t content,
             uint8_t name[CONTENT_NAME_LEN])
{
    if (config->names != NULL)
        return bytes_of_text(config->names[content]);
    name[0] = 'c';
    for (int i = CONTENT_NAME_LEN - 1; i > 0; i--, content >>= 4)
        name[i] = (uint8_t) "0123456789abcdef"[content & 15];
    return bytes_of(name, CONTENT_NAME_LEN);
}

uint32_t
content_of_name(const struct sim_config *config, struct bytes name)
{
    uint32_t content = 0;
    if (config->names != NULL) {
        while (!bytes_equal(bytes_of_text(config->names[content]), name))
            content++;
        return content;
    }
    for (size_t i = 1; i < name.len; i++) {
        const uint8_t c = name.ptr[i];
        content = content << 4 | (uint32_t) (c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return content;
}
