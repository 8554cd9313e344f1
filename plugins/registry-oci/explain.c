/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What would be tried for a reference, and what each host says to it. Hosts are asked one after the other,
 * once each. */
#include <string.h>

#include "registry-oci.h"

#define DEADLINE_MS 10000

/* Cancels what takes too long; the caller's cancellable counts too. */
typedef struct
{
  GMutex lock;
  GCond cond;
  gboolean over;
  GCancellable *cancellable;
} Deadline;

static gpointer
run_deadline (gpointer data)
{
  Deadline *self = data;
  gint64 end = g_get_monotonic_time () + DEADLINE_MS * 1000;

  g_mutex_lock (&self->lock);
  while (!self->over && g_cond_wait_until (&self->cond, &self->lock, end))
    ;
  if (!self->over)
    g_cancellable_cancel (self->cancellable);
  g_mutex_unlock (&self->lock);
  return NULL;
}

static void
pass_on (GCancellable *cancellable, gpointer data)
{
  g_cancellable_cancel (data);
}

static void
add_capabilities (GVariantDict *details, RegistryHost *host)
{
  static const char *const names[] = { "pull", "resolve", "push", "referrers" };
  GVariantBuilder words;

  g_variant_builder_init (&words, G_VARIANT_TYPE ("as"));
  for (gsize i = 0; i < G_N_ELEMENTS (names); i++)
    if ((host->capabilities & (1U << i)) != 0)
      g_variant_builder_add (&words, "s", names[i]);
  g_variant_dict_insert_value (details, "capabilities", g_variant_builder_end (&words));
}

static const char *
tls_word (RegistryHost *host)
{
  return g_str_has_prefix (host->base, "http:") ? "none"
         : host->tls->skip_verify               ? "not verified"
                                                : "verified";
}

/* Who we would be, by source. */
static char *
describe_credentials (OciRepository *self, guint index, GCancellable *cancellable)
{
  RegistryHost *host = g_ptr_array_index (self->hosts, index);
  g_autoptr (GantryCredentials) found = NULL;
  g_autoptr (GError) error = NULL;
  GantryCredentials *credentials = self->access != NULL && !host->mirror ? self->access->credentials : NULL;

  if (credentials == NULL && self->auths[index].known)
    credentials = self->auths[index].credentials;
  if (credentials == NULL
      && !credentials_find (self->registry, host->mirror ? host->name : host->server,
                            self->reference->repository, &found, cancellable, &error))
    return g_strdup_printf ("none: %s", error->message);
  if (credentials == NULL)
    credentials = found;
  if (credentials == NULL || credentials->kind == GANTRY_CREDENTIALS_NONE)
    return g_strdup ("");
  return g_strdup_printf ("%s%s%s", credentials->username != NULL ? credentials->username : "",
                          credentials->username != NULL ? " from " : "",
                          credentials->origin != NULL ? credentials->origin : "the call");
}

static void
add_answer (GVariantDict *details, HttpReply *reply, const GError *error)
{
  guint status = reply != NULL ? http_reply_get_status (reply) : 0;
  const char *digest = reply != NULL ? http_reply_get_header (reply, "Docker-Content-Digest") : NULL;
  g_autofree char *answer = NULL;

  if (reply == NULL)
    answer = gantry_error_is (error, GANTRY_ERROR_CANCELLED)
                 ? g_strdup_printf ("no answer within %d s", DEADLINE_MS / 1000)
                 : g_strdup (error->message);
  else
    answer = g_strdup_printf ("%u %s over %s", status, soup_status_get_phrase (status),
                              http_reply_get_protocol (reply));
  g_variant_dict_insert (details, "status", "u", status);
  g_variant_dict_insert (details, "answer", "s", answer);
  if (status == 200 && digest != NULL && gantry_reference_check_digest (digest, NULL))
    g_variant_dict_insert (details, "digest", "s", digest);
}

