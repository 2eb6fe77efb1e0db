/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies from anywhere: read into bounds, or refused with a message. */

#include "programs/st-api/body.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct body_playback playback;
    char message[BODY_MESSAGE_SIZE] = "";
    if (body_playback_parse(bytes_of(data, size), &playback, message) == 0)
        assert(content_id_is_valid(bytes_of_text(playback.content)));
    else
        assert(message[0] != '\0');
    static struct body_content content; /* large */
    message[0] = '\0';
    if (body_content_parse(bytes_of(data, size), &content, message) == 0)
        assert(content.duration_ms >= 1
               && content.duration_ms <= CATALOGUE_DURATION_MAX_MS);
    else
        assert(message[0] != '\0');
    struct body_service service;
    message[0] = '\0';
    if (body_service_parse(bytes_of(data, size), &service, message) != 0)
        assert(message[0] != '\0');
    static struct catalogue_campaign campaign; /* large */
    message[0] = '\0';
    if (body_campaign_parse(bytes_of(data, size), &campaign, message) == 0)
        assert(campaign.window.ends_s > campaign.window.starts_s);
    else
        assert(message[0] != '\0');
    struct body_key key;
    message[0] = '\0';
    if (body_key_parse(bytes_of(data, size), &key, message) != 0)
        assert(message[0] != '\0');
    return 0;
}
