/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vodst audience: brings emulated players to a running platform, as many and
 * as fast as asked, and reports what they saw.
 */

#include "platform/clock.h"
#include "platform/files.h"
#include "platform/http.h"
#include "platform/log.h"
#include "platform/options.h"
#include "programs/sim/arrivals.h"
#include "programs/vodst/audience_player.h"
#include "programs/vodst/vodst.h"

#include <errno.h>
#include <event2/event.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define STATE_BYTES_MAX (1u << 20)
#define PLAYERS_MAX 100000
#define LOADS_PER_PLAYER 2
#define OTHER_FILES 64

struct config {
    const char *state_folder, *api, *url;
    struct option_list contents;
    int64_t players;
    double rate;
    int64_t ramp_ms, duration_ms, watch_ms, buffer_ms, timeout_ms;
    const char *rendition;
    double speed;
    int64_t seed;
    bool json;
};

#define FIELD(name) offsetof(struct config, name)

static const struct option options[] = {
    {"dir", OPTION_TEXT, FIELD(state_folder), NULL, 0, 0, false, NULL,
     "State folder of a platform started by `vodst up`: its front is asked for"
     " the plays."},
    {"api", OPTION_TEXT, FIELD(api), NULL, 0, 0, false, NULL,
     "Base URL of st-api, as http://127.0.0.1:8080/api: asked for the plays"
     " instead of --dir's."},
    {"url", OPTION_TEXT, FIELD(url), NULL, 0, 0, false, NULL,
     "Playback URL of a multivariant playlist, played as it is: st-api is not"
     " asked."},
    {"content", OPTION_LIST, FIELD(contents), NULL, 0, 0, false, NULL,
     "Content to play; several share the plays evenly, or by weight: a=3."},
    {"players", OPTION_INTEGER, FIELD(players), "10", 1, PLAYERS_MAX, false,
     NULL, "Players at once, at most."},
    {"rate", OPTION_NUMBER, FIELD(rate), "0", 0, 10000, false, "plays/s",
     "Plays begin at random moments, so many a second; 0: each player begins"
     " when --ramp says, and again when its play has ended."},
    {"ramp", OPTION_DURATION, FIELD(ramp_ms), "0s", 0, 1e9, false, NULL,
     "Time over which the players come, or the rate rises from nothing."},
    {"duration", OPTION_DURATION, FIELD(duration_ms), "0s", 0, 1e9, false, NULL,
     "Time for which plays begin; then all stop. 0: as many plays as"
     " --players, each to its end."},
    {"watch", OPTION_DURATION, FIELD(watch_ms), "0s", 0, 1e9, false, NULL,
     "What each play sees of the film; 0: the whole."},
    {"rendition", OPTION_TEXT, FIELD(rendition), "best", 0, 0, false, NULL,
     "best, worst, or a number: 0 is the best, 1 the next."},
    {"speed", OPTION_NUMBER, FIELD(speed), "1", 0.01, 1000, false, NULL,
     "Film time per time: at 4, an hour's film is seen in 15 minutes."},
    {"buffer", OPTION_DURATION, FIELD(buffer_ms), "12s", 1000, 600000, false,
     NULL, "Film time that each player keeps ahead of its playhead."},
    {"timeout", OPTION_DURATION, FIELD(timeout_ms), "10s", 100, 600000, false,
     NULL,
     "Time that a player waits for one answer, at most; while it plays, half "
     "of what its buffer lasts, and 2 s at least."},
    {"seed", OPTION_INTEGER, FIELD(seed), "1", 0, 0, false, NULL,
     "Of the random moments and choices: the same seed, the same audience."},
    {"json", OPTION_FLAG, FIELD(json), NULL, 0, 0, false, NULL,
     "Print the report as one JSON object."},
};

