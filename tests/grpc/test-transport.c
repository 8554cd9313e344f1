/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The client and the server of the transport against each other, in one process: so that a run under
 * ThreadSanitizer sees both.
 */
#include <string.h>

#include <glib/gstdio.h>
#include <unistd.h>

#include "grpc-client.h"
#include "grpc-server.h"

#define N_THREADS 8
#define LONG_MS   30000

typedef struct
{
  char *dir;
  char *path;
  GrpcServer *server;
  GrpcChannel *channel;
} Fixture;

/* Methods */

static GBytes *
echo (GrpcCall *call, GBytes *request, gpointer data, GError **error)
{
  return g_bytes_ref (request);
}

static GBytes *
refuse (GrpcCall *call, GBytes *request, gpointer data, GError **error)
{
  gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "no container \"%s\"",
                grpc_call_get_metadata (call, "containerd-namespace"));
  return NULL;
}

static void
hang (GrpcCall *call, GBytes *request, gpointer data)
{
}

/* Asks for a message only when it can be sent back. */
static void
both_more (GrpcCall *call, gpointer data)
{
  if (grpc_call_is_writable (call))
    grpc_call_request (call, 1);
}

static void
both_message (GrpcCall *call, GBytes *message, gpointer data)
{
  g_assert_true (grpc_call_send (call, message, NULL) || grpc_call_get_cancel_reason (call) != 0);
  both_more (call, data);
}

static void
both_end (GrpcCall *call, gpointer data)
{
  grpc_call_finish (call, NULL);
}

static const GrpcCallHandlers both_handlers
    = { .on_message = both_message, .on_writable = both_more, .on_end = both_end };

static void
both (GrpcCall *call, gpointer data)
{
  grpc_call_set_handlers (call, &both_handlers, NULL, NULL);
  grpc_call_request (call, 1);
}

static const GrpcMethod methods[] = {
  { .name = "Echo", .unary = echo },     { .name = "Quick", .unary = echo, .flags = GRPC_METHOD_QUICK },
  { .name = "Refuse", .unary = refuse }, { .name = "Hang", .start = hang },
  { .name = "Both", .open = both },
};

static void
start_server (Fixture *f)
{
  g_autoptr (GError) error = NULL;

  f->server = grpc_server_new (NULL);
  grpc_server_add_service (f->server, "test.Echo", methods, G_N_ELEMENTS (methods), NULL, NULL, &error);
  g_assert_no_error (error);
  g_assert_false (grpc_server_add_service (f->server, "test.Echo", methods, 1, NULL, NULL, &error));
  g_assert_error (error, GANTRY_ERROR, GANTRY_ERROR_ALREADY_EXISTS);
  g_clear_error (&error);
  grpc_server_listen_unix (f->server, f->path, 0600, (gid_t)-1, &error);
  g_assert_no_error (error);
  grpc_server_start (f->server, &error);
  g_assert_no_error (error);
}

static void
set_up (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  f->dir = g_dir_make_tmp ("gantry-grpc.XXXXXX", &error);
  g_assert_no_error (error);
  f->path = g_build_filename (f->dir, "s", NULL);
  start_server (f);
  f->channel = grpc_channel_new (f->path, NULL, &error);
  g_assert_no_error (error);
}

static void
tear_down (Fixture *f, gconstpointer data)
{
  grpc_channel_free (f->channel);
  grpc_server_free (f->server);
  g_assert_cmpint (g_rmdir (f->dir), ==, 0); /* the server has removed its socket */
  g_free (f->path);
  g_free (f->dir);
}

static GBytes *
call (Fixture *f, const char *method, GBytes *request, guint timeout_ms, GError **error)
{
  g_autofree char *path = g_strconcat ("/test.Echo/", method, NULL);

  return grpc_channel_call (f->channel, path, NULL, request, timeout_ms, NULL, error);
}

static void
assert_echo (Fixture *f, const char *method, gsize size)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GBytes) request = g_bytes_new_take (g_malloc0 (size), size), reply = NULL;

  reply = call (f, method, request, LONG_MS, &error);
  g_assert_no_error (error);
  g_assert_true (g_bytes_equal (request, reply));
}

/* Tests */

static void
test_unary (Fixture *f, gconstpointer data)
{
  static const gsize sizes[] = { 0, 1, 16379, 16384, 65536, 3000000, 16 * 1024 * 1024 };

  for (gsize i = 0; i < G_N_ELEMENTS (sizes); i++)
    {
      assert_echo (f, "Echo", sizes[i]);
      assert_echo (f, "Quick", sizes[i]);
    }
}

