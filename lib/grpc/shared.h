/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What the calls of one server or of one channel have in common: its I/O thread, its workers, its limits.
 * Counted, because a call may be held for longer than its server lives; a call that is over touches nothing
 * here but the memory.
 */
#pragma once

#include "loop.h"

typedef struct
{
  gint refs; /* atomic */
  GrpcLoop *loop;
  GThreadPool *workers[2]; /* normal, long; the second only on servers */

  gsize max_message;
  gsize max_send_message;
  gsize max_metadata;
  gsize max_send_queue;
  gsize max_buffered;
  guint max_calls;
  guint max_queued;
  guint max_streams;
  guint window;
  guint keepalive_ms;
  guint keepalive_timeout_ms;
  guint handshake_ms;

  gint n_calls;   /* atomic: begun, and not over or still with a worker */
  gint n_queued;  /* atomic: waiting for a worker */
  gsize buffered; /* atomic: bytes of incoming messages that nobody was given */
  gint n_waiting; /* atomic: for idle; counted before n_calls is looked at */
  GMutex idle_lock;
  GCond idle; /* n_calls has come to 0 */
} GrpcShared;

/** Makes the loop (not opened) and pools. Returns: (transfer full). */
GrpcShared *grpc_shared_new (guint workers, guint long_workers);
GrpcShared *grpc_shared_ref (GrpcShared *self);
void grpc_shared_unref (GrpcShared *self);

/** Counts a call. Returns: FALSE, and nothing is counted, past max_calls. */
gboolean grpc_shared_begin_call (GrpcShared *self);
void grpc_shared_end_call (GrpcShared *self);

/** Waits until no call is left, or until @until (monotonic, µs). Returns: whether none is. */
gboolean grpc_shared_wait_idle (GrpcShared *self, gint64 until);

/** Counts bytes of incoming messages. Returns: FALSE, and nothing is counted, past max_buffered. */
gboolean grpc_shared_take (GrpcShared *self, gsize bytes);
void grpc_shared_give (GrpcShared *self, gsize bytes);

/** Ends the thread and the workers; every call is over. */
void grpc_shared_stop (GrpcShared *self);
