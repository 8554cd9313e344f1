/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The I/O thread: epoll, timers, and tasks that other threads post. Watches and timers belong to the thread,
 * whatever is not said to be callable from others is called on it (or before it runs). A callback may remove
 * any watch or timer, its own too.
 */
#pragma once

#include <gio/gio.h>

/** How much one turn of one connection reads or writes. */
#define GRPC_TURN (64 * 1024)

typedef struct _GrpcLoop GrpcLoop;

typedef struct _GrpcWatch GrpcWatch;
struct _GrpcWatch
{
  int fd;
  guint32 events; /* EPOLLIN, EPOLLOUT */
  void (*ready) (GrpcWatch *watch, guint32 events);
};

typedef struct _GrpcTimer GrpcTimer;
struct _GrpcTimer
{
  gint64 when; /* monotonic, µs */
  guint index; /* in the heap, from 1; 0: not set */
  void (*fire) (GrpcTimer *timer);
};

typedef struct _GrpcTask GrpcTask;
struct _GrpcTask
{
  GrpcTask *next;
  void (*run) (GrpcTask *task);
};

GrpcLoop *grpc_loop_new (void);
void grpc_loop_free (GrpcLoop *self);

/** Makes its descriptors: before anything is watched. */
gboolean grpc_loop_open (GrpcLoop *self, GError **error);

/** Starts the thread. */
gboolean grpc_loop_start (GrpcLoop *self, const char *name, GError **error);

/** Lets the thread end once every posted task has run, and waits for it. From any other thread. */
void grpc_loop_stop (GrpcLoop *self);

/** Runs @task on the thread, in the order of posting. From any thread. The task must not be posted already.
 */
void grpc_loop_post (GrpcLoop *self, GrpcTask *task);

/** Runs @task at the end of this turn. */
void grpc_loop_defer (GrpcLoop *self, GrpcTask *task);

/** The time at which this turn began, monotonic, µs. */
gint64 grpc_loop_now (GrpcLoop *self);

/** GRPC_TURN bytes for input and as many for output; nobody may keep anything there. */
guint8 *grpc_loop_get_in (GrpcLoop *self);
guint8 *grpc_loop_get_out (GrpcLoop *self);

gboolean grpc_loop_watch (GrpcLoop *self, GrpcWatch *watch, GError **error);
void grpc_loop_rewatch (GrpcLoop *self, GrpcWatch *watch, guint32 events);
void grpc_loop_unwatch (GrpcLoop *self, GrpcWatch *watch);

void grpc_loop_set_timer (GrpcLoop *self, GrpcTimer *timer, gint64 when);
void grpc_loop_clear_timer (GrpcLoop *self, GrpcTimer *timer);
