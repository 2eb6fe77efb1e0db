/* SPDX-License-Identifier: Apache-2.0 */
/* Asks ffprobe about the film, and refuses what is not one. */

#include "programs/vodst/ingest_source.h"

#include "core/err.h"
#include "media/mp4/mp4.h"
#include "programs/vodst/ingest_child.h"
#include "programs/vodst/ingest_file.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define PROBE_SIZE_MAX (4u << 20) /* bytes of JSON */
#define PICTURE_SIDE_MAX 16384    /* pixels */
#define PROBE_SCORE_MIN 25        /* FFmpeg: below, it guesses */

void
language_normalise(const char *tag, char out[TRACK_LANGUAGE_LEN_MAX + 1])
{
    static const char *const codes[][2] = {
        {"ara", "ar"}, {"bul", "bg"}, {"cat", "ca"}, {"ces", "cs"},
        {"chi", "zh"}, {"cze", "cs"}, {"dan", "da"}, {"deu", "de"},
        {"dut", "nl"}, {"ell", "el"}, {"eng", "en"}, {"est", "et"},
        {"fin", "fi"}, {"fra", "fr"}, {"fre", "fr"}, {"ger", "de"},
        {"gre", "el"}, {"heb", "he"}, {"hin", "hi"}, {"hrv", "hr"},
        {"hun", "hu"}, {"ice", "is"}, {"ind", "id"}, {"isl", "is"},
        {"ita", "it"}, {"jpn", "ja"}, {"kor", "ko"}, {"lav", "lv"},
        {"lit", "lt"}, {"may", "ms"}, {"msa", "ms"}, {"nld", "nl"},
        {"nor", "no"}, {"per", "fa"}, {"pol", "pl"}, {"por", "pt"},
        {"ron", "ro"}, {"rum", "ro"}, {"rus", "ru"}, {"slk", "sk"},
        {"slo", "sk"}, {"slv", "sl"}, {"spa", "es"}, {"srp", "sr"},
        {"swe", "sv"}, {"tam", "ta"}, {"tel", "te"}, {"tha", "th"},
        {"tur", "tr"}, {"ukr", "uk"}, {"vie", "vi"}, {"zho", "zh"},
    };
    size_t len = tag != NULL ? strlen(tag) : 0;
    bool is_tag = len >= 2 && len <= TRACK_LANGUAGE_LEN_MAX;
    for (size_t i = 0; is_tag && i < len; i++)
        is_tag = strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                        "0123456789-",
                        tag[i])
                 != NULL;
    if (!is_tag)
        tag = "und";
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (strcasecmp(codes[i][0], tag) == 0)
            tag = codes[i][1];
    snprintf(out, TRACK_LANGUAGE_LEN_MAX + 1, "%s", tag);
}

/* ---- ffprobe's JSON: numbers come as numbers or as texts ---- */

static double
number_of(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    double number = 0;
    if (json_is_number(value))
        number = json_number_value(value);
    else if (json_is_string(value))
        number = strtod(json_string_value(value), NULL);
    return isfinite(number) ? number : 0;
}

static unsigned
unsigned_of(const json_t *object, const char *name)
{
    double number = number_of(object, name);
    return number > 0 && number <= UINT_MAX ? (unsigned) number : 0;
}

/* "30000/1001", "16:9"; false when absent or with a zero. */
static bool
ratio_of(const json_t *object, const char *name, unsigned *num, unsigned *den)
{
    const char *text = json_string_value(json_object_get(object, name));
    char separator;
    unsigned a, b;
    if (text == NULL || sscanf(text, "%9u%c%9u", &a, &separator, &b) != 3
        || a == 0 || b == 0)
        return false;
    *num = a;
    *den = b;
    return true;
}

static bool
text_is(const json_t *object, const char *name, const char *expected)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL && strcmp(text, expected) == 0;
}

static bool
is_quarter_turned(const json_t *stream)
{
    size_t i;
    json_t *side;
    json_array_foreach(json_object_get(stream, "side_data_list"), i, side)
    {
        long turn = lround(number_of(side, "rotation"));
        if (turn % 180 != 0)
            return true;
    }
    return false;
}

