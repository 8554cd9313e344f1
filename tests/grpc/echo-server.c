/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A server of every shape of method, for tests of the transport from outside. Messages are text and bytes.
 *
 *     echo-server unix:PATH | tcp:IP | tls:IP:CERTIFICATE:KEY [SETTING=NUMBER …]
 *
 * Prints "ready" and, for TCP, the port. A line "counts" on its input is answered by "connections calls
 * buffered", "stop MS" drains and ends it.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "grpc-server.h"

typedef struct
{
  gint begun;     /* atomic, as the others: calls of the methods that last */
  gint cancelled; /* calls whose cancellable has fired or that were closed by force */
  gint closed;
} Counters;

static Counters counters;

/* Unary */

static GBytes *
echo (GrpcCall *call, GBytes *request, gpointer data, GError **error)
{
  return g_bytes_ref (request);
}

/* The request is a decimal GantryErrorCode, a blank and a message. */
static GBytes *
fail (GrpcCall *call, GBytes *request, gpointer data, GError **error)
{
  g_autofree char *text = g_strndup (g_bytes_get_data (request, NULL), g_bytes_get_size (request));
  g_autoptr (GBytes) details = g_bytes_new_static ("\010\005\022\004more", 8);
  const char *blank = strchr (text, ' ');

  if (g_str_has_prefix (text, "details"))
    grpc_call_set_status_details (call, details);
  grpc_call_add_trailer (call, "x-why", "asked");
  gantry_throw (error, (GantryErrorCode)atoi (g_str_has_prefix (text, "details") ? "3" : text), "%s",
                blank != NULL ? blank + 1 : "");
  return NULL;
}

static GBytes *
metadata (GrpcCall *call, GBytes *request, gpointer data, GError **error)
{
  GString *out = g_string_new (NULL);
  const GrpcMetadata *all = grpc_call_get_request_metadata (call);
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;

  for (guint i = 0; i < grpc_metadata_get_n (all); i++)
    {
      const char *name, *value;

      grpc_metadata_get_pair (all, i, &name, &value);
      g_string_append_printf (out, "%s=%s\n", name, value);
    }
  if (grpc_call_get_peer (call, &pid, &uid, &gid))
    g_string_append_printf (out, "peer=%d %u %u\n", pid, uid, gid);
  if (grpc_call_get_deadline (call) != G_MAXINT64)
    g_string_append_printf (out, "left=%" G_GINT64_FORMAT "\n",
                            grpc_call_get_deadline (call) - g_get_monotonic_time ());
  grpc_call_add_header (call, "x-head", "early");
  return g_string_free_to_bytes (out);
}

static void
on_cancelled (GCancellable *cancellable, gpointer data)
{
  GMainLoop *loop = data;

  g_main_loop_quit (loop);
}

/* Blocks its worker until it is cancelled: what a method that honours its cancellable looks like at its
 * worst. */
static GBytes *
block (GrpcCall *call, GBytes *request, gpointer data, GError **error)
{
  GCancellable *cancellable = grpc_call_get_cancellable (call);
  GMutex mutex;
  g_autoptr (GMainContext) context = g_main_context_new ();
  g_autoptr (GMainLoop) loop = g_main_loop_new (context, FALSE);
  gulong id;

  g_atomic_int_inc (&counters.begun);
  g_mutex_init (&mutex);
  id = g_cancellable_connect (cancellable, G_CALLBACK (on_cancelled), loop, NULL);
  while (!g_cancellable_is_cancelled (cancellable))
    g_main_context_iteration (context, TRUE);
  g_cancellable_disconnect (cancellable, id);
  g_atomic_int_inc (&counters.cancelled);
  g_mutex_clear (&mutex);
  g_cancellable_set_error_if_cancelled (cancellable, error);
  return NULL;
}

