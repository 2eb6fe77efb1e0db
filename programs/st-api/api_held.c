/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is held of the catalogue in memory, services and revoked plays: looked
 * at every second, as other st-api change them, too.
 */

#include "programs/st-api/api_private.h"

#include "platform/clock.h"

#include <stdlib.h>

#define FORGET_INTERVAL_S 60

/* An older state is one that another thread read before a change. */
void
api_services_install(struct api *api, struct services *loaded)
{
    if (loaded == NULL)
        return;
    if (services_number(loaded) < services_number(api->services)) {
        services_free(loaded);
        return;
    }
    services_inherit(loaded, api->services);
    services_free(api->services);
    api->services = loaded;
}

void
api_revoked_install(struct api *api, struct revoked *loaded)
{
    if (loaded == NULL)
        return;
    if (revoked_number(loaded) < revoked_number(api->revoked)) {
        revoked_free(loaded);
        return;
    }
    revoked_free(api->revoked);
    api->revoked = loaded;
}

struct refresh {
    struct work work;
    struct api *api;
    uint64_t services_number, revoked_number; /* of what is held */
    bool forgets;              /* what is over of plays is forgotten, too */
    bool is_revoked_known;     /* they are as in the catalogue */
    struct services *services; /* NULL: nothing changed, or no answer */
    struct revoked *revoked;
};

static void
refresh_run(struct work *work, void *catalogue)
{
    struct refresh *refresh = (struct refresh *) work;
    uint64_t number;
    if (catalogue_services_number(catalogue, &number) == 0
        && number != refresh->services_number)
        services_load(catalogue, &refresh->services);
    int err = catalogue_revocations_number(catalogue, &number);
    if (err == 0 && number != refresh->revoked_number)
        err = revoked_load(catalogue, &refresh->revoked);
    refresh->is_revoked_known = err == 0;
    if (refresh->forgets) /* or the next time */
        catalogue_plays_forget(catalogue, clock_unix_s());
}

static void
refresh_done(struct work *work)
{
    struct refresh *refresh = (struct refresh *) work;
    struct api *api = refresh->api;
    api_services_install(api, refresh->services);
    api_revoked_install(api, refresh->revoked);
    if (refresh->is_revoked_known)
        api->revoked_ms = clock_now_ms();
    api->is_refreshing = false;
    free(refresh);
}

void
api_refresh(struct api *api)
{
    struct refresh *refresh =
        api->is_refreshing ? NULL : calloc(1, sizeof *refresh);
    if (refresh == NULL)
        return;
    refresh->work = (struct work){refresh_run, refresh_done, NULL};
    refresh->api = api;
    refresh->services_number = services_number(api->services);
    refresh->revoked_number = revoked_number(api->revoked);
    refresh->forgets = ++api->refresh_count % FORGET_INTERVAL_S == 0;
    api->is_refreshing = true;
    if (api->tasks.workers == NULL) {
        refresh_run(&refresh->work, api->tasks.state);
        refresh_done(&refresh->work);
    } else if (!workers_submit(api->tasks.workers, &refresh->work)) {
        api->is_refreshing = false;
        free(refresh);
    }
}
