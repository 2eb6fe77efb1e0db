/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes FFmpeg's command line and follows its progress.
 *
 * Time: the film's zero is its first video frame, but of a film that is copied,
 * and of which there are thumbnails alone. Video frames keep their own
 * times (nothing is doubled, nothing dropped); audio that begins earlier is
 * cut, later is preceded by silence, and gaps in it are filled, so that every
 * file starts at 0 and needs no edit beyond the encoder's delay.
 */

#include "programs/vodst/ingest_encode.h"

#include "core/err.h"
#include "programs/vodst/ingest_child.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define RUNG_HEIGHT_MIN 64
#define RUNG_HEIGHT_MAX 4320
/* What 1280x720 at up to 30 frames/s may take at its peaks. */
#define BITRATE_KBPS_720P 2800
/* Pictures in front of a piece that are decoded for it: a key frame's leading
 * pictures and the deinterlacer need those before. */
#define PIECE_MARGIN_MS 2000

int
ladder_parse(const char *text, unsigned heights[LADDER_RUNGS_MAX],
             unsigned *count)
{
    unsigned n = 0, found[LADDER_RUNGS_MAX];
    for (const char *at = text;; at++) {
        size_t len = strspn(at, "0123456789");
        if (len == 0 || len > 4 || n == LADDER_RUNGS_MAX)
            return ERR_INVALID;
        unsigned height = (unsigned) strtoul(at, NULL, 10);
        if (height < RUNG_HEIGHT_MIN || height > RUNG_HEIGHT_MAX)
            return ERR_INVALID;
        unsigned place = n;
        for (; place > 0 && found[place - 1] <= height; place--) {
            if (found[place - 1] == height)
                return ERR_INVALID;
            found[place] = found[place - 1];
        }
        found[place] = height;
        n++;
        at += len;
        if (*at == '\0')
            break;
        if (*at != ',')
            return ERR_INVALID;
    }
    memcpy(heights, found, n * sizeof *found);
    *count = n;
    return 0;
}

/* H.264 in yuv420p has even sides. */
static unsigned
even(double side)
{
    long n = lround(side / 2) * 2;
    return n < 2 ? 2 : (unsigned) n;
}

static unsigned
bitrate_kbps_max(unsigned width, unsigned height, const struct source *source,
                 enum video_codec codec)
{
    double pixels = (double) width * height / (1280.0 * 720.0);
    double rate = (double) source->frame_rate_num / source->frame_rate_den;
    double kbps = BITRATE_KBPS_720P * pow(pixels, 0.75);
    if (rate > 31)
        kbps *= 1.4;
    kbps *= codec_bitrate_share(codec);
    return kbps < 100 ? 100 : (unsigned) kbps;
}

static void
rung_add(struct encode_plan *plan, const struct source *source, double scale)
{
    struct rung *rung = &plan->rungs[plan->rung_count++];
    rung->width = even(source->width * scale);
    rung->height = even(source->height * scale);
    rung->bitrate_kbps_max =
        bitrate_kbps_max(rung->width, rung->height, source, plan->codec);
}

void
ladder_fit(const unsigned *heights, unsigned count, const struct source *source,
           struct encode_plan *plan)
{
    plan->rung_count = 0;
    if (!source->has_video)
        return;
    unsigned side =
        source->width < source->height ? source->width : source->height;
    for (unsigned i = 0; i < count; i++)
        if (heights[i] <= side)
            rung_add(plan, source, (double) heights[i] / side);
    if (plan->rung_count == 0)
        rung_add(plan, source, 1);
}

void
thumbnails_fit(unsigned size, uint32_t interval_ms, const struct source *source,
               struct encode_plan *plan)
{
    const unsigned side =
        source->width > source->height ? source->width : source->height;
    plan->thumbnails = (struct thumbnails){0};
    if (!source->has_video)
        return;
    const double scale = side > size ? (double) size / side : 1;
    plan->thumbnails = (struct thumbnails){
        .width = even(source->width * scale),
        .height = even(source->height * scale),
        .interval_ms = interval_ms,
    };
}