static GBytes *
count (GrpcCall *call, GBytes *request, gpointer data, GError **error)
{
  char *text = g_strdup_printf ("%d %d %d", g_atomic_int_get (&counters.begun),
                                g_atomic_int_get (&counters.cancelled), g_atomic_int_get (&counters.closed));

  return g_bytes_new_take (text, strlen (text));
}

static GBytes *
large (GrpcCall *call, GBytes *request, gpointer data, GError **error)
{
  g_autofree char *text = g_strndup (g_bytes_get_data (request, NULL), g_bytes_get_size (request));
  gsize length = strtoul (text, NULL, 10);

  return g_bytes_new_take (g_malloc0 (length), length);
}

/* A unary method that answers later and holds no thread: when it is cancelled it is counted. */

static void
wait_closed (GrpcCall *call, const GError *error, gpointer data)
{
  g_atomic_int_inc (error != NULL ? &counters.cancelled : &counters.closed);
}

static const GrpcCallHandlers wait_handlers = { .on_closed = wait_closed };

static gboolean
reply_later (gpointer data)
{
  g_autoptr (GBytes) reply = g_bytes_new_static ("later", 5);

  grpc_call_reply (data, reply);
  return G_SOURCE_REMOVE;
}

/* The request is after how many ms it answers. */
static void
wait (GrpcCall *call, GBytes *request, gpointer data)
{
  g_autofree char *text = g_strndup (g_bytes_get_data (request, NULL), g_bytes_get_size (request));

  g_atomic_int_inc (&counters.begun);
  grpc_call_set_handlers (call, &wait_handlers, NULL, NULL);
  g_timeout_add_full (G_PRIORITY_DEFAULT, (guint)atoi (text), reply_later, grpc_call_ref (call),
                      (GDestroyNotify)grpc_call_unref);
}

/* Server streaming: the request is how many messages of which size. */

typedef struct
{
  guint left;
  guint number;
  GBytes *message;
} Stream;

static void
stream_free (gpointer data)
{
  Stream *stream = data;

  g_bytes_unref (stream->message);
  g_free (stream);
}

static void
stream_more (GrpcCall *call, gpointer data)
{
  Stream *stream = data;

  while (stream->left > 0 && grpc_call_is_writable (call))
    {
      if (!grpc_call_send (call, stream->message, NULL))
        return;
      stream->left--;
    }
  if (stream->left == 0)
    grpc_call_finish (call, NULL);
}

static const GrpcCallHandlers stream_handlers = { .on_writable = stream_more, .on_closed = wait_closed };

static void
stream (GrpcCall *call, GBytes *request, gpointer data)
{
  g_autofree char *text = g_strndup (g_bytes_get_data (request, NULL), g_bytes_get_size (request));
  Stream *self = g_new0 (Stream, 1);
  gsize size = 0;

  g_atomic_int_inc (&counters.begun);
  sscanf (text, "%u %zu", &self->left, &size);
  self->message = g_bytes_new_take (g_malloc0 (size), size);
  grpc_call_set_handlers (call, &stream_handlers, self, stream_free);
  stream_more (call, self);
}

/* Client streaming: answers with how many messages and bytes came; takes its time when the first says "slow".
 */

typedef struct
{
  guint n;
  gsize bytes;
} Upload;

static gboolean
request_one (gpointer data)
{
  grpc_call_request (data, 1);
  return G_SOURCE_REMOVE;
}

static void
upload_message (GrpcCall *call, GBytes *message, gpointer data)
{
  Upload *self = data;
  gsize size;
  const char *text = g_bytes_get_data (message, &size);

  self->n++;
  self->bytes += size;
  if (size == 4 && memcmp (text, "stop", 4) == 0)
    return; /* asks for nothing more */
  if (size == 4 && memcmp (text, "slow", 4) == 0)
    g_timeout_add_full (G_PRIORITY_DEFAULT, 500, request_one, grpc_call_ref (call),
                        (GDestroyNotify)grpc_call_unref);
  else
    grpc_call_request (call, 1);
}

