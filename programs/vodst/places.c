/* SPDX-License-Identifier: Apache-2.0 */

#include "programs/vodst/places.h"
#include "core/err.h"
#include "platform/log.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Daemons lie in the sbin folders, which are in nobody's PATH but root's. */
#define SEARCH_PATH "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin"

#define INSTALLED_SHARE "/usr/share/vodst"

static bool
path_set(char out[PLACE_SIZE], const char *folder, size_t folder_len,
         const char *name, int mode)
{
    char path[PLACE_SIZE], *resolved;
    if (snprintf(path, sizeof path, "%.*s/%s", (int) folder_len, folder, name)
            >= (int) sizeof path
        || access(path, mode) != 0)
        return false;
    if ((resolved = realpath(path, NULL)) == NULL)
        return false;
    const bool fits = strlen(resolved) < PLACE_SIZE;
    if (fits)
        memcpy(out, resolved, strlen(resolved) + 1);
    free(resolved);
    return fits;
}

/* In the colon-separated folders; "" stays for what is nowhere. */
static bool
path_search(char out[PLACE_SIZE], const char *folders, const char *name,
            int mode)
{
    for (const char *at = folders; at != NULL && *at != '\0';) {
        const char *end = strchr(at, ':');
        const size_t len = end ? (size_t) (end - at) : strlen(at);
        if (len > 0 && path_set(out, at, len, name, mode))
            return true;
        at = end ? end + 1 : NULL;
    }
    return false;
}

static int
tool_find(char out[PLACE_SIZE], const char *name, const char *package)
{
    const char *only = getenv("VODST_TOOLS");
    const char *path = only != NULL ? only : getenv("PATH");
    if ((path != NULL && path_search(out, path, name, X_OK))
        || (only == NULL && path_search(out, SEARCH_PATH, name, X_OK)))
        return 0;
    log_error("up: %s is not on this machine: install the Debian package %s "
              "(`./dev deps` installs all that is needed)",
              name, package);
    return ERR_NOT_FOUND;
}

static int
own_find(char out[PLACE_SIZE], const char *folders, const char *name, int mode)
{
    if (path_search(out, folders, name, mode))
        return 0;
    log_error("up: %s is not built (looked in %s): run `./dev build`", name,
              folders);
    return ERR_NOT_FOUND;
}

static int
share_find(const char *share, const char *build, struct places *out)
{
    static const char mark[] = "deploy/nginx/origin.conf.in";
    char source[PLACE_SIZE + 8], marked[PLACE_SIZE];
    snprintf(source, sizeof source, "%s/..", build);
    const char *const tries[] = {share, source, INSTALLED_SHARE};
    for (size_t i = share ? 0 : 1; i < (share ? 1 : 3); i++) {
        const size_t len = strlen(tries[i]);
        if (!path_set(marked, tries[i], len, mark, R_OK))
            continue;
        if (path_set(out->nginx_templates, tries[i], len, "deploy/nginx", R_OK)
            && path_set(out->varnish_templates, tries[i], len, "deploy/varnish",
                        R_OK)
            && path_set(out->web, tries[i], len, "web", R_OK)) {
            path_set(out->hls_js, tries[i], len, "web/node_modules/hls.js/dist",
                     R_OK);
            return 0;
        }
    }
    log_error("up: deploy/ and web/ are not in %s: give --share FOLDER",
              share ? share : INSTALLED_SHARE);
    return ERR_NOT_FOUND;
}

int
places_find(const char *share, struct places *out)
{
    char build[PLACE_SIZE], programs[6 * PLACE_SIZE], modules[6 * PLACE_SIZE];
    char *slash;
    int err = 0;

    memset(out, 0, sizeof *out);
    const ssize_t len =
        readlink("/proc/self/exe", out->vodst, sizeof out->vodst - 1);
    if (len <= 0 || len == sizeof out->vodst - 1) {
        log_error("up: /proc/self/exe cannot be read");
        return ERR_NOT_FOUND;
    }
    /* <build>/programs/vodst/vodst, or <prefix>/bin/vodst */
    memcpy(build, out->vodst, sizeof build);
    for (int i = 0; i < 3; i++)
        if ((slash = strrchr(build, '/')) != NULL)
            *slash = '\0';
    snprintf(programs, sizeof programs,
             "%s/programs/manager:%s/programs/agent:%s/programs/st-api:"
             "%s/programs/mlic:%s",
             build, build, build, build, SEARCH_PATH);
    snprintf(modules, sizeof modules,
             "%s/modules/meter:%s/modules/redirect:%s/modules/package:"
             "%s/modules/s3:%s/modules:/usr/lib/nginx/modules",
             build, build, build, build, build);

    if (own_find(out->manager, programs, "vodst-manager", X_OK) != 0
        || own_find(out->agent, programs, "vodst-agent", X_OK) != 0
        || own_find(out->st_api, programs, "st-api", X_OK) != 0
        || own_find(out->mlic, programs, "mlic", X_OK) != 0
        || own_find(out->meter, modules, "ngx_http_meter_module.so", R_OK) != 0
        || own_find(out->redirect, modules, "ngx_http_redirect_module.so", R_OK)
               != 0
        || own_find(out->package, modules, "ngx_http_package_module.so", R_OK)
               != 0
        || own_find(out->s3, modules, "ngx_http_s3_module.so", R_OK) != 0)
        err = ERR_NOT_FOUND;
    /* all of these, so that one run names every package that is missing */
    err = tool_find(out->nginx, "nginx", "nginx") != 0 ? ERR_NOT_FOUND : err;
    err = tool_find(out->varnishd, "varnishd", "varnish") != 0 ? ERR_NOT_FOUND
                                                               : err;
    err = tool_find(out->ffmpeg, "ffmpeg", "ffmpeg") != 0 ? ERR_NOT_FOUND : err;
    if (share_find(share, build, out) != 0)
        err = ERR_NOT_FOUND;
    if (err == 0 && out->hls_js[0] == '\0')
        log_warn("up: hls.js is not in web/node_modules, the player page will "
                 "not play: run `./dev build`");
    return err;
}