static const struct program program = {
    .name = "vodst audience",
    .summary = "play contents with emulated players",
    .synopsis = "",
    .details =
        "Each player asks for a play, follows redirects, reads the HLS"
        " playlists and fetches video and audio segments at the pace of"
        " playback, dropping the bytes. When a node fails it tries again, then"
        " opens its playback URL anew and goes on where it was: a recovery.\n\n"
        "A hundred viewers who come within ten seconds and stay a minute:"
        " `vodst audience --dir .vodst --content demo --players 100 --ramp 10s"
        " --duration 60s`.\n\n"
        "Exit status: 0 when no play failed, 1 when one did or none could be"
        " begun, 2 for wrong use.",
    .options = options,
    .option_count = OPTION_COUNT(options),
};

struct audience {
    struct config config;
    struct event_base *base;
    struct player_room room;
    struct audience_report report;
    struct player **players; /* [config.players], the busy ones first */
    size_t player_count;
    struct event *arrival, *tick, *deadline, *interrupt, *termination;
    uint64_t began_ms;
    uint64_t last_bytes, last_requests; /* at the last live line */
    double weights[AUDIENCE_CONTENTS_MAX];
    const char *ids[AUDIENCE_CONTENTS_MAX];
    size_t content_count;
    struct arrivals arrivals;
    char *playbacks_url;
    bool is_live;
};

static int
fail_use(const char *what)
{
    fprintf(stderr, "vodst audience: %s\n", what);
    return ERR_INVALID;
}

/* ---- what was asked for ---- */

static int
contents_read(struct audience *audience)
{
    const struct option_list *list = &audience->config.contents;
    if (audience->config.url != NULL) {
        if (list->count > 0)
            return fail_use("--url is the play: leave out --content");
        audience->ids[0] = audience->config.url;
        audience->weights[0] = 1;
        audience->content_count = 1;
        return 0;
    }
    if (list->count == 0)
        return fail_use("no content to play: give --content ID");
    if (list->count > AUDIENCE_CONTENTS_MAX)
        return fail_use("more than 1024 contents");
    for (size_t i = 0; i < list->count; i++) {
        char *id = strdup(list->items[i]);
        if (id == NULL)
            return ERR_MEMORY;
        audience->ids[i] = id;
        audience->content_count = i + 1;
        if (arrivals_content(id, &audience->weights[i]) != 0)
            return fail_use("--content: a weight is a number over 0, as"
                            " in demo=3");
    }
    return 0;
}

static int
rendition_read(const char *text, int *out)
{
    char *end;
    if (strcmp(text, "best") == 0) {
        *out = PLAYER_RENDITION_BEST;
        return 0;
    }
    if (strcmp(text, "worst") == 0) {
        *out = PLAYER_RENDITION_WORST;
        return 0;
    }
    long number = strtol(text, &end, 10);
    if (end == text || *end != '\0' || number < 0
        || number >= PLAYLIST_VARIANTS_MAX)
        return fail_use("--rendition is best, worst, or a number from 0");
    *out = (int) number;
    return 0;
}

/* The front of a platform that `vodst up` started. */
static int
state_read(const char *folder, char *url, size_t size)
{
    char path[4096];
    struct buffer text;
    buffer_init(&text, STATE_BYTES_MAX);
    snprintf(path, sizeof path, "%s/vodst.json", folder);
    int err = file_read(path, &text);
    if (err != 0) {
        fprintf(stderr,
                "vodst audience: cannot read %s (%s): is the platform up? See"
                " `vodst up --help`\n",
                path, err == ERR_IO ? strerror(errno) : err_text(err));
        buffer_fini(&text);
        return err;
    }
    json_t *root = json_loadb((const char *) text.ptr, text.len, 0, NULL);
    const char *front = NULL;
    if (root != NULL)
        json_unpack(root, "{ss}", "front", &front);
    if (front != NULL)
        snprintf(url, size, "%s/api", front);
    else
        fprintf(stderr, "vodst audience: %s names no front\n", path);
    json_decref(root);
    buffer_fini(&text);
    return front != NULL ? 0 : ERR_NOT_FOUND;
}

