/* SPDX-License-Identifier: Apache-2.0 */
/* The texts of core/err.h. */

#include "core/err.h"

#include <stddef.h>

struct err_row {
    const char *name;
    const char *text;
    int http_status;
};

static const struct err_row rows[ERR_COUNT] = {
#define ERR_ROW(name, text, status) {#name, text, status},
    ERR_TABLE(ERR_ROW)
#undef ERR_ROW
};

static const struct err_row *
row_find(int err)
{
    if (err >= 0 || err < -(int) ERR_COUNT)
        return NULL;
    return &rows[-1 - err];
}

const char *
err_text(int err)
{
    const struct err_row *row = row_find(err);
    if (row != NULL)
        return row->text;
    return err == 0 ? "no error" : "unknown error";
}

const char *
err_name(int err)
{
    const struct err_row *row = row_find(err);
    if (row != NULL)
        return row->name;
    return err == 0 ? "OK" : "UNKNOWN";
}

int
err_http_status(int err)
{
    const struct err_row *row = row_find(err);
    if (row != NULL)
        return row->http_status;
    return err == 0 ? 200 : 500;
}