/* ---- the command line ---- */

/* True when every frame's time is a whole number of the file's ticks. */
static bool
time_base_is_exact(const struct source *s)
{
    uint64_t ticks = (uint64_t) s->time_base_den * s->frame_rate_den;
    uint64_t frames = (uint64_t) s->time_base_num * s->frame_rate_num;
    return ticks % frames == 0;
}

/*
 * Frame times are rounded to the frame rate where the file's ticks are coarser
 * than its constant rate (Matroska's ms, MPEG-TS's 90 kHz), which gives back
 * the exact times; else the file's own ticks are kept.
 */
static void
time_base_choose(const struct source *s, unsigned *num, unsigned *den)
{
    bool is_rate = s->is_constant_rate && !time_base_is_exact(s);
    *num = is_rate ? s->frame_rate_den : s->time_base_num;
    *den = is_rate ? s->frame_rate_num : s->time_base_den;
}

/* H.264 of 8 bits is of standard range, and JPEG is: what is brighter is brought
 * into it, or the picture would be grey. */
static void
tone_filters(struct buffer *graph, enum video_range range)
{
    const char *transfer = NULL;
    switch (range) {
    case VIDEO_RANGE_PQ:
        transfer = "smpte2084";
        break;
    case VIDEO_RANGE_HLG:
        transfer = "arib-std-b67";
        break;
    case VIDEO_RANGE_UNKNOWN:
    case VIDEO_RANGE_SDR:
        return;
    }
    buffer_printf(graph,
                  ",zscale=tin=%s:pin=bt2020:min=bt2020nc:t=linear:npl=100,"
                  "format=gbrpf32le,zscale=p=bt709,tonemap=hable:desat=0,"
                  "zscale=t=bt709:m=bt709:r=tv,format=yuv420p",
                  transfer);
}

/*
 * Rounded up, each picture goes to the interval that it is the last one before:
 * it is what is seen at its start. JPEG's colours are those of BT.601.
 *
 * FFmpeg tells no progress before each output has begun, so an empty sheet
 * comes first, and takes an output that is ahead for how far it is, so they are
 * a ms apart, and so are those that are each a picture of its own.
 */
static void
thumbnails_filters(struct buffer *graph, const struct thumbnails *thumbnails,
                   enum video_range range)
{
    buffer_printf(graph, ";[si]fps=1000/%u:start_time=0:round=up",
                  thumbnails->interval_ms);
    tone_filters(graph, range);
    buffer_printf(graph,
                  ",scale=%u:%u:flags=area:out_color_matrix=bt601,setsar=1,"
                  "format=yuvj420p,split=2[st][sp];[st]tile=%dx%d[sheets]"
                  ";[sp]settb=1/1000,setpts=N[i1]"
                  ";color=s=%ux%u,trim=end_frame=1,setsar=1,format=yuvj420p"
                  "[empty];[empty][sheets]concat,settb=1/1000,setpts=N[i0]",
                  thumbnails->width, thumbnails->height, THUMBNAIL_COLUMNS,
                  THUMBNAIL_ROWS, thumbnails->width * THUMBNAIL_COLUMNS,
                  thumbnails->height * THUMBNAIL_ROWS);
}

/* The first tick at or after a time. */
static uint64_t
tick_at(uint64_t ms, unsigned num, unsigned den)
{
    const unsigned __int128 ticks = (unsigned __int128) ms * den;
    const unsigned __int128 step = (unsigned __int128) num * 1000;
    return (uint64_t) ((ticks + step - 1) / step);
}

/* In the ticks that the encoder has: what is cut here is at or after the time
 * that a key frame is forced at, to the tick. */
static void
piece_filters(struct buffer *graph, const struct source *source,
              const struct encode_piece *piece)
{
    unsigned num, den;
    time_base_choose(source, &num, &den);
    buffer_printf(graph, ",settb=%u/%u,trim=start_pts=%" PRIu64, num, den,
                  tick_at(piece->from_ms, num, den));
    if (piece->to_ms != 0)
        buffer_printf(graph, ":end_pts=%" PRIu64,
                      tick_at(piece->to_ms, num, den));
}

