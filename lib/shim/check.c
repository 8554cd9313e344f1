/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What is there and belongs to no task: bundles, mounts below them, the OCI runtime's state, shims. */
#include "shim-runtime.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/syscall.h>

#include <fdio.h>

#define MAX_FILE (64 * 1024 * 1024)
/* A shim that was told to end is given this long. */
#define LEAVE_MS 2000

typedef struct
{
  ShimRuntime *runtime;
  gboolean repair;
  GPtrArray *problems;
} Check;

G_GNUC_PRINTF (3, 4)
static void
report (Check *check, const char *outcome, const char *format, ...)
{
  g_autofree char *text = NULL;
  va_list args;

  va_start (args, format);
  text = g_strdup_vprintf (format, args);
  va_end (args);
  g_ptr_array_add (check->problems, g_strdup_printf ("%s%s", text, check->repair ? outcome : ""));
}

static gboolean
is_known (Check *check, const char *ns, const char *id)
{
  g_autofree char *key = shim_runtime_key (ns, id);
  gboolean known;

  g_mutex_lock (&check->runtime->lock);
  known = g_hash_table_contains (check->runtime->tasks, key);
  g_mutex_unlock (&check->runtime->lock);
  return known;
}

/* The names in the directory @path below @dfd; none if it does not exist. */
static GPtrArray *
list_names (int dfd, const char *path)
{
  GPtrArray *names = g_ptr_array_new_with_free_func (g_free);
  int fd = gantry_open_no_links (dfd, path, O_RDONLY | O_DIRECTORY, 0);
  DIR *dir = fd >= 0 ? fdopendir (fd) : NULL;
  struct dirent *entry;

  if (dir == NULL)
    {
      gantry_fd_clear (&fd);
      return names;
    }
  while ((entry = readdir (dir)) != NULL)
    if (shim_runtime_is_name (entry->d_name))
      g_ptr_array_add (names, g_strdup (entry->d_name));
  closedir (dir);
  return names;
}

/* Has the shim's own program clean up, in a bundle that is made for it if there is none. */
static void
clean_up (Check *check, const char *ns, const char *id)
{
  g_autofree char *path = g_strconcat (ns, "/", id, NULL);
  gantry_autofd int fd = gantry_open_dir_at (check->runtime->bundles_fd, path, 0711, NULL);
  g_autoptr (Task) task = NULL;

  if (fd < 0)
    return;
  task = task_new (check->runtime, ns, id, gantry_fd_steal (&fd));
  task_clean_up (task, NULL, NULL);
  task_forget (task);
}

static void
check_bundles (Check *check)
{
  g_autoptr (GPtrArray) namespaces = list_names (check->runtime->bundles_fd, ".");

  for (guint i = 0; i < namespaces->len; i++)
    {
      const char *ns = g_ptr_array_index (namespaces, i);
      g_autoptr (GPtrArray) ids = list_names (check->runtime->bundles_fd, ns);

      for (guint j = 0; j < ids->len; j++)
        {
          const char *id = g_ptr_array_index (ids, j);

          if (is_known (check, ns, id))
            continue;
          report (check, " (removed)", "the bundle of container %s in namespace %s belongs to no task", id,
                  ns);
          if (check->repair)
            clean_up (check, ns, id);
        }
    }
}

static void
remove_below (int dfd, const char *path, const char *name)
{
  gantry_autofd int fd = gantry_open_no_links (dfd, path, O_RDONLY | O_DIRECTORY, 0);
  g_autoptr (GError) error = NULL;

  if (fd >= 0 && !gantry_remove_tree_at (fd, name, &error))
    g_warning ("%s/%s stays: %s", path, name, error->message);
}

