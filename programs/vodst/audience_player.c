/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A player is a playhead and up to three loads: the one that opens the play
 * (st-api, then the multivariant playlist), then one for each track (its
 * playlist, its init segment, its segments one after the other).
 *
 *      ASKING --urls--> OPENING --tracks--> LOADING --playhead at end--> ended
 *                          ^                   |
 *                          +---- recovery -----+
 *
 * A request that fails is tried again at the same place first; then the play
 * is opened again from its playback URL, which leads to another node, and goes
 * on where it was. Everything that may begin at a moment begins in
 * player_step(), which also sets the one timer for the next such moment.
 */

#include "programs/vodst/audience_player.h"

#include "platform/clock.h"
#include "programs/vodst/audience_url.h"

#include <assert.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <jansson.h>
#include <stdlib.h>

#define TRACKS_MAX 2 /* video, or video with its sound; audio */
#define REDIRECTS_MAX 10
#define TRIES_MAX 3 /* at one URL */
#define RETRY_MS 200
#define RECOVERIES_MAX 4 /* in a row, without a segment between them */
#define RECOVERY_MS 250
#define PATIENCE_MS_MIN 2000
#define API_ANSWER_BYTES_MAX (64u << 10)
#define MEDIA_BYTES_MAX (256u << 20)
#define NEVER UINT64_MAX

enum load_kind {
    LOAD_PLAYBACK, /* POST to st-api */
    LOAD_MULTIVARIANT,
    LOAD_PLAYLIST,
    LOAD_INIT,
    LOAD_SEGMENT,
};

struct load {
    struct player *player;
    enum load_kind kind;
    char *url;                /* as asked first; NULL: nothing to load */
    char *location;           /* where redirects led; NULL: none yet */
    struct http_fetch *fetch; /* NULL: not under way */
    uint64_t due_ms;          /* not before this moment */
    unsigned redirect_count, try_count;
};

struct track {
    struct load load;
    char *playlist_url;
    char *base_url; /* of the playlist, after redirects */
    const struct media_playlist *playlist;
    bool has_init;
    size_t next;              /* segment */
    uint64_t buffered_end_ms; /* film time */
};

enum player_state { PLAYER_ASKING, PLAYER_OPENING, PLAYER_LOADING };
enum playhead_state { PLAYHEAD_STARTING, PLAYHEAD_RUNNING, PLAYHEAD_STALLED };

struct player {
    struct player_room *room;
    struct event timer;
    enum player_state state;
    size_t content;
    uint64_t number;
    char *playback_url;
    struct load opening;
    struct track tracks[TRACKS_MAX];
    size_t track_count; /* 0 until the first multivariant playlist */
    uint64_t end_ms;    /* film time at which the play ends; NEVER: not known */
    unsigned recovery_count;
    unsigned retries; /* answers of the redirector in a row that led nowhere */
    bool is_failed, is_counted, has_stalled;

    enum playhead_state playhead;
    double position_ms; /* film time, at the moment since_ms */
    uint64_t since_ms;
    uint64_t asked_ms;
};

/* ---- the playhead ---- */

static uint64_t
buffered_end(const struct player *player)
{
    uint64_t end_ms = NEVER;
    for (size_t i = 0; i < player->track_count; i++)
        if (player->tracks[i].buffered_end_ms < end_ms)
            end_ms = player->tracks[i].buffered_end_ms;
    return player->track_count > 0 ? end_ms : 0;
}

static double
position_at(const struct player *player, uint64_t now_ms)
{
    if (player->playhead != PLAYHEAD_RUNNING)
        return player->position_ms;
    return player->position_ms
           + (double) (now_ms - player->since_ms) * player->room->speed;
}

/* The moment at which the running playhead reaches a film time. */
static uint64_t
moment_of(const struct player *player, double film_ms)
{
    double wait_ms = (film_ms - player->position_ms) / player->room->speed;
    if (wait_ms <= 0)
        return player->since_ms;
    return player->since_ms + (uint64_t) wait_ms + 1;
}

