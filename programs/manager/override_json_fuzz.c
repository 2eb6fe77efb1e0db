/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a request's override and as the file's list: valid ones or a
 * message, and what was read is written and read again the same. */

#include "programs/manager/override_json.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct override list[OVERRIDES_MAX + 1], again[OVERRIDES_MAX + 1];

static void
try_list(struct bytes text)
{
    char message[OVERRIDE_MESSAGE_SIZE] = "";
    size_t count = 0, count_again = 0;
    if (override_array_parse(text, list, &count, message) != 0) {
        assert(message[0] != '\0');
        return;
    }
    json_t *array = override_array(list, count);
    char *written = json_dumps(array, JSON_REAL_PRECISION(17));
    assert(written != NULL);
    assert(override_array_parse(bytes_of_text(written), again, &count_again,
                                message)
           == 0);
    json_t *array_again = override_array(again, count_again);
    assert(count == count_again && json_equal(array, array_again));
    free(written);
    json_decref(array);
    json_decref(array_again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int target = OVERRIDE_CONTENT; target <= OVERRIDE_CDN; target++) {
        char message[OVERRIDE_MESSAGE_SIZE] = "";
        struct override o = {.target = (enum override_target) target};
        if (target != OVERRIDE_CDN)
            o.name[0] = 'a';
        if (override_parse(bytes_of(data, size), 1000000, &o, message) == 0)
            assert(override_is_valid(&o) && o.until_ms > 1000000
                   && (int) o.target == target);
        else
            assert(message[0] != '\0');
    }
    try_list(bytes_of(data, size));
    return 0;
}
