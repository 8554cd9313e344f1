/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "grpc-server.h"

#include <string.h>

#include <glib-unix.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conn.h"
#include "listener.h"

#define ACCEPTS_A_TURN 32

/* How long a listener rests after accept () found no descriptor. */
#define REST_MS 100

typedef struct
{
  GrpcServer *server;
  GrpcWatch watch;
  GrpcTimer rest;
  char *path; /* to be removed, or NULL */
  dev_t dev;
  ino_t ino;
  GrpcTlsContext *tls;
  gboolean watched;
} Listener;

typedef struct
{
  char *name;
  GHashTable *methods; /* name -> GrpcMethod */
  gpointer data;
  GDestroyNotify destroy;
} Service;

struct _GrpcServer
{
  GrpcShared *shared;
  guint max_connections;
  GPtrArray *listeners;
  GrpcAuthorize authorize;
  gpointer authorize_data;
  GrpcBusy busy;
  gpointer busy_data;
  gboolean started, stopped;

  GMutex lock;
  GHashTable *services; /* under lock: name -> Service */

  GQueue conns; /* of GrpcConn, on the I/O thread */
  gint n_conns; /* atomic */
  gboolean draining;

  GrpcTask drain_task, close_task;
};

/* Services */

static void
service_free (gpointer data)
{
  Service *service = data;

  if (service->destroy != NULL)
    service->destroy (service->data);
  g_hash_table_unref (service->methods);
  g_free (service->name);
  g_free (service);
}

gboolean
grpc_server_add_service (GrpcServer *self, const char *name, const GrpcMethod *methods, gsize n_methods,
                         gpointer data, GDestroyNotify destroy, GError **error)
{
  Service *service;
  gboolean added;

  g_mutex_lock (&self->lock);
  added = g_hash_table_lookup (self->services, name) == NULL;
  if (added)
    {
      service = g_new0 (Service, 1);
      service->name = g_strdup (name);
      service->methods = g_hash_table_new_full (g_str_hash, g_str_equal, NULL, g_free);
      service->data = data;
      service->destroy = destroy;
      for (gsize i = 0; i < n_methods; i++)
        g_hash_table_insert (service->methods, (gpointer)methods[i].name,
                             g_memdup2 (&methods[i], sizeof methods[i]));
      g_hash_table_insert (self->services, service->name, service);
    }
  g_mutex_unlock (&self->lock);
  return added || gantry_throw (error, GANTRY_ERROR_ALREADY_EXISTS, "the service %s is served already", name);
}

/* The words are grpc-go's. */
static gboolean
find_method (GrpcServer *self, GrpcCall *call)
{
  const char *slash = call->path != NULL ? strrchr (call->path, '/') : NULL;
  g_autofree char *name = NULL;
  const GrpcMethod *method = NULL;
  const Service *service;

  if (slash == NULL || call->path[0] != '/' || slash == call->path)
    {
      grpc_call_refuse (call, GRPC_STATUS_UNIMPLEMENTED, "malformed method name: \"%s\"",
                        call->path != NULL ? call->path : "");
      return FALSE;
    }
  name = g_strndup (call->path + 1, (gsize)(slash - call->path - 1));
  g_mutex_lock (&self->lock);
  service = g_hash_table_lookup (self->services, name);
  if (service != NULL)
    method = g_hash_table_lookup (service->methods, slash + 1);
  if (method != NULL)
    {
      call->method = *method;
      call->method_data = service->data;
    }
  g_mutex_unlock (&self->lock);
  if (service == NULL)
    grpc_call_refuse (call, GRPC_STATUS_UNIMPLEMENTED, "unknown service %s", name);
  else if (method == NULL)
    grpc_call_refuse (call, GRPC_STATUS_UNIMPLEMENTED, "unknown method %s for service %s", slash + 1, name);
  return method != NULL;
}

/* Connections */

static GrpcCall *
begin_call (GrpcConn *conn)
{
  return grpc_call_new (conn->shared, TRUE);
}

