/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gantryd: reads its options, takes its root, runs the core. */
#include "core.h"
#include "inspect.h"
#include "log.h"

#include <fcntl.h>
#include <glib-unix.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

#define MAX_CONFIG (1024 * 1024)

typedef struct
{
  char **plugins_dirs;
  char *root;
  char *state;
  char *config;
  char **set;
  char *bus;
  char *log_format;
  char *log_level;
  gboolean on_demand;
  gint idle_timeout;
  gboolean version;
  char *inspect;
  char *check;
} CommandLine;

static void
add_setting (Options *options, const char *key, const char *value, char *origin)
{
  Setting *setting = g_new0 (Setting, 1);

  setting->key = g_strdup (key);
  setting->value = g_strdup (value);
  setting->origin = origin;
  g_ptr_array_add (options->settings, setting);
}

/* The value of a setting: the command line's, else the configuration file's, else the built-in one. */
static char *
choose (Options *options, GKeyFile *file, const char *path, const char *key, const char *from_command_line,
        const char *fallback)
{
  g_autofree char *from_file = file != NULL ? g_key_file_get_string (file, "Daemon", key, NULL) : NULL;
  const char *value = from_command_line != NULL ? from_command_line
                      : from_file != NULL       ? from_file
                                                : fallback;

  add_setting (options, key, value,
               g_strdup (from_command_line != NULL ? "command line"
                         : from_file != NULL       ? path
                                                   : "built in"));
  return g_strdup (value);
}

static gboolean
choose_number (Options *options, GKeyFile *file, const char *path, const char *key, const char *fallback,
               guint min, guint max, guint *ret_value, GError **error)
{
  g_autofree char *text = choose (options, file, path, key, NULL, fallback);
  guint64 value;

  if (!g_ascii_string_to_unsigned (text, 10, min, max, &value, NULL))
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "%s: %s=%s is not a number from %u to %u",
                         path, key, text, min, max);
  *ret_value = (guint)value;
  return TRUE;
}

static GKeyFile *
load_config (const char *path, gboolean required, GError **error)
{
  static const char *const known[]
      = { "Root", "State", "LogLevel", "LogFormat", "IoThreads", "RuntimeThreads", "MaxQueue", NULL };
  g_autoptr (GKeyFile) file = g_key_file_new ();
  g_autoptr (GError) local = NULL;
  g_auto (GStrv) keys = NULL;

  if (!g_key_file_load_from_file (file, path, G_KEY_FILE_NONE, &local))
    {
      if (required || !g_error_matches (local, G_FILE_ERROR, G_FILE_ERROR_NOENT))
        {
          g_propagate_prefixed_error (error, g_steal_pointer (&local), "%s: ", path);
          return NULL;
        }
      return g_steal_pointer (&file);
    }
  keys = g_key_file_get_keys (file, "Daemon", NULL, NULL);
  for (gsize i = 0; keys != NULL && keys[i] != NULL; i++)
    if (!g_strv_contains (known, keys[i]))
      g_warning ("%s: unknown key %s in [Daemon]", path, keys[i]);
  return g_steal_pointer (&file);
}

static char **
default_plugins_dirs (void)
{
  const char *const dirs[] = { GANTRY_MANIFESTDIR, "/etc/gantry/plugins.d", "/run/gantry/plugins.d", NULL };

  return g_strdupv ((char **)dirs);
}

static char **
all_overrides (const CommandLine *line)
{
  GPtrArray *all = g_ptr_array_new ();

  for (gsize i = 0; line->set != NULL && line->set[i] != NULL; i++)
    g_ptr_array_add (all, g_strdup (line->set[i]));
  if (line->bus != NULL)
    g_ptr_array_add (all, g_strconcat ("api-dbus.Bus=", line->bus, NULL));
  g_ptr_array_add (all, NULL);
  return (char **)g_ptr_array_free (all, FALSE);
}

static gboolean
parse_log (const char *format, const char *level, LogFormat *ret_format, int *ret_level, GError **error)
{
  static const char *const formats[] = { "auto", "text", "json", "journal", NULL };
  static const char *const levels[] = { "error", "warning", "notice", "info", "debug", NULL };

  for (int i = 0; formats[i] != NULL; i++)
    if (strcmp (format, formats[i]) == 0)
      for (int j = 0; levels[j] != NULL; j++)
        if (strcmp (level, levels[j]) == 0)
          {
            *ret_format = (LogFormat)i;
            *ret_level = 3 + j;
            return TRUE;
          }
  return gantry_throw (
      error, GANTRY_ERROR_INVALID_ARGUMENT,
      "log format \"%s\" or level \"%s\" is unknown; formats are auto, text, json, journal; levels are error,"
      " warning, notice, info, debug",
      format, level);
}

