/* SPDX-License-Identifier: Apache-2.0 */

/* Any bytes as a key server's answer; one key of four in each of two periods,
 * told to players of all systems in all ways. */

#include "media/crypt/cpix.h"

#include "core/err.h"
#include "media/testing/recipient.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PERIODS 2

/* What is given comes out where it was put in, whatever it is. */
static void
tell(const struct cpix_answer *answer, const struct crypt_systems *systems,
     enum crypt_class class)
{
    uint8_t kids[PERIODS][CRYPT_KEY_SIZE];
    const struct crypt_signals *signals[PERIODS];
    const struct crypt_track track = {
        .scheme = CRYPT_CENC,
        .kids = (const uint8_t(*)[CRYPT_KEY_SIZE]) kids,
        .period_count = PERIODS,
        .period_segments = 1,
        .signals = answer->signals == NULL ? NULL : signals};
    struct buffer out;
    for (uint32_t i = 0; i < PERIODS; i++) {
        const size_t key = cpix_key_index(class, i);
        memcpy(kids[i], answer->keys[key].kid, CRYPT_KEY_SIZE);
        signals[i] = answer->signals == NULL ? NULL : &answer->signals[key];
    }
    buffer_init(&out, 1u << 20);
    crypt_pssh_write(&track, systems, &out);
    for (size_t at = 0; at < out.len;) {
        if (load_be32(out.ptr + at + 4) != 0x70737368)
            abort();
        at += load_be32(out.ptr + at);
    }
    crypt_playlist_write(BYTES_LITERAL("#EXT-X-MAP:URI=\"init.mp4\"\n"
                                       "#EXTINF:1,\n0.m4s\n"
                                       "#EXTINF:1,\n1.m4s\n"),
                         &track, systems, &out);
    crypt_multivariant_write(BYTES_LITERAL("#EXT-X-INDEPENDENT-SEGMENTS\n"),
                             &track, 1, systems, &out);
    if (out.err != 0 && out.err != ERR_LIMIT)
        abort();
    buffer_fini(&out);
}

static int
read_one(struct bytes text, const struct cpix_recipient *recipient)
{
    static const struct crypt_systems systems = {.has_widevine = true,
                                                 .has_playready = true,
                                                 .has_fairplay = true,
                                                 .has_clearkey = true};
    const struct cpix_request request = {.folder = BYTES_LITERAL("film/1"),
                                         .scheme = CRYPT_CENC,
                                         .period_count = PERIODS,
                                         .has_periods = true,
                                         .systems = &systems,
                                         .recipient = recipient};
    struct cpix_answer answer;
    const char *reason;
    const int err = cpix_read(text, &request, &answer, &reason);
    if (err != 0)
        return err;
    /* a document in which each of them is named, with a key */
    if (text.len < PERIODS * 2 * CRYPT_KEY_SIZE)
        abort();
    tell(&answer, &systems, CRYPT_CLASS_SD);
    tell(&answer, &systems, CRYPT_CLASS_AUDIO);
    cpix_answer_fini(&answer);
    return 0;
}

/* First without a certificate, and as what has one where it takes that. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct cpix_recipient *recipient;
    const char *reason;
    if (recipient == NULL
        && cpix_recipient_new(bytes_of_text(RECIPIENT_CERTIFICATE),
                              bytes_of_text(RECIPIENT_KEY), &recipient, &reason)
               != 0)
        abort();
    if (read_one(bytes_of(data, size), NULL) == ERR_UNSUPPORTED)
        (void) read_one(bytes_of(data, size), recipient);
    return 0;
}
