/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * registry-oci for the tests in Python: loads the module as the daemon does and makes one call.
 *
 *     registry-tool MODULE DIRECTORY [KEY=VALUE…] COMMAND…
 *
 * Keys in capitals are the module's configuration; the rest is the call's: user, password, identity, bearer,
 * header.NAME, and the registry options. "memory=yes" prints the peak of the process's memory in kB on
 * stderr, "cancel-ms=N" cancels after N ms. */
#include <stdio.h>
#include <string.h>

#include <gantry/registry.h>
#include <gantry/testing/fake-host.h>

typedef struct
{
  GantryRegistry *registry;
  GantryRegistryAccess *access;
  GantryRepository *repository;
  GCancellable *cancellable;
} Tool;

static void
print_descriptor (GantryDescriptor *descriptor)
{
  printf ("%s %s %" G_GUINT64_FORMAT "\n", descriptor->media_type, descriptor->digest, descriptor->blob_size);
}

static gboolean
run_resolve (Tool *tool, char *argv[], GError **error)
{
  g_autoptr (GantryDescriptor) descriptor = NULL;

  if (!gantry_repository_resolve (tool->repository, argv[0], &descriptor, tool->cancellable, error))
    return FALSE;
  print_descriptor (descriptor);
  return TRUE;
}

static gboolean
run_manifest (Tool *tool, char *argv[], GError **error)
{
  g_autoptr (GantryDescriptor) descriptor = NULL;
  g_autoptr (GBytes) bytes = NULL;

  if (!gantry_repository_fetch_manifest (tool->repository, argv[0], &descriptor, &bytes, tool->cancellable,
                                         error))
    return FALSE;
  print_descriptor (descriptor);
  fwrite (g_bytes_get_data (bytes, NULL), 1, g_bytes_get_size (bytes), stdout);
  return TRUE;
}

static guint64
number (const char *text)
{
  return text != NULL ? g_ascii_strtoull (text, NULL, 10) : 0;
}

/* DIGEST SIZE OFFSET LENGTH [URL]: the bytes go to stdout; with "sum" as OFFSET only their digest. */
static gboolean
run_blob (Tool *tool, char *argv[], GError **error)
{
  g_autoptr (GantryDescriptor) blob
      = gantry_descriptor_new ("application/octet-stream", argv[0], number (argv[1]), NULL);
  gboolean sum = strcmp (argv[2], "sum") == 0;
  const char *urls[] = { argv[4], NULL };
  g_autoptr (GInputStream) stream = NULL;
  g_autoptr (GChecksum) checksum = g_checksum_new (G_CHECKSUM_SHA256);
  g_autofree guint8 *buffer = g_malloc (256 * 1024);
  gssize n;

  if (!gantry_repository_fetch (tool->repository, blob, urls, sum ? 0 : number (argv[2]), number (argv[3]),
                                &stream, tool->cancellable, error))
    return FALSE;
  while ((n = g_input_stream_read (stream, buffer, 256 * 1024, tool->cancellable, error)) > 0)
    {
      g_checksum_update (checksum, buffer, n);
      if (!sum)
        fwrite (buffer, 1, (gsize)n, stdout);
    }
  if (sum && n == 0)
    printf ("sha256:%s\n", g_checksum_get_string (checksum));
  return n == 0;
}

typedef struct
{
  Tool *tool;
  GantryDescriptor *blob;
  guint64 offset, length;
  int fd;
  GError *error;
} Part;

static gpointer
fetch_part (gpointer data)
{
  Part *part = data;
  g_autoptr (GInputStream) stream = NULL;
  g_autofree guint8 *buffer = g_malloc (64 * 1024);
  gssize n;

  if (!gantry_repository_fetch (part->tool->repository, part->blob, NULL, part->offset, part->length, &stream,
                                part->tool->cancellable, &part->error))
    return NULL;
  while ((n = g_input_stream_read (stream, buffer, 64 * 1024, part->tool->cancellable, &part->error)) > 0)
    {
      g_assert_cmpint (pwrite (part->fd, buffer, (gsize)n, (off_t)part->offset), ==, n);
      part->offset += (guint64)n;
    }
  return NULL;
}

