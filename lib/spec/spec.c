/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The whole spec: root, mounts, namespaces, resources, devices. */
#include "spec-private.h"

#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

static const struct
{
  const char *name;
  const char *type;
} known_options[] = {
  { "args", "as" },
  { "entrypoint", "as" },
  { "env", "as" },
  { "user", "s" },
  { "cwd", "s" },
  { "hostname", "s" },
  { "tty", "b" },
  { "mounts", "aa{sv}" },
  { "read-only", "b" },
  { "privileged", "b" },
  { "memory", "t" },
  { "memory-swap", "x" },
  { "cpus", "d" },
  { "cpu-shares", "t" },
  { "cpuset-cpus", "s" },
  { "cpuset-mems", "s" },
  { "pids", "x" },
  { "cap-add", "as" },
  { "cap-drop", "as" },
  { "devices", "as" },
  { "rlimits", "as" },
  { "network", "s" },
  { "annotations", "a{ss}" },
  { "labels", "a{ss}" },
  { "seccomp", "s" },
  { "oom-score-adj", "i" },
  { "no-new-privileges", "b" },
  { "spec", "s" },
  { "snapshotter", "s" },
  { "runtime", "s" },
  { "runtime-options", "(say)" },
  { "platform", "s" },
  { "cgroup-path", "s" },
  { "sandbox-id", "s" },
};

gboolean
spec_check_options (GVariant *options, GError **error)
{
  GVariantIter iter;
  const char *name;
  GVariant *value;

  g_variant_iter_init (&iter, options);
  while (g_variant_iter_next (&iter, "{&sv}", &name, &value))
    {
      g_autoptr (GVariant) held = value;
      gsize i;

      for (i = 0; i < G_N_ELEMENTS (known_options); i++)
        if (strcmp (known_options[i].name, name) == 0)
          break;
      if (i == G_N_ELEMENTS (known_options))
        return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "unknown option \"%s\"", name);
      if (!g_variant_is_of_type (held, G_VARIANT_TYPE (known_options[i].type)))
        return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "option \"%s\" has type %s instead of %s",
                             name, g_variant_get_type_string (held), known_options[i].type);
    }
  return TRUE;
}

static void
add_mount (JsonBuilder *builder, const char *destination, const char *type, const char *source,
           const char *options)
{
  g_auto (GStrv) list = g_strsplit (options, ",", -1);

  json_builder_begin_object (builder);
  json_builder_set_member_name (builder, "destination");
  json_builder_add_string_value (builder, destination);
  json_builder_set_member_name (builder, "type");
  json_builder_add_string_value (builder, type);
  json_builder_set_member_name (builder, "source");
  json_builder_add_string_value (builder, source);
  spec_add_strings (builder, "options", (const char *const *)list);
  json_builder_end_object (builder);
}

static gboolean
add_option_mounts (JsonBuilder *builder, GVariantDict *options, GError **error)
{
  g_autoptr (GVariant) mounts = g_variant_dict_lookup_value (options, "mounts", G_VARIANT_TYPE ("aa{sv}"));
  GVariantIter iter;
  GVariant *one;

  if (mounts == NULL)
    return TRUE;
  g_variant_iter_init (&iter, mounts);
  while ((one = g_variant_iter_next_value (&iter)) != NULL)
    {
      g_autoptr (GVariant) held = one;
      const char *type = "bind", *source = "", *destination = NULL;
      g_auto (GStrv) list = NULL;
      g_autofree char *joined = NULL;

      g_variant_lookup (held, "type", "&s", &type);
      g_variant_lookup (held, "source", "&s", &source);
      g_variant_lookup (held, "destination", "&s", &destination);
      g_variant_lookup (held, "options", "^as", &list);
      if (destination == NULL || destination[0] != '/')
        return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "a mount has no absolute destination");
      if (strcmp (type, "bind") == 0 && source[0] != '/')
        return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                             "the source \"%s\" of the mount at %s is not an absolute path", source,
                             destination);
      joined = list != NULL && list[0] != NULL ? g_strjoinv (",", list)
                                               : g_strdup (strcmp (type, "bind") == 0 ? "rbind,rw" : "rw");
      add_mount (builder, destination, type, source, joined);
    }
  return TRUE;
}