/* Runs the playhead up to now, against what was buffered until now. */
static void
playhead_run(struct player *player, uint64_t now_ms)
{
    uint64_t end_ms = buffered_end(player);
    if (player->playhead != PLAYHEAD_RUNNING || end_ms >= player->end_ms
        || position_at(player, now_ms) < (double) end_ms)
        return;
    uint64_t stalled_at_ms = moment_of(player, (double) end_ms);
    player->playhead = PLAYHEAD_STALLED;
    player->position_ms = (double) end_ms;
    player->since_ms = stalled_at_ms < now_ms ? stalled_at_ms : now_ms;
    player->room->report->stalls++;
    player->room->report->stalled_plays += !player->has_stalled;
    player->has_stalled = true;
}

/* Sets a waiting playhead going when there is something to play. */
static void
playhead_resume(struct player *player, uint64_t now_ms)
{
    uint64_t end_ms = buffered_end(player);
    if (player->playhead == PLAYHEAD_RUNNING
        || (double) end_ms <= player->position_ms)
        return;
    if (player->playhead == PLAYHEAD_STALLED)
        player->room->report->stalled_ms += now_ms - player->since_ms;
    else
        audience_report_start(player->room->report, now_ms - player->asked_ms);
    player->playhead = PLAYHEAD_RUNNING;
    player->since_ms = now_ms;
}

/* ---- loads ---- */

static void
load_reset(struct load *load)
{
    if (load->fetch != NULL)
        http_fetch_cancel(load->fetch);
    free(load->url);
    free(load->location);
    *load = (struct load){.player = load->player};
}

static void
track_drop_playlist(struct player *player, struct track *track)
{
    load_reset(&track->load);
    playlists_release(player->room->playlists, track->playlist);
    track->playlist = NULL;
    free(track->playlist_url);
    free(track->base_url);
    track->playlist_url = NULL;
    track->base_url = NULL;
    track->has_init = false;
}

static void
error_count(struct player *player, enum audience_error error)
{
    player->room->report->errors[error]++;
}

/* Opens the play again at its playback URL; the playhead runs on. */
static void
player_recover(struct player *player, bool is_hung)
{
    uint64_t now_ms = clock_now_ms();
    load_reset(&player->opening);
    for (size_t i = 0; i < player->track_count; i++)
        track_drop_playlist(player, &player->tracks[i]);
    player->state =
        player->playback_url != NULL ? PLAYER_OPENING : PLAYER_ASKING;
    if (player->recovery_count++ == RECOVERIES_MAX) {
        player->is_failed = true;
        return;
    }
    /* a node that refuses is soon known to be down; one that hangs may be well
     * for all but this viewer */
    player->retries = player->recovery_count - !is_hung;
    double back_off_ms = (double) (RECOVERY_MS << (player->recovery_count - 1));
    /* spread, so that the viewers of a dead node do not come back as one */
    double spread = 0.5 + player_room_random(player->room);
    player->opening.due_ms = now_ms + (uint64_t) (back_off_ms * spread);
}

static void
load_fail(struct load *load, enum audience_error error)
{
    struct player *player = load->player;
    error_count(player, error);
    /* another attempt cannot change what st-api says of this content, nor a
     * node's mind about a URL; and a node that hangs has had its time */
    bool is_refused = error == AUDIENCE_ERROR_HTTP_4XX;
    if (is_refused && load->kind == LOAD_PLAYBACK) {
        player->is_failed = true;
    } else if (is_refused || error == AUDIENCE_ERROR_TIMEOUT
               || ++load->try_count >= TRIES_MAX) {
        player_recover(player, error == AUDIENCE_ERROR_TIMEOUT);
    } else {
        free(load->location);
        load->location = NULL;
        load->redirect_count = 0;
        load->due_ms = clock_now_ms() + RETRY_MS * load->try_count;
    }
}

static int
load_set(struct load *load, enum load_kind kind, const char *base,
         struct bytes reference)
{
    char url[AUDIENCE_URL_BYTES_MAX];
    int err = url_resolve(base, reference, url, sizeof url);
    if (err != 0)
        return err;
    uint64_t due_ms = load->due_ms;
    load_reset(load);
    load->kind = kind;
    load->due_ms = due_ms;
    load->url = strdup(url);
    return load->url != NULL ? 0 : ERR_MEMORY;
}

