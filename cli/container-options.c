/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Options of containers and processes: from the command line to the daemon's words (sdk/gantry/tasks.h). */
#include "cli.h"

#include <string.h>

static void
add_strv (GVariantDict *dict, const char *key, char **value)
{
  if (value != NULL)
    g_variant_dict_insert (dict, key, "^as", value);
}

static void
add_string (GVariantDict *dict, const char *key, const char *value)
{
  if (value != NULL)
    g_variant_dict_insert (dict, key, "s", value);
}

static void
add_map (GVariantDict *dict, const char *key, char **pairs)
{
  if (pairs != NULL)
    g_variant_dict_insert_value (dict, key, cli_pairs (pairs));
}

/* "512m" in bytes. */
static gboolean
parse_size (const char *text, guint64 *ret_bytes)
{
  char *end;
  guint64 value = g_ascii_strtoull (text, &end, 10);
  guint shift = *end == 'k' || *end == 'K'   ? 10
                : *end == 'm' || *end == 'M' ? 20
                : *end == 'g' || *end == 'G' ? 30
                                             : 0;

  if (end == text || (*end != '\0' && (shift == 0 || end[1] != '\0')) || value > (G_MAXUINT64 >> shift))
    return FALSE;
  *ret_bytes = value << shift;
  return TRUE;
}

/* "type=bind,src=/a,dst=/b,options=rbind:ro" or "/a:/b[:ro]" */
static gboolean
add_mounts (GVariantDict *dict, char **mounts)
{
  GVariantBuilder list;

  if (mounts == NULL)
    return TRUE;
  g_variant_builder_init (&list, G_VARIANT_TYPE ("aa{sv}"));
  for (gsize i = 0; mounts[i] != NULL; i++)
    {
      g_auto (GStrv) parts = g_strsplit (mounts[i], strchr (mounts[i], '=') != NULL ? "," : ":", -1);
      g_auto (GStrv) options = NULL;
      const char *type = "bind", *source = NULL, *destination = NULL;

      for (gsize j = 0; parts[j] != NULL; j++)
        {
          char *equals = strchr (parts[j], '=');
          const char *value = equals != NULL ? equals + 1 : parts[j];

          if (equals == NULL && j == 0)
            source = value;
          else if (equals == NULL && j == 1)
            destination = value;
          else if (equals == NULL || g_str_has_prefix (parts[j], "options="))
            {
              g_autofree char *joined = g_strconcat (equals == NULL ? "rbind:" : "", value, NULL);

              g_strfreev (options);
              options = g_strsplit (joined, ":", -1);
            }
          else if (g_str_has_prefix (parts[j], "type="))
            type = value;
          else if (g_str_has_prefix (parts[j], "src=") || g_str_has_prefix (parts[j], "source="))
            source = value;
          else if (g_str_has_prefix (parts[j], "dst=") || g_str_has_prefix (parts[j], "destination="))
            destination = value;
        }
      if (destination == NULL)
        {
          cli_fail ("mount \"%s\" is neither SOURCE:DESTINATION[:OPTION…] nor type=…,src=…,dst=…", mounts[i]);
          return FALSE;
        }
      g_variant_builder_open (&list, G_VARIANT_TYPE_VARDICT);
      g_variant_builder_add (&list, "{sv}", "type", g_variant_new_string (type));
      g_variant_builder_add (&list, "{sv}", "source", g_variant_new_string (source != NULL ? source : type));
      g_variant_builder_add (&list, "{sv}", "destination", g_variant_new_string (destination));
      if (options != NULL)
        g_variant_builder_add (&list, "{sv}", "options",
                               g_variant_new_strv ((const char *const *)options, -1));
      g_variant_builder_close (&list);
    }
  g_variant_dict_insert_value (dict, "mounts", g_variant_builder_end (&list));
  return TRUE;
}

GVariant *
run_options_to_variant (const RunOptions *run, char **args)
{
  GVariantDict dict;
  guint64 memory;

  g_variant_dict_init (&dict, NULL);
  if (args[0] != NULL)
    add_strv (&dict, "args", args);
  if (run->entrypoint != NULL)
    {
      const char *const entrypoint[] = { run->entrypoint, NULL };

      add_strv (&dict, "entrypoint", (char **)entrypoint);
    }
  add_strv (&dict, "env", run->env);
  add_strv (&dict, "cap-add", run->cap_add);
  add_strv (&dict, "cap-drop", run->cap_drop);
  add_strv (&dict, "devices", run->devices);
  add_strv (&dict, "rlimits", run->ulimits);
  add_map (&dict, "labels", run->labels);
  add_map (&dict, "annotations", run->annotations);
  add_string (&dict, "user", run->user);
  add_string (&dict, "cwd", run->cwd);
  add_string (&dict, "hostname", run->hostname);
  add_string (&dict, "network", run->network);
  add_string (&dict, "snapshotter", run->snapshotter);
  add_string (&dict, "platform", run->platform);
  add_string (&dict, "runtime", run->runtime);
  add_string (&dict, "seccomp", run->seccomp);
  if (run->tty)
    g_variant_dict_insert (&dict, "tty", "b", TRUE);
  if (run->read_only)
    g_variant_dict_insert (&dict, "read-only", "b", TRUE);
  if (run->no_new_privileges)
    g_variant_dict_insert (&dict, "no-new-privileges", "b", TRUE);
  if (run->privileged)
    g_variant_dict_insert (&dict, "privileged", "b", TRUE);
  if (run->cpus > 0)
    g_variant_dict_insert (&dict, "cpus", "d", run->cpus);
  if (run->pids != 0)
    g_variant_dict_insert (&dict, "pids", "x", run->pids);
  if (run->memory != NULL && !parse_size (run->memory, &memory))
    {
      cli_fail ("memory \"%s\" is not a number of bytes with k, m or g", run->memory);
      g_variant_dict_clear (&dict);
      return NULL;
    }
  if (run->memory != NULL)
    g_variant_dict_insert (&dict, "memory", "t", memory);
  if (run->spec != NULL)
    {
      g_autofree char *text = NULL;
      g_autoptr (GError) error = NULL;

      if (!g_file_get_contents (run->spec, &text, NULL, &error))
        {
          cli_fail_error (g_steal_pointer (&error));
          g_variant_dict_clear (&dict);
          return NULL;
        }
      add_string (&dict, "spec", text);
    }
  if (!add_mounts (&dict, run->mounts))
    {
      g_variant_dict_clear (&dict);
      return NULL;
    }
  return g_variant_dict_end (&dict);
}

void
run_options_clear (RunOptions *run)
{
  g_free (run->name);
  g_free (run->user);
  g_free (run->cwd);
  g_free (run->hostname);
  g_free (run->network);
  g_free (run->memory);
  g_free (run->snapshotter);
  g_free (run->entrypoint);
  g_free (run->pull);
  g_free (run->spec);
  g_free (run->pid_file);
  g_free (run->platform);
  g_free (run->runtime);
  g_free (run->seccomp);
  g_strfreev (run->env);
  g_strfreev (run->mounts);
  g_strfreev (run->cap_add);
  g_strfreev (run->cap_drop);
  g_strfreev (run->devices);
  g_strfreev (run->ulimits);
  g_strfreev (run->labels);
  g_strfreev (run->annotations);
}
