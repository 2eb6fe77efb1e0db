/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PLATFORM_DESCRIPTORS_H
#define PLATFORM_DESCRIPTORS_H

/* How many descriptors (files, connections) this program may have open. */

#include <stdint.h>

#define DESCRIPTORS_ALL UINT64_MAX

/* Raises the soft limit to as many as are wanted, or to the hard limit where
 * that is less. Never lowers it. At the start: what is started inherits it. */
void descriptors_raise(uint64_t wanted);

#endif