static gboolean
make_options (const CommandLine *line, Options *options, GError **error)
{
  const char *path = line->config != NULL ? line->config : "/etc/gantry/gantryd.conf";
  g_autoptr (GKeyFile) file = load_config (path, line->config != NULL, error);
  g_autofree char *format = NULL, *level = NULL;
  LogFormat log_format = LOG_AUTO;
  int log_level = 5;

  if (file == NULL)
    return FALSE;
  options->settings = g_ptr_array_new ();
  options->root = choose (options, file, path, "Root", line->root, "/var/lib/gantry");
  options->state = choose (options, file, path, "State", line->state, "/run/gantry");
  format = choose (options, file, path, "LogFormat", line->log_format, "auto");
  level = choose (options, file, path, "LogLevel", line->log_level,
                  g_getenv ("GANTRY_DEBUG") != NULL ? "debug" : "notice");
  options->plugins_dirs
      = line->plugins_dirs != NULL ? g_strdupv (line->plugins_dirs) : default_plugins_dirs ();
  options->overrides = all_overrides (line);
  options->plugindir = g_strdup (GANTRY_PLUGINDIR);
  options->idle_seconds = line->on_demand ? (guint)CLAMP (line->idle_timeout, 1, 86400) : 0;
  if (!g_path_is_absolute (options->root) || !g_path_is_absolute (options->state))
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "Root=%s and State=%s must be absolute paths",
                         options->root, options->state);
  if (!choose_number (options, file, path, "IoThreads", "8", 1, 256, &options->io_threads, error)
      || !choose_number (options, file, path, "RuntimeThreads", "16", 1, 1024, &options->runtime_threads,
                         error)
      || !choose_number (options, file, path, "MaxQueue", "8192", 16, 1000000, &options->max_queue, error)
      || !parse_log (format, level, &log_format, &log_level, error))
    return FALSE;
  log_init (log_format, log_level);
  return TRUE;
}

/* One daemon a root. The lock goes with the process, however that ends. */
static int
take_root (Options *options, GError **error)
{
  g_autofree char *path = g_build_filename (options->root, "lock", NULL);
  char pid[32] = "";
  int fd;

  if (g_mkdir_with_parents (options->root, 0711) < 0 || g_mkdir_with_parents (options->state, 0711) < 0)
    {
      gantry_throw_errno (error, errno, "making %s and %s", options->root, options->state);
      return -1;
    }
  fd = open (path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0)
    {
      gantry_throw_errno (error, errno, "opening %s", path);
      return -1;
    }
  if (flock (fd, LOCK_EX | LOCK_NB) < 0)
    {
      ssize_t n = read (fd, pid, sizeof pid - 1);

      g_strchomp (n > 0 ? pid : (char *)memcpy (pid, "unknown", 8));
      close (fd);
      gantry_throw (
          error, GANTRY_ERROR_ALREADY_EXISTS,
          "another gantryd (pid %s) has the root %s; stop it, or give this one another --root and --state",
          pid, options->root);
      return -1;
    }
  g_snprintf (pid, sizeof pid, "%d\n", (int)getpid ());
  if (ftruncate (fd, 0) < 0 || pwrite (fd, pid, strlen (pid), 0) < 0)
    g_warning ("noting the pid in %s: %s", path, g_strerror (errno));
  return fd;
}

/* An identity that the root keeps for ever. */
static char *
read_uuid (Options *options)
{
  g_autofree char *path = g_build_filename (options->root, "uuid", NULL);
  char *uuid = NULL;

  if (g_file_get_contents (path, &uuid, NULL, NULL) && g_uuid_string_is_valid (g_strchomp (uuid)))
    return uuid;
  g_free (uuid);
  uuid = g_uuid_string_random ();
  if (!g_file_set_contents_full (path, uuid, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0644, NULL))
    g_warning ("the identity of %s could not be kept in %s", options->root, path);
  return uuid;
}

static gboolean
on_signal (gpointer data)
{
  core_stop (data, "asked by a signal");
  return G_SOURCE_CONTINUE;
}