static void
ask_host (OciRepository *self, guint index, GVariantDict *details, GCancellable *cancellable)
{
  const char *name = self->reference->digest != NULL ? self->reference->digest : self->reference->tag;
  g_autofree char *path = repository_path (self, "manifests", name);
  Ask ask = { .method = "HEAD", .path = path, .accept = MANIFEST_ACCEPT, .actions = "pull", .once = TRUE };
  g_autoptr (GCancellable) stop = g_cancellable_new ();
  gulong id = cancellable != NULL ? g_cancellable_connect (cancellable, G_CALLBACK (pass_on),
                                                           g_object_ref (stop), g_object_unref)
                                  : 0;
  Deadline deadline = { .cancellable = stop };
  g_autoptr (HttpReply) reply = NULL;
  g_autoptr (GError) error = NULL;
  gint64 start = g_get_monotonic_time ();
  GThread *thread;

  g_mutex_init (&deadline.lock);
  g_cond_init (&deadline.cond);
  thread = g_thread_new ("registry-explain", run_deadline, &deadline);
  reply = host_ask (self, index, &ask, stop, &error);
  g_mutex_lock (&deadline.lock);
  deadline.over = TRUE;
  g_cond_signal (&deadline.cond);
  g_mutex_unlock (&deadline.lock);
  g_thread_join (thread);
  if (id != 0)
    g_cancellable_disconnect (cancellable, id);
  g_mutex_clear (&deadline.lock);
  g_cond_clear (&deadline.cond);
  add_answer (details, reply, error);
  g_variant_dict_insert (details, "milliseconds", "u", (guint32)((g_get_monotonic_time () - start) / 1000));
}

/* Why a host would not be asked. */
static const char *
why_skipped (OciRepository *self, RegistryHost *host, gboolean for_push)
{
  if (for_push)
    return (host->capabilities & CAN_PUSH) != 0 ? NULL : "it has no capability \"push\"";
  if (self->reference->digest != NULL)
    return (host->capabilities & CAN_PULL) != 0 ? NULL : "it has no capability \"pull\"";
  return (host->capabilities & CAN_RESOLVE) != 0
             ? NULL
             : "it has no capability \"resolve\", so it is not asked for tags";
}

static GVariant *
describe_host (OciRepository *self, guint index, gboolean for_push, GCancellable *cancellable)
{
  RegistryHost *host = g_ptr_array_index (self->hosts, index);
  const char *skipped = why_skipped (self, host, for_push);
  g_autofree char *proxy = http_get_proxy (self->registry->http, host->base), *credentials = NULL;
  GVariantDict details;

  g_variant_dict_init (&details, NULL);
  g_variant_dict_insert (&details, "reference", "s", self->name);
  g_variant_dict_insert (&details, "host", "s", host->name);
  g_variant_dict_insert (&details, "url", "s", host->base);
  g_variant_dict_insert (&details, "origin", "s", host->origin);
  add_capabilities (&details, host);
  g_variant_dict_insert (&details, "mirror", "b", host->mirror);
  g_variant_dict_insert (&details, "tls", "s", tls_word (host));
  g_variant_dict_insert_value (&details, "ca", g_variant_new_strv ((const char *const *)host->ca_files, -1));
  g_variant_dict_insert (&details, "proxy", "s", proxy != NULL ? proxy : "");
  if (skipped != NULL)
    g_variant_dict_insert (&details, "skipped", "s", skipped);
  else
    ask_host (self, index, &details, cancellable);
  credentials = describe_credentials (self, index, cancellable);
  g_variant_dict_insert (&details, "credentials", "s", credentials);
  return g_variant_dict_end (&details);
}

gboolean
registry_explain (GantryRegistry *registry, const char *reference, gboolean for_push,
                  GantryRegistryAccess *access, GVariant **ret_hosts, GCancellable *cancellable,
                  GError **error)
{
  g_autoptr (GantryRepository) repository = NULL;
  g_autoptr (GVariant) hosts = NULL;
  OciRepository *self;
  GVariantBuilder builder;

  if (!repository_open (registry, reference, access, &repository, cancellable, error))
    return FALSE;
  self = (OciRepository *)repository;
  g_variant_builder_init (&builder, G_VARIANT_TYPE ("aa{sv}"));
  for (guint i = 0; i < self->hosts->len && !g_cancellable_is_cancelled (cancellable); i++)
    g_variant_builder_add_value (&builder, describe_host (self, i, for_push, cancellable));
  hosts = g_variant_ref_sink (g_variant_builder_end (&builder));
  if (g_cancellable_set_error_if_cancelled (cancellable, error))
    return FALSE;
  *ret_hosts = g_steal_pointer (&hosts);
  return TRUE;
}
