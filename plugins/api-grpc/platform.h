/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "api-grpc.h"

/** What containers of this machine run on. */
Containerd__Types__Platform *own_platform (Call *call);
/** "linux/arm64/v8". Returns: (transfer full). */
char *platform_to_text (const Containerd__Types__Platform *platform);
