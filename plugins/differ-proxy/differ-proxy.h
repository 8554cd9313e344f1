/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <peer.h>

typedef struct _DifferProxy DifferProxy;

DifferProxy *differ_proxy_new (const GantryHost *host, GError **error);
void differ_proxy_free (DifferProxy *self);
