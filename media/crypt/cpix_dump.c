/* SPDX-License-Identifier: Apache-2.0 */

/*
 * For tests: documents of CPIX as we write them.
 *
 *     cpix_dump request cenc|cbcs|aes128 PERIODS clear|encrypted
 *                          what our packager asks, of all systems where there
 *                          are any; PERIODS 0: the document names none
 *     cpix_dump answer     what our key provider answers to the document on the
 *                          standard input, with keys of zeros
 */

#include "media/crypt/cpix.h"
#include "media/crypt/cpix_provider.h"
#include "media/testing/film.h"
#include "media/testing/recipient.h"

#include "core/err.h"

#include <stdio.h>
#include <stdlib.h>

static void
print(struct buffer *out)
{
    test_stop_on(out->err, "document");
    fwrite(out->ptr, 1, out->len, stdout);
    buffer_fini(out);
}

static void
request_print(char **words)
{
    static const char *const schemes[] = {[CRYPT_CENC] = "cenc",
                                          [CRYPT_CBCS] = "cbcs",
                                          [CRYPT_AES128] = "aes128"};
    static const struct crypt_systems systems = {.has_widevine = true,
                                                 .has_playready = true,
                                                 .has_fairplay = true,
                                                 .has_clearkey = true};
    static const struct crypt_systems none;
    const unsigned periods = (unsigned) atoi(words[1]);
    struct cpix_recipient *recipient = NULL;
    const char *reason;
    struct cpix_request request = {.folder = BYTES_LITERAL("film/v1"),
                                   .period_count = periods > 0 ? periods : 1,
                                   .has_periods = periods > 0,
                                   .systems = &systems};
    struct buffer out;
    for (enum crypt_scheme i = CRYPT_CENC; i <= CRYPT_AES128; i++)
        if (strcmp(schemes[i], words[0]) == 0)
            request.scheme = i;
    if (request.scheme == CRYPT_AES128)
        request.systems = &none; /* as the node's configuration sees to */
    if (strcmp(words[2], "encrypted") == 0)
        test_stop_on(cpix_recipient_new(BYTES_LITERAL(RECIPIENT_CERTIFICATE),
                                        BYTES_LITERAL(RECIPIENT_KEY),
                                        &recipient, &reason),
                     "certificate");
    request.recipient = recipient;
    buffer_init(&out, CPIX_SIZE_MAX);
    cpix_request_write(&request, &out);
    print(&out);
    cpix_recipient_free(recipient);
}

static void
answer_print(void)
{
    static char text[CPIX_ASKED_SIZE_MAX];
    const size_t len = fread(text, 1, sizeof text, stdin);
    const char *reason = NULL;
    struct cpix_asked asked;
    struct buffer out;
    if (cpix_asked_read(bytes_of(text, len), false, &asked, &reason) != 0)
        test_stop("document", reason);
    struct crypt_key *keys = calloc(asked.key_count, sizeof *keys);
    if (keys == NULL)
        test_stop("keys", err_text(ERR_MEMORY));
    buffer_init(&out, CPIX_SIZE_MAX);
    cpix_asked_answer(&asked, keys, &out);
    print(&out);
    free(keys);
    cpix_asked_fini(&asked);
}

int
main(int argc, char **argv)
{
    if (argc == 5)
        request_print(argv + 2);
    else
        answer_print();
    return 0;
}