static void
begin_request (GrpcConn *conn, GrpcCall *call)
{
  GrpcServer *self = conn->owner;
  g_autoptr (GError) error = NULL;

  if (call->is_too_big)
    grpc_call_refuse (call, GRPC_STATUS_RESOURCE_EXHAUSTED, "the metadata is larger than %zu bytes",
                      self->shared->max_metadata);
  else if (!call->is_grpc)
    grpc_call_refuse_http (call, 415);
  else if (!call->is_post)
    grpc_call_refuse_http (call, 405);
  else if (call->is_compressed)
    grpc_call_refuse (call, GRPC_STATUS_UNIMPLEMENTED,
                      "grpc: compressed messages are not accepted, only identity is");
  else if (call->is_garbled)
    grpc_call_refuse (call, GRPC_STATUS_INTERNAL, "malformed grpc-timeout");
  else if (g_atomic_int_get (&self->shared->n_calls) > (gint)self->shared->max_calls)
    grpc_call_refuse (call, GRPC_STATUS_RESOURCE_EXHAUSTED, "more than %u calls at once; try again later",
                      self->shared->max_calls);
  else if (!find_method (self, call))
    return;
  else if (self->authorize != NULL && !self->authorize (call, self->authorize_data, &error))
    grpc_call_refuse (call, gantry_error_code_to_grpc (gantry_error_classify (error)), "%s", error->message);
  else
    grpc_call_begin (call);
}

static void
forget_conn (GrpcConn *conn, const char *reason)
{
  GrpcServer *self = conn->owner;

  g_queue_unlink (&self->conns, &conn->link);
  if (g_atomic_int_add (&self->n_conns, -1) == 1 && self->busy != NULL)
    self->busy (FALSE, self->busy_data);
}

static void
ignore_conn (GrpcConn *conn)
{
}

static const GrpcConnOps ops = {
  .begin = begin_call,
  .requested = begin_request,
  .ready = ignore_conn,
  .going_away = ignore_conn,
  .closed = forget_conn,
};

static void
take_connection (Listener *listener, int fd)
{
  GrpcServer *self = listener->server;
  g_autoptr (GError) error = NULL;
  GrpcTlsSession *tls;
  GrpcConn *conn;
  int yes = 1;

  if (self->conns.length >= self->max_connections)
    {
      close (fd);
      return;
    }
  if (listener->path == NULL)
    setsockopt (fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes); /* fails on what is no TCP, and may */
  tls = listener->tls != NULL ? listener->tls->ops->session_new (listener->tls, fd) : NULL;
  conn = grpc_conn_new (self->shared, &ops, self, fd, tls, TRUE, FALSE, self->shared->handshake_ms, &error);
  if (conn == NULL)
    {
      g_warning ("%s", error->message);
      return;
    }
  g_queue_push_tail_link (&self->conns, &conn->link);
  if (g_atomic_int_add (&self->n_conns, 1) == 0 && self->busy != NULL)
    self->busy (TRUE, self->busy_data);
}

/* Listeners */

static void
end_rest (GrpcTimer *timer)
{
  Listener *listener = (Listener *)((char *)timer - G_STRUCT_OFFSET (Listener, rest));

  grpc_loop_rewatch (listener->server->shared->loop, &listener->watch, EPOLLIN);
}

