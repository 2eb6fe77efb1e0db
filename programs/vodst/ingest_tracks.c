/* SPDX-License-Identifier: Apache-2.0 */
/* The tracks of what was made, as st-api takes them. */

#include "programs/vodst/ingest_tracks.h"

#include "core/err.h"
#include "media/index.h"
#include "platform/files.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

static const char *
kind_name(enum track_kind kind)
{
    switch (kind) {
    case TRACK_VIDEO:
        return "video";
    case TRACK_AUDIO:
        return "audio";
    case TRACK_TEXT:
        return "subtitles";
    case TRACK_IMAGE:
        break;
    }
    return "thumbnails";
}

static void
text_set(json_t *json, const char *name, const char *text)
{
    if (text[0] != '\0')
        json_object_set_new(json, name, json_string(text));
}

static void
number_set(json_t *json, const char *name, uint32_t number)
{
    if (number > 0)
        json_object_set_new(json, name, json_integer(number));
}

static json_t *
track_json(const struct track_info *track)
{
    json_t *json = json_pack("{s:s, s:s}", "name", track->name, "kind",
                             kind_name(track->kind));
    text_set(json, "codecs", track->codecs);
    text_set(json, "language", track->language);
    text_set(json, "label", track->label);
    number_set(json, "width", track->width);
    number_set(json, "height", track->height);
    number_set(json, "bandwidth", track->bandwidth_peak);
    number_set(json, "channels", track->channels);
    return json;
}

int
tracks_read(const char *folder, json_t **out)
{
    char path[PATH_MAX];
    struct buffer text;
    struct asset *asset = malloc(sizeof *asset); /* large */
    snprintf(path, sizeof path, "%s/asset.idx", folder);
    buffer_init(&text, ASSET_SIZE_MAX);
    int err = asset == NULL ? ERR_MEMORY : file_read(path, &text);
    if (err == 0)
        err = asset_decode(buffer_bytes(&text), asset);
    json_t *tracks = err == 0 ? json_array() : NULL;
    for (size_t i = 0; tracks != NULL && i < asset->track_count; i++)
        json_array_append_new(tracks, track_json(&asset->tracks[i]));
    if (err == 0 && tracks == NULL)
        err = ERR_MEMORY;
    buffer_fini(&text);
    free(asset);
    if (err == 0)
        *out = tracks;
    return err;
}
