/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Reading and writing a store of signatures. */
#include "lookaside.h"

#include <errno.h>
#include <string.h>

#include <fdio.h>
#include <libsoup/soup.h>

#define HTTP_TIMEOUT_S 30

/* "<server>/<repository>@<algorithm>=<hex>". Returns: (transfer full). */
static char *
place_of (const GantryReference *reference, const char *digest)
{
  const char *colon = strchr (digest, ':');

  return g_strdup_printf ("%s/%s@%.*s=%s", reference->server, reference->repository, (int)(colon - digest),
                          digest, colon + 1);
}

static void
add (GPtrArray *signatures, GBytes *data, char *source)
{
  Signature *signature = g_new0 (Signature, 1);

  signature->data = data;
  signature->source = source;
  g_ptr_array_add (signatures, signature);
}

static gboolean
read_files (const char *url, const char *place, GPtrArray *signatures, GError **error)
{
  g_autofree char *base = g_filename_from_uri (url, NULL, error);
  gantry_autofd int dfd = base != NULL ? open (base, O_DIRECTORY | O_CLOEXEC) : -1;

  if (base == NULL)
    return FALSE;
  if (dfd < 0)
    return errno == ENOENT || gantry_throw_errno (error, errno, "the signature store %s", base);
  for (guint n = 1; n <= LOOKASIDE_MAX_SIGNATURES; n++)
    {
      g_autofree char *name = g_strdup_printf ("%s/signature-%u", place, n);
      gantry_autofd int fd = gantry_open_beneath (dfd, name, O_RDONLY, 0);
      GBytes *data;

      if (fd < 0)
        return errno == ENOENT || gantry_throw_errno (error, errno, "the signature %s/%s", base, name);
      data = gantry_read_all (fd, LOOKASIDE_MAX_BYTES, error);
      if (data == NULL)
        return FALSE;
      add (signatures, data, g_strdup_printf ("%s/%s", url, name));
    }
  return TRUE;
}

/* All of @stream, which may have at most LOOKASIDE_MAX_BYTES. Returns: (transfer full). */
static GBytes *
read_body (GInputStream *stream, const char *url, GCancellable *cancellable, GError **error)
{
  g_autoptr (GByteArray) body = g_byte_array_new ();
  g_autoptr (GError) local = NULL;
  guint8 buffer[8192];
  gssize n;

  while ((n = g_input_stream_read (stream, buffer, sizeof buffer, cancellable, &local)) > 0)
    {
      g_byte_array_append (body, buffer, (guint)n);
      if (body->len > LOOKASIDE_MAX_BYTES)
        {
          gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED, "the signature %s has more than %d bytes",
                        url, LOOKASIDE_MAX_BYTES);
          return NULL;
        }
    }
  if (n < 0)
    {
      gantry_throw (error,
                    g_cancellable_is_cancelled (cancellable) ? GANTRY_ERROR_CANCELLED
                                                             : GANTRY_ERROR_UNAVAILABLE,
                    "reading the signature %s: %s", url, local->message);
      return NULL;
    }
  return g_byte_array_free_to_bytes (g_steal_pointer (&body));
}

/* The body of @url. *@ret_data: (transfer full) (nullable): NULL if there is none (404). */
static gboolean
fetch (SoupSession *session, const char *url, GBytes **ret_data, GCancellable *cancellable, GError **error)
{
  g_autoptr (SoupMessage) message = soup_message_new (SOUP_METHOD_GET, url);
  g_autoptr (GInputStream) stream = NULL;
  g_autoptr (GError) local = NULL;
  guint status;

  *ret_data = NULL;
  if (message == NULL)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "\"%s\" is no URL of a signature", url);
  stream = soup_session_send (session, message, cancellable, &local);
  if (stream == NULL)
    return gantry_throw (error,
                         g_cancellable_is_cancelled (cancellable) ? GANTRY_ERROR_CANCELLED
                                                                  : GANTRY_ERROR_UNAVAILABLE,
                         "asking %s for a signature: %s", url, local->message);
  status = soup_message_get_status (message);
  if (status == SOUP_STATUS_NOT_FOUND || status == SOUP_STATUS_GONE)
    return TRUE;
  if (status != SOUP_STATUS_OK)
    return gantry_throw (error, GANTRY_ERROR_UNAVAILABLE, "asking %s for a signature: HTTP status %u", url,
                         status);
  *ret_data = read_body (stream, url, cancellable, error);
  return *ret_data != NULL;
}

