/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * How many unary calls a second a gRPC server answers, and how late the slowest of a hundred come.
 *
 *     grpc-rate ADDRESS /package.Service/Method CLIENTS SECONDS
 *
 * Each client has a connection and keeps one call under way. Prints "CLIENTS calls/s p50-µs p99-µs".
 */
#include <stdio.h>
#include <stdlib.h>

#include "grpc-client.h"

typedef struct
{
  GrpcChannel *channel;
  const char *path;
  gint64 until;
  GArray *times;
} Client;

static gpointer
run (gpointer data)
{
  Client *client = data;
  g_autoptr (GBytes) empty = g_bytes_new (NULL, 0);
  gint64 now = g_get_monotonic_time ();

  while (now < client->until)
    {
      g_autoptr (GError) error = NULL;
      g_autoptr (GBytes) reply
          = grpc_channel_call (client->channel, client->path, NULL, empty, 0, NULL, &error);
      gint64 then = now;
      gint32 taken;

      if (reply == NULL)
        g_error ("%s", error->message);
      now = g_get_monotonic_time ();
      taken = (gint32)(now - then);
      g_array_append_val (client->times, taken);
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
  guint n = argc == 5 ? (guint)atoi (argv[3]) : 0;
  double seconds = argc == 5 ? g_ascii_strtod (argv[4], NULL) : 0;
  g_autofree Client *clients = g_new0 (Client, n);
  g_autofree GThread **threads = g_new0 (GThread *, n);
  g_autoptr (GArray) times = g_array_new (FALSE, FALSE, sizeof (gint32));
  g_autoptr (GBytes) empty = g_bytes_new (NULL, 0);

  if (n == 0)
    return 2;
  for (guint i = 0; i < n; i++)
    {
      g_autoptr (GError) error = NULL;
      g_autoptr (GBytes) reply = NULL;

      clients[i] = (Client){ grpc_channel_new (argv[1], NULL, &error), argv[2], 0,
                             g_array_new (FALSE, FALSE, sizeof (gint32)) };
      if (clients[i].channel == NULL
          || (reply = grpc_channel_call (clients[i].channel, argv[2], NULL, empty, 0, NULL, &error)) == NULL)
        g_error ("%s", error->message);
    }
  for (guint i = 0; i < n; i++)
    {
      clients[i].until = g_get_monotonic_time () + (gint64)(seconds * 1e6);
      threads[i] = g_thread_new ("client", run, &clients[i]);
    }
  for (guint i = 0; i < n; i++)
    {
      g_thread_join (threads[i]);
      g_array_append_vals (times, clients[i].times->data, clients[i].times->len);
      g_array_unref (clients[i].times);
      grpc_channel_free (clients[i].channel);
    }
  g_array_sort (times, compare);
  printf ("%u %.0f %d %d\n", n, times->len / seconds, g_array_index (times, gint32, times->len / 2),
          g_array_index (times, gint32, times->len * 99 / 100));
  return 0;
}