static gboolean
add_mounts (JsonBuilder *builder, GVariantDict *options, gboolean privileged, GError **error)
{
  gboolean ok;

  json_builder_set_member_name (builder, "mounts");
  json_builder_begin_array (builder);
  add_mount (builder, "/proc", "proc", "proc", "nosuid,noexec,nodev");
  add_mount (builder, "/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k");
  add_mount (builder, "/dev/pts", "devpts", "devpts",
             "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5");
  add_mount (builder, "/dev/shm", "tmpfs", "shm", "nosuid,noexec,nodev,mode=1777,size=65536k");
  add_mount (builder, "/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev");
  add_mount (builder, "/sys", "sysfs", "sysfs",
             privileged ? "nosuid,noexec,nodev,rw" : "nosuid,noexec,nodev,ro");
  add_mount (builder, "/sys/fs/cgroup", "cgroup", "cgroup",
             privileged ? "rw,nosuid,noexec,nodev" : "ro,nosuid,noexec,nodev");
  add_mount (builder, "/run", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k");
  ok = add_option_mounts (builder, options, error);
  json_builder_end_array (builder);
  return ok;
}

/* In a unified hierarchy a container sees its own part of it as the whole, as the field has it; in cgroup v1
 * its mounts show just that part without a namespace. */
static gboolean
has_unified_cgroups (void)
{
  struct statfs fs;

  return statfs ("/sys/fs/cgroup", &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC;
}

static gboolean
add_namespaces (JsonBuilder *builder, GVariantDict *options, gboolean privileged, GError **error)
{
  static const char *const own[] = { "pid", "ipc", "uts", "mount", "cgroup" };
  gsize n_own = G_N_ELEMENTS (own) - (has_unified_cgroups () && !privileged ? 0 : 1);
  const char *network = "private";
  gboolean host;

  g_variant_dict_lookup (options, "network", "&s", &network);
  host = strcmp (network, "host") == 0;
  if (!host && strcmp (network, "private") != 0 && strcmp (network, "none") != 0 && network[0] != '/')
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "network \"%s\" is not private, host, none or a path", network);
  json_builder_set_member_name (builder, "namespaces");
  json_builder_begin_array (builder);
  for (gsize i = 0; i < n_own; i++)
    {
      json_builder_begin_object (builder);
      json_builder_set_member_name (builder, "type");
      json_builder_add_string_value (builder, own[i]);
      json_builder_end_object (builder);
    }
  if (!host)
    {
      json_builder_begin_object (builder);
      json_builder_set_member_name (builder, "type");
      json_builder_add_string_value (builder, "network");
      if (network[0] == '/')
        {
          json_builder_set_member_name (builder, "path");
          json_builder_add_string_value (builder, network);
        }
      json_builder_end_object (builder);
    }
  json_builder_end_array (builder);
  return TRUE;
}

static void
add_int (JsonBuilder *builder, const char *name, gint64 value)
{
  json_builder_set_member_name (builder, name);
  json_builder_add_int_value (builder, value);
}

static void
add_memory (JsonBuilder *builder, GVariantDict *options)
{
  guint64 memory = 0;
  gint64 swap = 0;

  json_builder_set_member_name (builder, "memory");
  json_builder_begin_object (builder);
  if (g_variant_dict_lookup (options, "memory", "t", &memory))
    add_int (builder, "limit", (gint64)MIN (memory, G_MAXINT64));
  if (g_variant_dict_lookup (options, "memory-swap", "x", &swap))
    add_int (builder, "swap", swap);
  json_builder_end_object (builder);
}

static void
add_cpu (JsonBuilder *builder, GVariantDict *options)
{
  const char *text;
  guint64 shares;
  double cpus;

  json_builder_set_member_name (builder, "cpu");
  json_builder_begin_object (builder);
  if (g_variant_dict_lookup (options, "cpus", "d", &cpus) && cpus > 0)
    {
      add_int (builder, "period", 100000);
      add_int (builder, "quota", (gint64)(CLAMP (cpus, 0.01, 100000.0) * 100000));
    }
  if (g_variant_dict_lookup (options, "cpu-shares", "t", &shares))
    add_int (builder, "shares", (gint64)MIN (shares, 262144));
  if (g_variant_dict_lookup (options, "cpuset-cpus", "&s", &text))
    {
      json_builder_set_member_name (builder, "cpus");
      json_builder_add_string_value (builder, text);
    }
  if (g_variant_dict_lookup (options, "cpuset-mems", "&s", &text))
    {
      json_builder_set_member_name (builder, "mems");
      json_builder_add_string_value (builder, text);
    }
  json_builder_end_object (builder);
}

typedef struct
{
  char *path;
  char *access;
  struct stat st;
} Device;

static void
device_free (gpointer data)
{
  Device *device = data;

  g_free (device->path);
  g_free (device->access);
  g_free (device);
}

static GPtrArray *
read_devices (GVariantDict *options, GError **error)
{
  g_autoptr (GPtrArray) devices = g_ptr_array_new_with_free_func (device_free);
  g_auto (GStrv) list = NULL;

  g_variant_dict_lookup (options, "devices", "^as", &list);
  for (gsize i = 0; list != NULL && list[i] != NULL; i++)
    {
      g_auto (GStrv) parts = g_strsplit (list[i], ":", 3);
      Device *device = g_new0 (Device, 1);

      g_ptr_array_add (devices, device);
      if (parts[0] == NULL || stat (parts[0], &device->st) < 0
          || !(S_ISCHR (device->st.st_mode) || S_ISBLK (device->st.st_mode)))
        {
          gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "\"%s\" is no device", list[i]);
          return NULL;
        }
      device->path = g_strdup (parts[1] != NULL && parts[1][0] == '/' ? parts[1] : parts[0]);
      device->access = g_strdup (parts[1] != NULL && parts[2] != NULL ? parts[2] : "rwm");
    }
  return g_steal_pointer (&devices);
}

