/* SPDX-License-Identifier: Apache-2.0 */
/* vodst down: ends the `vodst up` of a state folder and waits until it did. */

#include "programs/vodst/state.h"
#include "programs/vodst/vodst.h"
#include "platform/clock.h"
#include "platform/options.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

struct down_options {
    const char *dir;
    int64_t timeout_ms;
};

static const struct option down_table[] = {
    {"dir", OPTION_TEXT, offsetof(struct down_options, dir), ".vodst", 0, 0,
     false, NULL, "The state folder given to `vodst up`."},
    {"timeout", OPTION_DURATION, offsetof(struct down_options, timeout_ms),
     "60s", 0, 0, false, "s", "How long to wait for the end."},
};

static const struct program down_program = {
    "vodst down",
    "stop what `vodst up` started",
    "",
    "Ends all processes of the platform and waits for them. That nothing runs "
    "is no error. What is stored stays.",
    down_table,
    OPTION_COUNT(down_table),
    0,
    0,
};

int
down_main(int argc, char **argv)
{
    struct down_options options;
    const struct timespec pause = {.tv_nsec = 20000000};

    options_parse(&down_program, argc, argv, &options);
    const pid_t pid = state_running_pid(options.dir);
    if (pid <= 0) {
        printf("nothing runs in %s\n", options.dir);
        return 0;
    }
    if (kill(pid, SIGTERM) != 0) {
        fprintf(stderr, "vodst down: cannot end process %d (%s)\n", (int) pid,
                strerror(errno));
        return 1;
    }
    const uint64_t until_ms = clock_now_ms() + (uint64_t) options.timeout_ms;
    while (state_running_pid(options.dir) == pid) {
        if (clock_now_ms() > until_ms) {
            fprintf(stderr,
                    "vodst down: process %d still runs after %d s: see its "
                    "output or %s/log\n",
                    (int) pid, (int) (options.timeout_ms / 1000), options.dir);
            return 1;
        }
        nanosleep(&pause, NULL);
    }
    printf("stopped what ran in %s\n", options.dir);
    return 0;
}