/* DIGEST SIZE FILE N: fetches N ranges from N threads at once into FILE. */
static gboolean
run_parts (Tool *tool, char *argv[], GError **error)
{
  g_autoptr (GantryDescriptor) blob
      = gantry_descriptor_new ("application/octet-stream", argv[0], number (argv[1]), NULL);
  guint n = (guint)number (argv[3]);
  guint64 step = blob->blob_size / n + 1;
  int fd = open (argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  g_autofree Part *parts = g_new0 (Part, n);
  g_autofree GThread **threads = g_new0 (GThread *, n);
  gboolean good = TRUE;

  for (guint i = 0; i < n; i++)
    {
      parts[i] = (Part){ tool, blob, i * step, MIN (step, blob->blob_size - i * step), fd, NULL };
      threads[i] = g_thread_new ("part", fetch_part, &parts[i]);
    }
  for (guint i = 0; i < n; i++)
    {
      g_thread_join (threads[i]);
      if (parts[i].error != NULL && good)
        g_propagate_error (error, parts[i].error);
      good &= parts[i].error == NULL;
    }
  close (fd);
  return good;
}

static gboolean
run_has (Tool *tool, char *argv[], GError **error)
{
  guint64 size;

  if (!gantry_repository_has_blob (tool->repository, argv[0], &size, tool->cancellable, error))
    return FALSE;
  printf ("%" G_GUINT64_FORMAT "\n", size);
  return TRUE;
}

static void
on_progress (guint64 bytes, gpointer user_data)
{
  *(guint64 *)user_data = bytes;
}

/* FILE DIGEST CHUNK [MOUNT-FROM…] */
static gboolean
run_push_blob (Tool *tool, char *argv[], GError **error)
{
  static const char *const how[] = { "exists", "mounted", "uploaded" };
  int fd = open (argv[0], O_RDONLY | O_CLOEXEC);
  struct stat st;
  g_autoptr (GantryDescriptor) blob = NULL;
  g_autoptr (GVariant) options = NULL;
  guint64 sent = 0;
  GantryPushed pushed;
  gboolean good;

  g_assert_cmpint (fstat (fd, &st), ==, 0);
  blob = gantry_descriptor_new ("application/octet-stream", argv[1], (guint64)st.st_size, NULL);
  options = g_variant_ref_sink (g_variant_new_parsed ("{'chunk-size': <%t>}", number (argv[2])));
  good = gantry_repository_push_blob (tool->repository, blob, fd, (const char *const *)argv + 3, options,
                                      on_progress, &sent, &pushed, tool->cancellable, error);
  close (fd);
  if (good)
    printf ("%s %" G_GUINT64_FORMAT "\n", how[pushed], sent);
  return good;
}

/* FILE TYPE TAG|- */
static gboolean
run_push_manifest (Tool *tool, char *argv[], GError **error)
{
  g_autofree char *text = NULL;
  gsize length;
  g_autoptr (GBytes) bytes = NULL;
  g_autoptr (GantryDescriptor) descriptor = NULL;

  if (!g_file_get_contents (argv[0], &text, &length, error))
    return FALSE;
  bytes = g_bytes_new (text, length);
  if (!gantry_repository_push_manifest (tool->repository, strcmp (argv[2], "-") == 0 ? NULL : argv[2],
                                        argv[1], bytes, &descriptor, tool->cancellable, error))
    return FALSE;
  print_descriptor (descriptor);
  return TRUE;
}

static gboolean
run_referrers (Tool *tool, char *argv[], GError **error)
{
  g_autoptr (GPtrArray) found = NULL;

  if (!gantry_repository_list_referrers (tool->repository, argv[0], argv[1], &found, tool->cancellable,
                                         error))
    return FALSE;
  for (guint i = 0; i < found->len; i++)
    {
      GantryDescriptor *descriptor = g_ptr_array_index (found, i);

      printf ("%s %s\n", descriptor->artifact_type != NULL ? descriptor->artifact_type : "-",
              descriptor->digest);
    }
  return TRUE;
}

static gboolean
run_tags (Tool *tool, char *argv[], GError **error)
{
  g_auto (GStrv) tags = NULL;

  if (!gantry_repository_list_tags (tool->repository, argv[1], (guint)number (argv[0]), &tags,
                                    tool->cancellable, error))
    return FALSE;
  for (gsize i = 0; tags[i] != NULL; i++)
    printf ("%s\n", tags[i]);
  return TRUE;
}

static const struct
{
  const char *name;
  gboolean (*run) (Tool *tool, char *argv[], GError **error);
} commands[] = {
  { "resolve", run_resolve },
  { "manifest", run_manifest },
  { "blob", run_blob },
  { "parts", run_parts },
  { "has", run_has },
  { "push-blob", run_push_blob },
  { "push-manifest", run_push_manifest },
  { "referrers", run_referrers },
  { "tags", run_tags },
};

static gboolean
print_variant (GVariant *value)
{
  g_autofree char *text = g_variant_print (value, FALSE);

  printf ("%s\n", text);
  g_variant_unref (value);
  return TRUE;
}

static gboolean
run (Tool *tool, char *argv[], GError **error)
{
  const char *name = argv[0], *reference = argv[1];
  GVariant *value = NULL;
  g_auto (GStrv) names = NULL;

  if (strcmp (name, "complete") == 0
      && gantry_registry_complete (tool->registry, reference, &names, NULL, error))
    for (gsize i = 0; names[i] != NULL; i++)
      printf ("%s\n", names[i]);
  if (strcmp (name, "complete") == 0)
    return names != NULL;
  if (strcmp (name, "explain") == 0)
    return gantry_registry_explain (tool->registry, reference, argv[2] != NULL, tool->access, &value,
                                    tool->cancellable, error)
           && print_variant (value);
  if (strcmp (name, "login") == 0)
    return gantry_registry_login (tool->registry, reference, tool->access, argv[2] != NULL, &value,
                                  tool->cancellable, error)
           && print_variant (value);
  if (strcmp (name, "logout") == 0)
    return gantry_registry_logout (tool->registry, reference, tool->cancellable, error);
  if (!gantry_registry_open (tool->registry, reference, tool->access, &tool->repository, tool->cancellable,
                             error))
    return FALSE;
  for (gsize i = 0; i < G_N_ELEMENTS (commands); i++)
    if (strcmp (commands[i].name, name) == 0)
      return commands[i].run (tool, argv + 2, error);
  return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "no command %s", name);
}