/* The playback URL; after recoveries in a row one that leads elsewhere. */
static int
play_set(struct load *load)
{
    const struct player *player = load->player;
    char url[AUDIENCE_URL_BYTES_MAX], retry[32] = "";
    if (player->retries > 0)
        snprintf(retry, sizeof retry, "%cretry=%u",
                 strchr(player->playback_url, '?') == NULL ? '?' : '&',
                 player->retries);
    int len = snprintf(url, sizeof url, "%s%s", player->playback_url, retry);
    if ((size_t) len >= sizeof url)
        return ERR_LIMIT;
    return load_set(load, LOAD_MULTIVARIANT, url, BYTES_LITERAL("#"));
}

static const char *
load_url(const struct load *load)
{
    return load->location != NULL ? load->location : load->url;
}

/* Of what its buffer lasts, a play that runs leaves the second half for going
 * elsewhere. Where it has gone by that, it waits for as long as it may: what is
 * slow everywhere must not be asked for without end. */
static unsigned
load_patience_ms(const struct load *load)
{
    const struct player *player = load->player;
    const unsigned most_ms = player->room->timeout_ms;
    if (player->playhead != PLAYHEAD_RUNNING || player->recovery_count > 0)
        return most_ms;
    double left_ms =
        (double) buffered_end(player) - position_at(player, clock_now_ms());
    double patience_ms = left_ms / player->room->speed / 2;
    if (patience_ms < PATIENCE_MS_MIN)
        patience_ms = PATIENCE_MS_MIN;
    return patience_ms < most_ms ? (unsigned) patience_ms : most_ms;
}

static void load_done(const struct http_response *response, void *context);

static void
load_fetch(struct load *load)
{
    static const char *const json_headers[] = {
        "Content-Type", "application/json", "Accept", "application/json", NULL};
    struct player *player = load->player;
    bool is_media = load->kind == LOAD_INIT || load->kind == LOAD_SEGMENT;
    struct http_fetch_config config = {
        .method = "GET",
        .url = load_url(load),
        .timeout_ms = load_patience_ms(load),
        .body_size_max = is_media ? MEDIA_BYTES_MAX : PLAYLIST_TEXT_BYTES_MAX,
        .discard_body = is_media,
        .done = load_done,
        .context = load,
    };
    json_t *body = NULL;
    char *text = NULL;
    if (load->kind == LOAD_PLAYBACK) {
        char viewer[32];
        snprintf(viewer, sizeof viewer, "audience-%llu",
                 (unsigned long long) player->number);
        body = json_pack("{ss ss}", "content",
                         player->room->report->contents[player->content].id,
                         "viewer", viewer);
        text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
        config.method = "POST";
        config.headers = json_headers;
        config.body_size_max = API_ANSWER_BYTES_MAX;
        config.body = text != NULL ? bytes_of_text(text) : (struct bytes){0};
    }
    player->room->report->requests++;
    load->fetch = http_fetch(player->room->client, &config);
    free(text);
    json_decref(body);
    if (load->fetch == NULL)
        load_fail(load, AUDIENCE_ERROR_REDIRECT);
}

static void
redirect_follow(struct load *load, const struct http_response *response)
{
    struct audience_report *report = load->player->room->report;
    const char *location = http_response_header(response, "Location");
    char url[AUDIENCE_URL_BYTES_MAX];
    if (location == NULL || load->redirect_count == REDIRECTS_MAX
        || url_resolve(load_url(load), bytes_of_text(location), url, sizeof url)
               != 0) {
        load_fail(load, AUDIENCE_ERROR_REDIRECT);
        return;
    }
    report->redirects++;
    report->moves += load->kind == LOAD_SEGMENT && load->redirect_count == 0;
    load->redirect_count++;
    free(load->location);
    load->location = strdup(url);
    if (load->location == NULL)
        load_fail(load, AUDIENCE_ERROR_MEMORY);
    else
        load_fetch(load);
}

/* ---- what each answer means ---- */

static int
playback_take(struct player *player, struct bytes body)
{
    json_t *root = json_loadb((const char *) body.ptr, body.len, 0, NULL);
    const char *url = NULL;
    char resolved[AUDIENCE_URL_BYTES_MAX];
    if (root != NULL)
        json_unpack(root, "{s{ss}}", "urls", "hls", &url);
    int err = url == NULL ? ERR_INVALID
                          : url_resolve(url, BYTES_LITERAL("#"), resolved,
                                        sizeof resolved);
    json_decref(root);
    if (err != 0)
        return err;
    player->playback_url = strdup(resolved);
    return player->playback_url != NULL ? 0 : ERR_MEMORY;
}

