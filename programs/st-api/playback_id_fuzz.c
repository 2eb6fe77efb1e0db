/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as the id of a play, as they are and with the token that makes them
 * genuine. What is accepted is written as it was read.
 */

#include "programs/st-api/playback_id.h"

#include <assert.h>

#define NOW_S 1000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct token_keys *
keys_get(void)
{
    static struct token_keys *keys;
    unsigned line;
    if (keys == NULL)
        assert(token_keys_parse(BYTES_LITERAL("1 000102030405060708090a0b0c0d0e"
                                              "0f101112131415161718191a1b1c1d1e"
                                              "1f\n"),
                                &keys, &line)
               == 0);
    return keys;
}

static void
try(struct bytes text)
{
    struct playback_id id;
    char again[PLAYBACK_ID_SIZE];
    if (playback_id_read(keys_get(), text, NOW_S, &id) != 0)
        return;
    assert(content_id_is_valid(bytes_of_text(id.content)));
    assert(playback_id_write(keys_get(), &id, again) == 0);
    /* but for zeros before the last number */
    assert(strlen(again) <= text.len);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct token_claims claims = {.session = 1, .expires_s = NOW_S + 1};
    char text[TOKEN_TEXT_LEN + 512];
    try(bytes_of(data, size));
    if (size > 512)
        return 0;
    if (size > 0)
        memcpy(text + TOKEN_TEXT_LEN, data, size);
    assert(token_sign(keys_get(), bytes_of(data, size), &claims, text) == 0);
    try(bytes_of(text, TOKEN_TEXT_LEN + size));
    return 0;
}
