/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gantryd: reads its options, takes its root, runs the core. */
#include "check.h"
#include "inspect.h"
#include "log.h"
#include "notify.h"
#include "rest.h"

#include <fcntl.h>
#include <glib-unix.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_CONFIG (1024 * 1024)

typedef struct
{
  char **plugins_dirs;
  char *module_dir;
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
command_line_clear (CommandLine *line)
{
  g_strfreev (line->plugins_dirs);
  g_free (line->root);
  g_free (line->state);
  g_free (line->config);
  g_strfreev (line->set);
  g_free (line->bus);
  g_free (line->log_format);
  g_free (line->log_level);
  g_free (line->inspect);
  g_free (line->check);
  g_free (line->module_dir);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (CommandLine, command_line_clear)

static void
options_clear (Options *options)
{
  g_free (options->root);
  g_free (options->state);
  g_free (options->plugindir);
  g_strfreev (options->plugins_dirs);
  g_strfreev (options->overrides);
  g_clear_pointer (&options->settings, g_ptr_array_unref);
  g_clear_pointer (&options->warnings, g_ptr_array_unref);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Options, options_clear)

/* /etc/gantry/gantryd.conf, or what --config names. */
typedef struct
{
  const char *path;
  char *text; /* (nullable): there is no such file */
  GKeyFile *keys;
} ConfigFile;

static void
config_file_clear (ConfigFile *self)
{
  g_free (self->text);
  g_clear_pointer (&self->keys, g_key_file_unref);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (ConfigFile, config_file_clear)

static char *
config_file_origin (const ConfigFile *self, const char *section, const char *key)
{
  return g_strdup_printf ("%s:%u", self->path, key_file_find_line (self->text, section, key));
}

static void
add_setting (Options *options, const char *key, const char *value, char *origin)
{
  Setting *setting = g_new0 (Setting, 1);

  setting->key = g_strdup (key);
  setting->value = g_strdup (value);
  setting->origin = origin;
  g_ptr_array_add (options->settings, setting);
}

/* The value of a setting: the command line's, else the configuration file's, else the built-in one. Returns:
 * (transfer none). */
static const Setting *
choose (Options *options, const ConfigFile *file, const char *key, const char *from_command_line,
        const char *fallback)
{
  g_autofree char *from_file = g_key_file_get_string (file->keys, "Daemon", key, NULL);
  const char *value = from_command_line != NULL ? from_command_line
                      : from_file != NULL       ? from_file
                                                : fallback;

  add_setting (options, key, value,
               from_command_line != NULL ? g_strdup ("command line")
               : from_file != NULL       ? config_file_origin (file, "Daemon", key)
                                         : g_strdup ("built in"));
  return g_ptr_array_index (options->settings, options->settings->len - 1);
}

static gboolean
choose_number (Options *options, const ConfigFile *file, const char *key, const char *fallback, guint min,
               guint max, guint *ret_value, GError **error)
{
  const Setting *setting = choose (options, file, key, NULL, fallback);
  guint64 value;

  if (!g_ascii_string_to_unsigned (setting->value, 10, min, max, &value, NULL))
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "%s: %s=%s is not a number from %u to %u",
                         setting->origin, key, setting->value, min, max);
  *ret_value = (guint)value;
  return TRUE;
}

/* Every word of a list, or an error that names them all. */
static gboolean
choose_word (const Setting *setting, const char *const *words, int *ret_index, GError **error)
{
  g_autofree char *all = g_strjoinv (", ", (char **)words);

  for (int i = 0; words[i] != NULL; i++)
    if (strcmp (setting->value, words[i]) == 0)
      {
        *ret_index = i;
        return TRUE;
      }
  return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "%s: %s=%s is none of %s", setting->origin,
                       setting->key, setting->value, all);
}

static void
warn_unknown (Options *options, const ConfigFile *file)
{
  static const char *const known[]
      = { "Root", "State", "LogLevel", "LogFormat", "IoThreads", "RuntimeThreads", "MaxQueue", NULL };
  g_auto (GStrv) groups = g_key_file_get_groups (file->keys, NULL);
  g_auto (GStrv) keys = g_key_file_get_keys (file->keys, "Daemon", NULL, NULL);

  for (gsize i = 0; groups[i] != NULL; i++)
    if (strcmp (groups[i], "Daemon") != 0)
      {
        g_autofree char *origin = config_file_origin (file, groups[i], NULL);

        g_ptr_array_add (options->warnings, g_strdup_printf ("%s: unknown section [%s]", origin, groups[i]));
      }
  for (gsize i = 0; keys != NULL && keys[i] != NULL; i++)
    if (!g_strv_contains (known, keys[i]))
      {
        g_autofree char *origin = config_file_origin (file, "Daemon", keys[i]);

        g_ptr_array_add (options->warnings, g_strdup_printf ("%s: unknown key %s", origin, keys[i]));
      }
}

static gboolean
load_config (Options *options, ConfigFile *file, gboolean required, GError **error)
{
  g_autoptr (GError) local = NULL;
  gsize length;

  file->keys = g_key_file_new ();
  if (!g_file_get_contents (file->path, &file->text, &length, &local))
    {
      if (!required && g_error_matches (local, G_FILE_ERROR, G_FILE_ERROR_NOENT))
        return TRUE;
      g_propagate_error (error, g_steal_pointer (&local));
      return FALSE;
    }
  if (length > MAX_CONFIG)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "%s has more than %d bytes", file->path,
                         MAX_CONFIG);
  if (!g_key_file_load_from_data (file->keys, file->text, length, G_KEY_FILE_NONE, error))
    {
      g_prefix_error (error, "%s: ", file->path);
      return FALSE;
    }
  warn_unknown (options, file);
  return TRUE;
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
choose_log (const CommandLine *line, Options *options, const ConfigFile *file, GError **error)
{
  static const char *const formats[] = { "auto", "text", "json", "journal", NULL };
  static const char *const levels[] = { "error", "warning", "notice", "info", "debug", NULL };
  const char *debug = g_getenv ("GANTRY_DEBUG");
  /* "plugins" alone asks for the trace, which is told as notices. */
  const char *level = debug != NULL && strcmp (debug, "plugins") != 0 ? "debug" : "notice";
  int format_at, level_at;

  if (!choose_word (choose (options, file, "LogFormat", line->log_format, "auto"), formats, &format_at, error)
      || !choose_word (choose (options, file, "LogLevel", line->log_level, level), levels, &level_at, error))
    return FALSE;
  log_init ((LogFormat)format_at, 3 + level_at);
  return TRUE;
}

static gboolean
make_options (const CommandLine *line, Options *options, GError **error)
{
  g_auto (ConfigFile) file = { line->config != NULL ? line->config : "/etc/gantry/gantryd.conf", NULL, NULL };

  options->settings = g_ptr_array_new_with_free_func (setting_free);
  options->warnings = g_ptr_array_new_with_free_func (g_free);
  if (!load_config (options, &file, line->config != NULL, error))
    return FALSE;
  options->root = g_strdup (choose (options, &file, "Root", line->root, "/var/lib/gantry")->value);
  options->state = g_strdup (choose (options, &file, "State", line->state, "/run/gantry")->value);
  options->plugins_dirs
      = line->plugins_dirs != NULL ? g_strdupv (line->plugins_dirs) : default_plugins_dirs ();
  options->overrides = all_overrides (line);
  options->plugindir = g_strdup (line->module_dir != NULL ? line->module_dir : GANTRY_PLUGINDIR);
  options->idle_seconds = line->on_demand ? (guint)CLAMP (line->idle_timeout, 1, 86400) : 0;
  if (!g_path_is_absolute (options->root) || !g_path_is_absolute (options->state))
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "Root=%s and State=%s must be absolute paths",
                         options->root, options->state);
  if (!choose_number (options, &file, "IoThreads", "8", 1, 256, &options->io_threads, error)
      || !choose_number (options, &file, "RuntimeThreads", "16", 1, 1024, &options->runtime_threads, error)
      || !choose_number (options, &file, "MaxQueue", "8192", 16, 1000000, &options->max_queue, error)
      || !choose_log (line, options, &file, error))
    return FALSE;
  for (gsize i = 0; line->plugins_dirs != NULL && line->plugins_dirs[i] != NULL; i++)
    if (!g_file_test (line->plugins_dirs[i], G_FILE_TEST_EXISTS))
      return gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "there is no directory %s (--plugins-dir)",
                           line->plugins_dirs[i]);
  return TRUE;
}

