/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gantry/metadata.h>
#include <gantry/mounts.h>

/** Mounts of one activation. */
#define MAX_MOUNTS 128

typedef struct
{
  GantryMounts mounts;
  const GantryHost *host;
  GantryMetadata *metadata;
  const char *path; /* of our directory in --state */
  int fd;
  char *boot;
  gint64 started_ns;
  gint serial; /* (atomic): makes names of directories unique in this life of the daemon */

  GMutex lock;
  GCond cond;
  GHashTable *busy; /* with lock: "ns/name" that somebody is about to activate or deactivate */
} MountsLocal;

MountsLocal *mounts_local_new (const GantryHost *host, GError **error);
void mounts_local_free (MountsLocal *self);

/* plan.c */

/** What is to be done with a list of mounts. */
typedef struct
{
  guint n_ours; /**< as many from the beginning we mount; the rest the caller does */
} Plan;

/** Looks at the types of @mounts. Errors: NOT_IMPLEMENTED (nothing is for us, or an unknown transform),
 * INVALID_ARGUMENT. */
gboolean plan_make (GPtrArray *mounts, gboolean temporary, Plan *ret_plan, GError **error);
/** @mount with all of its transforms carried out. @active: what is mounted before it. Returns: (transfer
 * full). */
GantryMount *plan_transform (MountsLocal *self, GantryMount *mount, GPtrArray *active, GError **error);

/** Opens the directory that @path is in, which must be below --root or what we have mounted. @what: the
 * transform that asks. *@ret_name: (transfer full): the last part of @path. Errors: INVALID_ARGUMENT
 * (elsewhere). Returns: an fd, or -1. */
int plan_open_parent (MountsLocal *self, const char *what, const char *path, char **ret_name, GError **error);

/* mkfs.c */

/** @mount without the transform's options; the image that it names is made if it is not there. Blocks: on
 * mkfs (8). Errors: INVALID_ARGUMENT, FAILED_PRECONDITION (no such mkfs, or it failed). Returns: (transfer
 * full). */
GantryMount *mkfs_transform (MountsLocal *self, GantryMount *mount, GError **error);

/* format.c */

/** @text with what stands between "{{" and "}}" replaced. Errors: INVALID_ARGUMENT. Returns: (transfer full).
 */
char *format_expand (const char *text, GPtrArray *active, GError **error);

/* attach.c */

/** Mounts @mount at @path, which is made: a directory, or, of type "loop", a link to the device. */
gboolean attach_mount (GantryMount *mount, const char *path, GError **error);
/** Undoes all that attach_mount () made in the directory @name of @dfd, the last one first, and removes it. A
 * missing one is a success. */
gboolean attach_undo (int dfd, const char *dir_path, const char *name, GError **error);
