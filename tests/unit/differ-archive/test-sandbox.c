/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The sandbox from inside: what a worker can't do any more, even if a layer has taken it over.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unpack-mount.h"
#include "unpack-sandbox.h"

#define ALLOWED 10
#define REFUSED 11
#define BROKEN  12

/* Runs @func in a sandboxed process. Returns: what waitpid () says. */
static int
run_inside (gboolean (*func) (void))
{
  UnpackLimits limits = UNPACK_LIMITS_INIT;
  int status;
  pid_t pid = fork ();

  g_assert_cmpint (pid, >=, 0);
  if (pid == 0)
    {
      if (!unpack_sandbox_begin (&limits, NULL) || !unpack_mount_isolate (NULL) || !unpack_mount_enter (NULL)
          || !unpack_sandbox_close (NULL))
        _exit (BROKEN);
      _exit (func () ? ALLOWED : REFUSED);
    }
  g_assert_cmpint (waitpid (pid, &status, 0), ==, pid);
  return status;
}

static gboolean
can_run (void)
{
  if (geteuid () == 0 && !UNDER_SANITIZER)
    return TRUE;
  g_test_skip (UNDER_SANITIZER ? "a sanitizer needs a looser filter" : "needs root");
  return FALSE;
}

static gboolean
do_nothing (void)
{
  return TRUE;
}

static gboolean
open_host_file (void)
{
  return open ("/etc/passwd", O_RDONLY) >= 0 || open ("../../../etc/passwd", O_RDONLY) >= 0
         || open ("/proc/self/root/etc/passwd", O_RDONLY) >= 0;
}

static gboolean
make_process (void)
{
  return fork () >= 0;
}

static gboolean
map_code (void)
{
  return mmap (NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED;
}

static gboolean
watch_files (void)
{
  return syscall (SYS_inotify_init1, 0) >= 0;
}

static gboolean
make_socket (void)
{
  return socket (AF_INET, SOCK_STREAM, 0) >= 0;
}

static gboolean
run_program (void)
{
  return execl ("/bin/true", "true", NULL) == 0;
}

static gboolean
mount_something (void)
{
  return mount ("none", "/", "tmpfs", 0, NULL) == 0;
}

static gboolean
leave_namespace (void)
{
  return unshare (CLONE_NEWNS) == 0;
}

static gboolean
signal_parent (void)
{
  return kill (getppid (), 0) == 0;
}

static gboolean
trace (void)
{
  return syscall (SYS_ptrace, 0, 0, 0, 0) == 0;
}

static const struct
{
  const char *name;
  gboolean (*func) (void);
  int expected; /* exit status, or the signal as a negative number */
} cases[] = {
  { "nothing", do_nothing, ALLOWED },
  { "open-host-file", open_host_file, REFUSED },
  { "make-process", make_process, REFUSED },
  { "map-code", map_code, REFUSED },
  { "watch-files", watch_files, REFUSED },
  { "socket", make_socket, -SIGSYS },
  { "exec", run_program, -SIGSYS },
  { "mount", mount_something, -SIGSYS },
  { "unshare", leave_namespace, -SIGSYS },
  { "kill", signal_parent, -SIGSYS },
  { "ptrace", trace, -SIGSYS },
};

static void
test_case (gconstpointer data)
{
  gsize i = GPOINTER_TO_SIZE (data);
  int status;

  if (!can_run ())
    return;
  status = run_inside (cases[i].func);
  g_assert_cmpint (WIFSIGNALED (status) ? -WTERMSIG (status) : WEXITSTATUS (status), ==, cases[i].expected);
}

int
main (int argc, char *argv[])
{
  g_test_init (&argc, &argv, NULL);
  for (gsize i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autofree char *path = g_strconcat ("/differ/archive/sandbox/", cases[i].name, NULL);

      g_test_add_data_func (path, GSIZE_TO_POINTER (i), test_case);
    }
  return g_test_run ();
}
