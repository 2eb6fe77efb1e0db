/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MODULES_METER_METER_CMCD_H
#define MODULES_METER_METER_CMCD_H

/* $cmcd_<key>: what the player says of itself (core/cmcd.h), in the argument
 * CMCD or in the headers CMCD-Object, -Request, -Session and -Status. */

#include <ngx_config.h>
#include <ngx_core.h>

/* At preconfiguration. */
ngx_int_t ngx_http_meter_cmcd_variables(ngx_conf_t *cf);

#endif