static void
video_filters(struct buffer *graph, const struct source *source,
              const struct encode_plan *plan)
{
    const bool has_thumbnails = plan->thumbnails.interval_ms != 0;
    const char *zero =
        plan->rung_count > 0 || plan->counts_from_picture ? "-STARTPTS" : "";
    const bool keeps_range =
        plan->rung_count > 0
        && codec_keeps_range(plan->codec, source->video_range);
    char start[32];
    if (plan->is_piece) {
        snprintf(start, sizeof start, "%+" PRId64, -source->video_start_ticks);
        zero = start;
    }
    buffer_printf(graph, "[0:%d]setpts=PTS%s%s", source->video_stream, zero,
                  source->is_interlaced ? ",yadif=deint=interlaced" : "");
    if (plan->is_piece)
        piece_filters(graph, source, &plan->piece);
    if (!keeps_range)
        tone_filters(graph, source->video_range);
    buffer_printf(graph, ",split=%u", plan->rung_count + has_thumbnails);
    for (unsigned i = 0; i < plan->rung_count; i++)
        buffer_printf(graph, "[s%u]", i);
    if (has_thumbnails)
        buffer_append_text(graph, "[si]");
    for (unsigned i = 0; i < plan->rung_count; i++)
        buffer_printf(graph,
                      ";[s%u]scale=%u:%u:flags=bicubic,setsar=1,"
                      "format=yuv420p%s[v%u]",
                      i, plan->rungs[i].width, plan->rungs[i].height,
                      keeps_range ? "10le" : "", i);
    if (has_thumbnails)
        thumbnails_filters(graph, &plan->thumbnails,
                           keeps_range ? source->video_range : VIDEO_RANGE_SDR);
}

/* 44.1 and 48 kHz stay; anything else becomes what every player takes. */
static unsigned
audio_rate(const struct source_audio *audio)
{
    return audio->sample_rate == 44100 ? 44100 : 48000;
}

/* One gain for all of it, as far as the peaks allow that: its own range of
 * loudness stays. What is silent has none. */
static void
loudness_filters(struct buffer *graph, const struct encode_plan *plan,
                 unsigned i, unsigned rate)
{
    const struct loudness *found = &plan->loudness[i];
    if (!found->is_known)
        return;
    buffer_printf(graph,
                  ",loudnorm=I=%.1f:TP=-1.5:LRA=50:measured_I=%.2f:"
                  "measured_TP=%.2f:measured_LRA=%.2f:measured_thresh=%.2f:"
                  "offset=%.2f:linear=true,aresample=%u",
                  plan->loudness_lufs, found->integrated, found->peak,
                  found->range, found->threshold, found->offset, rate);
}

static void
audio_filters(struct buffer *graph, const struct source *source,
              const struct encode_plan *plan, unsigned i)
{
    const struct source_audio *audio = &source->audio[i];
    buffer_printf(graph, "%s[0:%d]", graph->len > 0 ? ";" : "", audio->stream);
    if (source->video_start_s > 0)
        buffer_printf(graph, "asetpts=PTS-%.6f/TB,", source->video_start_s);
    buffer_printf(graph,
                  "aresample=%u:async=1:first_pts=0,"
                  "aformat=channel_layouts=%s",
                  audio_rate(audio), audio->channels == 1 ? "mono" : "stereo");
    if (plan->loudness_lufs != 0)
        loudness_filters(graph, plan, i, audio_rate(audio));
    /* Players stop where the shorter of picture and sound ends. */
    double video_end_s = source->video_start_s + source->video_duration_s;
    if (source->video_duration_s > 0 && audio->end_s > 0
        && audio->end_s < video_end_s - 0.1)
        buffer_printf(graph, ",apad=whole_dur=%.6f", source->video_duration_s);
    buffer_printf(graph, "[a%u]", i);
}

/* The muxer doubles a timescale below 10,000 ticks/s until it is above; the
 * same here, so that the movie's own clock is the track's. */
