/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "content-client.h"

#include <fcntl.h>
#include <unistd.h>

#define PB(name)         Containerd__Services__Content__V1__##name
#define DESCRIPTOR(name) (&containerd__services__content__v1__##name##__descriptor)
#define PATH(method)     "/containerd.services.content.v1.Content/" method

static Peer *
peer_of (GantryContent *self)
{
  return ((ContentClient *)self)->peer;
}

static gboolean
call_empty (GantryContent *self, const char *path, const ProtobufCMessage *request, GCancellable *cancellable,
            GError **error)
{
  gpointer reply = peer_call (peer_of (self), path, request, &google__protobuf__empty__descriptor, 1,
                              cancellable, error);

  wire_message_free (reply);
  return reply != NULL;
}

static GantryContentInfo *
info_in (const PB (Info) * info)
{
  return gantry_content_info_new (info->digest, (guint64)MAX (info->size, 0), wire_time_in (info->created_at),
                                  wire_time_in (info->updated_at),
                                  wire_labels_in (info->n_labels, info->labels));
}

static gboolean
client_info (GantryContent *self, const char *digest, GantryContentInfo **ret_info, GCancellable *cancellable,
             GError **error)
{
  PB (InfoRequest) request = CONTAINERD__SERVICES__CONTENT__V1__INFO_REQUEST__INIT;
  PB (InfoResponse) * reply;
  gboolean ok;

  request.digest = (char *)digest;
  reply = peer_call (peer_of (self), PATH ("Info"), &request.base, DESCRIPTOR (info_response), 1, cancellable,
                     error);
  if (reply == NULL)
    return FALSE;
  ok = reply->info != NULL
       || gantry_throw (error, GANTRY_ERROR_INTERNAL, "the answer about content %s has no info", digest);
  if (ok)
    *ret_info = info_in (reply->info);
  wire_message_free (reply);
  return ok;
}

typedef struct
{
  GantryContentFunc func;
  gpointer user_data;
} Walk;

static gboolean
on_list (gconstpointer message, gpointer user_data, GError **error)
{
  const PB (ListContentResponse) *reply = message;
  Walk *walk = user_data;

  for (size_t i = 0; i < reply->n_info; i++)
    {
      g_autoptr (GantryContentInfo) info = info_in (reply->info[i]);

      if (!walk->func (info, walk->user_data))
        return FALSE;
    }
  return TRUE;
}

static gboolean
client_walk (GantryContent *self, const char *const *filters, GantryContentFunc func, gpointer user_data,
             GCancellable *cancellable, GError **error)
{
  PB (ListContentRequest) request = CONTAINERD__SERVICES__CONTENT__V1__LIST_CONTENT_REQUEST__INIT;
  Walk walk = { func, user_data };

  request.n_filters = filters != NULL ? g_strv_length ((char **)filters) : 0;
  request.filters = (char **)filters;
  return peer_read (peer_of (self), PATH ("List"), &request.base, DESCRIPTOR (list_content_response), on_list,
                    &walk, cancellable, error);
}

static gboolean
client_update (GantryContent *self, const char *digest, GVariant *labels, const char *const *mask,
               GantryContentInfo **ret_info, GCancellable *cancellable, GError **error)
{
  static const char *const all[] = { "labels", NULL };
  g_autoptr (GVariant) kept = gantry_variant_keep (labels);
  g_autoptr (Scratch) scratch = scratch_new ();
  PB (UpdateRequest) request = CONTAINERD__SERVICES__CONTENT__V1__UPDATE_REQUEST__INIT;
  PB (Info) info = CONTAINERD__SERVICES__CONTENT__V1__INFO__INIT;
  Google__Protobuf__FieldMask paths = GOOGLE__PROTOBUF__FIELD_MASK__INIT;
  PB (UpdateResponse) * reply;

  mask = mask != NULL ? mask : all;
  info.digest = (char *)digest;
  wire_labels_out (scratch, kept, DESCRIPTOR (info__labels_entry), &info.n_labels, &info.labels);
  paths.n_paths = g_strv_length ((char **)mask);
  paths.paths = (char **)mask;
  request.info = &info;
  request.update_mask = &paths;
  reply = peer_call (peer_of (self), PATH ("Update"), &request.base, DESCRIPTOR (update_response), 1,
                     cancellable, error);
  if (reply == NULL)
    return FALSE;
  if (ret_info != NULL && reply->info != NULL)
    *ret_info = info_in (reply->info);
  wire_message_free (reply);
  return TRUE;
}

static gboolean
client_remove (GantryContent *self, const char *digest, GCancellable *cancellable, GError **error)
{
  PB (DeleteContentRequest) request = CONTAINERD__SERVICES__CONTENT__V1__DELETE_CONTENT_REQUEST__INIT;

  request.digest = (char *)digest;
  return call_empty (self, PATH ("Delete"), &request.base, cancellable, error);
}

/* Reading: a copy in a file without a name, since what is promised is a descriptor. */

typedef struct
{
  int fd;
  guint64 have;
} Copy;

static gboolean
on_read (gconstpointer message, gpointer user_data, GError **error)
{
  const PB (ReadContentResponse) *reply = message;
  Copy *copy = user_data;
  gsize done = 0;

  while (done < reply->data.len)
    {
      gssize n = write (copy->fd, reply->data.data + done, reply->data.len - done);

      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0)
        return gantry_throw_errno (error, errno, "keeping a copy of a blob");
      done += (gsize)n;
    }
  copy->have += done;
  return TRUE;
}

