/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_MLIC_VENDORS_H
#define PROGRAMS_MLIC_VENDORS_H

/*
 * What licenses of others are made with: secrets, certificates and connections of
 * PlayReady's back end, Widevine's service and FairPlay. Read as one, and read anew
 * beside requests that go on with what they began with. For the loop's thread.
 */

#include "programs/mlic/license_fairplay.h"
#include "programs/mlic/license_widevine.h"
#include "programs/mlic/upstream.h"

struct vendors_config {
    struct upstream_config playready, widevine; /* url NULL: not offered */
    struct fairplay_config fairplay;            /* plugin NULL: not offered */
    const char *widevine_signer, *widevine_key;
    int64_t timeout_ms;
};

struct vendors {
    struct fairplay *fairplay; /* NULL: not offered */
    struct widevine_signer signer;
    struct upstream *upstreams[LICENSE_SYSTEM_COUNT]; /* NULL: not offered */
    unsigned held;                                    /* by requests */
    struct vendors *before; /* owned; what requests may still hold */
};

/* All or nothing; the config's texts stay the caller's, and longer. The reason of a failure is logged:
 * ERR_INVALID, ERR_IO, ERR_MEMORY, or as key_file_read. */
int vendors_new(struct event_base *base, const struct vendors_config *config,
                struct vendors **out);
/* And those of before, after all requests. NULL is fine. */
void vendors_free(struct vendors *vendors);

struct vendors *vendors_hold(struct vendors *vendors);
void vendors_release(struct vendors *vendors);

/* Frees those of before that no request goes by any more; not from inside a
 * request, whose connection they may be. */
void vendors_sweep(struct vendors *vendors);

#endif
