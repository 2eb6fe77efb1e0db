/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_MLIC_FAIRPLAY_PLUGIN_H
#define PROGRAMS_MLIC_FAIRPLAY_PLUGIN_H

/*
 * What an operator's shared object has, so that FairPlay licenses can be made:
 * the D function, which Apple gives to those with a contract and which is not
 * part of this program. The object exports one function:
 *
 *   const struct mlic_fairplay *mlic_fairplay(void);
 *
 * with what stays valid as long as the program. It is called in one thread, must
 * not wait, and keeps nothing of what it is given.
 */

#include <stddef.h>
#include <stdint.h>

#define MLIC_FAIRPLAY_ABI 1

struct mlic_fairplay {
    uint32_t abi;      /* MLIC_FAIRPLAY_ABI */
    const char *about; /* a line for the log, never a key */
    /* DASk of the client's R2 and the operator's ASk, 16 bytes each but R2.
     * Returns 0, or anything else where it cannot. */
    int (*derive)(const uint8_t *r2, size_t r2_size, const uint8_t ask[16],
                  uint8_t dask[16]);
};

typedef const struct mlic_fairplay *mlic_fairplay_function(void);

#endif