static void
test_status (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GrpcMetadata) metadata = grpc_metadata_new ();
  g_autoptr (GBytes) empty = g_bytes_new (NULL, 0);

  g_assert_true (grpc_metadata_append (metadata, "containerd-namespace", "k8s"));
  g_assert_false (grpc_metadata_append (metadata, "grpc-status", "0"));
  g_assert_false (grpc_metadata_append (metadata, "Upper", "0"));
  g_assert_false (grpc_metadata_append (metadata, "x", "line\n"));
  g_assert_null (grpc_channel_call (f->channel, "/test.Echo/Refuse", metadata, empty, 0, NULL, &error));
  g_assert_error (error, GANTRY_ERROR, GANTRY_ERROR_NOT_FOUND);
  g_assert_cmpstr (error->message, ==, "no container \"k8s\"");
  g_clear_error (&error);
  g_assert_null (call (f, "No", empty, 0, &error));
  g_assert_error (error, GANTRY_ERROR, GANTRY_ERROR_NOT_IMPLEMENTED);
}

static void
test_deadline (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GBytes) empty = g_bytes_new (NULL, 0);

  g_assert_null (call (f, "Hang", empty, 100, &error));
  g_assert_error (error, GANTRY_ERROR, GANTRY_ERROR_DEADLINE_EXCEEDED);
  assert_echo (f, "Echo", 10);
}

static gpointer
cancel_later (gpointer data)
{
  g_usleep (50000); /* so that the call is mostly under way; either way the result is the same */
  g_cancellable_cancel (data);
  return NULL;
}

static void
test_cancel (Fixture *f, gconstpointer data)
{
  g_autoptr (GBytes) empty = g_bytes_new (NULL, 0);

  for (int late = 0; late < 2; late++)
    {
      g_autoptr (GCancellable) cancellable = g_cancellable_new ();
      g_autoptr (GError) error = NULL;
      GThread *thread = NULL;

      if (late)
        thread = g_thread_new ("cancel", cancel_later, cancellable);
      else
        g_cancellable_cancel (cancellable);
      g_assert_null (
          grpc_channel_call (f->channel, "/test.Echo/Hang", NULL, empty, LONG_MS, cancellable, &error));
      g_assert_error (error, GANTRY_ERROR, GANTRY_ERROR_CANCELLED);
      if (thread != NULL)
        g_thread_join (thread);
    }
}

typedef struct
{
  GMutex lock;
  GCond cond;
  guint left;
  guint failed;
} Pending;

static void
on_reply (GBytes *reply, const GError *error, gpointer data)
{
  Pending *pending = data;

  g_mutex_lock (&pending->lock);
  pending->failed += error != NULL;
  if (--pending->left == 0)
    g_cond_signal (&pending->cond);
  g_mutex_unlock (&pending->lock);
}

static void
wait_pending (Pending *pending)
{
  g_mutex_lock (&pending->lock);
  while (pending->left > 0)
    g_cond_wait (&pending->cond, &pending->lock);
  g_mutex_unlock (&pending->lock);
}

static void
test_async (Fixture *f, gconstpointer data)
{
  g_autoptr (GBytes) request = g_bytes_new_static ("hello", 5);
  g_autoptr (GCancellable) cancelled = g_cancellable_new ();
  Pending pending = { .left = 1001 };

  g_mutex_init (&pending.lock);
  g_cond_init (&pending.cond);
  g_cancellable_cancel (cancelled);
  for (guint i = 0; i < 1000; i++)
    grpc_channel_call_async (f->channel, i % 2 ? "/test.Echo/Echo" : "/test.Echo/Quick", NULL, request,
                             LONG_MS, NULL, on_reply, &pending);
  grpc_channel_call_async (f->channel, "/test.Echo/Echo", NULL, request, LONG_MS, cancelled, on_reply,
                           &pending);
  wait_pending (&pending);
  g_assert_cmpuint (pending.failed, ==, 1);
}

static gpointer
hammer (gpointer data)
{
  for (guint i = 0; i < 200; i++)
    assert_echo (data, i % 2 ? "Echo" : "Quick", i * 50);
  return NULL;
}

static void
test_threads (Fixture *f, gconstpointer data)
{
  GThread *threads[N_THREADS];

  for (guint i = 0; i < N_THREADS; i++)
    threads[i] = g_thread_new ("hammer", hammer, f);
  for (guint i = 0; i < N_THREADS; i++)
    g_thread_join (threads[i]);
}

/* Both ways: sends as long as it is writable, reads as it comes. */

typedef struct
{
  guint to_send, received;
  gboolean ended;
  GBytes *message;
  GError *error;
  Pending pending;
} Talk;