static unsigned
timescale_of(unsigned ticks)
{
    uint64_t timescale = ticks;
    while (timescale < 10000)
        timescale *= 2;
    return timescale <= INT_MAX ? (unsigned) timescale : 90000;
}

/* One by one: FFmpeg counts an expression's time from the first picture that it
 * gets. Each to the tick that is the first at or after it. */
static void
key_frames_of_piece(struct arguments *a, const struct source *source,
                    const struct encode_plan *plan)
{
    unsigned num, den;
    struct buffer list;
    const uint64_t end_ms =
        plan->piece.to_ms != 0
            ? plan->piece.to_ms
            : plan->piece.from_ms + 2 * (uint64_t) plan->piece_ms;
    time_base_choose(source, &num, &den);
    buffer_init(&list, ARGUMENTS_SIZE_MAX);
    for (uint64_t n = 0;; n++) {
        const uint64_t ms = plan->piece.from_ms + n * plan->segment_ms / 2;
        if (ms >= end_ms)
            break;
        buffer_printf(&list, "%s%.6f", n > 0 ? "," : "",
                      (double) tick_at(ms, num, den) * num / den);
    }
    buffer_append(&list, "", 1);
    if (list.err != 0)
        a->text->err = list.err;
    else
        argument(a, (const char *) list.ptr);
    buffer_fini(&list);
}

static void
video_output(struct arguments *a, const struct source *source,
             const struct encode_plan *plan, unsigned i)
{
    const struct rung *rung = &plan->rungs[i];
    double gop_s = plan->segment_ms / 2000.0;
    double rate = (double) source->frame_rate_num / source->frame_rate_den;
    unsigned num, den;
    time_base_choose(source, &num, &den);
    unsigned timescale = timescale_of(den);
    argument(a, "-map");
    argument_printf(a, "[v%u]", i);
    static const char *const fixed[] = {
        "-fps_mode",     "passthrough", "-map_metadata", "-1",
        "-map_chapters", "-1",          "-bitexact",     NULL};
    const struct codec_settings settings = {
        .codec = plan->codec,
        .preset = plan->preset,
        .crf = plan->crf,
        .threads = plan->threads,
        .bitrate_kbps_max = rung->bitrate_kbps_max,
        .gop_frames = (unsigned) ceil(gop_s * (rate + 1) * 2) + 1,
        .range = source->video_range,
    };
    codec_arguments(a, &settings);
    arguments_of(a, fixed);
    argument(a, "-enc_time_base");
    argument_printf(a, "%u/%u", num, den);
    argument(a, "-force_key_frames");
    if (plan->is_piece)
        key_frames_of_piece(a, source, plan);
    else
        argument_printf(a, "expr:gte(t,n_forced*%.3f)", gop_s);
    if (plan->is_piece) { /* the sample entry is that of all pieces */
        argument(a, "-write_btrt");
        argument(a, "0");
    }
    argument(a, "-video_track_timescale");
    argument_printf(a, "%u", timescale);
    argument(a, "-movie_timescale");
    argument_printf(a, "%u", timescale);
    argument_printf(a, "v%u.mp4", i);
}

static void
audio_output(struct arguments *a, const struct source *source, unsigned i)
{
    const struct source_audio *audio = &source->audio[i];
    argument(a, "-map");
    argument_printf(a, "[a%u]", i);
    static const char *const fixed[] = {
        "-c:a", "aac",           "-b:a", "128k",      "-map_metadata",
        "-1",   "-map_chapters", "-1",   "-bitexact", NULL};
    arguments_of(a, fixed);
    argument(a, "-movie_timescale");
    argument_printf(a, "%u", audio_rate(audio));
    argument_printf(a, "a%u.mp4", i);
}

