/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "back-channel.h"

#include <content-service.h>
#include <sys/random.h>
#include <sys/stat.h>

/* A call that is open. */
typedef struct
{
  GantryContent *content;
  GMutex lock;
  GantryDifferProgressFunc progress; /* under lock; (nullable) */
  gpointer user_data;                /* under lock */
  guint64 told;                      /* under lock */
} Entry;

struct _BackChannel
{
  GrpcServer *server;
  GMutex lock;
  GHashTable *open; /* under lock: name to Entry */
};

static void
entry_clear (gpointer data)
{
  Entry *self = data;

  gantry_content_unref (self->content);
  g_mutex_clear (&self->lock);
}

static void
entry_unref (gpointer data)
{
  g_atomic_rc_box_release_full (data, entry_clear);
}

/* Returns: (transfer full) (nullable). */
static Entry *
lookup (BackChannel *self, GrpcCall *call)
{
  const char *name = grpc_call_get_metadata (call, "containerd-namespace");
  Entry *entry = NULL;

  g_mutex_lock (&self->lock);
  if (name != NULL)
    entry = g_hash_table_lookup (self->open, name);
  if (entry != NULL)
    g_atomic_rc_box_acquire (entry);
  g_mutex_unlock (&self->lock);
  return entry;
}

static GantryContent *
find (GrpcCall *call, gpointer data, GError **error)
{
  Entry *entry = lookup (data, call);
  GantryContent *content;

  if (entry == NULL)
    {
      gantry_throw (
          error, GANTRY_ERROR_FAILED_PRECONDITION,
          "content is served here for the time of a call, in the namespace that the call came with");
      return NULL;
    }
  content = gantry_content_ref (entry->content);
  entry_unref (entry);
  return content;
}

static void
did_read (GrpcCall *call, guint64 offset, gpointer data)
{
  Entry *entry = lookup (data, call);

  if (entry == NULL)
    return;
  g_mutex_lock (&entry->lock);
  if (entry->progress != NULL && offset > entry->told)
    {
      entry->told = offset;
      entry->progress (offset, entry->user_data);
    }
  g_mutex_unlock (&entry->lock);
  entry_unref (entry);
}

static const ContentServiceOps ops = { find, did_read };

BackChannel *
back_channel_new (const char *path, GError **error)
{
  BackChannel *self;
  g_autofree char *dir = g_path_get_dirname (path);

  if (g_mkdir_with_parents (dir, 0711) < 0)
    {
      gantry_throw_errno (error, errno, "making %s", dir);
      return NULL;
    }
  self = g_new0 (BackChannel, 1);
  g_mutex_init (&self->lock);
  self->open = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, entry_unref);
  self->server = grpc_server_new (NULL);
  if (content_service_add (self->server, &ops, self, error)
      && grpc_server_listen_unix (self->server, path, 0600, (gid_t)-1, error)
      && grpc_server_start (self->server, error))
    return self;
  back_channel_free (self);
  return NULL;
}

void
back_channel_free (BackChannel *self)
{
  if (self == NULL)
    return;
  grpc_server_free (self->server);
  g_hash_table_unref (self->open);
  g_mutex_clear (&self->lock);
  g_free (self);
}

char *
back_channel_open (BackChannel *self, GantryContent *content, GantryDifferProgressFunc progress,
                   gpointer user_data, GError **error)
{
  guint64 random[2];
  Entry *entry;
  char *name;

  if (getrandom (random, sizeof random, 0) != sizeof random)
    {
      gantry_throw_errno (error, errno, "reading random bytes");
      return NULL;
    }
  name = g_strdup_printf ("call-%016" G_GINT64_MODIFIER "x%016" G_GINT64_MODIFIER "x", random[0], random[1]);
  entry = g_atomic_rc_box_new0 (Entry);
  entry->content = gantry_content_ref (content);
  entry->progress = progress;
  entry->user_data = user_data;
  g_mutex_init (&entry->lock);
  g_mutex_lock (&self->lock);
  g_hash_table_insert (self->open, g_strdup (name), entry);
  g_mutex_unlock (&self->lock);
  return name;
}

void
back_channel_close (BackChannel *self, const char *name)
{
  gpointer key = NULL, value = NULL;
  Entry *entry;

  g_mutex_lock (&self->lock);
  g_hash_table_steal_extended (self->open, name, &key, &value);
  g_mutex_unlock (&self->lock);
  entry = value;
  g_mutex_lock (&entry->lock);
  entry->progress = NULL;
  g_mutex_unlock (&entry->lock);
  entry_unref (entry);
  g_free (key);
}