static gboolean
copy_blob (ContentClient *self, GantryContentInfo *info, Copy *copy, GCancellable *cancellable,
           GError **error)
{
  PB (ReadContentRequest) request = CONTAINERD__SERVICES__CONTENT__V1__READ_CONTENT_REQUEST__INIT;

  request.digest = info->digest;
  if (info->blob_size > 0
      && !peer_read (self->peer, PATH ("Read"), &request.base, DESCRIPTOR (read_content_response), on_read,
                     copy, cancellable, error))
    return FALSE;
  if (copy->have != info->blob_size)
    return gantry_throw (error, GANTRY_ERROR_DATA_LOSS,
                         "content %s has %" G_GUINT64_FORMAT " bytes and not %" G_GUINT64_FORMAT,
                         info->digest, copy->have, info->blob_size);
  return TRUE;
}

static int
reopen_read_only (int fd, GError **error)
{
  char path[32];
  int again;

  g_snprintf (path, sizeof path, "/proc/self/fd/%d", fd);
  again = open (path, O_RDONLY | O_CLOEXEC);
  if (again < 0)
    gantry_throw_errno (error, errno, "opening a copy of a blob");
  return again;
}

static gboolean
client_open_blob (GantryContent *content, const char *digest, int *ret_fd, guint64 *ret_size,
                  GCancellable *cancellable, GError **error)
{
  ContentClient *self = (ContentClient *)content;
  g_autoptr (GantryContentInfo) info = NULL;
  Copy copy = { -1, 0 };
  int dir, fd;

  if (!client_info (content, digest, &info, cancellable, error))
    return FALSE;
  dir = gantry_host_get_dir_fd (self->host, GANTRY_DIR_PERSISTENT, error);
  if (dir < 0)
    return FALSE;
  copy.fd = openat (dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (copy.fd < 0)
    return gantry_throw_errno (error, errno, "making room for a copy of %s", digest);
  if (!copy_blob (self, info, &copy, cancellable, error))
    {
      close (copy.fd);
      return FALSE;
    }
  fd = reopen_read_only (copy.fd, error);
  close (copy.fd);
  if (fd < 0)
    return FALSE;
  *ret_fd = fd;
  if (ret_size != NULL)
    *ret_size = info->blob_size;
  return TRUE;
}

/* Ingests */

static GantryIngestStatus *
status_in (const PB (Status) * status)
{
  return gantry_ingest_status_new (status->ref, (guint64)MAX (status->offset, 0),
                                   (guint64)MAX (status->total, 0), wire_text_or_null (status->expected),
                                   wire_time_in (status->started_at), wire_time_in (status->updated_at));
}

static gboolean
client_list_ingests (GantryContent *self, const char *const *filters, GPtrArray **ret_statuses,
                     GCancellable *cancellable, GError **error)
{
  PB (ListStatusesRequest) request = CONTAINERD__SERVICES__CONTENT__V1__LIST_STATUSES_REQUEST__INIT;
  PB (ListStatusesResponse) * reply;

  request.n_filters = filters != NULL ? g_strv_length ((char **)filters) : 0;
  request.filters = (char **)filters;
  reply = peer_call (peer_of (self), PATH ("ListStatuses"), &request.base,
                     DESCRIPTOR (list_statuses_response), 1, cancellable, error);
  if (reply == NULL)
    return FALSE;
  *ret_statuses = g_ptr_array_new_with_free_func ((GDestroyNotify)gantry_ingest_status_unref);
  for (size_t i = 0; i < reply->n_statuses; i++)
    g_ptr_array_add (*ret_statuses, status_in (reply->statuses[i]));
  wire_message_free (reply);
  return TRUE;
}

static gboolean
client_ingest_status (GantryContent *self, const char *ref, GantryIngestStatus **ret_status,
                      GCancellable *cancellable, GError **error)
{
  PB (StatusRequest) request = CONTAINERD__SERVICES__CONTENT__V1__STATUS_REQUEST__INIT;
  PB (StatusResponse) * reply;
  gboolean ok;

  request.ref = (char *)ref;
  reply = peer_call (peer_of (self), PATH ("Status"), &request.base, DESCRIPTOR (status_response), 1,
                     cancellable, error);
  if (reply == NULL)
    return FALSE;
  ok = reply->status != NULL
       || gantry_throw (error, GANTRY_ERROR_INTERNAL, "the answer about ingest %s has no status", ref);
  if (ok)
    *ret_status = status_in (reply->status);
  wire_message_free (reply);
  return ok;
}

static gboolean
client_abort_ingest (GantryContent *self, const char *ref, GCancellable *cancellable, GError **error)
{
  PB (AbortRequest) request = CONTAINERD__SERVICES__CONTENT__V1__ABORT_REQUEST__INIT;

  request.ref = (char *)ref;
  return call_empty (self, PATH ("Abort"), &request.base, cancellable, error);
}

static const GantryContentVtable vtable = {
  .size = sizeof (GantryContentVtable),
  .info = client_info,
  .walk = client_walk,
  .update = client_update,
  .remove = client_remove,
  .open_blob = client_open_blob,
  .open_ingest = content_client_open_ingest,
  .list_ingests = client_list_ingests,
  .ingest_status = client_ingest_status,
  .abort_ingest = client_abort_ingest,
};

ContentClient *
content_client_new (const GantryHost *host, Peer *peer)
{
  ContentClient *self = g_new0 (ContentClient, 1);

  self->content.vtable = &vtable;
  self->peer = peer;
  self->host = host;
  return self;
}

void
content_client_free (ContentClient *self)
{
  if (self == NULL)
    return;
  peer_free (self->peer);
  g_free (self);
}
