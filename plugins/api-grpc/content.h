/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "convert.h"

#define PB(name)         Containerd__Services__Content__V1__##name
#define DESCRIPTOR(name) containerd__services__content__v1__##name##__descriptor

/** The view of the call's namespace and lease. Returns: (transfer none): the call keeps it. */
GantryContent *content_open (Call *call, GError **error);

gboolean content_read (Call *call, gconstpointer request, GError **error);
gboolean content_write (Call *call, GError **error);
