/* SPDX-License-Identifier: Apache-2.0 */
/* A plug-in for tests. Its D function is a stand-in, made up here, and not
 * Apple's: no player of Apple's takes a license that is made with it. */

#include "programs/mlic/fairplay_plugin.h"

mlic_fairplay_function mlic_fairplay;

static int
derive(const uint8_t *r2, size_t r2_size, const uint8_t ask[16],
       uint8_t dask[16])
{
    for (size_t i = 0; i < 16; i++)
        dask[i] = (uint8_t) (ask[i] ^ r2[i % r2_size]);
    return 0;
}

const struct mlic_fairplay *
mlic_fairplay(void)
{
    static const struct mlic_fairplay functions = {
        MLIC_FAIRPLAY_ABI, "a stand-in for tests, not Apple's", derive};
    return &functions;
}
