/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Load on a daemon that speaks containerd's API: how many requests a second, and how late the slowest of a
 * hundred come.
 *
 *     grpc-load ADDRESS fill N                       makes containers "0" to "N-1" in namespace "bench",
 * whatever is there grpc-load ADDRESS OPERATION CLIENTS SECONDS N  prints "requests/s p50-µs p99-µs"; N: how
 * many containers there are
 *
 * Operations: version; create (new containers); get (one of the N); find (List with id==); label (List with
 * labels.number==); list (all of them); stream (all of them by ListStream). Each client has a connection and
 * one call under way. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <grpc-client.h>
#include <protos.h>

#define PB(name)   Containerd__Services__Containers__V1__##name
#define CONTAINERS "/containerd.services.containers.v1.Containers/"
/* As large as the spec that ctr makes. */
#define SPEC_SIZE 5000
/* Clients that fill a daemon side by side. */
#define FILLERS 64

typedef struct
{
  GrpcChannel *channel;
  const char *operation;
  guint number;
  guint n; /* containers there */
  gint64 until;
  GArray *times; /* of gint32: µs */
} Client;

static GBytes *
pack (const ProtobufCMessage *message)
{
  gsize size = protobuf_c_message_get_packed_size (message);
  guint8 *data = g_malloc (size + 1);

  protobuf_c_message_pack (message, data);
  return g_bytes_new_take (data, size);
}

static GBytes *
create_request (const char *id)
{
  static guint8 spec_bytes[SPEC_SIZE];
  PB (CreateContainerRequest) request = CONTAINERD__SERVICES__CONTAINERS__V1__CREATE_CONTAINER_REQUEST__INIT;
  PB (Container) container = CONTAINERD__SERVICES__CONTAINERS__V1__CONTAINER__INIT;
  PB (Container__Runtime) runtime = CONTAINERD__SERVICES__CONTAINERS__V1__CONTAINER__RUNTIME__INIT;
  PB (Container__LabelsEntry) label = CONTAINERD__SERVICES__CONTAINERS__V1__CONTAINER__LABELS_ENTRY__INIT;
  PB (Container__LabelsEntry) number = CONTAINERD__SERVICES__CONTAINERS__V1__CONTAINER__LABELS_ENTRY__INIT;
  PB (Container__LabelsEntry) * labels[] = { &label, &number };
  Google__Protobuf__Any spec = GOOGLE__PROTOBUF__ANY__INIT;

  label.key = (char *)"io.containerd.image.config.stop-signal";
  label.value = (char *)"SIGTERM";
  number.key = (char *)"number";
  number.value = (char *)id;
  runtime.name = (char *)"io.containerd.runc.v2";
  spec.type_url = (char *)"types.containerd.io/opencontainers/runtime-spec/1/Spec";
  spec.value.data = spec_bytes;
  spec.value.len = sizeof spec_bytes;
  container.id = (char *)id;
  container.image = (char *)"docker.io/library/busybox:latest";
  container.runtime = &runtime;
  container.spec = &spec;
  container.n_labels = 2;
  container.labels = labels;
  request.container = &container;
  return pack (&request.base);
}

static GBytes *
get_request (guint number)
{
  g_autofree char *id = g_strdup_printf ("%u", number);
  PB (GetContainerRequest) request = CONTAINERD__SERVICES__CONTAINERS__V1__GET_CONTAINER_REQUEST__INIT;

  request.id = id;
  return pack (&request.base);
}

static GBytes *
find_request (const char *field, guint number)
{
  g_autofree char *filter = g_strdup_printf ("%s==%u", field, number);
  char *filters[] = { filter };
  PB (ListContainersRequest) request = CONTAINERD__SERVICES__CONTAINERS__V1__LIST_CONTAINERS_REQUEST__INIT;

  request.n_filters = 1;
  request.filters = filters;
  return pack (&request.base);
}

/* The next request of @client, and *@ret_path. */
static GBytes *
next_request (Client *client, guint round, const char **ret_path)
{
  guint number = client->n > 0 ? (client->number * 7919 + round * 104729) % client->n : 0;

  if (strcmp (client->operation, "create") == 0)
    {
      g_autofree char *id = g_strdup_printf ("new-%d-%u-%u", getpid (), client->number, round);

      *ret_path = CONTAINERS "Create";
      return create_request (id);
    }
  if (strcmp (client->operation, "get") == 0)
    {
      *ret_path = CONTAINERS "Get";
      return get_request (number);
    }
  if (strcmp (client->operation, "find") == 0 || strcmp (client->operation, "label") == 0)
    {
      *ret_path = CONTAINERS "List";
      return find_request (client->operation[0] == 'f' ? "id" : "labels.number", number);
    }
  if (strcmp (client->operation, "stream") == 0)
    *ret_path = CONTAINERS "ListStream";
  else
    *ret_path = strcmp (client->operation, "list") == 0 ? CONTAINERS "List"
                                                        : "/containerd.services.version.v1.Version/Version";
  return g_bytes_new (NULL, 0);
}

static void
ask (Client *client, const char *path, GBytes *request)
{
  g_autoptr (GrpcMetadata) metadata = grpc_metadata_new ();
  g_autoptr (GError) error = NULL;
  g_autoptr (GBytes) reply = NULL;

  grpc_metadata_append (metadata, "containerd-namespace", "bench");
  reply = grpc_channel_call (client->channel, path, metadata, request, 0, NULL, &error);
  if (reply == NULL && !gantry_error_is (error, GANTRY_ERROR_ALREADY_EXISTS))
    g_error ("%s: %s", path, error->message);
}

