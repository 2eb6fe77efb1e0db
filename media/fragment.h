/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_FRAGMENT_H
#define MEDIA_FRAGMENT_H

/* Flags of the boxes of a fragment (ISO/IEC 14496-12 §8.8.7, §8.8.8): which
 * fields are there. Internal to media/. */

#define TFHD_BASE_OFFSET 0x1u
#define TFHD_DESCRIPTION 0x2u
#define TFHD_DURATION 0x8u
#define TFHD_SIZE 0x10u
#define TFHD_FLAGS 0x20u
#define TFHD_BASE_IS_MOOF 0x20000u

#define TRUN_DATA_OFFSET 0x1u
#define TRUN_FIRST_FLAGS 0x4u
#define TRUN_DURATION 0x100u
#define TRUN_SIZE 0x200u
#define TRUN_FLAGS 0x400u
#define TRUN_COMPOSITION 0x800u

#endif
