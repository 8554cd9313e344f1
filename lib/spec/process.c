/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The "process" of a spec: arguments, environment, user, capabilities, limits. */
#include "spec-private.h"

#include <string.h>

#define DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* What an unprivileged container's root may do: the set that the field has settled on. */
static const char *const default_capabilities[] = {
  "CAP_CHOWN",
  "CAP_DAC_OVERRIDE",
  "CAP_FSETID",
  "CAP_FOWNER",
  "CAP_MKNOD",
  "CAP_NET_RAW",
  "CAP_SETGID",
  "CAP_SETUID",
  "CAP_SETFCAP",
  "CAP_SETPCAP",
  "CAP_NET_BIND_SERVICE",
  "CAP_SYS_CHROOT",
  "CAP_KILL",
  "CAP_AUDIT_WRITE",
  NULL,
};

static const char *const all_capabilities[] = {
  "CAP_CHOWN",
  "CAP_DAC_OVERRIDE",
  "CAP_DAC_READ_SEARCH",
  "CAP_FOWNER",
  "CAP_FSETID",
  "CAP_KILL",
  "CAP_SETGID",
  "CAP_SETUID",
  "CAP_SETPCAP",
  "CAP_LINUX_IMMUTABLE",
  "CAP_NET_BIND_SERVICE",
  "CAP_NET_BROADCAST",
  "CAP_NET_ADMIN",
  "CAP_NET_RAW",
  "CAP_IPC_LOCK",
  "CAP_IPC_OWNER",
  "CAP_SYS_MODULE",
  "CAP_SYS_RAWIO",
  "CAP_SYS_CHROOT",
  "CAP_SYS_PTRACE",
  "CAP_SYS_PACCT",
  "CAP_SYS_ADMIN",
  "CAP_SYS_BOOT",
  "CAP_SYS_NICE",
  "CAP_SYS_RESOURCE",
  "CAP_SYS_TIME",
  "CAP_SYS_TTY_CONFIG",
  "CAP_MKNOD",
  "CAP_LEASE",
  "CAP_AUDIT_WRITE",
  "CAP_AUDIT_CONTROL",
  "CAP_SETFCAP",
  "CAP_MAC_OVERRIDE",
  "CAP_MAC_ADMIN",
  "CAP_SYSLOG",
  "CAP_WAKE_ALARM",
  "CAP_BLOCK_SUSPEND",
  "CAP_AUDIT_READ",
  "CAP_PERFMON",
  "CAP_BPF",
  "CAP_CHECKPOINT_RESTORE",
  NULL,
};

void
spec_add_strings (JsonBuilder *builder, const char *name, const char *const *strings)
{
  json_builder_set_member_name (builder, name);
  json_builder_begin_array (builder);
  for (gsize i = 0; strings != NULL && strings[i] != NULL; i++)
    json_builder_add_string_value (builder, strings[i]);
  json_builder_end_array (builder);
}

static char **
lookup_strv (GVariantDict *options, const char *name)
{
  char **value = NULL;

  return g_variant_dict_lookup (options, name, "^as", &value) ? value : NULL;
}

/* "net_admin" or "CAP_NET_ADMIN" as the kernel's name, or NULL. */
static const char *
find_capability (const char *name)
{
  for (gsize i = 0; all_capabilities[i] != NULL; i++)
    if (g_ascii_strcasecmp (all_capabilities[i], name) == 0
        || g_ascii_strcasecmp (all_capabilities[i] + 4, name) == 0)
      return all_capabilities[i];
  return NULL;
}

static gboolean
change_capabilities (GHashTable *set, char **names, gboolean add, GError **error)
{
  for (gsize i = 0; names != NULL && names[i] != NULL; i++)
    {
      const char *capability = find_capability (names[i]);

      if (g_ascii_strcasecmp (names[i], "all") == 0)
        {
          for (gsize j = 0; add && all_capabilities[j] != NULL; j++)
            g_hash_table_add (set, (gpointer)all_capabilities[j]);
          if (!add)
            g_hash_table_remove_all (set);
        }
      else if (capability == NULL)
        return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "\"%s\" is no capability", names[i]);
      else if (add)
        g_hash_table_add (set, (gpointer)capability);
      else
        g_hash_table_remove (set, capability);
    }
  return TRUE;
}

