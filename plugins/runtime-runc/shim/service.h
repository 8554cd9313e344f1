/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What the methods share: their arguments and what they look up. Messages and field numbers: containerd
 * api/runtime/task/v2/shim.proto (v3 has the same messages). */
#pragma once

#include "shim.h"

#define MAX_FIELDS 16
#define MAX_MOUNTS 64

/** The fields that most requests have. Strings are malloc ()ed. */
typedef struct
{
  char *strings[MAX_FIELDS]; /* by field number */
  uint64_t numbers[MAX_FIELDS];
  PbField bytes[MAX_FIELDS]; /* the last of each number */
  PbField mounts[MAX_MOUNTS];
  size_t n_mounts;
} Arguments;

/** Field 1 of every request is the container, field 2 of most the exec. Returns: NULL, with an error. */
Container *need_container (Arguments *arguments, Error *error);
Process *need_process (Arguments *arguments, Error *error);
/** Whether @name may name a container or an exec, and so a file in the bundle. */
bool is_name (const char *name);
/** The bytes of an Any. Returns: false if there are none. */
bool any_value (const PbField *any, PbReader *ret_value);
/** Puts the fields of a State message. */
void put_state (PbBuffer *reply, const Process *process);

typedef bool Method (Request *request, Arguments *arguments, Error *error);

/* lifecycle.c */
Method do_create, do_start, do_exec, do_delete;
/* control.c */
Method do_kill, do_pids, do_pause, do_resize, do_close_io, do_update, do_checkpoint, do_stats, do_wait;
