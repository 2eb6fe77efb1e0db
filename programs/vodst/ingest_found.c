/* SPDX-License-Identifier: Apache-2.0 */
/* Plans and results as JSON, see programs/vodst/ingest_found.h. */

#include "programs/vodst/ingest_found.h"

#include <jansson.h>

json_t *
found_ladder_json(const struct encode_plan *plan)
{
    json_t *rungs = json_array();
    for (unsigned i = 0; i < plan->rung_count; i++)
        json_array_append_new(rungs,
                              json_pack("[i, i, i]", (int) plan->rungs[i].width,
                                        (int) plan->rungs[i].height,
                                        (int) plan->rungs[i].bitrate_kbps_max));
    return json_pack("{s:o}", "rungs", rungs);
}

bool
found_ladder_parse(const json_t *done, struct encode_plan *plan)
{
    json_t *rungs = json_object_get(done, "rungs"), *rung;
    size_t i;
    int width, height, kbps;
    if (json_array_size(rungs) == 0
        || json_array_size(rungs) > LADDER_RUNGS_MAX)
        return false;
    plan->rung_count = 0;
    json_array_foreach(rungs, i, rung)
    {
        if (json_unpack(rung, "[i, i, i]", &width, &height, &kbps) != 0)
            return false;
        plan->rungs[plan->rung_count++] =
            (struct rung){(unsigned) width, (unsigned) height, (unsigned) kbps};
    }
    return true;
}

json_t *
found_index_json(const struct indexed *indexed)
{
    return json_pack("{s:I, s:I, s:f, s:f, s:f, s:I}", "tracks",
                     (json_int_t) indexed->track_count, "segments",
                     (json_int_t) indexed->segment_count, "duration_s",
                     indexed->duration_s, "video_s", indexed->video_duration_s,
                     "audio_s", indexed->audio_duration_s, "frames",
                     (json_int_t) indexed->frame_count);
}

bool
found_index_parse(const json_t *done, struct indexed *out)
{
    json_int_t tracks, segments, frames;
    if (done == NULL
        || json_unpack((json_t *) (uintptr_t) done,
                       "{s:I, s:I, s:F, s:F, s:F, s:I}", "tracks", &tracks,
                       "segments", &segments, "duration_s", &out->duration_s,
                       "video_s", &out->video_duration_s, "audio_s",
                       &out->audio_duration_s, "frames", &frames)
               != 0)
        return false;
    out->track_count = (unsigned) tracks;
    out->segment_count = (unsigned) segments;
    out->frame_count = (uint64_t) frames;
    return true;
}

json_t *
found_thumbnails_json(const struct thumbnails *thumbnails)
{
    return json_pack("{s:I, s:I, s:I}", "width", (json_int_t) thumbnails->width,
                     "height", (json_int_t) thumbnails->height, "interval_ms",
                     (json_int_t) thumbnails->interval_ms);
}

static unsigned
unsigned_of(const json_t *done, const char *name)
{
    return (unsigned) json_integer_value(json_object_get(done, name));
}

void
found_thumbnails_parse(const json_t *done, struct thumbnails *out)
{
    *out = (struct thumbnails){
        .width = unsigned_of(done, "width"),
        .height = unsigned_of(done, "height"),
        .interval_ms = unsigned_of(done, "interval_ms"),
    };
}
