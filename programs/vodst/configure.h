/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_VODST_CONFIGURE_H
#define PROGRAMS_VODST_CONFIGURE_H

/* The configuration files of all tiers, from the templates in deploy/. */

#include "programs/vodst/places.h"
#include "programs/vodst/state.h"
#include "programs/vodst/topology.h"

struct configure {
    const struct places *places;
    const struct state *state;
    const struct topology *topology;
    unsigned workers;         /* of each nginx */
    unsigned long cache_size; /* bytes on disk, of each origin and cache */
    unsigned long capacity;   /* requests a second, of each origin */
    unsigned long plain_size; /* bytes on disk, of each origin; 0: films that
                               * nobody ingested are not served */
};

/* For each node that runs here: makes its folders and writes its configuration,
 * run/NAME/nginx.conf or run/NAME/cdn.vcl. Logs the reason on failure. */
int configure_all(const struct configure *configure);

#endif
