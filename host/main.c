/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gantry-plugin-host: loads one plugin, with the plugins that it needs and no others, and serves it as one of
 * containerd's proxy plugins: to a containerd, or to a Gantry that keeps it in a process of its own.
 *
 * It is a small daemon of the same core: manifests, needs and configuration are the same, root and state
 * directories are its own.
 */
#include <signal.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <beyond.h>
#include <core.h>
#include <gantry/content.h>
#include <gantry/differ.h>
#include <gantry/snapshotter.h>
#include <log.h>

#include "host.h"

#define DRAIN_MS 10000

typedef struct
{
  char *plugin;
  char *address;
  char *content;
  char *root;
  char *state;
  char **plugins_dirs;
  char **set;
  gboolean with_parent;
} CommandLine;

typedef struct
{
  Core *core;
  const CommandLine *line;
  Plugin *plugin;
  GPtrArray *hosted; /* of Hosted: each interface that is served */
  GrpcServer *server;
  int status;
} Host;

static const struct
{
  const char *type;
  gboolean (*serve) (GrpcServer *server, const Hosted *hosted, GError **error);
  const char *theirs; /* as containerd spells the type */
  HostCapabilities capabilities;
} interfaces[] = {
  { GANTRY_CONTENT_TYPE, host_serve_content, WIRE_CONTENT_TYPE, NULL },
  { GANTRY_DIFFER_TYPE, host_serve_differ, WIRE_DIFFER_TYPE, host_differ_capabilities },
  { GANTRY_SNAPSHOTTER_TYPE, host_serve_snapshotter, WIRE_SNAPSHOTTER_TYPE, host_snapshotter_capabilities },
};

/* The plugin and what it needs */

static Plugin *
find_plugin (Core *core, const char *name)
{
  for (guint i = 0; i < core->plugins->len; i++)
    {
      Plugin *plugin = g_ptr_array_index (core->plugins, i);

      if (g_strcmp0 (plugin->manifest->name, name) == 0)
        return plugin;
    }
  return NULL;
}

/* Under the core's lock. */
static void
add_needed (Core *core, Plugin *plugin, GHashTable *kept)
{
  if (!g_hash_table_add (kept, plugin) || plugin->desc == NULL || plugin->desc->needs == NULL)
    return;
  for (gsize i = 0; plugin->desc->needs[i] != NULL; i++)
    {
      const GantryNeed *need = plugin->desc->needs[i];
      g_autoptr (GPtrArray) candidates = graph_candidates (core, need->type, graph_need_id (plugin, need));

      if (need->kind == GANTRY_NEED_ONE && candidates->len > 0)
        add_needed (core, g_ptr_array_index (candidates, 0), kept);
    }
}

static void
keep_needed (Core *core, Plugin *plugin)
{
  g_autoptr (GHashTable) kept = g_hash_table_new (NULL, NULL);

  g_mutex_lock (&core->lock);
  add_needed (core, plugin, kept);
  for (guint i = 0; i < core->plugins->len; i++)
    {
      Plugin *other = g_ptr_array_index (core->plugins, i);

      if (other->state != STATE_PENDING || g_hash_table_contains (kept, other))
        continue;
      other->manifest->on_failure
          = ON_FAILURE_IGNORE; /* required is what the host serves, and nothing else */
      core_conclude (other, STATE_SKIPPED, "is not needed here");
    }
  g_mutex_unlock (&core->lock);
}

/* Serving */

static gboolean
serve_interfaces (Host *self, GError **error)
{
  for (gsize i = 0; i < G_N_ELEMENTS (interfaces); i++)
    if (plugin_provides (self->plugin, interfaces[i].type))
      {
        Hosted *hosted = g_new (Hosted, 1);

        *hosted = (Hosted){ &self->plugin->host,
                            self->plugin->desc->get (self->plugin->instance, interfaces[i].type),
                            self->line->content, interfaces[i].theirs, interfaces[i].capabilities };
        g_ptr_array_add (self->hosted, hosted);
        if (!interfaces[i].serve (self->server, hosted, error))
          return FALSE;
      }
  if (self->hosted->len == 0)
    return gantry_throw (error, GANTRY_ERROR_NOT_IMPLEMENTED,
                         "%s provides nothing that can be served to others", self->line->plugin);
  return host_serve_introspection (self->server, self->hosted, error);
}

static gboolean
serve (Host *self, GError **error)
{
  g_autofree char *reason = NULL;

  g_mutex_lock (&self->core->lock);
  if (self->plugin->state != STATE_OK)
    reason = g_strdup (self->plugin->reason != NULL ? self->plugin->reason : "it did not start");
  g_mutex_unlock (&self->core->lock);
  if (reason != NULL)
    return gantry_throw (error, GANTRY_ERROR_UNAVAILABLE, "%s: %s", self->line->plugin, reason);
  self->hosted = g_ptr_array_new_with_free_func (g_free);
  self->server = grpc_server_new (NULL);
  return serve_interfaces (self, error)
         && grpc_server_listen_unix (self->server, self->line->address, 0600, (gid_t)-1, error)
         && grpc_server_start (self->server, error);
}

static Host *the_host; /* on_settled has no data */

static void
on_settled (Core *core)
{
  g_autoptr (GError) error = NULL;

  if (the_host->server != NULL || the_host->status != 0)
    return;
  if (serve (the_host, &error))
    return;
  g_printerr ("gantry-plugin-host: %s\n", error->message);
  the_host->status = 1;
  core_stop (core, "nothing to serve");
}

