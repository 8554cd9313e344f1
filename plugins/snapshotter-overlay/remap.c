/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Whether owners can be mapped: tried, in a child process with a mount namespace of its own, so that whatever
 * happens to it or to the daemon no mount is left. */
#include "snapshotter-overlay.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include <fdio.h>
#include <idmap.h>

typedef struct
{
  char *lower;
  char *mapped;
  char *merged;
  char *options;
} Names;

static void
names_clear (Names *names)
{
  g_free (names->lower);
  g_free (names->mapped);
  g_free (names->merged);
  g_free (names->options);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Names, names_clear)

/* In the child, which may make nothing but system calls. */
static gboolean
try_mounts (const Names *names, int userns)
{
  int tree;

  if (unshare (CLONE_NEWNS) < 0 || mount (NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
    return FALSE;
  tree = idmap_clone (names->lower, userns, 0);
  return tree >= 0 && move_mount (tree, "", AT_FDCWD, names->mapped, MOVE_MOUNT_F_EMPTY_PATH) == 0
         && mount ("overlay", names->merged, "overlay", 0, names->options) == 0;
}

static gboolean
try_in_child (SnapDirs *self)
{
  g_auto (Names) names
      = { g_strconcat (self->path, "/ids/lower", NULL), g_strconcat (self->path, "/ids/mapped", NULL),
          g_strconcat (self->path, "/ids/merged", NULL),
          g_strdup_printf ("lowerdir=%s/ids/mapped,upperdir=%s/ids/upper,workdir=%s/ids/work,volatile",
                           self->path, self->path, self->path) };
  gantry_autofd int userns = idmap_open ("0:100000:1", "0:100000:1");
  int status = -1;
  pid_t pid;

  if (userns < 0)
    return FALSE;
  pid = fork ();
  if (pid == 0)
    _exit (try_mounts (&names, userns) ? 0 : 1);
  while (pid > 0 && waitpid (pid, &status, 0) < 0 && errno == EINTR)
    ;
  return pid > 0 && WIFEXITED (status) && WEXITSTATUS (status) == 0;
}

gboolean
overlay_probe_remap (SnapDirs *self)
{
  static const char *const names[]
      = { "ids", "ids/lower", "ids/mapped", "ids/upper", "ids/work", "ids/merged" };
  g_autoptr (GError) error = NULL;
  gboolean ok = gantry_remove_tree_at (self->fd, "ids", &error);

  for (gsize i = 0; ok && i < G_N_ELEMENTS (names); i++)
    ok = mkdirat (self->fd, names[i], 0700) == 0
         || gantry_throw_errno (&error, errno, "making %s/%s", self->path, names[i]);
  ok = ok && try_in_child (self);
  if (error != NULL || !gantry_remove_tree_at (self->fd, "ids", &error))
    gantry_host_log (self->host, GANTRY_LOG_WARNING, "whether owners can be mapped is not known: %s",
                     error->message);
  return ok;
}
