/* SPDX-License-Identifier: Apache-2.0 */

/* Any bytes as a film of which the text is read: cues as any others, or an
 * error with a name. */

#include "media/mp4/mp4_text.h"
#include "media/testing/movie.h"
#include "media/text/cues_reread.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
error_check(const struct mp4_error *error)
{
    if (error->reason == NULL || strlen(error->box) != 4)
        abort();
}

static void
text_try(const struct mp4_source *source, const struct mp4_track *track)
{
    struct cues cues;
    struct mp4_error error = {0};
    if (mp4_text_read(source, track, 1000, &cues, &error) != 0) {
        error_check(&error);
        return;
    }
    cues_reread(&cues);
    cues_free(&cues);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes file = {data, size};
    const struct mp4_source source = {test_movie_read, &file, size};
    struct mp4_movie movie;
    struct mp4_error error = {0};
    if (size > 1u << 16)
        return 0;
    if (mp4_open_texts(&source, &movie, &error) != 0) {
        error_check(&error);
        return 0;
    }
    for (size_t i = 0; i < movie.text_count; i++)
        text_try(&source, &movie.texts[i]);
    mp4_close(&movie);
    return 0;
}
