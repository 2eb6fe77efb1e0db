/* SPDX-License-Identifier: Apache-2.0 */
/* libx264, libx265 and SVT-AV1 by FFmpeg, see programs/vodst/ingest_codec.h. */

#include "programs/vodst/ingest_codec.h"

#include "core/err.h"

#include <stdio.h>

static const struct {
    const char *name;
    unsigned crf, crf_max, side_min;
    double bitrate_share;
} codecs[] = {
    [CODEC_H264] = {"h264", 23, 51, 2, 1},
    [CODEC_HEVC] = {"hevc", 26, 51, 32, 0.7},
    [CODEC_AV1] = {"av1", 35, 63, 64, 0.6},
};

/* SVT-AV1 counts from 13, the fastest, down. */
static const struct {
    const char *name;
    unsigned av1;
} presets[] = {
    {"ultrafast", 12}, {"superfast", 11}, {"veryfast", 10},
    {"faster", 9},     {"fast", 8},       {"medium", 7},
    {"slow", 6},       {"slower", 5},     {"veryslow", 4},
};

int
codec_parse(const char *text, enum video_codec *out)
{
    for (unsigned i = 0; i < sizeof codecs / sizeof *codecs; i++)
        if (strcmp(codecs[i].name, text) == 0) {
            *out = (enum video_codec) i;
            return 0;
        }
    return ERR_INVALID;
}

unsigned
codec_crf(enum video_codec codec)
{
    return codecs[codec].crf;
}

unsigned
codec_crf_max(enum video_codec codec)
{
    return codecs[codec].crf_max;
}

unsigned
codec_side_min(enum video_codec codec)
{
    return codecs[codec].side_min;
}

double
codec_bitrate_share(enum video_codec codec)
{
    return codecs[codec].bitrate_share;
}

bool
preset_is_known(const char *preset)
{
    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++)
        if (strcmp(presets[i].name, preset) == 0)
            return true;
    return false;
}

static unsigned
av1_preset(const char *preset)
{
    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++)
        if (strcmp(presets[i].name, preset) == 0)
            return presets[i].av1;
    return 10;
}

static void
peaks_arguments(struct arguments *a, const struct codec_settings *s)
{
    argument(a, "-maxrate");
    argument_printf(a, "%uk", s->bitrate_kbps_max);
    argument(a, "-bufsize");
    argument_printf(a, "%uk", 2 * s->bitrate_kbps_max);
}

static void
h264_arguments(struct arguments *a, const struct codec_settings *s)
{
    static const char *const fixed[] = {
        "-c:v", "libx264",     "-profile:v", "high", "-sc_threshold",
        "0",    "-forced-idr", "1",          NULL};
    arguments_of(a, fixed);
    argument(a, "-preset:v");
    argument(a, s->preset);
    argument(a, "-threads");
    argument_printf(a, "%u", s->threads);
    peaks_arguments(a, s);
}

/* Of x265 it is its pool and its frames at a time that are threads. */
static void
hevc_arguments(struct arguments *a, const struct codec_settings *s)
{
    static const char *const fixed[] = {
        "-c:v", "libx265", "-tag:v", "hvc1", "-forced-idr", "1", NULL};
    arguments_of(a, fixed);
    argument(a, "-preset:v");
    argument(a, s->preset);
    peaks_arguments(a, s);
    argument(a, "-x265-params");
    char threads[48] = "";
    if (s->threads == 1)
        snprintf(threads, sizeof threads, ":pools=none:frame-threads=1");
    else if (s->threads > 1)
        snprintf(threads, sizeof threads, ":pools=%u", s->threads);
    argument_printf(a,
                    "scenecut=0:open-gop=0:info=0:log-level=error:repeat-"
                    "headers=0%s%s",
                    s->range == VIDEO_RANGE_PQ ? ":hdr10-opt=1" : "", threads);
}

static void
av1_arguments(struct arguments *a, const struct codec_settings *s)
{
    argument(a, "-c:v");
    argument(a, "libsvtav1");
    argument(a, "-preset:v");
    argument_printf(a, "%u", av1_preset(s->preset));
    argument(a, "-svtav1-params");
    argument_printf(a, "scd=0:enable-force-key-frames=1:lp=%u:mbr=%u",
                    s->threads, s->bitrate_kbps_max);
}

static void
range_arguments(struct arguments *a, enum video_range range)
{
    argument(a, "-color_primaries");
    argument(a, "bt2020");
    argument(a, "-colorspace");
    argument(a, "bt2020nc");
    argument(a, "-color_trc");
    argument(a, range == VIDEO_RANGE_PQ ? "smpte2084" : "arib-std-b67");
}

void
codec_arguments(struct arguments *a, const struct codec_settings *s)
{
    switch (s->codec) {
    case CODEC_H264:
        h264_arguments(a, s);
        break;
    case CODEC_HEVC:
        hevc_arguments(a, s);
        break;
    case CODEC_AV1:
        av1_arguments(a, s);
        break;
    }
    if (codec_keeps_range(s->codec, s->range))
        range_arguments(a, s->range);
    argument(a, "-crf");
    argument_printf(a, "%u", s->crf);
    argument(a, "-g");
    argument_printf(a, "%u", s->gop_frames);
}