static int
track_set(struct player *player, size_t index, const char *base,
          struct bytes uri)
{
    char url[AUDIENCE_URL_BYTES_MAX];
    int err = url_resolve(base, uri, url, sizeof url);
    if (err != 0)
        return err;
    struct track *track = &player->tracks[index];
    track_drop_playlist(player, track);
    track->playlist_url = strdup(url);
    return track->playlist_url != NULL ? 0 : ERR_MEMORY;
}

static const struct playlist_variant *
rendition_pick(const struct multivariant *multivariant, int rendition)
{
    size_t last = multivariant->variant_count - 1;
    if (rendition == PLAYER_RENDITION_WORST || (size_t) rendition > last)
        return &multivariant->variants[last];
    return &multivariant->variants[rendition];
}

static int
multivariant_take(struct player *player, struct bytes body)
{
    struct multivariant multivariant;
    int err = multivariant_parse(body, &multivariant);
    if (err != 0)
        return err;
    const char *base = load_url(&player->opening);
    const struct playlist_variant *variant =
        rendition_pick(&multivariant, player->room->rendition);
    const struct playlist_audio *audio =
        multivariant_audio(&multivariant, variant);
    size_t count = audio != NULL ? 2 : 1;
    /* a film does not gain or lose its sound while it plays */
    if (player->track_count != 0 && player->track_count != count)
        return ERR_INVALID;
    err = track_set(player, 0, base, variant->uri);
    if (err == 0 && audio != NULL)
        err = track_set(player, 1, base, audio->uri);
    if (err == 0)
        player->track_count = count;
    return err;
}

static int
playlist_take(struct player *player, struct track *track, struct bytes body)
{
    const struct media_playlist *playlist;
    char *base_url = strdup(load_url(&track->load));
    if (base_url == NULL)
        return ERR_MEMORY;
    int err = playlists_take(player->room->playlists, body, &playlist);
    if (err != 0) {
        free(base_url);
        return err;
    }
    assert(track->playlist == NULL);
    track->playlist = playlist;
    track->base_url = base_url;
    track->has_init = playlist->init_uri.len == 0;
    track->next = media_playlist_find(playlist, track->buffered_end_ms);
    uint64_t end_ms = playlist->segments[playlist->segment_count - 1].end_ms;
    if (end_ms < player->end_ms)
        player->end_ms = end_ms;
    return 0;
}

static void
segment_take(struct player *player, struct track *track, const char *node)
{
    struct audience_report *report = player->room->report;
    track->buffered_end_ms = track->playlist->segments[track->next++].end_ms;
    if (player->recovery_count > 0) {
        player->recovery_count = 0;
        report->recoveries++;
    }
    if (!player->is_counted && track == &player->tracks[0]) {
        player->is_counted = true;
        audience_report_play(report, player->content, node);
    }
}

/* The node's own name, or the host of a server that has none. */
static void
node_name(const struct load *load, const struct http_response *response,
          char *out, size_t size)
{
    const char *name = http_response_header(response, "X-Vodst-Node");
    if (name != NULL && name[0] != '\0') {
        snprintf(out, size, "%s", name);
        return;
    }
    const char *host = strstr(load_url(load), "://");
    host = host != NULL ? host + 3 : load_url(load);
    snprintf(out, size, "%.*s", (int) strcspn(host, "/?"), host);
}

static void
serve_count(struct load *load, const struct http_response *response,
            const char *node)
{
    struct audience_report *report = load->player->room->report;
    const char *cache = http_response_header(response, "X-Cache");
    if (cache != NULL) {
        bool is_hit = strncasecmp(cache, "hit", 3) == 0;
        report->cache_hits += is_hit;
        report->cache_misses += !is_hit;
    }
    audience_report_serve(report, load->player->content, node,
                          response->body_size);
}

static struct track *
load_track(struct load *load)
{
    struct player *player = load->player;
    for (size_t i = 0; i < TRACKS_MAX; i++)
        if (load == &player->tracks[i].load)
            return &player->tracks[i];
    return NULL;
}

static enum audience_error
error_of(enum load_kind kind, int err)
{
    if (err == ERR_MEMORY)
        return AUDIENCE_ERROR_MEMORY;
    return kind == LOAD_PLAYBACK ? AUDIENCE_ERROR_ANSWER
                                 : AUDIENCE_ERROR_PLAYLIST;
}