char **
spec_capabilities (GVariantDict *options, GError **error)
{
  g_autoptr (GHashTable) set = g_hash_table_new (g_str_hash, g_str_equal);
  g_auto (GStrv) add = lookup_strv (options, "cap-add");
  g_auto (GStrv) drop = lookup_strv (options, "cap-drop");
  gboolean privileged = FALSE;
  const char *const *start;
  GPtrArray *list;

  g_variant_dict_lookup (options, "privileged", "b", &privileged);
  start = privileged ? all_capabilities : default_capabilities;
  for (gsize i = 0; start[i] != NULL; i++)
    g_hash_table_add (set, (gpointer)find_capability (start[i]));
  if (!change_capabilities (set, drop, FALSE, error) || !change_capabilities (set, add, TRUE, error))
    return NULL;
  list = g_ptr_array_new ();
  for (gsize i = 0; all_capabilities[i] != NULL; i++)
    if (g_hash_table_contains (set, all_capabilities[i]))
      g_ptr_array_add (list, g_strdup (all_capabilities[i]));
  g_ptr_array_add (list, NULL);
  return (char **)g_ptr_array_free (list, FALSE);
}

static void
add_capabilities (JsonBuilder *builder, const char *const *capabilities)
{
  static const char *const sets[] = { "bounding", "effective", "permitted" };

  json_builder_set_member_name (builder, "capabilities");
  json_builder_begin_object (builder);
  for (gsize i = 0; i < G_N_ELEMENTS (sets); i++)
    spec_add_strings (builder, sets[i], capabilities);
  json_builder_end_object (builder);
}

/* Later settings of a variable win; one without "=" takes it away. */
static void
set_env (GPtrArray *env, const char *setting)
{
  gsize length = strcspn (setting, "=");

  for (guint i = 0; i < env->len; i++)
    {
      const char *have = g_ptr_array_index (env, i);

      if (strncmp (have, setting, length) == 0 && have[length] == '=')
        {
          g_ptr_array_remove_index (env, i);
          break;
        }
    }
  if (setting[length] == '=')
    g_ptr_array_add (env, g_strdup (setting));
}

static void
add_env (JsonBuilder *builder, JsonObject *image, GVariantDict *options, SpecUser *user, gboolean tty)
{
  g_autoptr (GPtrArray) env = g_ptr_array_new_with_free_func (g_free);
  g_auto (GStrv) from_image = oci_strv (image, "Env");
  g_auto (GStrv) from_options = lookup_strv (options, "env");
  g_autofree char *home = g_strconcat ("HOME=", user->home != NULL ? user->home : "/", NULL);

  set_env (env, DEFAULT_PATH);
  set_env (env, home);
  if (tty)
    set_env (env, "TERM=xterm");
  for (gsize i = 0; from_image[i] != NULL; i++)
    set_env (env, from_image[i]);
  for (gsize i = 0; from_options != NULL && from_options[i] != NULL; i++)
    set_env (env, from_options[i]);
  g_ptr_array_add (env, NULL);
  spec_add_strings (builder, "env", (const char *const *)env->pdata);
}

static gboolean
add_args (JsonBuilder *builder, JsonObject *image, GVariantDict *options, GError **error)
{
  g_auto (GStrv) entrypoint = lookup_strv (options, "entrypoint");
  g_auto (GStrv) args = lookup_strv (options, "args");
  g_autoptr (GPtrArray) all = g_ptr_array_new ();
  gboolean replaced = entrypoint != NULL;

  if (entrypoint == NULL)
    entrypoint = oci_strv (image, "Entrypoint");
  /* As docker and podman do: another entrypoint takes the image's command with it. */
  if ((args == NULL || args[0] == NULL) && !replaced)
    {
      g_strfreev (args);
      args = oci_strv (image, "Cmd");
    }
  for (gsize i = 0; entrypoint[i] != NULL; i++)
    g_ptr_array_add (all, entrypoint[i]);
  for (gsize i = 0; args != NULL && args[i] != NULL; i++)
    g_ptr_array_add (all, args[i]);
  if (all->len == 0)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "the image names no command to run; give one after the image's name");
  g_ptr_array_add (all, NULL);
  spec_add_strings (builder, "args", (const char *const *)all->pdata);
  return TRUE;
}