static void
check_oci_states (Check *check)
{
  int dfd = gantry_host_get_dir_fd (check->runtime->host, GANTRY_DIR_RUN, NULL);
  g_autoptr (GPtrArray) namespaces = dfd >= 0 ? list_names (dfd, "runc") : NULL;

  for (guint i = 0; namespaces != NULL && i < namespaces->len; i++)
    {
      const char *ns = g_ptr_array_index (namespaces, i);
      g_autofree char *path = g_strconcat ("runc/", ns, NULL);
      g_autoptr (GPtrArray) ids = list_names (dfd, path);

      for (guint j = 0; j < ids->len; j++)
        {
          const char *id = g_ptr_array_index (ids, j);

          if (is_known (check, ns, id))
            continue;
          report (check, " (removed)", "the OCI runtime knows a container %s in namespace %s that is no task",
                  id, ns);
          if (!check->repair)
            continue;
          clean_up (check, ns, id);
          /* Whatever the OCI runtime itself does not take for one of its own. */
          remove_below (dfd, path, id);
        }
    }
}

/* Undoes mountinfo's octal escapes (proc(5)). */
static char *
unescape (const char *text)
{
  GString *plain = g_string_new (NULL);

  for (; *text != '\0'; text++)
    if (text[0] == '\\' && strspn (text + 1, "01234567") >= 3)
      {
        char digits[4] = { text[1], text[2], text[3], '\0' };

        g_string_append_c (plain, (char)strtol (digits, NULL, 8));
        text += 3;
      }
    else
      g_string_append_c (plain, *text);
  return g_string_free (plain, FALSE);
}

/* Mounts below a bundle whose task is not there. */
static gboolean
check_mounts (Check *check, GError **error)
{
  g_autofree char *prefix = g_strconcat (check->runtime->path, "/bundles/", NULL);
  gantry_autofd int fd = open ("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
  g_autoptr (GBytes) bytes = fd >= 0 ? gantry_read_all (fd, MAX_FILE, error) : NULL;
  g_autofree char *text = NULL;
  g_auto (GStrv) lines = NULL;

  if (bytes == NULL)
    return fd >= 0 ? FALSE : gantry_throw_errno (error, errno, "reading the mounts");
  text = g_strndup (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes));
  lines = g_strsplit (text, "\n", -1);
  /* The last that was made is the first to go. */
  for (guint i = g_strv_length (lines); i > 0; i--)
    {
      g_auto (GStrv) fields = g_strsplit (lines[i - 1], " ", 6);
      g_autofree char *target = g_strv_length (fields) >= 5 ? unescape (fields[4]) : NULL;
      g_auto (GStrv) parts = NULL;

      if (target == NULL || !g_str_has_prefix (target, prefix))
        continue;
      parts = g_strsplit (target + strlen (prefix), "/", 3);
      if (g_strv_length (parts) < 2 || is_known (check, parts[0], parts[1]))
        continue;
      report (check, " (unmounted)", "%s is mounted, but container %s in namespace %s is no task", target,
              parts[1], parts[0]);
      if (check->repair)
        umount2 (target, MNT_DETACH | UMOUNT_NOFOLLOW);
    }
  return TRUE;
}

typedef struct
{
  pid_t pid;
  char *ns;
  char *id;
} Shim;

static void
shim_free (gpointer data)
{
  Shim *shim = data;

  g_free (shim->ns);
  g_free (shim->id);
  g_free (shim);
}