/* What asks the caller: @user_data is "USER:PASSWORD", or "" for a caller without credentials. */
static gboolean
answer (const char *host, const char *reference, const char *const *challenges,
        GantryCredentials **ret_credentials, gpointer user_data, GCancellable *cancellable, GError **error)
{
  g_auto (GStrv) parts = g_strsplit (user_data, ":", 2);

  fprintf (stderr, "asked for %s, %s: %s\n", host, reference,
           challenges != NULL && challenges[0] != NULL ? challenges[0] : "no challenge");
  if (strcmp (user_data, "fail") == 0)
    return gantry_throw (error, GANTRY_ERROR_PERMISSION_DENIED, "the caller does not say who it is");
  if (parts[0] != NULL && parts[1] != NULL)
    *ret_credentials
        = gantry_credentials_new (GANTRY_CREDENTIALS_PASSWORD, parts[0], parts[1], "the question");
  return TRUE;
}

typedef struct
{
  GVariantDict config, options;
  GVariantBuilder headers;
  const char *user, *secret, *ask;
  GantryCredentialsKind kind;
  gboolean memory, has_headers;
  guint cancel_ms;
} Settings;

static void
set (Settings *settings, const char *key, const char *value)
{
  if (g_ascii_isupper (key[0]))
    g_variant_dict_insert (&settings->config, key, "s", value);
  else if (strcmp (key, "user") == 0)
    settings->user = value;
  else if (strcmp (key, "ask") == 0)
    settings->ask = value;
  else if (strcmp (key, "memory") == 0)
    settings->memory = TRUE;
  else if (strcmp (key, "cancel-ms") == 0)
    settings->cancel_ms = (guint)number (value);
  else if (g_str_has_prefix (key, "header."))
    {
      g_variant_builder_add (&settings->headers, "{ss}", key + 7, value);
      settings->has_headers = TRUE;
    }
  else if (strcmp (key, "hosts-dir") == 0)
    g_variant_dict_insert (&settings->options, key, "s", value);
  else if (strcmp (key, "password") == 0 || strcmp (key, "identity") == 0 || strcmp (key, "bearer") == 0)
    {
      settings->secret = value;
      settings->kind = key[0] == 'p'   ? GANTRY_CREDENTIALS_PASSWORD
                       : key[0] == 'i' ? GANTRY_CREDENTIALS_IDENTITY_TOKEN
                                       : GANTRY_CREDENTIALS_BEARER;
    }
  else
    g_variant_dict_insert (&settings->options, key, "b", strcmp (value, "yes") == 0);
}