static gboolean
add_rlimits (JsonBuilder *builder, GVariantDict *options, GError **error)
{
  g_auto (GStrv) rlimits = lookup_strv (options, "rlimits");

  json_builder_set_member_name (builder, "rlimits");
  json_builder_begin_array (builder);
  for (gsize i = 0; rlimits != NULL && rlimits[i] != NULL; i++)
    {
      g_auto (GStrv) parts = g_strsplit_set (rlimits[i], "=:", 3);
      g_autofree char *upper = g_ascii_strup (parts[0], -1);
      g_autofree char *type = g_strconcat (g_str_has_prefix (upper, "RLIMIT_") ? "" : "RLIMIT_", upper, NULL);
      guint64 soft, hard;

      if (parts[1] == NULL || !g_ascii_string_to_unsigned (parts[1], 10, 0, G_MAXINT64, &soft, NULL)
          || !g_ascii_string_to_unsigned (parts[2] != NULL ? parts[2] : parts[1], 10, soft, G_MAXINT64, &hard,
                                          NULL))
        {
          json_builder_end_array (builder);
          return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "rlimit \"%s\" is not NAME=SOFT[:HARD]",
                               rlimits[i]);
        }
      json_builder_begin_object (builder);
      json_builder_set_member_name (builder, "type");
      json_builder_add_string_value (builder, type);
      json_builder_set_member_name (builder, "soft");
      json_builder_add_int_value (builder, (gint64)soft);
      json_builder_set_member_name (builder, "hard");
      json_builder_add_int_value (builder, (gint64)hard);
      json_builder_end_object (builder);
    }
  json_builder_end_array (builder);
  return TRUE;
}

static void
add_user (JsonBuilder *builder, SpecUser *user)
{
  json_builder_set_member_name (builder, "user");
  json_builder_begin_object (builder);
  json_builder_set_member_name (builder, "uid");
  json_builder_add_int_value (builder, user->uid);
  json_builder_set_member_name (builder, "gid");
  json_builder_add_int_value (builder, user->gid);
  json_builder_set_member_name (builder, "additionalGids");
  json_builder_begin_array (builder);
  for (guint i = 0; i < user->groups->len; i++)
    json_builder_add_int_value (builder, g_array_index (user->groups, guint32, i));
  json_builder_end_array (builder);
  json_builder_end_object (builder);
}

gboolean
spec_add_process (JsonBuilder *builder, JsonObject *config, GPtrArray *mounts, GVariantDict *options,
                  GError **error)
{
  JsonObject *image = oci_object (config, "config");
  g_auto (GStrv) capabilities = spec_capabilities (options, error);
  const char *text = oci_string (image, "User"), *cwd = oci_string (image, "WorkingDir");
  gboolean tty = FALSE, no_new_privileges = TRUE, privileged = FALSE, ok;
  gint32 oom = 0;
  SpecUser user;

  if (capabilities == NULL)
    return FALSE;
  g_variant_dict_lookup (options, "user", "&s", &text);
  g_variant_dict_lookup (options, "cwd", "&s", &cwd);
  g_variant_dict_lookup (options, "tty", "b", &tty);
  g_variant_dict_lookup (options, "privileged", "b", &privileged);
  no_new_privileges = !privileged;
  g_variant_dict_lookup (options, "no-new-privileges", "b", &no_new_privileges);
  ok = spec_user_lookup (text, mounts, &user, error);
  if (ok && cwd != NULL && cwd[0] != '\0' && cwd[0] != '/')
    ok = gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                       "the working directory \"%s\" is not an absolute path", cwd);
  json_builder_set_member_name (builder, "process");
  json_builder_begin_object (builder);
  json_builder_set_member_name (builder, "terminal");
  json_builder_add_boolean_value (builder, tty);
  if (ok)
    {
      add_user (builder, &user);
      add_env (builder, image, options, &user, tty);
      json_builder_set_member_name (builder, "cwd");
      json_builder_add_string_value (builder, cwd != NULL && cwd[0] != '\0' ? cwd : "/");
      add_capabilities (builder, (const char *const *)capabilities);
      json_builder_set_member_name (builder, "noNewPrivileges");
      json_builder_add_boolean_value (builder, no_new_privileges);
      ok = add_args (builder, image, options, error) && add_rlimits (builder, options, error);
    }
  if (g_variant_dict_lookup (options, "oom-score-adj", "i", &oom))
    {
      json_builder_set_member_name (builder, "oomScoreAdj");
      json_builder_add_int_value (builder, oom);
    }
  json_builder_end_object (builder);
  spec_user_clear (&user);
  return ok;
}