/* The session lives on this thread only, with a context of its own: nothing of the caller's is iterated. */
static gboolean
read_http (const char *url, const char *place, GPtrArray *signatures, GCancellable *cancellable,
           GError **error)
{
  g_autoptr (GMainContext) context = g_main_context_new ();
  SoupSession *session;
  gboolean ok = TRUE;

  g_main_context_push_thread_default (context);
  session = soup_session_new_with_options ("timeout", HTTP_TIMEOUT_S, "user-agent", "gantry/" GANTRY_VERSION,
                                           NULL);
  for (guint n = 1; ok && n <= LOOKASIDE_MAX_SIGNATURES; n++)
    {
      g_autofree char *escaped = g_uri_escape_string (place, G_URI_RESERVED_CHARS_ALLOWED_IN_PATH, FALSE);
      g_autofree char *full = g_strdup_printf ("%s/%s/signature-%u", url, escaped, n);
      GBytes *data;

      ok = fetch (session, full, &data, cancellable, error);
      if (!ok || data == NULL)
        break;
      add (signatures, data, g_steal_pointer (&full));
    }
  g_object_unref (session);
  g_main_context_pop_thread_default (context);
  return ok;
}

gboolean
lookaside_read (const char *url, const GantryReference *reference, const char *digest, GPtrArray *signatures,
                GCancellable *cancellable, GError **error)
{
  g_autofree char *place = place_of (reference, digest);
  g_autofree char *base = g_strdup (url);

  while (base[0] != '\0' && base[strlen (base) - 1] == '/')
    base[strlen (base) - 1] = '\0';
  if (g_str_has_prefix (base, "file:///"))
    return read_files (base, place, signatures, error);
  if (g_str_has_prefix (base, "https://") || g_str_has_prefix (base, "http://"))
    return read_http (base, place, signatures, cancellable, error);
  return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                       "the signature store \"%s\" is none of file:///, http:// and https://", url);
}

/* Writes @data under the first free number of @dfd. *@ret_name: (transfer full). */
static gboolean
write_next (int dfd, GBytes *data, char **ret_name, GError **error)
{
  g_autofree char *temporary = g_strdup_printf (".signature-%08x", g_random_int ());
  gboolean done = FALSE;
  int saved_errno = 0;

  if (!gantry_replace_file_at (dfd, temporary, g_bytes_get_data (data, NULL), g_bytes_get_size (data), 0644,
                               TRUE, error))
    return FALSE;
  for (guint n = 1; !done && saved_errno == 0 && n <= LOOKASIDE_MAX_SIGNATURES; n++)
    {
      g_autofree char *name = g_strdup_printf ("signature-%u", n);

      /* A link, since it fails where a rename would replace. */
      done = linkat (dfd, temporary, dfd, name, 0) == 0;
      if (done)
        *ret_name = g_steal_pointer (&name);
      else if (errno != EEXIST)
        saved_errno = errno;
    }
  unlinkat (dfd, temporary, 0);
  if (saved_errno != 0)
    return gantry_throw_errno (error, saved_errno, "storing the signature");
  if (done && fsync (dfd) < 0)
    return gantry_throw_errno (error, errno, "storing the signature");
  return done
         || gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED,
                          "there are %d signatures of this image already", LOOKASIDE_MAX_SIGNATURES);
}

gboolean
lookaside_write (const char *url, const GantryReference *reference, const char *digest, GBytes *signature,
                 char **ret_location, GError **error)
{
  g_autofree char *place = place_of (reference, digest);
  g_autofree char *base = NULL, *name = NULL;
  gantry_autofd int base_fd = -1;
  gantry_autofd int dfd = -1;

  if (!g_str_has_prefix (url, "file:///"))
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION,
                         "signatures of %s are kept at %s, which cannot be written; name a lookaside-staging "
                         "directory in registries.d",
                         reference->server, url);
  base = g_filename_from_uri (url, NULL, error);
  if (base == NULL)
    return FALSE;
  if (g_mkdir_with_parents (base, 0755) < 0 || (base_fd = open (base, O_DIRECTORY | O_CLOEXEC)) < 0)
    return gantry_throw_errno (error, errno, "the signature store %s", base);
  dfd = gantry_open_dir_at (base_fd, place, 0755, error);
  if (dfd < 0 || !write_next (dfd, signature, &name, error))
    return FALSE;
  *ret_location = g_strdup_printf ("%s/%s/%s", base, place, name);
  return TRUE;
}