static gboolean
tell_ready (gpointer data)
{
  Core *core = data;

  if (!core->settled)
    return G_SOURCE_CONTINUE;
  core_hold (core, 0);
#ifdef HAVE_SYSTEMD
  sd_notify (0, "READY=1");
#endif
  g_info ("ready after %.1f ms", (double)(g_get_real_time () * 1000 - core->started_ns) / 1e6);
  return G_SOURCE_REMOVE;
}

static int
run (Options *options)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Core) core = NULL;
  int lock = take_root (options, &error);

  if (lock < 0)
    {
      g_printerr ("gantryd: %s\n", error->message);
      return 1;
    }
  umask (0022);
  core = core_new (options);
  core->uuid = read_uuid (options);
  if (!core_load (core, &error))
    {
      g_printerr ("gantryd: %s\n", error->message);
      close (lock);
      return 1;
    }
  g_unix_signal_add (SIGTERM, on_signal, core);
  g_unix_signal_add (SIGINT, on_signal, core);
  if (!core->stopping)
    {
      core_start (core);
      if (!core->settled)
        g_idle_add_full (G_PRIORITY_LOW, tell_ready, core, NULL);
      else
        tell_ready (core);
      g_main_loop_run (core->loop);
    }
  core_finish (core);
  close (lock);
  return core->exit_status;
}

int
main (int argc, char **argv)
{
  CommandLine line = { .idle_timeout = 60 };
  Options options = { 0 };
  const GOptionEntry entries[] = {
    { "plugins-dir", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &line.plugins_dirs,
      "Read manifests from here only (repeatable)", "DIR" },
    { "root", 0, 0, G_OPTION_ARG_FILENAME, &line.root,
      "Keep everything below this directory [/var/lib/gantry]", "DIR" },
    { "state", 0, 0, G_OPTION_ARG_FILENAME, &line.state, "Keep what a boot forgets here [/run/gantry]",
      "DIR" },
    { "config", 0, 0, G_OPTION_ARG_FILENAME, &line.config, "Configuration file [/etc/gantry/gantryd.conf]",
      "FILE" },
    { "set", 0, 0, G_OPTION_ARG_STRING_ARRAY, &line.set,
      "Set a plugin's configuration key, as in api-dbus.Bus=session", "PLUGIN.KEY=VALUE" },
    { "bus", 0, 0, G_OPTION_ARG_STRING, &line.bus,
      "Also serve D-Bus on: system, session, an address, or none", "BUS" },
    { "log-format", 0, 0, G_OPTION_ARG_STRING, &line.log_format, "auto, text, json or journal", "FORMAT" },
    { "log-level", 0, 0, G_OPTION_ARG_STRING, &line.log_level, "error, warning, notice, info or debug",
      "LEVEL" },
    { "on-demand", 0, 0, G_OPTION_ARG_NONE, &line.on_demand,
      "Leave when nobody has used this daemon for its idle time", NULL },
    { "idle-timeout", 0, 0, G_OPTION_ARG_INT, &line.idle_timeout, "The idle time of --on-demand [60]",
      "SECONDS" },
    { "inspect", 0, 0, G_OPTION_ARG_STRING, &line.inspect,
      "Print plugins, trace or config as JSON from the files alone", "WHAT" },
    { "check", 0, 0, G_OPTION_ARG_FILENAME, &line.check,
      "Check the manifest FILE, or all in a directory, and their modules", "FILE" },
    { "version", 0, 0, G_OPTION_ARG_NONE, &line.version, "Print the version", NULL },
    { NULL },
  };
  g_autoptr (GOptionContext) context = g_option_context_new ("- the Gantry container runtime daemon");
  g_autoptr (GError) error = NULL;

  g_option_context_add_main_entries (context, entries, NULL);
  if (!g_option_context_parse (context, &argc, &argv, &error) || argc > 1)
    {
      g_printerr ("gantryd: %s\n",
                  error != NULL ? error->message : "unexpected argument; see gantryd --help");
      return 2;
    }
  if (line.version)
    {
      g_print ("gantryd %s (ABI %d)\n", GANTRY_VERSION, GANTRY_ABI_MAJOR);
      return 0;
    }
  if (!make_options (&line, &options, &error))
    {
      g_printerr ("gantryd: %s\n", error->message);
      return 2;
    }
  if (line.inspect != NULL)
    return inspect_print (&options, line.inspect);
  if (line.check != NULL)
    return inspect_check (&options, line.check);
  return run (&options);
}
