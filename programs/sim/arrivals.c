/* SPDX-License-Identifier: Apache-2.0 */
/* Who comes when, see programs/sim/arrivals.h. */

#include "programs/sim/arrivals.h"

#include "core/err.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WEIGHT_MAX 1e9

/* While the rate rises, only so many of the full rate's viewers come. */
static bool
is_coming(struct arrivals *arrivals)
{
    return arrivals->at_ms >= arrivals->ramp_ms
           || rng_unit(&arrivals->rng) * arrivals->ramp_ms < arrivals->at_ms;
}

void
arrivals_next(struct arrivals *arrivals)
{
    do
        arrivals->at_ms +=
            -log1p(-rng_unit(&arrivals->rng)) * 1000 / arrivals->rate;
    while (!is_coming(arrivals));
    arrivals->content = arrivals_pick(arrivals);
}

size_t
arrivals_pick(struct arrivals *arrivals)
{
    double sum = 0;
    for (size_t i = 0; i < arrivals->content_count; i++)
        sum += arrivals->weights[i];
    double at = rng_unit(&arrivals->rng) * sum;
    size_t content = 0;
    while (content + 1 < arrivals->content_count
           && at >= arrivals->weights[content])
        at -= arrivals->weights[content++];
    return content;
}

int
arrivals_content(char *text, double *weight)
{
    char *end, *equals = strchr(text, '=');
    *weight = 1;
    if (equals == NULL)
        return 0;
    const double given = strtod(equals + 1, &end);
    if (end == equals + 1 || *end != '\0' || !(given > 0) || given > WEIGHT_MAX)
        return ERR_INVALID;
    *equals = '\0';
    *weight = given;
    return 0;
}
