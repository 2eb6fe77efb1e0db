/* SPDX-License-Identifier: Apache-2.0 */
/* Any text as a configuration file: read whole, or refused with a message. */

#include "platform/options.h"

#include <assert.h>
#include <string.h>

struct config {
    bool loud;
    int64_t count, size_bytes, wait_ms;
    double ratio;
    const char *name;
    struct option_list managers;
};

#define FIELD(f) offsetof(struct config, f)
static const struct option options[] = {
    {.name = "loud",
     .type = OPTION_FLAG,
     .offset = FIELD(loud),
     .description = "d"},
    {.name = "count",
     .type = OPTION_INTEGER,
     .offset = FIELD(count),
     .default_value = "3",
     .min = 1,
     .max = 10,
     .description = "d"},
    {.name = "size",
     .type = OPTION_SIZE,
     .offset = FIELD(size_bytes),
     .default_value = "64k",
     .description = "d"},
    {.name = "wait",
     .type = OPTION_DURATION,
     .offset = FIELD(wait_ms),
     .default_value = "10s",
     .description = "d"},
    {.name = "ratio",
     .type = OPTION_NUMBER,
     .offset = FIELD(ratio),
     .min = -1,
     .max = 1,
     .description = "d"},
    {.name = "name",
     .type = OPTION_TEXT,
     .offset = FIELD(name),
     .description = "d"},
    {.name = "manager",
     .type = OPTION_LIST,
     .offset = FIELD(managers),
     .description = "d"},
};
static const struct program program = {.name = "fuzz",
                                       .summary = "s",
                                       .options = options,
                                       .option_count = OPTION_COUNT(options)};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config config = {.count = 42};
    char error[OPTIONS_ERROR_SIZE];
    const int err = options_read_text(&program, "f", (const char *) data, size,
                                      &config, error);
    assert((err == 0) == (error[0] == '\0'));
    assert(memchr(error, '\0', sizeof error) != NULL);
    if (err != 0)
        assert(config.count == 42 && config.name == NULL);
    else
        assert(config.count >= 1 && config.count <= 10 && config.size_bytes >= 0
               && config.wait_ms >= 0);
    options_release();
    return 0;
}