static int
source_read(struct audience *audience)
{
    const struct config *config = &audience->config;
    char base[2048];
    int given = (config->url != NULL) + (config->api != NULL)
                + (config->state_folder != NULL);
    if (given == 0)
        return fail_use("nothing to play from: give --dir, --api or --url");
    if (config->url != NULL && given > 1)
        return fail_use("--url needs neither --dir nor --api");
    if (config->url != NULL) {
        if (strncmp(config->url, "http://", 7) != 0)
            return fail_use("--url begins with http://");
        audience->room.playback_url = config->url;
        return 0;
    }
    if (config->api != NULL) {
        if (strncmp(config->api, "http://", 7) != 0)
            return fail_use("--api begins with http://");
        snprintf(base, sizeof base, "%s", config->api);
    } else {
        int err = state_read(config->state_folder, base, sizeof base);
        if (err != 0)
            return err;
    }
    size_t len = strlen(base);
    while (len > 0 && base[len - 1] == '/')
        base[--len] = '\0';
    if (asprintf(&audience->playbacks_url, "%s/v1/playbacks", base) < 0)
        return ERR_MEMORY;
    audience->room.playbacks_url = audience->playbacks_url;
    return 0;
}

static int
files_allow(int64_t players)
{
    rlim_t needed = (rlim_t) players * LOADS_PER_PLAYER + OTHER_FILES;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= needed)
        return 0;
    struct rlimit wanted = limit;
    wanted.rlim_cur = needed;
    if (wanted.rlim_max < needed)
        wanted.rlim_max = needed;
    if (setrlimit(RLIMIT_NOFILE, &wanted) == 0)
        return 0;
    fprintf(stderr,
            "vodst audience: %lld players need %llu open files, and this"
            " process may have %llu: raise it with `ulimit -n %llu` as root, or"
            " ask for fewer --players\n",
            (long long) players, (unsigned long long) needed,
            (unsigned long long) limit.rlim_max, (unsigned long long) needed);
    return ERR_LIMIT;
}

/* ---- plays that begin and end ---- */

static void
play_begin(struct audience *audience, size_t content)
{
    struct audience_report *report = &audience->report;
    struct player *player =
        player_new(&audience->room, content, report->started);
    report->started++;
    if (player == NULL) {
        report->failed++;
        report->errors[AUDIENCE_ERROR_MEMORY]++;
        return;
    }
    audience->players[audience->player_count++] = player;
    report->playing = audience->player_count;
}

static bool
all_have_come(const struct audience *audience)
{
    return audience->config.duration_ms == 0
           && audience->report.started >= (uint64_t) audience->config.players;
}

static void
timer_in(struct event *timer, double wait_ms)
{
    uint64_t us = (uint64_t) (wait_ms * 1000);
    struct timeval wait = {.tv_sec = (time_t) (us / 1000000),
                           .tv_usec = (suseconds_t) (us % 1000000)};
    event_add(timer, &wait);
}

/* The time to the next arrival: even over the ramp, or as of a Poisson process.
 * Moments count from the begin, or each timer's delay would slow it down. */
static double
arrival_wait_ms(const struct audience *audience)
{
    const struct config *config = &audience->config;
    double at_ms = audience->arrivals.at_ms;
    if (config->rate == 0) {
        if (audience->report.started >= (uint64_t) config->players)
            return 0; /* one takes the place of another */
        at_ms = (double) config->ramp_ms * (double) audience->report.started
                / (double) config->players;
    }
    double now_ms = (double) (clock_now_ms() - audience->began_ms);
    return at_ms > now_ms ? at_ms - now_ms : 0;
}

static size_t
arrival_take(struct audience *audience)
{
    struct arrivals *arrivals = &audience->arrivals;
    if (audience->config.rate == 0)
        return arrivals_pick(arrivals);
    size_t content = arrivals->content;
    arrivals_next(arrivals);
    return content;
}

static void
arrive(struct audience *audience)
{
    size_t content = arrival_take(audience);
    if (audience->player_count < (size_t) audience->config.players)
        play_begin(audience, content);
    else
        audience->report.turned_away++;
}

