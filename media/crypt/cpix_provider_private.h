/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_CRYPT_CPIX_PROVIDER_PRIVATE_H
#define MEDIA_CRYPT_CPIX_PROVIDER_PRIVATE_H

/* What the reader of a packager's document leaves for the writer. */

#include "media/crypt/cpix_delivery.h"
#include "media/crypt/cpix_provider.h"

enum cpix_edit_kind {
    CPIX_EDIT_IV,       /* an attribute, of the index-th key */
    CPIX_EDIT_KEY,      /* the key */
    CPIX_EDIT_PART,     /* what players are told of it */
    CPIX_EDIT_DELIVERY, /* the document's keys for the index-th recipient */
};

/* In the order of the text. */
struct cpix_edit {
    size_t at, cut; /* bytes of the text; in place of those cut */
    struct bytes
        closing; /* the name of an element that is closed behind what is
                           * put in, since it was empty: <name/> */
    enum cpix_edit_kind kind;
    size_t index;
    enum crypt_system system;
    enum crypt_part part;
};

#endif
