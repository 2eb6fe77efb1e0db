/* SPDX-License-Identifier: Apache-2.0 */

/* Any bytes as an asset, as they are and under a right seal. What is taken
 * encodes to the same bytes. */

#include "media/index.h"
#include "media/sealed.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
asset_try(struct bytes file)
{
    static struct asset asset;
    struct buffer out;
    if (asset_decode(file, &asset) != 0)
        return;
    buffer_init(&out, ASSET_SIZE_MAX);
    if (asset_encode(&asset, &out) != 0
        || !bytes_equal(buffer_bytes(&out), file))
        abort();
    out.len = 0;
    hls_multivariant_write(&asset, NULL, &out);
    out.len = 0;
    dash_mpd_write(&asset, NULL, &out);
    out.len = 0;
    for (size_t i = 0; i < asset.track_count; i++)
        cmaf_init_write(&asset.tracks[i], &out);
    buffer_fini(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buffer sealed;
    asset_try(bytes_of(data, size));
    buffer_init(&sealed, ASSET_SIZE_MAX);
    const size_t start = sealed_begin(&sealed, "VODSTast", 3);
    if (size > SEALED_HEADER_SIZE)
        buffer_append(&sealed, data + SEALED_HEADER_SIZE,
                      size - SEALED_HEADER_SIZE);
    sealed_end(&sealed, start);
    if (sealed.err == 0)
        asset_try(buffer_bytes(&sealed));
    buffer_fini(&sealed);
    return 0;
}