/* a{sv} of strings as a{ss}. */
static GVariant *
as_config (GVariant *values)
{
  GVariantBuilder builder;
  GVariantIter iter;
  const char *key;
  GVariant *value;

  g_variant_builder_init (&builder, G_VARIANT_TYPE ("a{ss}"));
  g_variant_iter_init (&iter, values);
  while (g_variant_iter_loop (&iter, "{&sv}", &key, &value))
    g_variant_builder_add (&builder, "{ss}", key, g_variant_get_string (value, NULL));
  g_variant_unref (values);
  return g_variant_builder_end (&builder);
}

static gpointer
cancel_later (gpointer data)
{
  Tool *tool = data;

  g_usleep ((gulong)GPOINTER_TO_UINT (g_object_get_data (G_OBJECT (tool->cancellable), "ms")) * 1000);
  g_cancellable_cancel (tool->cancellable);
  return NULL;
}

static void
print_memory (void)
{
  g_autofree char *status = NULL;
  const char *line;

  if (g_file_get_contents ("/proc/self/status", &status, NULL, NULL)
      && (line = strstr (status, "VmHWM:")) != NULL)
    fprintf (stderr, "memory %d\n", atoi (line + 6));
}

int
main (int argc, char *argv[])
{
  Settings settings = { .kind = GANTRY_CREDENTIALS_NONE };
  Tool tool = { .cancellable = g_cancellable_new () };
  g_autoptr (GError) error = NULL;
  g_autoptr (GantryCredentials) credentials = NULL;
  g_autoptr (GThread) canceller = NULL;
  GantryFakeHost *host;
  int i;
  gboolean good;

  g_variant_dict_init (&settings.config, NULL);
  g_variant_dict_init (&settings.options, NULL);
  g_variant_builder_init (&settings.headers, G_VARIANT_TYPE ("a{ss}"));
  for (i = 3; i < argc && strchr (argv[i], '=') != NULL; i++)
    {
      char *equals = strchr (argv[i], '=');

      *equals = '\0';
      set (&settings, argv[i], equals + 1);
    }
  if (settings.has_headers)
    g_variant_dict_insert_value (&settings.options, "headers", g_variant_builder_end (&settings.headers));
  else
    g_variant_builder_clear (&settings.headers);
  if (settings.secret != NULL)
    credentials = gantry_credentials_new (settings.kind, settings.user, settings.secret, "the call");
  tool.access = gantry_registry_access_new (credentials, g_variant_dict_end (&settings.options));
  if (settings.ask != NULL)
    {
      tool.access->ask = answer;
      tool.access->ask_data = (gpointer)settings.ask;
    }
  host = gantry_fake_host_new (argv[2],
                               as_config (g_variant_ref_sink (g_variant_dict_end (&settings.config))));
  host->verbose = TRUE;
  if (!gantry_fake_host_load (host, argv[1], NULL, NULL, &error))
    g_error ("%s", error->message);
  tool.registry = gantry_fake_host_get (host, GANTRY_REGISTRY_TYPE);
  if (settings.cancel_ms != 0)
    {
      g_object_set_data (G_OBJECT (tool.cancellable), "ms", GUINT_TO_POINTER (settings.cancel_ms));
      canceller = g_thread_new ("cancel", cancel_later, &tool);
    }
  good = run (&tool, argv + i, &error);
  if (!good)
    fprintf (stderr, "%s: %s\n", gantry_error_code_to_name (gantry_error_classify (error)), error->message);
  gantry_repository_unref (tool.repository);
  gantry_registry_access_unref (tool.access);
  if (canceller != NULL)
    g_thread_join (g_steal_pointer (&canceller));
  gantry_fake_host_free (host);
  g_object_unref (tool.cancellable);
  if (settings.memory)
    print_memory ();
  return good ? 0 : 1;
}