static void
answer_take(struct load *load, const struct http_response *response)
{
    struct player *player = load->player;
    char node[AUDIENCE_NODE_NAME_BYTES_MAX];
    node_name(load, response, node, sizeof node);
    if (load->kind != LOAD_PLAYBACK)
        serve_count(load, response, node);
    int err = 0;
    switch (load->kind) {
    case LOAD_PLAYBACK:
        err = playback_take(player, response->body);
        if (err == 0) {
            player->state = PLAYER_OPENING;
            player->recovery_count = 0;
        }
        break;
    case LOAD_MULTIVARIANT:
        err = multivariant_take(player, response->body);
        if (err == 0)
            player->state = PLAYER_LOADING;
        break;
    case LOAD_PLAYLIST:
        err = playlist_take(player, load_track(load), response->body);
        break;
    case LOAD_INIT:
        load_track(load)->has_init = true;
        break;
    case LOAD_SEGMENT:
        segment_take(player, load_track(load), node);
        break;
    }
    if (err != 0)
        load_fail(load, error_of(load->kind, err));
    else
        load_reset(load);
}

static bool
is_redirect(int status)
{
    return status == 301 || status == 302 || status == 303 || status == 307
           || status == 308;
}

static void player_step(struct player *player);

static void
load_done(const struct http_response *response, void *context)
{
    struct load *load = context;
    struct player *player = load->player;
    load->fetch = NULL;
    playhead_run(player, clock_now_ms());
    player->room->report->bytes += response->body_size;
    if (response->err == ERR_TIMEOUT)
        load_fail(load, AUDIENCE_ERROR_TIMEOUT);
    else if (response->err == ERR_LIMIT)
        load_fail(load, AUDIENCE_ERROR_SIZE);
    else if (response->err != 0)
        load_fail(load, AUDIENCE_ERROR_CONNECT);
    else if (is_redirect(response->status))
        redirect_follow(load, response);
    else if (response->status >= 200 && response->status < 300)
        answer_take(load, response);
    else
        load_fail(load, response->status >= 500 ? AUDIENCE_ERROR_HTTP_5XX
                                                : AUDIENCE_ERROR_HTTP_4XX);
    player_step(player);
}

/* ---- what to do next ---- */

/* What a track lacks next; false when its buffer is full for now. */
static int
track_set_next(struct player *player, struct track *track, uint64_t now_ms,
               bool *is_set)
{
    struct load *load = &track->load;
    *is_set = true;
    if (track->playlist == NULL)
        return load_set(load, LOAD_PLAYLIST, track->playlist_url,
                        BYTES_LITERAL("#"));
    double room_ms = position_at(player, now_ms)
                     + (double) player->room->buffer_ms
                     - (double) track->buffered_end_ms;
    *is_set = track->next < track->playlist->segment_count
              && track->buffered_end_ms < player->end_ms && room_ms > 0;
    if (!*is_set)
        return 0;
    if (!track->has_init)
        return load_set(load, LOAD_INIT, track->base_url,
                        track->playlist->init_uri);
    return load_set(load, LOAD_SEGMENT, track->base_url,
                    track->playlist->segments[track->next].uri);
}

static void
opening_begin(struct player *player, uint64_t now_ms)
{
    struct load *load = &player->opening;
    if (load->fetch != NULL || load->due_ms > now_ms)
        return;
    int err = 0;
    if (load->url == NULL && player->state == PLAYER_ASKING)
        err = load_set(load, LOAD_PLAYBACK, player->room->playbacks_url,
                       BYTES_LITERAL("#"));
    else if (load->url == NULL)
        err = play_set(load);
    if (err != 0)
        load_fail(load, error_of(load->kind, err));
    else
        load_fetch(load);
}

static void
track_begin(struct player *player, struct track *track, uint64_t now_ms)
{
    struct load *load = &track->load;
    bool is_set = true;
    int err = 0;
    if (load->fetch != NULL || load->due_ms > now_ms)
        return;
    if (load->url == NULL)
        err = track_set_next(player, track, now_ms, &is_set);
    if (err != 0)
        load_fail(load, error_of(LOAD_PLAYLIST, err));
    else if (is_set)
        load_fetch(load);
}