static int
picture_parse(const json_t *stream, struct source *out, const char **reason)
{
    double width = unsigned_of(stream, "width");
    double height = unsigned_of(stream, "height");
    unsigned num, den;
    if (ratio_of(stream, "sample_aspect_ratio", &num, &den))
        width = width * num / den;
    if (is_quarter_turned(stream)) {
        double side = width;
        width = height;
        height = side;
    }
    if (width < 2 || height < 2 || width > PICTURE_SIDE_MAX
        || height > PICTURE_SIDE_MAX) {
        *reason = "its picture has no size that can be encoded (2 to 16384)";
        return ERR_INVALID;
    }
    out->width = (unsigned) lround(width);
    out->height = (unsigned) lround(height);
    return 0;
}

static void
rate_parse(const json_t *stream, struct source *out)
{
    unsigned num, den;
    out->frame_rate_num = 25;
    out->frame_rate_den = 1;
    bool has_average = ratio_of(stream, "avg_frame_rate", &out->frame_rate_num,
                                &out->frame_rate_den);
    if (!ratio_of(stream, "time_base", &out->time_base_num,
                  &out->time_base_den)) {
        out->time_base_num = 1;
        out->time_base_den = 90000;
    }
    if (!ratio_of(stream, "r_frame_rate", &num, &den) || !has_average)
        return;
    double average = (double) out->frame_rate_num / out->frame_rate_den;
    double base = (double) num / den;
    out->is_constant_rate = fabs(average / base - 1) < 0.001;
    if (out->is_constant_rate) {
        out->frame_rate_num = num;
        out->frame_rate_den = den;
    }
}

static int
video_parse(const json_t *stream, double start_s, struct source *out,
            const char **reason)
{
    int err = picture_parse(stream, out, reason);
    if (err != 0)
        return err;
    rate_parse(stream, out);
    out->has_video = true;
    out->video_stream = (int) unsigned_of(stream, "index");
    out->frame_count = unsigned_of(stream, "nb_frames");
    out->video_duration_s = number_of(stream, "duration");
    out->video_start_ticks = (int64_t) number_of(stream, "start_pts");
    double late_s = number_of(stream, "start_time") - start_s;
    out->video_start_s = late_s > 0.0005 ? late_s : 0;
    out->zero_s = start_s + out->video_start_s;
    if (text_is(stream, "color_transfer", "smpte2084"))
        out->video_range = VIDEO_RANGE_PQ;
    else if (text_is(stream, "color_transfer", "arib-std-b67"))
        out->video_range = VIDEO_RANGE_HLG;
    static const char *const orders[] = {"tt", "bb", "tb", "bt"};
    for (size_t i = 0; i < 4; i++)
        if (text_is(stream, "field_order", orders[i]))
            out->is_interlaced = true;
    return 0;
}

static void
audio_parse(const json_t *stream, double start_s, struct source *out)
{
    struct source_audio *audio = &out->audio[out->audio_count++];
    const json_t *tags = json_object_get(stream, "tags");
    const char *title = json_string_value(json_object_get(tags, "title"));
    audio->stream = (int) unsigned_of(stream, "index");
    audio->channels = unsigned_of(stream, "channels");
    audio->sample_rate = unsigned_of(stream, "sample_rate");
    double duration_s = number_of(stream, "duration");
    if (duration_s > 0)
        audio->end_s = number_of(stream, "start_time") - start_s + duration_s;
    language_normalise(json_string_value(json_object_get(tags, "language")),
                       audio->language);
    if (title != NULL && title[0] != '\0'
        && strlen(title) <= TRACK_LABEL_LEN_MAX)
        snprintf(audio->label, sizeof audio->label, "%s", title);
    else
        snprintf(audio->label, sizeof audio->label, "Audio %u",
                 out->audio_count);
}

/* A cover picture in a music file is not a film. */
static bool
is_cover(const json_t *stream)
{
    const json_t *disposition = json_object_get(stream, "disposition");
    return unsigned_of(disposition, "attached_pic") != 0
           || unsigned_of(disposition, "timed_thumbnails") != 0;
}