static void
upload_end (GrpcCall *call, gpointer data)
{
  Upload *self = data;
  char *text = g_strdup_printf ("%u %zu", self->n, self->bytes);
  g_autoptr (GBytes) reply = g_bytes_new_take (text, strlen (text));

  grpc_call_reply (call, reply);
}

static const GrpcCallHandlers upload_handlers
    = { .on_message = upload_message, .on_end = upload_end, .on_closed = wait_closed };

static void
upload (GrpcCall *call, gpointer data)
{
  g_atomic_int_inc (&counters.begun);
  grpc_call_set_handlers (call, &upload_handlers, g_new0 (Upload, 1), g_free);
  grpc_call_request (call, 1);
}

/* Both ways: every message comes back. */

typedef struct
{
  gboolean ended;
  GBytes *kept;
} Both;

static void
both_message (GrpcCall *call, GBytes *message, gpointer data)
{
  Both *self = data;

  if (!grpc_call_is_writable (call))
    {
      self->kept = g_bytes_ref (message);
      return;
    }
  if (grpc_call_send (call, message, NULL))
    grpc_call_request (call, 1);
}

static void
both_writable (GrpcCall *call, gpointer data)
{
  Both *self = data;
  g_autoptr (GBytes) message = g_steal_pointer (&self->kept);

  if (message != NULL && grpc_call_send (call, message, NULL))
    grpc_call_request (call, 1);
}

static void
both_end (GrpcCall *call, gpointer data)
{
  grpc_call_finish (call, NULL);
}

static void
both_free (gpointer data)
{
  Both *self = data;

  g_clear_pointer (&self->kept, g_bytes_unref);
  g_free (self);
}

static const GrpcCallHandlers both_handlers = {
  .on_message = both_message,
  .on_writable = both_writable,
  .on_end = both_end,
  .on_closed = wait_closed,
};

static void
both (GrpcCall *call, gpointer data)
{
  g_atomic_int_inc (&counters.begun);
  grpc_call_set_handlers (call, &both_handlers, g_new0 (Both, 1), both_free);
  grpc_call_send_headers (call);
  grpc_call_request (call, 1);
}

static const GrpcMethod methods[] = {
  { .name = "Echo", .unary = echo },
  { .name = "Quick", .unary = echo, .flags = GRPC_METHOD_QUICK },
  { .name = "Fail", .unary = fail },
  { .name = "Metadata", .unary = metadata },
  { .name = "Block", .unary = block, .flags = GRPC_METHOD_LONG },
  { .name = "Count", .unary = count, .flags = GRPC_METHOD_QUICK },
  { .name = "Large", .unary = large },
  { .name = "Wait", .start = wait },
  { .name = "Stream", .start = stream },
  { .name = "Upload", .open = upload },
  { .name = "Both", .open = both },
};

/* What `ctr version` asks: VersionResponse { version = 1, revision = 2 }. */
static GBytes *
version (GrpcCall *call, GBytes *request, gpointer data, GError **error)
{
  static const char reply[] = "\n\0051.2.3\022\003abc";

  return g_bytes_new_static (reply, sizeof reply - 1);
}

static const GrpcMethod version_methods[]
    = { { .name = "Version", .unary = version, .flags = GRPC_METHOD_QUICK } };

/* The program */

typedef struct
{
  GrpcServer *server;
  guint ms;
} Stop;

static gpointer
stop (gpointer data)
{
  Stop *self = data;

  grpc_server_stop (self->server, self->ms);
  grpc_server_free (self->server);
  printf ("stopped\n");
  fflush (stdout);
  exit (0);
}

