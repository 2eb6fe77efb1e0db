/* SPDX-License-Identifier: Apache-2.0 */
/* FFmpeg's loudnorm, first pass: its answer is the end of what it says. */

#include "programs/vodst/ingest_loudness.h"

#include "core/err.h"
#include "programs/vodst/ingest_child.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static double
number_of(const json_t *root, const char *name)
{
    const char *text = json_string_value(json_object_get(root, name));
    return text != NULL ? strtod(text, NULL) : NAN;
}

bool
loudness_parse(const char *text, struct loudness *out)
{
    const char *start = strrchr(text, '{');
    json_t *root =
        start != NULL ? json_loads(start, JSON_DISABLE_EOF_CHECK, NULL) : NULL;
    if (root == NULL)
        return false;
    const struct loudness found = {
        .is_known = true,
        .integrated = number_of(root, "input_i"),
        .peak = number_of(root, "input_tp"),
        .range = number_of(root, "input_lra"),
        .threshold = number_of(root, "input_thresh"),
        .offset = number_of(root, "target_offset"),
    };
    json_decref(root);
    /* "-inf" of silence; the filter takes no more than these */
    *out = (struct loudness){0};
    if (isfinite(found.integrated) && isfinite(found.peak)
        && isfinite(found.range) && isfinite(found.threshold)
        && isfinite(found.offset) && found.integrated > -70
        && found.integrated <= 0 && found.peak > -99 && found.peak < 99
        && fabs(found.offset) < 99)
        *out = found;
    return true;
}

int
loudness_measure(struct progress *progress, const struct source *source,
                 unsigned audio, double lufs, struct loudness *out)
{
    char url[PATH_MAX + 8], stream[16], filter[128];
    snprintf(url, sizeof url, "file:%s", source->path);
    snprintf(stream, sizeof stream, "0:%d", source->audio[audio].stream);
    snprintf(filter, sizeof filter,
             "aformat=channel_layouts=%s,loudnorm=I=%.1f:TP=-1.5:LRA=50:"
             "print_format=json",
             source->audio[audio].channels == 1 ? "mono" : "stereo", lufs);
    const char *const argv[] = {"ffmpeg",
                                "-nostdin",
                                "-hide_banner",
                                "-nostats",
                                "-v",
                                "info",
                                "-protocol_whitelist",
                                "file,pipe",
                                "-format_whitelist",
                                SOURCE_FORMATS,
                                "-i",
                                url,
                                "-map",
                                stream,
                                "-af",
                                filter,
                                "-f",
                                "null",
                                "-",
                                NULL};
    const struct child_config config = {.argv = argv};
    static struct child_result result; /* large */
    const int err = child_run(&config, &result);
    if (err == ERR_TIMEOUT)
        return err;
    if (err != 0) {
        progress_error(progress, "cannot run ffmpeg: %s", strerror(errno));
        return err;
    }
    if (result.exit_status != 0 || !loudness_parse(result.errors, out)) {
        progress_error(progress, "cannot measure how loud sound %u is:\n%s",
                       audio + 1, text_last_lines(result.errors, 5));
        return ERR_INVALID;
    }
    if (out->is_known)
        progress_note(progress, "a%u: %.1f LUFS, peak %.1f dBTP: to %.1f LUFS",
                      audio, out->integrated, out->peak, lufs);
    else
        progress_note(progress, "a%u: silent, left alone", audio);
    return 0;
}