static gboolean
on_signal (gpointer data)
{
  core_stop (((Host *)data)->core, "asked by a signal");
  return G_SOURCE_CONTINUE;
}

/* One host a directory: the lock goes with the process. */
static gboolean
take_dir (const char *path, GError **error)
{
  g_autofree char *lock = g_build_filename (path, "lock", NULL);
  int fd;

  if (!g_path_is_absolute (path))
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "%s is not an absolute path", path);
  if (g_mkdir_with_parents (path, 0711) < 0)
    return gantry_throw_errno (error, errno, "making %s", path);
  fd = open (lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0)
    return gantry_throw_errno (error, errno, "opening %s", lock);
  if (flock (fd, LOCK_EX | LOCK_NB) == 0)
    return TRUE; /* the descriptor stays open as long as the process */
  close (fd);
  return gantry_throw (error, GANTRY_ERROR_ALREADY_EXISTS, "another process has %s; give this one another",
                       path);
}

static void
fill_options (Options *options, const CommandLine *line)
{
  static char *default_dirs[] = { (char *)GANTRY_MANIFESTDIR, (char *)"/etc/gantry/plugins.d", NULL };

  options->root = line->root;
  options->state = line->state;
  options->plugindir = (char *)GANTRY_PLUGINDIR;
  options->plugins_dirs = line->plugins_dirs != NULL ? line->plugins_dirs : default_dirs;
  options->overrides = line->set;
  options->io_threads = 4;
  options->runtime_threads = 4;
  options->max_queue = 8192;
  options->hosting = TRUE;
  options->settings = g_ptr_array_new ();
  options->warnings = g_ptr_array_new ();
}

static gboolean
run (Host *self, Options *options, GError **error)
{
  if (!take_dir (self->line->root, error) || !take_dir (self->line->state, error))
    return FALSE;
  umask (0022);
  self->core = core_new (options);
  self->core->uuid = g_uuid_string_random ();
  if (!core_load (self->core, error))
    return FALSE;
  self->plugin = find_plugin (self->core, self->line->plugin);
  if (self->plugin == NULL)
    return gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "no manifest declares a plugin %s",
                         self->line->plugin);
  keep_needed (self->core, self->plugin);
  g_unix_signal_add (SIGTERM, on_signal, self);
  g_unix_signal_add (SIGINT, on_signal, self);
  self->core->on_settled = on_settled;
  core_start (self->core);
  signal (SIGPIPE, SIG_IGN);
  g_main_loop_run (self->core->loop);
  if (self->server != NULL)
    grpc_server_stop (self->server, DRAIN_MS);
  g_clear_pointer (&self->server, grpc_server_free);
  g_clear_pointer (&self->hosted, g_ptr_array_unref);
  core_finish (self->core);
  return TRUE;
}

static void
command_line_clear (CommandLine *line)
{
  g_free (line->plugin);
  g_free (line->address);
  g_free (line->content);
  g_free (line->root);
  g_free (line->state);
  g_strfreev (line->plugins_dirs);
  g_strfreev (line->set);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (CommandLine, command_line_clear)

int
main (int argc, char **argv)
{
  g_auto (CommandLine) line = { 0 };
  Options options = { 0 };
  Host self = { .line = &line };
  const GOptionEntry entries[] = {
    { "plugin", 0, 0, G_OPTION_ARG_STRING, &line.plugin,
      "The plugin to serve, by its manifest: snapshotter-overlay", "NAME" },
    { "address", 0, 0, G_OPTION_ARG_FILENAME, &line.address, "The unix socket to serve it on", "PATH" },
    { "content", 0, 0, G_OPTION_ARG_FILENAME, &line.content,
      "Where a differ's layers are: the unix socket of a content store over gRPC, such as containerd's",
      "PATH" },
    { "root", 0, 0, G_OPTION_ARG_FILENAME, &line.root, "Keep everything below this directory", "DIR" },
    { "state", 0, 0, G_OPTION_ARG_FILENAME, &line.state, "Keep what a boot forgets here", "DIR" },
    { "plugins-dir", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &line.plugins_dirs,
      "Read manifests from here only (repeatable)", "DIR" },
    { "set", 0, 0, G_OPTION_ARG_STRING_ARRAY, &line.set, "Set a plugin's configuration key",
      "PLUGIN.KEY=VALUE" },
    { "with-parent", 0, 0, G_OPTION_ARG_NONE, &line.with_parent,
      "End when the process that started this one ends", NULL },
    { NULL },
  };
  g_autoptr (GOptionContext) context = g_option_context_new ("- serves one plugin to others");
  g_autoptr (GError) error = NULL;

  g_option_context_add_main_entries (context, entries, NULL);
  if (!g_option_context_parse (context, &argc, &argv, &error) || argc > 1 || line.plugin == NULL
      || line.address == NULL || line.root == NULL || line.state == NULL)
    {
      g_printerr ("gantry-plugin-host: %s\n",
                  error != NULL ? error->message
                                : "--plugin, --address, --root and --state are needed; see --help");
      return 2;
    }
  if (line.with_parent)
    prctl (PR_SET_PDEATHSIG, SIGTERM);
  log_init (LOG_AUTO, 5);
  the_host = &self;
  fill_options (&options, &line);
  if (!run (&self, &options, &error))
    {
      g_printerr ("gantry-plugin-host: %s\n", error->message);
      self.status = 1;
    }
  if (self.core != NULL)
    core_free (self.core);
  return self.status != 0 ? self.status : 0;
}