/* Text may be there for longer than there is something to see or to hear. */
static void
duration_without_text(struct source *out)
{
    double end_s = 0;
    if (out->video_duration_s > 0)
        end_s = out->video_start_s + out->video_duration_s;
    for (unsigned i = 0; i < out->audio_count; i++)
        end_s = fmax(end_s, out->audio[i].end_s);
    if (out->has_text && end_s > 0)
        out->duration_s = fmin(out->duration_s, end_s);
}

static int
streams_parse(const json_t *root, struct source *out, const char **reason)
{
    const json_t *format = json_object_get(root, "format");
    double start_s = number_of(format, "start_time");
    size_t i;
    json_t *stream;
    const char *name =
        json_string_value(json_object_get(format, "format_name"));
    static const char *const exact[] = {"mp4", "matroska", "avi", "wav",
                                        "flac"};
    out->is_mp4 = name != NULL && strstr(name, "mp4") != NULL;
    out->can_seek =
        out->is_mp4 || (name != NULL && strstr(name, "matroska") != NULL);
    for (size_t n = 0; name != NULL && n < sizeof exact / sizeof *exact; n++)
        if (strstr(name, exact[n]) != NULL)
            out->has_exact_duration = true;
    out->duration_s = number_of(format, "duration");
    if (out->duration_s < 0)
        out->duration_s = 0;
    out->zero_s = start_s;
    json_array_foreach(json_object_get(root, "streams"), i, stream)
    {
        if (text_is(stream, "codec_type", "video") && !out->has_video
            && !is_cover(stream)) {
            int err = video_parse(stream, start_s, out, reason);
            if (err != 0)
                return err;
        } else if (text_is(stream, "codec_type", "audio")
                   && unsigned_of(stream, "channels") > 0
                   && out->audio_count < SOURCE_AUDIO_MAX) {
            audio_parse(stream, start_s, out);
        } else if (text_is(stream, "codec_tag_string", "tx3g")
                   || text_is(stream, "codec_tag_string", "wvtt")) {
            out->has_text = true;
        }
    }
    duration_without_text(out);
    if (!out->has_video && out->audio_count == 0) {
        *reason = "it holds neither video nor audio";
        return ERR_INVALID;
    }
    if (number_of(format, "probe_score") < PROBE_SCORE_MIN) {
        *reason = "neither video nor audio can be recognised in it";
        return ERR_INVALID;
    }
    return 0;
}

int
source_parse(struct bytes json, struct source *out, const char **reason)
{
    struct source source = {.video_stream = -1};
    json_t *root = json_loadb((const char *) json.ptr, json.len, 0, NULL);
    *reason = "ffprobe's answer cannot be read";
    int err = root == NULL ? ERR_INVALID : streams_parse(root, &source, reason);
    json_decref(root);
    if (err != 0)
        return err;
    memcpy(source.path, out->path, sizeof source.path);
    source.size = out->size;
    *out = source;
    return 0;
}

/* ---- the file ---- */

int
source_file_check(struct progress *progress, const char *path,
                  struct source *out)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        progress_error(progress, "cannot read %s: %s", path, strerror(errno));
        return errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
    }
    if (!S_ISREG(st.st_mode)) {
        progress_error(progress, "%s is not a file", path);
        return ERR_INVALID;
    }
    if (st.st_size == 0) {
        progress_error(progress, "%s is empty (0 bytes)", path);
        return ERR_INVALID;
    }
    if (access(path, R_OK) != 0 || realpath(path, out->path) == NULL) {
        progress_error(progress, "cannot read %s: %s", path, strerror(errno));
        return ERR_IO;
    }
    out->size = (uint64_t) st.st_size;
    return 0;
}

/* An MP4 names every byte it needs: one that was cut short is told before hours
 * of encoding. What else our reader does not like, FFmpeg may still read. */
