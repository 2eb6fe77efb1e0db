/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The samples are encoded as the film will be, by the same encoder at the same
 * quality, but without a limit on what they take.
 */

#include "programs/vodst/ingest_ladder.h"

#include "core/err.h"
#include "platform/files.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define SAMPLES_MAX 8
#define SAMPLE_MS 2000
#define UNLIMITED_KBPS 200000
/* A sample is not the busiest moment: what a rung may take is more than it, but
 * never less than this share of what such a picture usually may. */
#define PEAK_ROOM 2
#define PEAK_SHARE_MIN 0.25

void
ladder_candidates(const struct source *source, struct encode_plan *plan)
{
    static const unsigned usual[] = {2160, 1440, 1080, 720, 540, 432, 288, 216};
    unsigned heights[LADDER_RUNGS_MAX], count = 0;
    const unsigned side =
        source->width < source->height ? source->width : source->height;
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++) {
        if (usual[i] > side)
            continue;
        /* the film's own, where the best is far below it */
        if (count == 0 && i > 0 && usual[i] < side * 0.9)
            heights[count++] = side;
        heights[count++] = usual[i];
    }
    ladder_fit(heights, count, source, plan);
}

static unsigned
peak_limit(const struct rung *rung, const struct rung_need *need)
{
    const double usual = rung->bitrate_kbps_max;
    double limit = (double) PEAK_ROOM * need->peak;
    if (limit < usual * PEAK_SHARE_MIN)
        limit = usual * PEAK_SHARE_MIN;
    return limit < usual ? (unsigned) limit : rung->bitrate_kbps_max;
}

void
ladder_choose(const struct rung_need *needs, struct encode_plan *plan)
{
    unsigned count = 0, last = 0;
    for (unsigned i = 0; i < plan->rung_count; i++) {
        if (count > 0
            && (last <= LADDER_KBPS_ENOUGH
                || needs[i].average > last * LADDER_SHARE_MAX))
            continue;
        last = needs[i].average;
        plan->rungs[count] = plan->rungs[i];
        plan->rungs[count].bitrate_kbps_max =
            peak_limit(&plan->rungs[i], &needs[i]);
        count++;
    }
    plan->rung_count = count;
}

/* Adds what one sample took; false where nothing was encoded. */
static bool
sample_add(const char *folder, const struct encode_plan *plan, uint64_t frames,
           const struct source *source, struct rung_need *needs,
           double *seconds)
{
    const double length_s =
        (double) frames * source->frame_rate_den / source->frame_rate_num;
    if (frames == 0 || length_s <= 0)
        return false;
    *seconds += length_s;
    for (unsigned i = 0; i < plan->rung_count; i++) {
        char path[PATH_MAX];
        struct stat st;
        snprintf(path, sizeof path, "%.*s/v%u.mp4", PATH_MAX - 32, folder, i);
        if (stat(path, &st) != 0)
            return false;
        /* sums of kbit for now */
        const double kbit = (double) st.st_size * 8 / 1000;
        needs[i].average += (unsigned) (kbit + 0.5);
        if (kbit / length_s > needs[i].peak)
            needs[i].peak = (unsigned) (kbit / length_s + 0.5);
    }
    return true;
}

static int
samples_encode(struct progress *progress, const struct source *source,
               const char *folder, const struct encode_plan *plan,
               struct rung_need *needs, double *seconds)
{
    struct encode_plan sample = *plan;
    const double film_ms = source->duration_s * 1000;
    unsigned count = (unsigned) (film_ms / SAMPLE_MS);
    const struct encode_share none = {0};
    if (count > SAMPLES_MAX)
        count = SAMPLES_MAX;
    if (count == 0)
        count = 1;
    sample.is_sample = true;
    sample.audio_count = 0;
    sample.thumbnails = (struct thumbnails){0};
    for (unsigned i = 0; i < plan->rung_count; i++)
        sample.rungs[i].bitrate_kbps_max = UNLIMITED_KBPS;
    for (unsigned i = 0; i < count; i++) {
        uint64_t frames = 0;
        /* in the middle of equal parts: neither a logo nor the credits */
        sample.piece.from_ms =
            count > 1 ? (uint64_t) ((i + 0.5) * film_ms / count) : 0;
        sample.piece.to_ms = sample.piece.from_ms + SAMPLE_MS;
        const int err =
            encode_run(progress, source, &sample, folder, &none, &frames);
        if (err == ERR_TIMEOUT)
            return err;
        if (err == 0)
            sample_add(folder, plan, frames, source, needs, seconds);
    }
    return 0;
}

static void
chosen_tell(struct progress *progress, const struct encode_plan *all,
            const struct rung_need *needs, const struct encode_plan *chosen)
{
    char text[512] = "";
    unsigned at = 0;
    for (unsigned i = 0; i < all->rung_count; i++) {
        const size_t len = strlen(text);
        const bool is_in = at < chosen->rung_count
                           && chosen->rungs[at].height == all->rungs[i].height;
        at += is_in;
        snprintf(text + len, sizeof text - len, "%s%ux%u %u kbit/s%s",
                 i > 0 ? ", " : "", all->rungs[i].width, all->rungs[i].height,
                 needs[i].average, is_in ? "" : " (left out)");
    }
    progress_note(progress, "measured: %s", text);
}

int
ladder_measure(struct progress *progress, const struct source *source,
               const char *folder, struct encode_plan *plan)
{
    struct rung_need needs[LADDER_RUNGS_MAX] = {0};
    const struct encode_plan all = *plan;
    char inside[PATH_MAX];
    double seconds = 0;
    if (plan->rung_count < 2)
        return 0;
    snprintf(inside, sizeof inside, "%.*s/measure", PATH_MAX - 32, folder);
    if (folder_remove(inside) != 0 || folder_make(inside, 0700) != 0) {
        progress_error(progress, "cannot make %s: %s", inside, strerror(errno));
        return ERR_IO;
    }
    const bool was_optional = progress->is_optional;
    progress->is_optional = true; /* one sample is not the film */
    const int err =
        samples_encode(progress, source, inside, plan, needs, &seconds);
    progress->is_optional = was_optional;
    folder_remove(inside);
    if (err != 0)
        return err;
    if (seconds <= 0) {
        progress_note(progress,
                      "nothing could be measured: all heights are made");
        return 0;
    }
    for (unsigned i = 0; i < plan->rung_count; i++)
        needs[i].average = (unsigned) (needs[i].average / seconds + 0.5);
    ladder_choose(needs, plan);
    chosen_tell(progress, &all, needs, plan);
    return 0;
}
