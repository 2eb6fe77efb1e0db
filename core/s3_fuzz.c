/* SPDX-License-Identifier: Apache-2.0 */

/* Any bytes as a file of credentials, and its first lines as a place. */

#include "core/s3.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
place_try(const char *url, const char *endpoint)
{
    struct s3_place place;
    const char *reason;
    if (s3_place_read(url, endpoint, NULL, "virtual-hosted", &place, &reason)
        != 0)
        return;
    if (strstr(place.base, "//") != NULL || strstr(place.base, "/../") != NULL
        || place.base[strlen(place.base) - 1] != '/'
        || strncmp(place.base, place.root, strlen(place.root)) != 0
        || strchr(place.address, ':') == NULL)
        abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct s3_credentials found;
    const char *reason;
    char text[1024], *rest;
    unsigned line;
    if (s3_credentials_read(bytes_of(data, size), &found, &line, &reason) == 0
        && (found.access_key[0] == '\0' || found.secret_key[0] == '\0'))
        abort();
    snprintf(text, sizeof text, "%.*s", (int) (size < 1000 ? size : 1000),
             size > 0 ? (const char *) data : "");
    const char *url = strtok_r(text, "\n", &rest);
    const char *endpoint = url != NULL ? strtok_r(NULL, "\n", &rest) : NULL;
    if (endpoint != NULL)
        place_try(url, endpoint);
    return 0;
}
