/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a packager's document; what is answered is whole XML. */

#include "media/crypt/cpix_provider.h"

#include "core/err.h"

#include <expat.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
answer(const struct cpix_asked *asked)
{
    struct crypt_key *keys = calloc(asked->key_count, sizeof *keys);
    struct buffer out;
    if (keys == NULL)
        abort();
    buffer_init(&out, 64u << 20);
    cpix_asked_answer(asked, keys, &out);
    XML_Parser parser = XML_ParserCreateNS("UTF-8", '|');
    if (out.err != 0
        || XML_Parse(parser, (const char *) out.ptr, (int) out.len, XML_TRUE)
               != XML_STATUS_OK)
        abort();
    XML_ParserFree(parser);
    buffer_fini(&out);
    free(keys);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int is_speke = 0; is_speke < 2; is_speke++) {
        struct cpix_asked asked;
        const char *reason = NULL;
        const int err =
            cpix_asked_read(bytes_of(data, size), is_speke, &asked, &reason);
        if (err != 0) {
            if (reason == NULL && err != ERR_MEMORY)
                abort();
            continue;
        }
        if (asked.key_count == 0 || asked.content[0] == '\0')
            abort();
        answer(&asked);
        cpix_asked_fini(&asked);
    }
    return 0;
}