/* All whose moment has come: viewers do not wait for a machine that is late,
 * nor stay away at the end because of it. */
static void
arrivals_due(struct audience *audience)
{
    const struct config *config = &audience->config;
    double now_ms = (double) (clock_now_ms() - audience->began_ms);
    if (config->duration_ms > 0 && now_ms > (double) config->duration_ms)
        now_ms = (double) config->duration_ms;
    while (config->rate > 0 && audience->arrivals.at_ms <= now_ms)
        arrive(audience);
}

static void
on_arrival(evutil_socket_t fd, short what, void *context)
{
    struct audience *audience = context;
    const struct config *config = &audience->config;
    if (config->rate > 0)
        arrivals_due(audience);
    else
        arrive(audience);
    bool is_full = audience->player_count == (size_t) config->players;
    if (!all_have_come(audience) && (config->rate > 0 || !is_full))
        timer_in(audience->arrival, arrival_wait_ms(audience));
}

static void
on_ended(struct player *player, bool is_failed, void *context)
{
    struct audience *audience = context;
    const struct config *config = &audience->config;
    size_t i = 0;
    while (audience->players[i] != player)
        i++;
    audience->players[i] = audience->players[--audience->player_count];
    audience->report.playing = audience->player_count;
    if (is_failed)
        audience->report.failed++;
    else
        audience->report.finished++;
    if (audience->player_count == 0 && all_have_come(audience))
        event_base_loopbreak(audience->base);
    /* another comes in its place, but a platform that fails at once is not
     * hammered */
    if (config->duration_ms > 0 && config->rate == 0
        && !evtimer_pending(audience->arrival, NULL))
        timer_in(audience->arrival, is_failed ? 1000 : 0);
}

/* ---- the run ---- */

static void
live_print(struct audience *audience)
{
    const struct audience_report *report = &audience->report;
    uint64_t passed_s = (clock_now_ms() - audience->began_ms + 500) / 1000;
    uint64_t errors = 0;
    for (size_t i = 0; i < AUDIENCE_ERROR_COUNT; i++)
        errors += report->errors[i];
    fprintf(stderr,
            "\r\033[K%4llu s  playing %llu  started %llu  failed %llu  stalls"
            " %llu  errors %llu  %llu req/s  %.1f Mbit/s",
            (unsigned long long) passed_s, (unsigned long long) report->playing,
            (unsigned long long) report->started,
            (unsigned long long) report->failed,
            (unsigned long long) report->stalls, (unsigned long long) errors,
            (unsigned long long) (report->requests - audience->last_requests),
            (double) (report->bytes - audience->last_bytes) * 8 / 1e6);
    fflush(stderr);
    audience->last_requests = report->requests;
    audience->last_bytes = report->bytes;
}

static void
on_tick(evutil_socket_t fd, short what, void *context)
{
    live_print(context);
}

static void
on_stop(evutil_socket_t fd, short what, void *context)
{
    struct audience *audience = context;
    event_base_loopbreak(audience->base);
}

static void
on_deadline(evutil_socket_t fd, short what, void *context)
{
    arrivals_due(context);
    on_stop(fd, what, context);
}

static int
events_set(struct audience *audience)
{
    static const struct timeval second = {.tv_sec = 1};
    audience->arrival = evtimer_new(audience->base, on_arrival, audience);
    audience->deadline = evtimer_new(audience->base, on_deadline, audience);
    audience->tick =
        event_new(audience->base, -1, EV_PERSIST, on_tick, audience);
    audience->interrupt =
        evsignal_new(audience->base, SIGINT, on_stop, audience);
    audience->termination =
        evsignal_new(audience->base, SIGTERM, on_stop, audience);
    if (audience->arrival == NULL || audience->deadline == NULL
        || audience->tick == NULL || audience->interrupt == NULL
        || audience->termination == NULL)
        return ERR_MEMORY;
    event_add(audience->interrupt, NULL);
    event_add(audience->termination, NULL);
    if (audience->is_live)
        event_add(audience->tick, &second);
    if (audience->config.duration_ms > 0)
        timer_in(audience->deadline, (double) audience->config.duration_ms);
    timer_in(audience->arrival, arrival_wait_ms(audience));
    return 0;
}