static int
mp4_check(struct progress *progress, const char *path,
          const struct source *source)
{
    int fd = open(source->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        progress_error(progress, "cannot read %s: %s", path, strerror(errno));
        return ERR_IO;
    }
    const struct mp4_source bytes = file_mp4_source(&fd, source->size);
    struct mp4_movie movie;
    struct mp4_error error = {.reason = ""};
    int err = mp4_open(&bytes, &movie, &error);
    close(fd);
    if (err == 0) {
        mp4_close(&movie);
    } else if (err == ERR_TRUNCATED
               && strstr(error.reason, "truncated file") != NULL) {
        progress_error(progress, "%s is broken: box '%s' at byte %llu: %s",
                       path, error.box, (unsigned long long) error.offset,
                       error.reason);
        return ERR_INVALID;
    }
    return 0;
}

static void
json_line_append(const char *line, void *context)
{
    buffer_append_text(context, line);
    buffer_append_text(context, "\n");
}

/* FFmpeg takes anything that is called .mp4 for one. */
bool
source_is_mp4(const char *path)
{
    static const char *const boxes[] = {"ftyp", "moov", "mdat",
                                        "free", "skip", "wide"};
    char start[8] = "";
    FILE *f = fopen(path, "rbe");
    size_t got = f != NULL ? fread(start, 1, sizeof start, f) : 0;
    if (f != NULL)
        fclose(f);
    for (size_t i = 0; got == sizeof start && i < 6; i++)
        if (memcmp(start + 4, boxes[i], 4) == 0)
            return true;
    return false;
}

static void
probe_failed(struct progress *progress, const char *path, const char *errors)
{
    bool is_without_moov = strstr(errors, "moov atom not found") != NULL;
    if (is_without_moov && !source_is_mp4(path))
        progress_error(progress, "%s is not a film: no film begins as it does",
                       path);
    else if (is_without_moov)
        progress_error(progress,
                       "%s is not a whole MP4: its index (moov) is missing, "
                       "as when a copy or a recording was cut short",
                       path);
    else if (strstr(errors, "not on whitelist") != NULL)
        progress_error(progress,
                       "%s is not a film: of a kind that is not "
                       "taken (text, picture, playlist, ...)",
                       path);
    else
        progress_error(progress, "%s is not a film that FFmpeg can read:\n%s",
                       path, text_last_lines(errors, 5));
}

static int
probe_run(struct progress *progress, const struct source *source,
          const char *path, struct buffer *json)
{
    char url[PATH_MAX + 8];
    snprintf(url, sizeof url, "file:%s", source->path);
    const char *const argv[] = {"ffprobe",
                                "-v",
                                "error",
                                "-protocol_whitelist",
                                "file",
                                "-format_whitelist",
                                SOURCE_FORMATS,
                                "-print_format",
                                "json",
                                "-show_format",
                                "-show_streams",
                                url,
                                NULL};
    const struct child_config config = {
        .argv = argv, .line = json_line_append, .context = json};
    struct child_result result;
    int err = child_run(&config, &result);
    if (err == ERR_NOT_FOUND) {
        progress_error(progress, "ffprobe is missing: install FFmpeg (Debian: "
                                 "apt install ffmpeg)");
        return err;
    }
    if (err == ERR_TIMEOUT)
        return err;
    if (err != 0) {
        progress_error(progress, "cannot run ffprobe: %s", strerror(errno));
        return err;
    }
    if (result.exit_status != 0) {
        probe_failed(progress, path, result.errors);
        return ERR_INVALID;
    }
    return json->err;
}

int
source_probe(struct progress *progress, const char *path, struct source *out)
{
    memset(out, 0, sizeof *out);
    int err = source_file_check(progress, path, out);
    if (err != 0)
        return err;
    struct buffer json;
    buffer_init(&json, PROBE_SIZE_MAX);
    err = probe_run(progress, out, path, &json);
    if (err != 0)
        goto done;
    const char *reason;
    err = source_parse(buffer_bytes(&json), out, &reason);
    if (err != 0) {
        progress_error(progress, "%s is not a film: %s", path, reason);
        goto done;
    }
    if (out->is_mp4)
        err = mp4_check(progress, path, out);
done:
    buffer_fini(&json);
    return err;
}