static void
on_connection (GrpcWatch *watch, guint32 events)
{
  Listener *listener = (Listener *)((char *)watch - G_STRUCT_OFFSET (Listener, watch));
  GrpcLoop *loop = listener->server->shared->loop;

  for (guint i = 0; i < ACCEPTS_A_TURN; i++)
    {
      int fd = accept4 (watch->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

      if (fd >= 0)
        take_connection (listener, fd);
      else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
        {
          g_warning ("accepting a connection: %s", g_strerror (errno));
          grpc_loop_rewatch (loop, watch, 0);
          grpc_loop_set_timer (loop, &listener->rest, grpc_loop_now (loop) + REST_MS * 1000);
          return;
        }
      else if (errno != EINTR && errno != ECONNABORTED)
        return;
    }
}

static void
listener_free (gpointer data)
{
  Listener *listener = data;

  if (listener->watch.fd >= 0)
    close (listener->watch.fd);
  if (listener->tls != NULL)
    listener->tls->ops->context_free (listener->tls);
  g_free (listener->path);
  g_free (listener);
}

static Listener *
add_listener (GrpcServer *self, int fd)
{
  Listener *listener = g_new0 (Listener, 1);

  listener->server = self;
  listener->watch = (GrpcWatch){ fd, EPOLLIN, on_connection };
  listener->rest.fire = end_rest;
  g_ptr_array_add (self->listeners, listener);
  return listener;
}

gboolean
grpc_server_listen_unix (GrpcServer *self, const char *path, mode_t mode, gid_t gid, GError **error)
{
  Listener *listener;
  struct stat st;
  int fd = grpc_listen_unix (path, mode, gid, error);

  if (fd < 0)
    return FALSE;
  listener = add_listener (self, fd);
  listener->path = g_strdup (path);
  if (lstat (path, &st) == 0)
    {
      listener->dev = st.st_dev;
      listener->ino = st.st_ino;
    }
  return TRUE;
}

gboolean
grpc_server_listen_tcp (GrpcServer *self, const char *host, guint16 port, const GrpcTls *tls,
                        guint16 *ret_port, GError **error)
{
  GrpcTlsContext *context = NULL;
  int fd;

  if (tls != NULL && (context = tls->ops->context_new (tls, error)) == NULL)
    return FALSE;
  fd = grpc_listen_tcp (host, port, ret_port, error);
  if (fd < 0)
    {
      if (context != NULL)
        context->ops->context_free (context);
      return FALSE;
    }
  add_listener (self, fd)->tls = context;
  return TRUE;
}

gboolean
grpc_server_listen_fd (GrpcServer *self, int fd, GError **error)
{
  int listening = 0;
  socklen_t size = sizeof listening;

  if (getsockopt (fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) < 0 || !listening
      || !g_unix_set_fd_nonblocking (fd, TRUE, NULL))
    {
      close (fd);
      return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "descriptor %d is not a listening socket",
                           fd);
    }
  add_listener (self, fd);
  return TRUE;
}

/* The server */

static gsize
or_default (gsize value, gsize fallback)
{
  return value != 0 ? value : fallback;
}

static void
apply_settings (GrpcServer *self, const GrpcServerSettings *settings)
{
  GrpcShared *shared = self->shared;

  self->max_connections = (guint)or_default (settings->max_connections, 1024);
  shared->max_streams = (guint)or_default (settings->max_streams, 16384);
  shared->max_calls = (guint)MIN (or_default (settings->max_calls, 32768), G_MAXINT / 2);
  shared->max_queued = (guint)MIN (or_default (settings->max_queued, 8192), G_MAXINT / 2);
  shared->max_message = or_default (settings->max_message, 16 * 1024 * 1024);
  shared->max_send_message = or_default (settings->max_send_message, 16 * 1024 * 1024);
  shared->max_metadata = or_default (settings->max_metadata, 64 * 1024);
  shared->max_send_queue = or_default (settings->max_send_queue, 1024 * 1024);
  shared->max_buffered = or_default (settings->max_buffered, 256 * 1024 * 1024);
  shared->window = (guint)MIN (or_default (settings->window, 256 * 1024), G_MAXINT32);
  shared->keepalive_ms = (guint)or_default (settings->keepalive_ms, 7200 * 1000);
  shared->keepalive_timeout_ms = (guint)or_default (settings->keepalive_timeout_ms, 20000);
  shared->handshake_ms = (guint)or_default (settings->handshake_ms, 10000);
}

static void
drain_all (GrpcTask *task)
{
  GrpcServer *self = (GrpcServer *)((char *)task - G_STRUCT_OFFSET (GrpcServer, drain_task));

  self->draining = TRUE;
  for (guint i = 0; i < self->listeners->len; i++)
    {
      Listener *listener = g_ptr_array_index (self->listeners, i);

      grpc_loop_unwatch (self->shared->loop, &listener->watch);
      grpc_loop_clear_timer (self->shared->loop, &listener->rest);
      close (listener->watch.fd);
      listener->watch.fd = -1;
    }
  for (GList *l = self->conns.head; l != NULL; l = l->next)
    grpc_conn_drain (l->data);
}