static void
talk_more (GrpcCall *self, gpointer data)
{
  Talk *talk = data;

  g_mutex_lock (&talk->pending.lock);
  while (talk->to_send > 0 && grpc_call_is_writable (self) && grpc_call_send (self, talk->message, NULL))
    if (--talk->to_send == 0)
      grpc_call_close_send (self);
  g_mutex_unlock (&talk->pending.lock);
}

static void
talk_message (GrpcCall *self, GBytes *message, gpointer data)
{
  Talk *talk = data;

  g_assert_true (g_bytes_equal (message, talk->message));
  talk->received++;
  grpc_call_request (self, 1);
}

static void
talk_closed (GrpcCall *self, const GError *error, gpointer data)
{
  Talk *talk = data;

  talk->error = error != NULL ? g_error_copy (error) : NULL;
  on_reply (NULL, error, &talk->pending);
}

static const GrpcCallHandlers talk_handlers
    = { .on_message = talk_message, .on_writable = talk_more, .on_closed = talk_closed };

static void
test_both (Fixture *f, gconstpointer data)
{
  Talk talk = { .to_send = 2000, .message = g_bytes_new_take (g_malloc0 (10000), 10000), .pending.left = 1 };
  g_autoptr (GrpcCall) self = NULL;

  g_mutex_init (&talk.pending.lock);
  g_cond_init (&talk.pending.cond);
  self = grpc_channel_open (f->channel, "/test.Echo/Both", NULL, LONG_MS, &talk_handlers, &talk, NULL);
  talk_more (self, &talk);
  grpc_call_request (self, 1);
  wait_pending (&talk.pending);
  g_assert_no_error (talk.error);
  g_assert_cmpuint (talk.received, ==, 2000);
  g_assert_cmpint (grpc_call_get_status (self), ==, 0);
  g_assert_false (grpc_call_send (self, talk.message, NULL));
  g_bytes_unref (talk.message);
}

static void
test_reconnect (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GBytes) empty = g_bytes_new (NULL, 0);
  gint64 until = g_get_monotonic_time () + LONG_MS * 1000;

  assert_echo (f, "Echo", 1);
  grpc_server_free (f->server);
  g_assert_null (call (f, "Echo", empty, LONG_MS, &error));
  g_assert_error (error, GANTRY_ERROR, GANTRY_ERROR_UNAVAILABLE);
  start_server (f);
  for (;;)
    {
      g_autoptr (GBytes) reply = call (f, "Echo", empty, LONG_MS, NULL);

      if (reply != NULL)
        break;
      g_assert_cmpint (g_get_monotonic_time (), <, until);
      g_usleep (10000);
    }
}

static void
test_free_under_way (Fixture *f, gconstpointer data)
{
  g_autoptr (GBytes) empty = g_bytes_new (NULL, 0);
  Pending pending = { .left = 10 };

  g_mutex_init (&pending.lock);
  g_cond_init (&pending.cond);
  for (guint i = 0; i < 10; i++)
    grpc_channel_call_async (f->channel, "/test.Echo/Hang", NULL, empty, LONG_MS, NULL, on_reply, &pending);
  g_clear_pointer (&f->channel, grpc_channel_free);
  wait_pending (&pending);
  g_assert_cmpuint (pending.failed, ==, 10);
}

static void
test_addresses (void)
{
  static const char *const bad[] = { "", "x", "unix", "localhost", "example.com:1", "1.2.3.4:x" };
  g_autoptr (GError) error = NULL;

  for (gsize i = 0; i < G_N_ELEMENTS (bad); i++)
    {
      g_assert_null (grpc_channel_new (bad[i], NULL, &error));
      g_assert_error (error, GANTRY_ERROR, GANTRY_ERROR_INVALID_ARGUMENT);
      g_clear_error (&error);
    }
}

int
main (int argc, char *argv[])
{
  g_test_init (&argc, &argv, NULL);
#define ADD(name, func) g_test_add (name, Fixture, NULL, set_up, func, tear_down)
  ADD ("/grpc/unary", test_unary);
  ADD ("/grpc/status", test_status);
  ADD ("/grpc/deadline", test_deadline);
  ADD ("/grpc/cancel", test_cancel);
  ADD ("/grpc/async", test_async);
  ADD ("/grpc/threads", test_threads);
  ADD ("/grpc/both", test_both);
  ADD ("/grpc/reconnect", test_reconnect);
  ADD ("/grpc/free-under-way", test_free_under_way);
#undef ADD
  g_test_add_func ("/grpc/addresses", test_addresses);
  return g_test_run ();
}
