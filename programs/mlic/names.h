/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_MLIC_NAMES_H
#define PROGRAMS_MLIC_NAMES_H

/* How entitlements, rules and answers call things; each list ends with NULL. */

#include <jansson.h>
#include <stdbool.h>

extern const char *const class_names[];    /* of enum crypt_class */
extern const char *const output_names[];   /* of enum output_protection */
extern const char *const security_names[]; /* of enum security_level */
extern const char *const system_names[];   /* of enum license_system_id */

/* The place of a text in a list. */
bool name_find(const json_t *json, const char *const *names, unsigned *out);

#endif
