/* SPDX-License-Identifier: Apache-2.0 */

#include "programs/mlic/vendors.h"

#include "core/err.h"
#include "platform/log.h"

#include <stdlib.h>

static int
upstreams_open(struct vendors *vendors, struct event_base *base,
               const struct vendors_config *config)
{
    struct upstream_config playready = config->playready;
    struct upstream_config widevine = config->widevine;
    int err = 0;
    playready.timeout_ms = widevine.timeout_ms = (unsigned) config->timeout_ms;
    if (playready.url != NULL)
        err = upstream_new(base, &playready,
                           &vendors->upstreams[LICENSE_PLAYREADY]);
    if (err != 0 || widevine.url == NULL)
        return err;
    if (config->widevine_key == NULL) {
        log_error("main: --widevine-url needs --widevine-key and "
                  "--widevine-signer");
        return ERR_INVALID;
    }
    err = widevine_signer_read(config->widevine_key, config->widevine_signer,
                               &vendors->signer);
    return err != 0 ? err
                    : upstream_new(base, &widevine,
                                   &vendors->upstreams[LICENSE_WIDEVINE]);
}

static bool
is_used(const struct vendors *vendors)
{
    bool is_asked = false;
    for (unsigned i = 0; i < LICENSE_SYSTEM_COUNT; i++)
        is_asked = is_asked
                   || (vendors->upstreams[i] != NULL
                       && upstream_is_asked(vendors->upstreams[i]));
    return vendors->held > 0 || is_asked;
}

static void
one_free(struct vendors *vendors)
{
    for (unsigned i = 0; i < LICENSE_SYSTEM_COUNT; i++)
        upstream_free(vendors->upstreams[i]);
    fairplay_free(vendors->fairplay);
    explicit_bzero(vendors, sizeof *vendors);
    free(vendors);
}

int
vendors_new(struct event_base *base, const struct vendors_config *config,
            struct vendors **out)
{
    struct vendors *vendors = calloc(1, sizeof *vendors);
    if (vendors == NULL)
        return ERR_MEMORY;
    int err = upstreams_open(vendors, base, config);
    if (err == 0 && config->fairplay.plugin != NULL)
        err = fairplay_new(&config->fairplay, &vendors->fairplay);
    if (err != 0) {
        one_free(vendors);
        return err;
    }
    *out = vendors;
    return 0;
}

void
vendors_free(struct vendors *vendors)
{
    while (vendors != NULL) {
        struct vendors *before = vendors->before;
        one_free(vendors);
        vendors = before;
    }
}

struct vendors *
vendors_hold(struct vendors *vendors)
{
    vendors->held++;
    return vendors;
}

void
vendors_release(struct vendors *vendors)
{
    vendors->held--;
}

void
vendors_sweep(struct vendors *vendors)
{
    struct vendors **at = &vendors->before;
    while (*at != NULL) {
        struct vendors *one = *at;
        if (is_used(one)) {
            at = &one->before;
        } else {
            *at = one->before;
            one_free(one);
        }
    }
}
