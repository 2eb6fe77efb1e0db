/* SPDX-License-Identifier: Apache-2.0 */

#include "programs/vodst/audience_url.h"
#include "programs/vodst/playlist_parse.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
uri_follow(struct bytes uri)
{
    char url[AUDIENCE_URL_BYTES_MAX];
    if (url_resolve("http://127.0.0.1:8080/p/t/demo/1/master.m3u8", uri, url,
                    sizeof url)
            == 0
        && (strncmp(url, "http", 4) != 0 || strlen(url) >= sizeof url))
        abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes text = bytes_of(data, size);
    struct multivariant multivariant;
    if (multivariant_parse(text, &multivariant) == 0) {
        for (size_t i = 0; i < multivariant.variant_count; i++) {
            multivariant_audio(&multivariant, &multivariant.variants[i]);
            uri_follow(multivariant.variants[i].uri);
        }
    }
    struct media_playlist playlist;
    if (media_playlist_parse(text, &playlist) == 0) {
        uint64_t last_ms = 0;
        for (size_t i = 0; i < playlist.segment_count; i++) {
            if (playlist.segments[i].end_ms < last_ms)
                abort();
            last_ms = playlist.segments[i].end_ms;
            uri_follow(playlist.segments[i].uri);
        }
        if (media_playlist_find(&playlist, last_ms) != playlist.segment_count)
            abort();
        media_playlist_fini(&playlist);
    }
    return 0;
}