static void
close_all (GrpcTask *task)
{
  GrpcServer *self = (GrpcServer *)((char *)task - G_STRUCT_OFFSET (GrpcServer, close_task));

  for (GList *l = self->conns.head; l != NULL; l = l->next)
    grpc_conn_close (l->data, "the server has stopped");
}

GrpcServer *
grpc_server_new (const GrpcServerSettings *settings)
{
  static const GrpcServerSettings defaults;
  GrpcServer *self = g_new0 (GrpcServer, 1);

  if (settings == NULL)
    settings = &defaults;
  self->shared = grpc_shared_new ((guint)or_default (settings->workers, 16),
                                  (guint)or_default (settings->long_workers, 16));
  g_mutex_init (&self->lock);
  self->services = g_hash_table_new_full (g_str_hash, g_str_equal, NULL, service_free);
  self->listeners = g_ptr_array_new_with_free_func (listener_free);
  self->drain_task.run = drain_all;
  self->close_task.run = close_all;
  apply_settings (self, settings);
  return self;
}

void
grpc_server_set_authorize (GrpcServer *self, GrpcAuthorize authorize, gpointer data)
{
  self->authorize = authorize;
  self->authorize_data = data;
}

void
grpc_server_set_busy_callback (GrpcServer *self, GrpcBusy busy, gpointer data)
{
  self->busy = busy;
  self->busy_data = data;
}

gboolean
grpc_server_start (GrpcServer *self, GError **error)
{
  if (!grpc_loop_open (self->shared->loop, error))
    return FALSE;
  for (guint i = 0; i < self->listeners->len; i++)
    {
      Listener *listener = g_ptr_array_index (self->listeners, i);

      if (!listener->watched && !grpc_loop_watch (self->shared->loop, &listener->watch, error))
        return FALSE;
      listener->watched = TRUE;
    }
  if (!grpc_loop_start (self->shared->loop, "grpc-server", error))
    return FALSE;
  self->started = TRUE;
  return TRUE;
}

/* Only the file that is ours: another daemon may have replaced it. */
static void
remove_socket_file (const Listener *listener)
{
  struct stat st;

  if (listener->path != NULL && lstat (listener->path, &st) == 0 && st.st_dev == listener->dev
      && st.st_ino == listener->ino)
    unlink (listener->path);
}

void
grpc_server_stop (GrpcServer *self, guint drain_ms)
{
  if (self->stopped)
    return;
  self->stopped = TRUE;
  for (guint i = 0; i < self->listeners->len; i++)
    remove_socket_file (g_ptr_array_index (self->listeners, i));
  if (self->started)
    {
      grpc_loop_post (self->shared->loop, &self->drain_task);
      if (drain_ms > 0)
        grpc_shared_wait_idle (self->shared, g_get_monotonic_time () + (gint64)drain_ms * 1000);
      grpc_loop_post (self->shared->loop, &self->close_task);
    }
  grpc_shared_stop (self->shared);
}

void
grpc_server_free (GrpcServer *self)
{
  if (self == NULL)
    return;
  grpc_server_stop (self, 0);
  g_ptr_array_unref (self->listeners);
  g_hash_table_unref (self->services);
  g_mutex_clear (&self->lock);
  grpc_shared_unref (self->shared);
  g_free (self);
}

void
grpc_server_get_counts (GrpcServer *self, guint *ret_connections, guint *ret_calls, gsize *ret_buffered)
{
  if (ret_connections != NULL)
    *ret_connections = (guint)g_atomic_int_get (&self->n_conns);
  if (ret_calls != NULL)
    *ret_calls = (guint)g_atomic_int_get (&self->shared->n_calls);
  if (ret_buffered != NULL)
    *ret_buffered = (gsize)g_atomic_pointer_get (&self->shared->buffered);
}
