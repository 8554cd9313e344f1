/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gantry/messages.h>
#include <gantry/mounts.h>
#include <gantry/store.h>
#include <gantry/tasks.h>
#include <gantry/transfer.h>

typedef struct
{
  GantryTasks tasks;
  const GantryHost *host;
  GantryMetadata *metadata;
  GantryStore *store;
  GantryEvents *events;
  GantryTransfer *transfer;
  GPtrArray *runtimes; /* of GantryBinding: those that are watched */

  GMutex lock;
  GPtrArray *waiters;
  GPtrArray *creating; /* of GantryTaskCreate: whose creation is not announced yet */
  GArray *watches;
  GHashTable *restoring; /* with lock: names of checkpoints that are unpacked */
  GHashTable *activated; /* with lock: "ns/id" of containers with mounts of the mounts service */
  GHashTable *sandboxes; /* with lock: "ns/id" of tasks that hold a sandbox */
  GPtrArray *stops;      /* with lock: of sandbox-stop.c */
  guint64 last_id;
} TasksLocal;

TasksLocal *tasks_local_new (const GantryHost *host, GError **error);
void tasks_local_free (TasksLocal *self);
/** Which runtime the name @name (nullable) means. Returns: (transfer none), or NULL: NOT_FOUND. */
GantryRuntime *tasks_local_find_runtime (TasksLocal *self, const char *name, GError **error);
/** The runtime that has the task of @id. Returns: (transfer none), or NULL: NOT_FOUND, of the container or of
 * its task. */
GantryRuntime *tasks_local_runtime_of (TasksLocal *self, const char *ns, const char *id, GError **error);

/* containers.c: the slots of these names */

gboolean tasks_create_container (GantryTasks *tasks, const char *ns, const char *id, const char *image_name,
                                 GVariant *options, GantryRecord **ret_record, GCancellable *cancellable,
                                 GError **error);
gboolean tasks_delete_container (GantryTasks *tasks, const char *ns, const char *id, gboolean remove_snapshot,
                                 gboolean force, GCancellable *cancellable, GError **error);

/** Kills the task of @id, waits for its end, at most 10 s, and removes it. */
gboolean tasks_local_end (TasksLocal *self, const char *ns, const char *id, GCancellable *cancellable,
                          GError **error);

/* announce.c */

/** Publishes the event. */
void announce_event (TasksLocal *self, GantryTaskEvent event, GantryProcess *process);
/** What the announcement of the task that is being made by @create tells besides its process. */
void announce_expect (TasksLocal *self, GantryTaskCreate *create);
/** It was not made. */
void announce_forget (TasksLocal *self, GantryTaskCreate *create);

/** Waits until what runtimes have told so far is announced, so that the end of a task has its number before
 * what its client goes on to remove. Not from the main context. */
void announce_settle (TasksLocal *self);

/* rootfs.c */

/** What is left of @mounts (nullable) for the runtime once the mounts service has done its part, if it has
 * any. Returns: (transfer full) (element-type GantryMount) (nullable): as @mounts, or with @error. */
GPtrArray *rootfs_activate (TasksLocal *self, const char *ns, const char *id, GPtrArray *mounts,
                            GCancellable *cancellable, GError **error);
/** Undoes it, if something was done, on a worker thread. */
void rootfs_release (TasksLocal *self, const char *ns, const char *id);

/* sandbox.c: the slots of these names */
gboolean tasks_create_sandbox (GantryTasks *tasks, const char *ns, const char *id, GVariant *options,
                               GPtrArray *mounts, GantryProcess **ret_process, GCancellable *cancellable,
                               GError **error);

gboolean tasks_delete_sandbox (GantryTasks *tasks, const char *ns, const char *id, GCancellable *cancellable,
                               GError **error);

/** Whether the task of @id holds a sandbox. */
gboolean sandbox_is_held_by (TasksLocal *self, const char *ns, const char *id);
/** That task is gone. */
void sandbox_forget (TasksLocal *self, const char *ns, const char *id);
/** At start: finds out which tasks of the daemon's last life hold sandboxes. */
gboolean sandbox_find_all (TasksLocal *self, GError **error);

/* sandbox-stop.c */
gboolean tasks_stop_sandbox (GantryTasks *tasks, const char *ns, const char *id, guint seconds,
                             GantryExitFunc func, gpointer user_data, guint64 *ret_id,
                             GCancellable *cancellable, GError **error);
/** Gives up one of stops. Main context. */
void sandbox_stop_free (gpointer data);

/* restore.c */

/** Unpacks the checkpoint @digest of content for the task of @id. Returns: (transfer full): the directory,
 * which restore_forget () removes; NULL with @error. */
char *restore_unpack (TasksLocal *self, const char *ns, const char *id, const char *digest,
                      GCancellable *cancellable, GError **error);
/** Removes the directory of a task that was not made. */
void restore_undo (TasksLocal *self, const char *ns, const char *id);
/** Removes the directory, if there is one, on a worker thread. */
void restore_forget (TasksLocal *self, const char *ns, const char *id);
/** At start: removes what no task waits for. */
void restore_sweep (TasksLocal *self);

/* logs.c */

/** Puts the container's log, or without @can_log "stream:", in the place of "log:" in @stdio (nullable).
 * Returns: (transfer full) (nullable): NULL with @error, or for NULL. */
GantryStdio *logs_resolve (TasksLocal *self, GantryRecord *record, gboolean can_log, GantryStdio *stdio,
                           GError **error);
void logs_remove (TasksLocal *self, const char *ns, const char *id);
/** At start: removes the logs of containers that are gone, on a worker thread. */
void logs_sweep (TasksLocal *self);
gboolean tasks_open_log (GantryTasks *tasks, const char *ns, const char *id, gboolean previous, int *ret_fd,
                         GCancellable *cancellable, GError **error);

/* check.c */
gboolean tasks_check (GantryTasks *tasks, gboolean repair, char ***ret_problems, GCancellable *cancellable,
                      GError **error);

/* unfinished.c */

/** The labels of a container's snapshot that has no record yet. Returns: (transfer floating). */
GVariant *unfinished_labels (void);
/** Writes the record @container and, in the same transaction, takes those labels from its snapshot in
 * @snapshotter_id (nullable: it has none). */
gboolean unfinished_end (TasksLocal *self, GantryRecord *container, const char *snapshotter_id,
                         GantryRecord **ret_record, GCancellable *cancellable, GError **error);
/** Removes the snapshots of containers whose making was interrupted by a crash. */
gboolean unfinished_remove (TasksLocal *self, GError **error);
