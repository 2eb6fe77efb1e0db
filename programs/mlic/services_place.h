/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_MLIC_SERVICES_PLACE_H
#define PROGRAMS_MLIC_SERVICES_PLACE_H

/*
 * Values of the file of services, each with its place, so that what is wrong with
 * one is logged with where it is. Values that are not there leave `out` as it was.
 */

#include "core/bytes.h"
#include "platform/key_file.h"

#include <jansson.h>

#define PLACE_WHERE_SIZE 128
#define PLACE_PATH_SIZE 4096

struct place {
    const char *path;
    char where[PLACE_WHERE_SIZE]; /* "services[0].keys[1]" */
};

struct place place_in(const struct place *place, const char *name,
                      size_t index);
struct place place_part(const struct place *place, const char *name);

/* Logs it, and gives `err` back. */
int place_refuse(const struct place *place, int err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* That it is an object with these names at most: one that is not looked at is a
 * mistake. ERR_INVALID, as all that follow. */
int place_names_check(const struct place *place, json_t *object,
                      const char *const *names);

/* From 1 to max. */
int place_number(const struct place *place, const json_t *object,
                 const char *name, json_int_t max, uint32_t *out);
/* False where it is not there. */
int place_flag(const struct place *place, const json_t *object,
               const char *name, bool *out);
/* One of the names. */
int place_name(const struct place *place, const json_t *object,
               const char *name, const char *const *names, unsigned *out);
/* A list of them, as bits; all, where there is no list. */
int place_names(const struct place *place, const json_t *object,
                const char *name, const char *const *names, unsigned *out);
/* One that nobody on the way can read or change; to be freed. ERR_MEMORY. */
int place_url(const struct place *place, const json_t *object, const char *name,
              const char **out);

/* Of a file that is named in this one. */
void place_path(const struct place *place, const char *name,
                char out[PLACE_PATH_SIZE]);
/* What is in such a file, as bytes; wipe them. As key_file_owner_check and
 * key_file_read. */
int place_secret(const struct place *place, const char *name,
                 uint8_t out[KEY_LEN_MAX / 2], size_t *size);

#endif
