/* SPDX-License-Identifier: Apache-2.0 */
#include "programs/mlic/names.h"

#include "programs/mlic/policy.h"

#include <string.h>

const char *const class_names[] = {
    [CRYPT_CLASS_SD] = "SD",    [CRYPT_CLASS_HD] = "HD",
    [CRYPT_CLASS_UHD] = "UHD",  [CRYPT_CLASS_AUDIO] = "AUDIO",
    [CRYPT_CLASS_COUNT] = NULL,
};

#define NAME(symbol, name) name,
const char *const output_names[] = {OUTPUT_PROTECTIONS(NAME) NULL};
const char *const security_names[] = {SECURITY_LEVELS(NAME) NULL};
const char *const system_names[] = {LICENSE_SYSTEMS(NAME) NULL};
#undef NAME

bool
name_find(const json_t *json, const char *const *names, unsigned *out)
{
    const char *text = json_string_value(json);
    for (unsigned i = 0; text != NULL && names[i] != NULL; i++)
        if (strcmp(text, names[i]) == 0) {
            *out = i;
            return true;
        }
    return false;
}