/* "pid 123 (gantryd --root …)", as the lock's file and /proc tell. Returns: (transfer full). */
static char *
describe_holder (int fd)
{
  char pid[32] = "";
  ssize_t n = pread (fd, pid, sizeof pid - 1, 0);
  g_autofree char *path = NULL;
  g_autofree char *command = NULL;
  gsize length = 0;

  g_strchomp (pid);
  if (n <= 0 || strspn (pid, G_CSET_DIGITS) != strlen (pid))
    return g_strdup ("pid unknown");
  path = g_strdup_printf ("/proc/%s/cmdline", pid);
  if (!g_file_get_contents (path, &command, &length, NULL) || length == 0)
    return g_strdup_printf ("pid %s", pid);
  for (gsize i = 0; i + 1 < length; i++)
    if (g_ascii_iscntrl (command[i]))
      command[i] = ' ';
  return g_strdup_printf ("pid %s, %.200s", pid, command);
}

/* Takes @dir for this daemon alone. The lock goes with the process, however that ends. Returns: an fd. */
static int
take_dir (const char *dir, const char *option, GError **error)
{
  g_autofree char *path = g_build_filename (dir, "lock", NULL);
  char pid[32];
  int fd;

  if (g_mkdir_with_parents (dir, 0711) < 0)
    {
      gantry_throw_errno (error, errno, "making %s", dir);
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
      g_autofree char *holder = describe_holder (fd);

      close (fd);
      gantry_throw (error, GANTRY_ERROR_ALREADY_EXISTS,
                    "another gantryd (%s) has %s; stop it, or give this one another %s", holder, dir, option);
      return -1;
    }
  g_snprintf (pid, sizeof pid, "%d\n", (int)getpid ());
  if (ftruncate (fd, 0) < 0 || pwrite (fd, pid, strlen (pid), 0) < 0)
    g_warning ("noting the pid in %s: %s", path, g_strerror (errno));
  return fd;
}