/* What comes on a stream, for the thread that waits for its end. */
typedef struct
{
  GMutex lock;
  GCond cond;
  guint messages;
  gboolean over;
} Stream;

static void
on_message (GrpcCall *call, GBytes *message, gpointer data)
{
  Stream *stream = data;

  stream->messages++;
  grpc_call_request (call, 1);
}

static void
on_closed (GrpcCall *call, const GError *error, gpointer data)
{
  Stream *stream = data;

  if (error != NULL)
    g_error ("%s: %s", grpc_call_get_path (call), error->message);
  g_mutex_lock (&stream->lock);
  stream->over = TRUE;
  g_cond_signal (&stream->cond);
  g_mutex_unlock (&stream->lock);
}

static void
ask_for_stream (Client *client, const char *path, GBytes *request)
{
  static const GrpcCallHandlers handlers = { .on_message = on_message, .on_closed = on_closed };
  g_autoptr (GrpcMetadata) metadata = grpc_metadata_new ();
  g_autoptr (GrpcCall) call = NULL;
  Stream stream = { 0 };

  g_mutex_init (&stream.lock);
  g_cond_init (&stream.cond);
  grpc_metadata_append (metadata, "containerd-namespace", "bench");
  call = grpc_channel_open (client->channel, path, metadata, G_MAXUINT, &handlers, &stream, NULL);
  grpc_call_send (call, request, NULL);
  grpc_call_close_send (call);
  grpc_call_request (call, 64);
  g_mutex_lock (&stream.lock);
  while (!stream.over)
    g_cond_wait (&stream.cond, &stream.lock);
  g_mutex_unlock (&stream.lock);
  if (stream.messages < client->n)
    g_error ("%u containers came of %u", stream.messages, client->n);
}

static gpointer
run (gpointer data)
{
  Client *client = data;
  gint64 now = g_get_monotonic_time ();

  for (guint round = 0; now < client->until; round++)
    {
      const char *path;
      g_autoptr (GBytes) request = next_request (client, round, &path);
      gint64 then = g_get_monotonic_time ();
      gint32 taken;

      if (strcmp (client->operation, "stream") == 0)
        ask_for_stream (client, path, request);
      else
        ask (client, path, request);
      now = g_get_monotonic_time ();
      taken = (gint32)(now - then);
      g_array_append_val (client->times, taken);
    }
  return NULL;
}

static gpointer
fill (gpointer data)
{
  Client *client = data;

  for (guint i = client->number; i < client->n; i += FILLERS)
    {
      g_autofree char *id = g_strdup_printf ("%u", i);
      g_autoptr (GBytes) request = create_request (id);

      ask (client, CONTAINERS "Create", request);
    }
  return NULL;
}

static int
compare (gconstpointer a, gconstpointer b)
{
  return *(const gint32 *)a - *(const gint32 *)b;
}

int
main (int argc, char *argv[])
{
  gboolean filling = argc == 4 && strcmp (argv[2], "fill") == 0;
  guint n_clients = filling ? FILLERS : argc == 6 ? (guint)atoi (argv[3]) : 0;
  double seconds = argc == 6 ? g_ascii_strtod (argv[4], NULL) : 0;
  g_autofree Client *clients = g_new0 (Client, n_clients);
  g_autofree GThread **threads = g_new0 (GThread *, n_clients);
  g_autoptr (GArray) times = g_array_new (FALSE, FALSE, sizeof (gint32));
  gint64 begun;
  GrpcChannelSettings settings = { .max_message = 64 << 20, .workers = 1, .window = 1 << 20 };

  if (n_clients == 0)
    {
      fprintf (stderr, "usage: grpc-load ADDRESS fill N | ADDRESS OPERATION CLIENTS SECONDS N\n");
      return 2;
    }
  for (guint i = 0; i < n_clients; i++)
    {
      g_autoptr (GError) error = NULL;
      const char *path;
      g_autoptr (GBytes) first = NULL;

      clients[i] = (Client){
        grpc_channel_new (argv[1], &settings, &error), argv[2], i,
        (guint)atoi (argv[filling ? 3 : 5]),           0,       g_array_new (FALSE, FALSE, sizeof (gint32))
      };
      if (clients[i].channel == NULL)
        g_error ("%s", error->message);
      /* The connection is no part of what is measured. */
      first = g_bytes_new (NULL, 0);
      path = "/containerd.services.version.v1.Version/Version";
      ask (&clients[i], path, first);
    }
  begun = g_get_monotonic_time ();
  for (guint i = 0; i < n_clients; i++)
    {
      clients[i].until = g_get_monotonic_time () + (gint64)(seconds * G_USEC_PER_SEC);
      threads[i] = g_thread_new ("client", filling ? fill : run, &clients[i]);
    }
  for (guint i = 0; i < n_clients; i++)
    g_thread_join (threads[i]);
  /* What took longer than the time given counts as it was. */
  seconds = MAX (seconds, (double)(g_get_monotonic_time () - begun) / G_USEC_PER_SEC);
  for (guint i = 0; i < n_clients; i++)
    {
      g_array_append_vals (times, clients[i].times->data, clients[i].times->len);
      g_array_unref (clients[i].times);
      grpc_channel_free (clients[i].channel);
    }
  if (filling || times->len == 0)
    return 0;
  g_array_sort (times, compare);
  printf ("%.3f %d %d\n", times->len / seconds, g_array_index (times, gint32, times->len / 2),
          g_array_index (times, gint32, times->len * 99 / 100));
  return 0;
}
