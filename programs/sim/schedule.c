/* SPDX-License-Identifier: Apache-2.0 */
/* Scripted events, see programs/sim/schedule.h. */

#include "programs/sim/schedule.h"

#include "core/err.h"

#include <stdlib.h>

#define TIME_MS_MAX 604800000.0 /* a week */

/* A number that is not negative, up to *end; false: there is none. */
static bool
number_read(const char *text, double *out, const char **end)
{
    char *stop;
    if (*text < '0' || *text > '9')
        return false;
    *out = strtod(text, &stop);
    *end = stop;
    return true;
}

static bool
time_read(const char *text, uint64_t *out_ms, const char **end)
{
    static const struct {
        const char *name;
        double ms;
    } units[] = {{"ms", 1}, {"s", 1e3}, {"m", 6e4}, {"h", 3.6e6}, {"", 1e3}};
    double number;
    if (!number_read(text, &number, &text))
        return false;
    size_t i = 0;
    while (strncmp(text, units[i].name, strlen(units[i].name)) != 0)
        i++;
    if (!(number * units[i].ms <= TIME_MS_MAX))
        return false;
    *out_ms = (uint64_t) (number * units[i].ms);
    *end = text + strlen(units[i].name);
    return true;
}

/* One "name=value" of a flash; what it is called, in the order of the bits. */
static bool
flash_part_read(const char **text, struct sim_config *config, unsigned *seen)
{
    static const char *const names[] = {"at=", "ramp=", "share="};
    unsigned i = 0;
    while (i < 3 && strncmp(*text, names[i], strlen(names[i])) != 0)
        i++;
    if (i == 3 || (*seen & 1u << i) != 0)
        return false;
    *seen |= 1u << i;
    *text += strlen(names[i]);
    if (i == 0)
        return time_read(*text, &config->flash_ms, text);
    if (i == 1)
        return time_read(*text, &config->flash_ramp_ms, text);
    return number_read(*text, &config->flash_share, text);
}

int
schedule_flash(const char *text, struct sim_config *config)
{
    struct sim_config changed = *config;
    unsigned seen = 0;
    for (;;) {
        if (!flash_part_read(&text, &changed, &seen))
            return ERR_INVALID;
        if (*text == '\0')
            break;
        if (*text++ != ',')
            return ERR_INVALID;
    }
    if (seen != 7 || !(changed.flash_share <= 1) || changed.flash_ramp_ms == 0)
        return ERR_INVALID;
    *config = changed;
    return 0;
}

int
schedule_kill(const char *text, struct sim_config *config)
{
    double node;
    uint64_t at_ms;
    if (!number_read(text, &node, &text) || !(node < config->nodes)
        || *text++ != '@' || !time_read(text, &at_ms, &text) || *text != '\0'
        || at_ms == 0)
        return ERR_INVALID;
    config->kill_node = (uint32_t) node;
    config->kill_ms = at_ms;
    return 0;
}