static void
add_device_rule (JsonBuilder *builder, gboolean allow, const Device *device)
{
  json_builder_begin_object (builder);
  json_builder_set_member_name (builder, "allow");
  json_builder_add_boolean_value (builder, allow);
  if (device != NULL)
    {
      json_builder_set_member_name (builder, "type");
      json_builder_add_string_value (builder, S_ISCHR (device->st.st_mode) ? "c" : "b");
      add_int (builder, "major", major (device->st.st_rdev));
      add_int (builder, "minor", minor (device->st.st_rdev));
    }
  json_builder_set_member_name (builder, "access");
  json_builder_add_string_value (builder, device != NULL ? device->access : "rwm");
  json_builder_end_object (builder);
}

static void
add_devices (JsonBuilder *builder, GPtrArray *devices)
{
  json_builder_set_member_name (builder, "devices");
  json_builder_begin_array (builder);
  for (guint i = 0; i < devices->len; i++)
    {
      const Device *device = g_ptr_array_index (devices, i);

      json_builder_begin_object (builder);
      json_builder_set_member_name (builder, "path");
      json_builder_add_string_value (builder, device->path);
      json_builder_set_member_name (builder, "type");
      json_builder_add_string_value (builder, S_ISCHR (device->st.st_mode) ? "c" : "b");
      add_int (builder, "major", major (device->st.st_rdev));
      add_int (builder, "minor", minor (device->st.st_rdev));
      add_int (builder, "fileMode", device->st.st_mode & 0777);
      add_int (builder, "uid", device->st.st_uid);
      add_int (builder, "gid", device->st.st_gid);
      json_builder_end_object (builder);
    }
  json_builder_end_array (builder);
}