/* One daemon a root, and one a state directory. The fds stay open as long as the process. */
static gboolean
take_dirs (Options *options, GError **error)
{
  struct stat root, state;

  if (take_dir (options->root, "--root", error) < 0)
    return FALSE;
  if (stat (options->root, &root) == 0 && stat (options->state, &state) == 0 && root.st_dev == state.st_dev
      && root.st_ino == state.st_ino)
    return TRUE;
  return take_dir (options->state, "--state", error) >= 0;
}

/* @data: (transfer full): the path of a file in the root. On a thread of the pool. */
static void
sync_file (gpointer data, gpointer user_data)
{
  const char *path = data;
  g_autofree char *directory = g_path_get_dirname (path);
  int file_fd = open (path, O_RDONLY | O_CLOEXEC);
  int directory_fd = open (directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

  if (file_fd < 0 || directory_fd < 0 || fsync (file_fd) < 0 || fsync (directory_fd) < 0)
    g_warning ("%s could not be synced: %s", path, g_strerror (errno));
  if (file_fd >= 0)
    close (file_fd);
  if (directory_fd >= 0)
    close (directory_fd);
}

/* An identity that the root keeps for ever. Nobody waits until the disk has it. */
static char *
read_uuid (Core *core)
{
  g_autofree char *path = g_build_filename (core->options->root, "uuid", NULL);
  char *uuid = NULL;
  Job *job;

  if (g_file_get_contents (path, &uuid, NULL, NULL) && g_uuid_string_is_valid (g_strchomp (uuid)))
    return uuid;
  g_free (uuid);
  uuid = g_uuid_string_random ();
  if (!g_file_set_contents_full (path, uuid, -1, G_FILE_SET_CONTENTS_NONE, 0644, NULL))
    {
      g_warning ("the identity of %s could not be kept in %s", core->options->root, path);
      return uuid;
    }
  job = g_new (Job, 1);
  *job = (Job){ sync_file, g_steal_pointer (&path), g_free };
  g_thread_pool_push (core->pools[GANTRY_POOL_IO], job, NULL);
  return uuid;
}

static gboolean
on_signal (gpointer data)
{
  core_stop (data, "asked by a signal");
  return G_SOURCE_CONTINUE;
}

static void
tell_ready (Core *core)
{
  rest_watch (core);
  core_hold (core, 0);
  notify_manager ("READY=1");
  g_log_structured (G_LOG_DOMAIN, G_LOG_LEVEL_INFO, "MESSAGE_ID", GANTRY_MESSAGE_READY, "MESSAGE",
                    "ready after %.1f ms", (double)(g_get_real_time () * 1000 - core->started_ns) / 1e6);
}

static int
run (Options *options)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Core) core = NULL;

  if (!take_dirs (options, &error))
    {
      g_printerr ("gantryd: %s\n", error->message);
      return 1;
    }
  umask (0022);
  core = core_new (options);
  core->uuid = read_uuid (core);
  if (!core_load (core, &error))
    {
      g_printerr ("gantryd: %s\n", error->message);
      return 1;
    }
  /* A peer that has gone is an error of write (2). GSocket would see to that, but not every frontend has one.
   */
  signal (SIGPIPE, SIG_IGN);
  g_unix_signal_add (SIGTERM, on_signal, core);
  g_unix_signal_add (SIGINT, on_signal, core);
  if (!core->fatal)
    {
      core->on_settled = tell_ready;
      core_start (core);
      g_main_loop_run (core->loop);
    }
  core_finish (core);
  return core->exit_status;
}

int
main (int argc, char **argv)
{
  g_auto (CommandLine) line = { .idle_timeout = 60 };
  g_auto (Options) options = { 0 };
  const GOptionEntry entries[] = {
    { "plugins-dir", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &line.plugins_dirs,
      "Read manifests from here only: directories, or single files (repeatable)", "DIR" },
    { "module-dir", 0, 0, G_OPTION_ARG_FILENAME, &line.module_dir,
      "Look for modules that a manifest names without a directory here [" GANTRY_PLUGINDIR "]", "DIR" },
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
  g_autoptr (GOptionContext) context = g_option_context_new ("- the Gantry daemon");
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
    return check_run (&options, line.check);
  return run (&options);
}
