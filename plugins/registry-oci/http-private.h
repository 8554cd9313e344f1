/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "http.h"

struct _Http
{
  HttpSettings settings;
  GMutex lock;
  GThread *thread; /* with lock */
  GMainContext *context;
  GMainLoop *loop;
  GHashTable *sessions; /* key -> SoupSession; of the thread */
  GProxyResolver *resolver;
};

/** Starts the thread if it does not run yet. */
void http_start_thread (Http *self);
/** Called on the thread. Returns: (transfer none). */
SoupSession *http_get_session (Http *self, HttpTls *tls, gboolean bulk);
/** A stream of @length bytes of @fd from @offset on, read with pread () where it stands: on the thread, which
 * may wait for the disk. Returns: (transfer full). */
GInputStream *http_fd_stream_new (int fd, guint64 offset, guint64 length,
                                  void (*progress) (guint64, gpointer), gpointer user_data);
/** Forgets the fd, which its owner may close then. Called on the thread. */
void http_fd_stream_detach (GInputStream *stream);
