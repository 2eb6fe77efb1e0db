/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_XML_ATTRIBUTE_H
#define MEDIA_XML_ATTRIBUTE_H

#include <stddef.h>
#include <string.h>

/* The value of one of an element's attributes, which Expat gives as names and
 * values in turn, then NULL; valid as long as those. NULL: it has none so. */
static inline const char *
xml_attribute(const char **attributes, const char *name)
{
    for (; attributes[0] != NULL; attributes += 2)
        if (strcmp(attributes[0], name) == 0)
            return attributes[1];
    return NULL;
}

#endif