static void
add_resources (JsonBuilder *builder, GVariantDict *options, GPtrArray *devices, gboolean privileged)
{
  gint64 pids;

  json_builder_set_member_name (builder, "resources");
  json_builder_begin_object (builder);
  json_builder_set_member_name (builder, "devices");
  json_builder_begin_array (builder);
  add_device_rule (builder, privileged, NULL);
  for (guint i = 0; i < devices->len; i++)
    add_device_rule (builder, TRUE, g_ptr_array_index (devices, i));
  json_builder_end_array (builder);
  add_memory (builder, options);
  add_cpu (builder, options);
  if (g_variant_dict_lookup (options, "pids", "x", &pids))
    {
      json_builder_set_member_name (builder, "pids");
      json_builder_begin_object (builder);
      add_int (builder, "limit", pids);
      json_builder_end_object (builder);
    }
  json_builder_end_object (builder);
}

static gboolean
add_linux (JsonBuilder *builder, const char *ns, const char *id, JsonObject *config, GPtrArray *mounts,
           GVariantDict *options, gboolean privileged, GError **error)
{
  static const char *const masked[] = { "/proc/acpi",          "/proc/asound",
                                        "/proc/kcore",         "/proc/keys",
                                        "/proc/latency_stats", "/proc/timer_list",
                                        "/proc/timer_stats",   "/proc/sched_debug",
                                        "/sys/firmware",       "/sys/devices/virtual/powercap",
                                        "/proc/scsi",          NULL };
  static const char *const read_only[]
      = { "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", NULL };
  g_autofree char *cgroup = g_strdup_printf ("/%s/%s", ns, id);
  g_auto (GStrv) capabilities = spec_capabilities (options, error);
  g_autoptr (GPtrArray) devices = read_devices (options, error);
  const char *path = cgroup, *seccomp = privileged ? "unconfined" : "default";
  gboolean ok = capabilities != NULL && devices != NULL;

  g_variant_dict_lookup (options, "cgroup-path", "&s", &path);
  g_variant_dict_lookup (options, "seccomp", "&s", &seccomp);
  json_builder_set_member_name (builder, "linux");
  json_builder_begin_object (builder);
  json_builder_set_member_name (builder, "cgroupsPath");
  json_builder_add_string_value (builder, path);
  ok = ok && add_namespaces (builder, options, privileged, error);
  if (ok)
    {
      add_resources (builder, options, devices, privileged);
      add_devices (builder, devices);
    }
  if (!privileged)
    {
      spec_add_strings (builder, "maskedPaths", masked);
      spec_add_strings (builder, "readonlyPaths", read_only);
    }
  if (ok && (strcmp (seccomp, "default") == 0 || strcmp (seccomp, "default-32bit") == 0))
    spec_add_seccomp (builder, (const char *const *)capabilities,
                      strcmp (seccomp, "default-32bit") == 0 || spec_has_32bit (config, mounts));
  else if (ok && strcmp (seccomp, "unconfined") != 0)
    {
      g_autoptr (JsonNode) profile = oci_parse (seccomp, strlen (seccomp), error);

      ok = profile != NULL;
      if (ok)
        {
          json_builder_set_member_name (builder, "seccomp");
          json_builder_add_value (builder, json_node_copy (profile));
        }
      else
        g_prefix_error (error, "option \"seccomp\": ");
    }
  json_builder_end_object (builder);
  return ok;
}

static void
add_annotations (JsonBuilder *builder, GVariantDict *options)
{
  g_autoptr (GVariant) annotations
      = g_variant_dict_lookup_value (options, "annotations", G_VARIANT_TYPE ("a{ss}"));
  GVariantIter iter;
  const char *key, *value;

  if (annotations == NULL)
    return;
  json_builder_set_member_name (builder, "annotations");
  json_builder_begin_object (builder);
  g_variant_iter_init (&iter, annotations);
  while (g_variant_iter_next (&iter, "{&s&s}", &key, &value))
    {
      json_builder_set_member_name (builder, key);
      json_builder_add_string_value (builder, value);
    }
  json_builder_end_object (builder);
}

static GBytes *
node_to_bytes (JsonNode *root)
{
  g_autoptr (JsonGenerator) generator = json_generator_new ();
  gsize length;
  char *text;

  json_generator_set_root (generator, root);
  text = json_generator_to_data (generator, &length);
  return g_bytes_new_take (text, length);
}

