/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An ingest from its first step to its end. The steps are a table; what a failed
 * one leaves behind is taken away again.
 */

#include "programs/vodst/ingest.h"

#include "core/err.h"
#include "programs/vodst/ingest_child.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

struct step {
    const char *name;
    int (*run)(struct ingest *in);
};

static const struct step steps_of_encoding[] = {
    {"probe", step_probe}, {"check", step_check}, {"encode", step_encode},
    {"index", step_index}, {"store", step_store}, {"publish", step_publish},
    {NULL, NULL},
};

static const struct step steps_of_copying[] = {
    {"probe", step_probe_copy},
    {"check", step_check},
    {"thumbnails", step_thumbnails},
    {"copy", step_copy},
    {"store", step_store},
    {"publish", step_publish},
    {NULL, NULL},
};

static int
steps_run(struct ingest *in)
{
    const struct step *step =
        in->config->copy ? steps_of_copying : steps_of_encoding;
    for (; step->name != NULL; step++) {
        progress_begin(&in->progress, step->name);
        int err = stop_signal() != 0 ? ERR_TIMEOUT : step->run(in);
        if (err != 0)
            return err;
        progress_end(&in->progress);
    }
    return 0;
}

static void
result_tell(struct ingest *in)
{
    char duration[32], heights[128] = "";
    json_t *renditions = json_array();
    for (unsigned i = 0; i < in->plan.rung_count; i++) {
        const struct rung *rung = &in->plan.rungs[i];
        size_t len = strlen(heights);
        snprintf(heights + len, sizeof heights - len, " %ux%u", rung->width,
                 rung->height);
        json_array_append_new(renditions, json_pack("{s:i, s:i}", "width",
                                                    (int) rung->width, "height",
                                                    (int) rung->height));
    }
    if (!in->config->json)
        printf("%s is playable: version %s, %s, renditions%s, %u audio, "
               "%u segments, %.1f MB\n",
               in->config->id, in->version.text,
               time_text(in->indexed.duration_s, duration),
               heights[0] != '\0' ? heights : " none", in->plan.audio_count,
               in->indexed.segment_count,
               (double) in->version.stored.size / 1e6);
    progress_event(&in->progress, "done",
                   json_pack("{s:s, s:s, s:s, s:I, s:I, s:i, s:i, s:I, s:o}",
                             "id", in->config->id, "title", in->title,
                             "version", in->version.text, "duration_ms",
                             (json_int_t) (in->indexed.duration_s * 1000 + 0.5),
                             "frames", (json_int_t) in->indexed.frame_count,
                             "audio", (int) in->plan.audio_count, "segments",
                             (int) in->indexed.segment_count, "bytes",
                             (json_int_t) in->version.stored.size, "renditions",
                             renditions));
}

/* What a failed run has stored. */
static void
stored_settle(struct ingest *in, bool is_kept)
{
    if (!in->is_stored || is_kept
        || strcmp(in->playable, in->version.text) == 0)
        return;
    if (in->is_unsure)
        progress_note(&in->progress,
                      "the files stay at %s%s/%s/: st-api may have taken them "
                      "over; run the same command again to be sure",
                      in->settings.storage, in->config->id, in->version.text);
    else
        in->storage->discard(in->storage, &in->version.stored);
}

int
ingest_run(struct ingest *in)
{
    int err = storage_new(&in->settings, &in->storage);
    if (err == 0)
        err = steps_run(in);
    const bool is_kept =
        err != 0 && in->config->keep_work
        && (stop_signal() != 0 || storage_err_is_temporary(err));
    if (stop_signal() != 0 && err != 0)
        progress_error(&in->progress, "interrupted: nothing was made playable");
    if (err != 0)
        stored_settle(in, is_kept);
    copy_close(&in->copy);
    subtitles_free(in->subtitles, in->plan.subtitles_count);
    if (is_kept)
        work_leave(&in->work);
    else
        work_end(&in->work);
    if (in->storage != NULL)
        in->storage->free(in->storage);
    if (err == 0)
        result_tell(in);
    return err;
}
