/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "convert.h"

#define PB(name)         Containerd__Services__Tasks__V1__##name
#define DESCRIPTOR(name) containerd__services__tasks__v1__##name##__descriptor

/* tasks-checkpoint.c */
const ProtobufCMessage *tasks_checkpoint (Call *call, gconstpointer request, GError **error);

/** Whether a task can be restored from @checkpoint. Errors: INVALID_ARGUMENT. */
gboolean tasks_check_checkpoint (const Containerd__Types__Descriptor *checkpoint, GError **error);

/* tasks-wait.c */
gboolean tasks_wait (Call *call, gconstpointer request, GError **error);