/* Whether the process @pid is a shim of ours: its command line names our directory. */
static Shim *
read_shim (ShimRuntime *runtime, int proc_fd, const char *pid)
{
  g_autofree char *name = g_strconcat (pid, "/cmdline", NULL),
                  *bundles = g_strconcat (runtime->path, "/bundles/", NULL);
  gantry_autofd int fd = openat (proc_fd, name, O_RDONLY | O_CLOEXEC);
  g_autoptr (GBytes) bytes = fd >= 0 ? gantry_read_all (fd, MAX_FILE, NULL) : NULL;
  gsize length = 0;
  const char *data = bytes != NULL ? g_bytes_get_data (bytes, &length) : NULL;
  const char *ns = NULL, *id = NULL, *previous = "";
  gboolean ours = FALSE;
  Shim *shim;

  for (gsize at = 0; at < length && data[length - 1] == '\0'; at += strlen (data + at) + 1)
    {
      const char *value = data + at;

      if (strcmp (previous, "-namespace") == 0)
        ns = value;
      else if (strcmp (previous, "-id") == 0)
        id = value;
      ours |= (strcmp (previous, "-bundle") == 0 && g_str_has_prefix (value, bundles))
              || (strcmp (previous, "-address") == 0 && strcmp (value, runtime->path) == 0);
      previous = value;
    }
  if (!ours || ns == NULL || id == NULL)
    return NULL;
  shim = g_new (Shim, 1);
  *shim = (Shim){ (pid_t)strtol (pid, NULL, 10), g_strdup (ns), g_strdup (id) };
  return shim;
}

static gboolean
list_shims (ShimRuntime *runtime, GPtrArray *shims, GError **error)
{
  int fd = open ("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *dir = fd >= 0 ? fdopendir (fd) : NULL;
  struct dirent *entry;

  if (dir == NULL)
    {
      gantry_fd_clear (&fd);
      return gantry_throw_errno (error, errno, "reading /proc");
    }
  while ((entry = readdir (dir)) != NULL)
    {
      Shim *shim = g_ascii_isdigit (entry->d_name[0]) ? read_shim (runtime, fd, entry->d_name) : NULL;

      if (shim != NULL)
        g_ptr_array_add (shims, shim);
    }
  closedir (dir);
  return TRUE;
}

/* Whether it has not left by itself within its time. */
static gboolean
stays (Shim *shim)
{
  gantry_autofd int fd = (int)syscall (SYS_pidfd_open, shim->pid, 0);
  struct pollfd wait = { fd, POLLIN, 0 };

  return fd >= 0 && poll (&wait, 1, LEAVE_MS) == 0;
}

static gboolean
check_shims (Check *check, GError **error)
{
  g_autoptr (GPtrArray) shims = g_ptr_array_new_with_free_func (shim_free);
  guint n_links, n_known = 0;

  if (!list_shims (check->runtime, shims, error))
    return FALSE;
  g_mutex_lock (&check->runtime->lock);
  n_links = g_hash_table_size (check->runtime->links);
  g_mutex_unlock (&check->runtime->lock);
  for (guint i = 0; i < shims->len; i++)
    {
      Shim *shim = g_ptr_array_index (shims, i);

      n_known += is_known (check, shim->ns, shim->id);
    }
  /* A pod's shim goes by the name of its first container, which may be gone while others are not. */
  for (guint i = 0; n_known >= n_links && i < shims->len; i++)
    {
      Shim *shim = g_ptr_array_index (shims, i);

      if (is_known (check, shim->ns, shim->id) || !stays (shim))
        continue;
      report (check, " (ended)", "the shim %d of container %s in namespace %s has no task", (int)shim->pid,
              shim->id, shim->ns);
      if (check->repair)
        kill (shim->pid, SIGKILL);
    }
  return TRUE;
}

gboolean
shim_runtime_check (GantryRuntime *runtime, gboolean repair, char ***ret_problems, GCancellable *cancellable,
                    GError **error)
{
  g_autoptr (GPtrArray) problems = g_ptr_array_new_with_free_func (g_free);
  Check check = { (ShimRuntime *)runtime, repair, problems };

  /* Shims first: they hold the rest. */
  if (!check_shims (&check, error))
    return FALSE;
  check_oci_states (&check);
  check_bundles (&check);
  if (!check_mounts (&check, error))
    return FALSE;
  g_ptr_array_add (problems, NULL);
  *ret_problems = (char **)g_ptr_array_free (g_steal_pointer (&problems), FALSE);
  return TRUE;
}