GBytes *
spec_generate (const char *ns, const char *id, JsonObject *config, GPtrArray *mounts, GVariant *options,
               GError **error)
{
  g_autoptr (GVariantDict) dict = g_variant_dict_new (options);
  g_autoptr (JsonBuilder) builder = json_builder_new_immutable ();
  g_autoptr (JsonNode) root = NULL;
  gboolean read_only = FALSE, privileged = FALSE, ok;
  const char *hostname = id, *whole = NULL;

  if (!spec_check_options (options, error))
    return NULL;
  if (g_variant_dict_lookup (dict, "spec", "&s", &whole))
    {
      root = oci_parse (whole, strlen (whole), error);
      if (root == NULL)
        g_prefix_error (error, "option \"spec\": ");
      return root != NULL ? g_bytes_new (whole, strlen (whole)) : NULL;
    }
  g_variant_dict_lookup (dict, "read-only", "b", &read_only);
  g_variant_dict_lookup (dict, "privileged", "b", &privileged);
  g_variant_dict_lookup (dict, "hostname", "&s", &hostname);
  json_builder_begin_object (builder);
  json_builder_set_member_name (builder, "ociVersion");
  json_builder_add_string_value (builder, "1.0.2");
  json_builder_set_member_name (builder, "hostname");
  json_builder_add_string_value (builder, hostname);
  json_builder_set_member_name (builder, "root");
  json_builder_begin_object (builder);
  json_builder_set_member_name (builder, "path");
  json_builder_add_string_value (builder, "rootfs");
  json_builder_set_member_name (builder, "readonly");
  json_builder_add_boolean_value (builder, read_only);
  json_builder_end_object (builder);
  add_annotations (builder, dict);
  ok = spec_add_process (builder, config, mounts, dict, error)
       && add_mounts (builder, dict, privileged, error)
       && add_linux (builder, ns, id, config, mounts, dict, privileged, error);
  json_builder_end_object (builder);
  if (!ok)
    return NULL;
  root = json_builder_get_root (builder);
  return node_to_bytes (root);
}

/* An exec begins with the container's own process and changes what the options name. */
GBytes *
spec_exec (GBytes *spec, GPtrArray *mounts, GVariant *options, GError **error)
{
  g_autoptr (GVariantDict) dict = g_variant_dict_new (options);
  g_autoptr (JsonNode) node = oci_parse (g_bytes_get_data (spec, NULL), g_bytes_get_size (spec), error);
  g_autoptr (JsonBuilder) builder = json_builder_new_immutable ();
  g_autoptr (JsonObject) image = json_object_new ();
  g_autoptr (JsonObject) config = json_object_new ();
  g_autoptr (JsonNode) root = NULL;
  JsonObject *process, *wrapped;
  g_auto (GStrv) env = NULL;
  JsonArray *image_env = json_array_new ();

  if (node == NULL || !spec_check_options (options, error))
    {
      json_array_unref (image_env);
      return NULL;
    }
  process = oci_object (json_node_get_object (node), "process");
  env = oci_strv (process, "env");
  for (gsize i = 0; env[i] != NULL; i++)
    json_array_add_string_element (image_env, env[i]);
  json_object_set_array_member (image, "Env", image_env);
  if (oci_string (process, "cwd") != NULL)
    json_object_set_string_member (image, "WorkingDir", oci_string (process, "cwd"));
  if (!g_variant_dict_contains (dict, "user") && oci_object (process, "user") != NULL)
    {
      JsonObject *user = oci_object (process, "user");
      g_autofree char *text = g_strdup_printf ("%" G_GINT64_FORMAT ":%" G_GINT64_FORMAT,
                                               oci_int (user, "uid", 0), oci_int (user, "gid", 0));

      json_object_set_string_member (image, "User", text);
    }
  json_object_set_object_member (config, "config", json_object_ref (image));
  json_builder_begin_object (builder);
  if (!spec_add_process (builder, config, mounts, dict, error))
    return NULL;
  json_builder_end_object (builder);
  root = json_builder_get_root (builder);
  wrapped = json_node_get_object (root);
  return node_to_bytes (json_object_get_member (wrapped, "process"));
}