/* The next moment at which something may begin, or the play ends. */
static uint64_t
next_moment(const struct player *player)
{
    if (player->state != PLAYER_LOADING)
        return player->opening.fetch != NULL ? NEVER : player->opening.due_ms;
    uint64_t next_ms = NEVER;
    if (player->playhead == PLAYHEAD_RUNNING
        && buffered_end(player) >= player->end_ms)
        next_ms = moment_of(player, (double) player->end_ms);
    for (size_t i = 0; i < player->track_count; i++) {
        const struct track *track = &player->tracks[i];
        uint64_t at_ms = NEVER;
        if (track->load.fetch == NULL && track->load.url != NULL)
            at_ms = track->load.due_ms;
        else if (track->load.fetch == NULL
                 && track->buffered_end_ms < player->end_ms
                 && player->playhead == PLAYHEAD_RUNNING)
            at_ms = moment_of(player, (double) track->buffered_end_ms
                                          - (double) player->room->buffer_ms);
        if (at_ms < next_ms)
            next_ms = at_ms;
    }
    return next_ms;
}

static void
timer_set(struct player *player, uint64_t now_ms)
{
    uint64_t at_ms = next_moment(player);
    if (at_ms == NEVER) {
        evtimer_del(&player->timer);
        return;
    }
    uint64_t wait_ms = at_ms > now_ms ? at_ms - now_ms : 0;
    struct timeval wait = {.tv_sec = (time_t) (wait_ms / 1000),
                           .tv_usec = (suseconds_t) (wait_ms % 1000 * 1000)};
    evtimer_add(&player->timer, &wait);
}

static bool
is_over(const struct player *player, uint64_t now_ms)
{
    return player->track_count > 0 && player->end_ms != NEVER
           && buffered_end(player) >= player->end_ms
           && position_at(player, now_ms) >= (double) player->end_ms;
}

/* May free the player: nothing touches it after this. */
static void
player_step(struct player *player)
{
    uint64_t now_ms = clock_now_ms();
    playhead_run(player, now_ms);
    playhead_resume(player, now_ms);
    bool is_ended = player->is_failed || is_over(player, now_ms);
    if (!is_ended && player->state != PLAYER_LOADING)
        opening_begin(player, now_ms);
    for (size_t i = 0; !is_ended && player->state == PLAYER_LOADING
                       && i < player->track_count;
         i++)
        track_begin(player, &player->tracks[i], now_ms);
    if (!is_ended && !player->is_failed) {
        timer_set(player, now_ms);
        return;
    }
    struct player_room *room = player->room;
    bool is_failed = player->is_failed;
    room->ended(player, is_failed, room->context);
    player_free(player);
}

static void
on_timer(evutil_socket_t fd, short what, void *context)
{
    player_step(context);
}

double
player_room_random(struct player_room *room)
{
    /* splitmix64 */
    uint64_t z = room->random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return (double) (z >> 11) / (double) (1ull << 53);
}

struct player *
player_new(struct player_room *room, size_t content, uint64_t number)
{
    struct player *player = calloc(1, sizeof *player);
    if (player == NULL)
        return NULL;
    player->room = room;
    player->content = content;
    player->number = number;
    player->end_ms = room->watch_ms > 0 ? room->watch_ms : NEVER;
    player->asked_ms = clock_now_ms();
    player->opening.player = player;
    for (size_t i = 0; i < TRACKS_MAX; i++)
        player->tracks[i].load.player = player;
    evtimer_assign(&player->timer, room->base, on_timer, player);
    if (room->playback_url != NULL) {
        player->playback_url = strdup(room->playback_url);
        player->state = PLAYER_OPENING;
        if (player->playback_url == NULL) {
            free(player);
            return NULL;
        }
    }
    timer_set(player, player->asked_ms);
    return player;
}

void
player_free(struct player *player)
{
    uint64_t now_ms = clock_now_ms();
    playhead_run(player, now_ms);
    if (player->playhead == PLAYHEAD_STALLED)
        player->room->report->stalled_ms += now_ms - player->since_ms;
    evtimer_del(&player->timer);
    load_reset(&player->opening);
    for (size_t i = 0; i < TRACKS_MAX; i++)
        track_drop_playlist(player, &player->tracks[i]);
    free(player->playback_url);
    free(player);
}
