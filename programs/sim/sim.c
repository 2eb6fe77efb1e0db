/* SPDX-License-Identifier: Apache-2.0 */
/* A platform in virtual time, see programs/sim/sim.h. */

#include "programs/sim/sim.h"

#include "core/err.h"

#include <stdlib.h>

#define POPULATE_PARTS 100 /* plays begin in so many parts, a table each */

struct sim {
    const struct sim_config *config;
    struct audience audience;
    struct traffic traffic;
    struct control *control;
    struct figures *figures;
};

static int
sim_init(struct sim *s, const struct sim_config *config, FILE *plot)
{
    s->config = config;
    int err = audience_init(&s->audience, config);
    if (err != 0)
        return err;
    err = traffic_init(&s->traffic, config, &s->audience);
    if (err != 0)
        return err;
    err = control_new(config, &s->audience, &s->traffic, &s->control);
    if (err != 0)
        return err;
    s->figures = figures_new(config, &s->traffic, s->control, plot);
    return s->figures == NULL ? ERR_MEMORY : 0;
}

static void
sim_fini(struct sim *s)
{
    figures_free(s->figures);
    control_free(s->control);
    traffic_fini(&s->traffic);
    audience_fini(&s->audience);
}

static int
plays_begin(struct sim *s)
{
    for (unsigned i = 0; i < POPULATE_PARTS; i++) {
        int err = control_begin(s->control);
        if (err != 0)
            return err;
        traffic_populate(&s->traffic, POPULATE_PARTS);
    }
    return control_begin(s->control);
}

/* The steady state at time 0: as if plays had started for long, by the levels
 * that such plays lead to. */
static int
sim_begin(struct sim *s)
{
    int err = plays_begin(s);
    traffic_begin(&s->traffic);
    return err == 0 ? plays_begin(s) : err;
}

static int
sim_go(struct sim *s)
{
    const uint64_t end_ms = sim_end_ms(s->config);
    int err = sim_begin(s);
    for (uint64_t now_ms = s->config->step_ms; err == 0 && now_ms <= end_ms;
         now_ms += s->config->step_ms) {
        traffic_step(&s->traffic, now_ms);
        err = control_step(s->control, now_ms);
        figures_step(s->figures, now_ms);
    }
    return err;
}

int
sim_run(const struct sim_config *config, FILE *plot, struct figures_values *out)
{
    struct sim *s = calloc(1, sizeof *s);
    if (s == NULL)
        return ERR_MEMORY;
    int err = sim_init(s, config, plot);
    if (err == 0)
        err = sim_go(s);
    if (err == 0)
        figures_get(s->figures, out);
    sim_fini(s);
    free(s);
    return err;
}