static gboolean
on_input (GIOChannel *channel, GIOCondition condition, gpointer data)
{
  GrpcServer *server = data;
  g_autofree char *line = NULL;
  guint connections, calls, ms;
  gsize buffered;

  if (g_io_channel_read_line (channel, &line, NULL, NULL, NULL) != G_IO_STATUS_NORMAL)
    exit (0);
  if (g_str_has_prefix (line, "counts"))
    {
      grpc_server_get_counts (server, &connections, &calls, &buffered);
      printf ("%u %u %zu\n", connections, calls, buffered);
    }
  else if (sscanf (line, "stop %u", &ms) == 1)
    {
      static Stop self;

      self = (Stop){ server, ms };
      g_thread_unref (g_thread_new ("stop", stop, &self));
      return G_SOURCE_REMOVE;
    }
  fflush (stdout);
  return G_SOURCE_CONTINUE;
}

static void
set (GrpcServerSettings *settings, const char *text)
{
  static const struct
  {
    const char *name;
    gsize offset;
    gboolean is_size;
  } names[] = {
#define NAME(name, is_size) { #name, G_STRUCT_OFFSET (GrpcServerSettings, name), is_size }
    NAME (max_connections, FALSE), NAME (max_streams, FALSE),   NAME (max_calls, FALSE),
    NAME (max_queued, FALSE),      NAME (max_message, TRUE),    NAME (max_metadata, TRUE),
    NAME (max_buffered, TRUE),     NAME (window, FALSE),        NAME (workers, FALSE),
    NAME (long_workers, FALSE),    NAME (keepalive_ms, FALSE),  NAME (keepalive_timeout_ms, FALSE),
    NAME (handshake_ms, FALSE),    NAME (max_send_queue, TRUE),
#undef NAME
  };
  const char *equals = strchr (text, '=');

  for (gsize i = 0; equals != NULL && i < G_N_ELEMENTS (names); i++)
    if (strncmp (names[i].name, text, (gsize)(equals - text)) == 0)
      {
        if (names[i].is_size)
          *(gsize *)((char *)settings + names[i].offset) = strtoul (equals + 1, NULL, 10);
        else
          *(guint *)((char *)settings + names[i].offset) = (guint)strtoul (equals + 1, NULL, 10);
        return;
      }
  g_error ("unknown setting %s", text);
}

static gboolean
listen_on (GrpcServer *server, const char *address, guint16 *ret_port, GError **error)
{
  g_auto (GStrv) parts = g_strsplit (address, ":", 4);
  GrpcTls tls = { 0 };

  if (strcmp (parts[0], "unix") == 0)
    return grpc_server_listen_unix (server, parts[1], 0600, (gid_t)-1, error);
  if (strcmp (parts[0], "tls") == 0)
    tls = (GrpcTls){ .ops = &grpc_tls, .certificate = parts[2], .key = parts[3] };
  return grpc_server_listen_tcp (server, parts[1], 0, tls.key != NULL ? &tls : NULL, ret_port, error);
}

int
main (int argc, char *argv[])
{
  g_autoptr (GMainLoop) loop = g_main_loop_new (NULL, FALSE);
  g_autoptr (GIOChannel) input = g_io_channel_unix_new (0);
  g_autoptr (GError) error = NULL;
  GrpcServerSettings settings = { 0 };
  GrpcServer *server;
  guint16 port = 0;

  /* As gantryd does. */
  signal (SIGPIPE, SIG_IGN);
  for (int i = 2; i < argc; i++)
    set (&settings, argv[i]);
  server = grpc_server_new (&settings);
  if (!grpc_server_add_service (server, "test.Echo", methods, G_N_ELEMENTS (methods), NULL, NULL, &error)
      || !grpc_server_add_service (server, "containerd.services.version.v1.Version", version_methods, 1, NULL,
                                   NULL, &error)
      || !listen_on (server, argv[1], &port, &error) || !grpc_server_start (server, &error))
    g_error ("%s", error->message);
  printf ("ready %u\n", port);
  fflush (stdout);
  g_io_add_watch (input, G_IO_IN | G_IO_HUP, on_input, server);
  g_main_loop_run (loop);
  return 0;
}