/* One thread, as slices would make other bytes of the same picture. */
static void
thumbnails_output(struct arguments *a, unsigned number)
{
    static const char *const fixed[] = {"-c:v",
                                        "mjpeg",
                                        "-q:v",
                                        "4",
                                        "-threads",
                                        "1",
                                        "-fps_mode",
                                        "passthrough",
                                        "-enc_time_base",
                                        "1/1000",
                                        "-map_metadata",
                                        "-1",
                                        "-bitexact",
                                        "-f",
                                        "image2",
                                        "-start_number",
                                        "0",
                                        NULL};
    argument(a, "-map");
    argument_printf(a, "[i%u]", number);
    arguments_of(a, fixed);
    argument_printf(a, "i%u.%%d.jpg", number);
}

/* Decoding starts at a key frame before the piece, and stops behind it; what is
 * of it is for the filters to say. */
static void
piece_input(struct arguments *a, const struct encode_piece *piece)
{
    argument(a, "-copyts");
    if (piece->from_ms > PIECE_MARGIN_MS) {
        argument(a, "-ss");
        argument_printf(a, "%.3f",
                        (double) (piece->from_ms - PIECE_MARGIN_MS) / 1000);
    }
}

static void
sample_input(struct arguments *a, const struct encode_piece *piece)
{
    argument(a, "-ss");
    argument_printf(a, "%.3f", (double) piece->from_ms / 1000);
    argument(a, "-t");
    argument_printf(a, "%.3f", (double) (piece->to_ms - piece->from_ms) / 1000);
}

int
encode_arguments(const struct source *source, const struct encode_plan *plan,
                 struct buffer *text, const char *argv[ENCODE_ARGUMENTS_MAX])
{
    struct arguments a = {.text = text};
    static const char *const fixed[] = {"ffmpeg",       "-nostdin",
                                        "-hide_banner", "-nostats",
                                        "-v",           "error",
                                        "-y",           "-progress",
                                        "pipe:1",       "-stats_period",
                                        "0.25",         "-protocol_whitelist",
                                        "file,pipe",    "-format_whitelist",
                                        SOURCE_FORMATS, NULL};
    arguments_of(&a, fixed);
    if (plan->is_piece)
        piece_input(&a, &plan->piece);
    else if (plan->is_sample)
        sample_input(&a, &plan->piece);
    argument(&a, "-i");
    argument_printf(&a, "file:%s", source->path);

    struct buffer graph;
    buffer_init(&graph, ARGUMENTS_SIZE_MAX);
    if (plan->rung_count > 0 || plan->thumbnails.interval_ms != 0)
        video_filters(&graph, source, plan);
    for (unsigned i = 0; i < plan->audio_count; i++)
        audio_filters(&graph, source, plan, i);
    argument(&a, "-filter_complex");
    buffer_append(&graph, "", 1);
    int err = graph.err;
    if (err == 0)
        argument(&a, (const char *) graph.ptr);
    buffer_fini(&graph);

    for (unsigned i = 0; i < plan->rung_count; i++)
        video_output(&a, source, plan, i);
    for (unsigned i = 0; i < plan->audio_count; i++)
        audio_output(&a, source, i);
    for (unsigned i = 0; i < THUMBNAIL_TRACKS; i++)
        if (plan->thumbnails.interval_ms != 0)
            thumbnails_output(&a, i);
    return err != 0 ? err : arguments_end(&a, argv);
}

/* ---- its progress ---- */

struct encode_status {
    struct progress *progress;
    double duration_s;
    double time_s;
    const struct encode_share *share;
    char speed[16];
    uint64_t frames, dropped, doubled;
};

/* "key=value" lines; "progress=" ends each round of them. */
static void
status_line(const char *line, void *context)
{
    struct encode_status *status = context;
    const char *equals = strchr(line, '=');
    if (equals == NULL)
        return;
    size_t len = (size_t) (equals - line);
    const char *value = equals + 1;
#define IS(key) (len == sizeof key - 1 && memcmp(line, key, len) == 0)
    if (IS("out_time_us")) {
        status->time_s = strtod(value, NULL) / 1e6; /* "N/A" gives 0 */
    } else if (IS("speed")) {
        double speed = strtod(value, NULL);
        if (speed >= 0.05)
            snprintf(status->speed, sizeof status->speed, "%.1fx", speed);
    } else if (IS("frame")) {
        status->frames = strtoull(value, NULL, 10);
    } else if (IS("drop_frames")) {
        status->dropped = strtoull(value, NULL, 10);
    } else if (IS("dup_frames")) {
        status->doubled = strtoull(value, NULL, 10);
    } else if (IS("progress")) {
        double done =
            status->duration_s > 0 ? status->time_s / status->duration_s : -1;
        if (status->share != NULL)
            done = status->share->before
                   + status->share->own * fmin(fmax(done, 0), 1);
        progress_update(status->progress, done, status->speed);
    }
#undef IS
}