static void
arrivals_begin(struct audience *audience)
{
    const struct config *config = &audience->config;
    audience->arrivals = (struct arrivals){
        .rate = config->rate,
        .ramp_ms = (double) config->ramp_ms,
        .weights = audience->weights,
        .content_count = audience->content_count,
        .rng = rng_of((uint64_t) config->seed, 0),
    };
    if (config->rate > 0)
        arrivals_next(&audience->arrivals);
}

static int
audience_init(struct audience *audience)
{
    const struct config *config = &audience->config;
    int err = audience_report_init(&audience->report, audience->ids,
                                   audience->content_count);
    if (err != 0)
        return err;
    audience->is_live = isatty(STDERR_FILENO) != 0;
    audience->players =
        calloc((size_t) config->players, sizeof(struct player *));
    audience->base = event_base_new();
    audience->room.base = audience->base;
    audience->room.playlists = playlists_new();
    if (audience->players == NULL || audience->base == NULL
        || audience->room.playlists == NULL)
        return ERR_MEMORY;
    audience->room.client = http_client_new(
        audience->base, (unsigned) config->players * LOADS_PER_PLAYER);
    if (audience->room.client == NULL)
        return ERR_MEMORY;
    audience->room.report = &audience->report;
    audience->room.watch_ms = (uint64_t) config->watch_ms;
    audience->room.buffer_ms = (uint64_t) config->buffer_ms;
    audience->room.speed = config->speed;
    audience->room.timeout_ms = (unsigned) config->timeout_ms;
    audience->room.random_state = (uint64_t) config->seed;
    audience->room.ended = on_ended;
    audience->room.context = audience;
    arrivals_begin(audience);
    audience->began_ms = clock_now_ms();
    return events_set(audience);
}

static void
event_drop(struct event *event)
{
    if (event != NULL)
        event_free(event);
}

static void
audience_fini(struct audience *audience)
{
    if (audience->room.client != NULL)
        http_client_free(audience->room.client);
    playlists_free(audience->room.playlists);
    event_drop(audience->arrival);
    event_drop(audience->deadline);
    event_drop(audience->tick);
    event_drop(audience->interrupt);
    event_drop(audience->termination);
    if (audience->base != NULL)
        event_base_free(audience->base);
    audience_report_fini(&audience->report);
    free(audience->players);
    free(audience->playbacks_url);
    for (size_t i = 0; i < audience->content_count; i++)
        if (audience->ids[i] != audience->config.url)
            free((void *) (uintptr_t) audience->ids[i]);
}

static int
audience_run(struct audience *audience)
{
    event_base_dispatch(audience->base);
    audience->report.duration_ms = clock_now_ms() - audience->began_ms;
    if (audience->is_live)
        fputs("\r\033[K", stderr);
    /* those who still play are counted as playing, and go */
    for (size_t i = 0; i < audience->player_count; i++)
        player_free(audience->players[i]);
    if (audience->config.json)
        return audience_report_json(&audience->report, stdout);
    audience_report_print(&audience->report, stdout);
    return 0;
}

int
audience_main(int argc, char **argv)
{
    static struct audience audience;
    options_parse(&program, argc, argv, &audience.config);
    log_init("vodst audience", LOG_LEVEL_WARN);
    int err = contents_read(&audience);
    if (err == 0)
        err =
            rendition_read(audience.config.rendition, &audience.room.rendition);
    if (err == 0)
        err = source_read(&audience);
    int status = err == ERR_INVALID ? 2 : 1;
    if (err == 0 && (err = files_allow(audience.config.players)) == 0
        && (err = audience_init(&audience)) == 0
        && (err = audience_run(&audience)) == 0)
        status = audience.report.failed > 0 || audience.report.start_count == 0;
    if (err == ERR_MEMORY)
        fail_use("no memory left");
    audience_fini(&audience);
    return status;
}
