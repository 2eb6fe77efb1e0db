/* SPDX-License-Identifier: Apache-2.0 */

#include "programs/st-api/playback_id.h"

#include "core/err.h"

#include <stdio.h>

enum {
    PART_CONTENT,
    PART_VERSION,
    PART_SERVICE,
    PART_REGION,
    PART_ASKED,
    PART_VIEWER, /* may be missing */
};
#define PART_COUNT (PART_VIEWER + 1)

#define ASKED_STEERING 1u
#define ASKED_TRICK_PLAY 2u
#define ASKED_DEVICE 4u    /* times the device */
#define ASKED_SCHEME 32u   /* times the scheme */
#define ASKED_QUALITY 256u /* times the quality */
#define ASKED_SINGLE_USE 1024u
#define ASKED_KEY_URIS 2048u
#define ASKED_PLAYS 4096u /* times their number */

_Static_assert(DEVICE_COUNT <= ASKED_SCHEME / ASKED_DEVICE
                   && PLAY_SCHEME_COUNT <= ASKED_QUALITY / ASKED_SCHEME
                   && QUALITY_COUNT <= ASKED_SINGLE_USE / ASKED_QUALITY,
               "they have the bits up to the next");

int
playback_id_write(struct token_keys *keys, const struct playback_id *id,
                  char out[PLAYBACK_ID_SIZE])
{
    const struct token_claims claims = {.session = id->session,
                                        .expires_s = id->expires_s};
    const unsigned asked =
        id->steering * ASKED_STEERING + id->trick_play * ASKED_TRICK_PLAY
        + id->device * ASKED_DEVICE + id->terms.scheme * ASKED_SCHEME
        + id->terms.quality * ASKED_QUALITY
        + id->terms.is_single_use * ASKED_SINGLE_USE
        + id->terms.has_key_uris * ASKED_KEY_URIS
        + (unsigned) id->terms.plays * ASKED_PLAYS;
    char *rest = out + TOKEN_TEXT_LEN;
    snprintf(rest, PLAYBACK_ID_SIZE - TOKEN_TEXT_LEN, "~%s~%s~%s~%s~%u%s%s",
             id->content, id->version, id->service, id->region, asked,
             id->viewer[0] != '\0' ? "~" : "", id->viewer);
    return token_sign(keys, bytes_of_text(rest), &claims, out);
}

static bool
part_take(struct bytes *rest, struct bytes *out)
{
    if (rest->len == 0 || rest->ptr[0] != '~')
        return false;
    const uint8_t *start = rest->ptr + 1, *end = start;
    while (end < rest->ptr + rest->len && *end != '~')
        end++;
    *out = bytes_of(start, (size_t) (end - start));
    *rest = bytes_of(end, rest->len - 1 - out->len);
    return true;
}

static bool
id_copy(struct bytes part, char out[CONTENT_ID_LEN_MAX + 1])
{
    if (!content_id_is_valid(part))
        return false;
    memcpy(out, part.ptr, part.len);
    out[part.len] = '\0';
    return true;
}

static bool
asked_read(uint64_t asked, struct playback_id *out)
{
    out->steering = asked & ASKED_STEERING;
    out->trick_play = asked & ASKED_TRICK_PLAY;
    out->device = (enum device)(asked % ASKED_SCHEME / ASKED_DEVICE);
    out->terms = (struct play_terms){
        .scheme = (enum play_scheme)(asked % ASKED_QUALITY / ASKED_SCHEME),
        .quality = (enum quality)(asked % ASKED_SINGLE_USE / ASKED_QUALITY),
        .is_single_use = asked & ASKED_SINGLE_USE,
        .has_key_uris = asked & ASKED_KEY_URIS,
        .plays = asked / ASKED_PLAYS,
    };
    return out->device < DEVICE_COUNT && out->terms.scheme < PLAY_SCHEME_COUNT
           && out->terms.quality < QUALITY_COUNT
           && out->terms.plays <= PLAYS_MAX;
}

static bool
rest_read(struct bytes rest, struct playback_id *out)
{
    struct bytes parts[PART_COUNT] = {0};
    uint64_t asked;
    for (unsigned i = 0; i < PART_COUNT; i++)
        if (!part_take(&rest, &parts[i]) && i != PART_VIEWER)
            return false;
    if (rest.len > 0 || !id_copy(parts[PART_CONTENT], out->content)
        || !id_copy(parts[PART_VERSION], out->version)
        || (parts[PART_SERVICE].len > 0
            && !id_copy(parts[PART_SERVICE], out->service))
        || (parts[PART_REGION].len > 0
            && parts[PART_REGION].len != CATALOGUE_REGION_LEN)
        || parts[PART_ASKED].len > 8 || !bytes_number(parts[PART_ASKED], &asked)
        || !asked_read(asked, out)
        || (parts[PART_VIEWER].len != 0
            && parts[PART_VIEWER].len != PLAYBACK_VIEWER_LEN))
        return false;
    memcpy(out->region, parts[PART_REGION].ptr, parts[PART_REGION].len);
    if (parts[PART_VIEWER].len != 0)
        memcpy(out->viewer, parts[PART_VIEWER].ptr, PLAYBACK_VIEWER_LEN);
    return true;
}

int
playback_id_read(struct token_keys *keys, struct bytes text, uint64_t now_s,
                 struct playback_id *out)
{
    struct playback_id read = {0};
    struct token_claims claims;
    if (text.len <= TOKEN_TEXT_LEN || text.len >= PLAYBACK_ID_SIZE)
        return ERR_DENIED;
    const struct bytes rest =
        bytes_of(text.ptr + TOKEN_TEXT_LEN, text.len - TOKEN_TEXT_LEN);
    const struct token_request request = {.content = rest,
                                          .is_expiry_ignored = true};
    int err = token_verify_request(keys, bytes_of(text.ptr, TOKEN_TEXT_LEN),
                                   &request, &claims);
    if (err != 0)
        return err;
    if (!rest_read(rest, &read))
        return ERR_DENIED;
    read.session = claims.session;
    read.expires_s = claims.expires_s;
    *out = read;
    return now_s < read.expires_s ? 0 : ERR_EXPIRED;
}
