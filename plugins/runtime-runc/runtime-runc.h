/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Below the plugin's directory in --state:
 *     bundles/<namespace>/<id>/   config.json; rootfs; s (the shim's socket); exit.<exec id> (how a process ended)
 *     runc/<namespace>/           the OCI runtime's own state
 */
#pragma once

#include "connection.h"

#include <gantry/runtime.h>

typedef struct {
  GantryRuntime runtime;
  const GantryHost *host;
  char *shim;
  char *runc;      /* the OCI runtime's program */
  char *path;      /* of our directory */
  int bundles_fd;
  GMainContext *context; /* of the thread that reads from shims */
  GMainLoop *loop;
  GThread *thread;

  GMutex lock;
  GHashTable *tasks; /* "ns/id" -> Task; with lock */
  GantryTaskFunc watch;
  gpointer watch_data;
} RuntimeRunc;

typedef struct {
  char *exec_id;
  guint32 pid;
  GantryTaskStatus status;
  guint32 exit_status;
  gint64 exited_ns;
  GantryStdio *stdio; /* URIs only */
} Proc;

typedef struct {
  gint refs; /* (atomic) */
  RuntimeRunc *runtime;
  char *ns;
  char *id;
  char *bundle;
  int dir_fd;
  Connection *connection; /* (nullable): its shim is gone */
  gboolean removed;
  GPtrArray *processes; /* of Proc, init first; with the runtime's lock */
} Task;

RuntimeRunc *runtime_runc_new (const GantryHost *host, GError **error);
/** Finds the tasks of the daemon's last life. */
gboolean runtime_runc_recover (RuntimeRunc *self, GError **error);
void runtime_runc_free (RuntimeRunc *self);

/** The key of a task in the table. Returns: (transfer full). */
char *runtime_runc_key (const char *ns, const char *id);
/** Whether @name may name a bundle's directory, or an exec. */
gboolean runtime_runc_is_name (const char *name);
/** Ends the shim of a task that has no container any more. */
void task_shut_down (Task *task);
/** Forgets a task and removes its bundle. */
void task_forget (Task *task);

/* task.c */
Task *task_new (RuntimeRunc *runtime, const char *ns, const char *id, int dir_fd);
Task *task_ref (Task *self);
void task_unref (Task *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Task, task_unref)
Proc *task_find (Task *self, const char *exec_id);
Proc *task_add (Task *self, const char *exec_id, GantryStdio *stdio);
void task_drop (Task *self, const char *exec_id);
GantryProcess *task_describe (Task *self, Proc *proc);
/** Connects to the shim and learns what it has. */
gboolean task_connect (Task *self, GError **error);
/** Reads what a shim wrote of an exit. */
gboolean task_read_exit (Task *self, const char *exec_id, guint32 *ret_status, gint64 *ret_exited);
/** Cleans up after a shim that died: the OCI runtime's state, mounts. */
void task_clean_up (Task *self);
/** Tells the watch, in the main context. With the runtime's lock. */
void runtime_runc_tell (RuntimeRunc *self, GantryTaskEvent event, GantryProcess *process);
