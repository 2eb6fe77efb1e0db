/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_MLIC_LICENSE_PLAYREADY_H
#define PROGRAMS_MLIC_LICENSE_PLAYREADY_H

/*
 * What PlayReady's clients and packagers write (PlayReady Header Specification,
 * learn.microsoft.com): the header of a content, WRMHEADER 4.0 to 4.3, in an
 * object before the license server is asked, and in the challenge then. KIDs are
 * GUIDs there, whose first three parts lie from behind.
 */

#include "programs/mlic/license.h"

#define PLAYREADY_CHALLENGE_SIZE_MAX (64u << 10)
#define PLAYREADY_OBJECT_SIZE_MAX (15u << 10) /* of the specification */

/* Adds the KIDs of a header that stands alone, in UTF-16LE as in an object.
 * ERR_INVALID with the reason; ERR_LIMIT: too many keys; ERR_MEMORY. */
int playready_header_read(struct bytes header, struct license_request *out,
                          const char **reason);
/* The same of the one header in an object. */
int playready_object_read(struct bytes object, struct license_request *out,
                          const char **reason);
/* The same of a challenge: SOAP in UTF-8. */
int playready_challenge_read(struct bytes body, struct license_request *out,
                             const char **reason);

#endif
