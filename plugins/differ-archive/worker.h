/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Runs one job in a gantry-unpack process and waits for it.
 */
#pragma once

#include <gio/gio.h>

#include "fork-server.h"

/** Told how far the worker is. */
typedef void (*WorkerProgressFunc) (guint64 bytes, gpointer user_data);

/** Takes what the worker writes. Returns: FALSE with @error to stop it. */
typedef gboolean (*WorkerDataFunc) (gconstpointer data, gsize length, gpointer user_data, GError **error);

typedef struct
{
  ForkServer *server;
  GVariant *request;                /* UNPACK_REQUEST_TYPE */
  int blob_fd;                      /* what it reads, or -1 */
  WorkerDataFunc data_func;         /* (nullable): what becomes of what it writes; not if blob_fd is -1 */
  WorkerProgressFunc progress_func; /* (nullable) */
  gpointer user_data;

  GString *implied; /* (nullable): gets the directories that the layer implies, each with a newline */
} WorkerJob;

/** Runs @job to its end; when this returns the process is gone.
 * *@ret_digest: (transfer full): of the
 * uncompressed tar,
 * *@ret_size: its size. Errors: the worker's; CANCELLED; INTERNAL if it died. */
gboolean worker_run (WorkerJob *job, char **ret_digest, guint64 *ret_size, GCancellable *cancellable,
                     GError **error) G_GNUC_WARN_UNUSED_RESULT;
