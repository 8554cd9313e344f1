/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "convert.h"

#define PB(name)         Containerd__Services__Sandbox__V1__##name
#define DESCRIPTOR(name) containerd__services__sandbox__v1__##name##__descriptor

/** Whether @sandboxer names a controller. Errors: INVALID_ARGUMENT, NOT_FOUND. */
gboolean controller_check (const char *sandboxer, GError **error);
/** The same, and that there is a sandbox @id. */
gboolean controller_check_sandbox (Call *call, const char *sandboxer, const char *id, GError **error);

/* sandbox-wait.c */
gboolean controller_stop (Call *call, gconstpointer request, GError **error);
gboolean controller_wait (Call *call, gconstpointer request, GError **error);