static int
encode_judge(struct progress *progress, const struct child_result *result,
             const struct encode_status *status)
{
    if (result->exit_status != 0
        && strstr(result->errors, "No such filter: 'zscale'") != NULL) {
        progress_error(progress,
                       "this film is of high dynamic range, and this FFmpeg "
                       "cannot bring it into the standard one (it has no "
                       "zscale): install one that can, or keep the range with "
                       "--codec hevc --no-thumbnails");
        return ERR_UNSUPPORTED;
    }
    /* which it may say, and end well */
    if (strstr(result->errors, "No space left on device") != NULL) {
        progress_error(progress,
                       "the disk is full where the film is encoded "
                       "(--temp):\n%s",
                       text_last_lines(result->errors, 3));
        return ERR_FULL;
    }
    if (result->exit_status != 0
        && strstr(result->errors, "Unknown encoder") != NULL) {
        progress_error(progress,
                       "this FFmpeg has no encoder for that (%s): use "
                       "another --codec",
                       text_last_lines(result->errors, 1));
        return ERR_UNSUPPORTED;
    }
    if (result->exit_status != 0) {
        progress_error(progress,
                       "FFmpeg could not encode the film (exit "
                       "status %d):\n%s",
                       result->exit_status, text_last_lines(result->errors, 8));
        return ERR_INVALID;
    }
    if (status->dropped != 0 || status->doubled != 0) {
        progress_error(progress,
                       "FFmpeg dropped %" PRIu64 " and doubled %" PRIu64
                       " frames: the renditions would not match the film",
                       status->dropped, status->doubled);
        return ERR_INVALID;
    }
    if (result->errors[0] != '\0')
        progress_note(progress, "FFmpeg found faults in the film:\n%s",
                      text_last_lines(result->errors, 5));
    return 0;
}

int
encode_run(struct progress *progress, const struct source *source,
           const struct encode_plan *plan, const char *folder,
           const struct encode_share *share, uint64_t *frame_count)
{
    struct encode_status status = {
        .progress = progress, .share = share, .duration_s = source->duration_s};
    const struct encode_piece *piece = &plan->piece;
    if (plan->is_piece && piece->to_ms != 0)
        status.duration_s = (double) (piece->to_ms - piece->from_ms) / 1000;
    else if (plan->is_piece)
        status.duration_s -= (double) piece->from_ms / 1000;
    const char *argv[ENCODE_ARGUMENTS_MAX];
    struct buffer text;
    buffer_init(&text, ARGUMENTS_SIZE_MAX);
    int err = encode_arguments(source, plan, &text, argv);
    if (err != 0) {
        progress_error(progress, "cannot write FFmpeg's arguments: %s",
                       err_text(err));
        goto done;
    }
    const struct child_config config = {.argv = argv,
                                        .folder = folder,
                                        .line = status_line,
                                        .context = &status};
    static struct child_result result; /* large */
    err = child_run(&config, &result);
    if (err == ERR_NOT_FOUND)
        progress_error(progress, "ffmpeg is missing: install it (Debian: apt "
                                 "install ffmpeg)");
    else if (err != 0 && err != ERR_TIMEOUT)
        progress_error(progress, "cannot run ffmpeg: %s", strerror(errno));
    else if (err == 0)
        err = encode_judge(progress, &result, &status);
    if (err == 0)
        *frame_count = plan->rung_count > 0 ? status.frames : 0;
done:
    buffer_fini(&text);
    return err;
}
