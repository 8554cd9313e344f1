/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Whether a process's program is there, asked before the OCI runtime is: it has the process's stderr for its
 * own, so what it finds wrong would stand there beside the one error that the caller gets. Whenever the
 * answer is not certain, the OCI runtime is left to give it. */
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_PROGRAM 4096

typedef enum
{
  FOUND,
  ABSENT,
  NOT_EXECUTABLE,
  UNCERTAIN
} Verdict;

/* A bind from the host may bring programs with it, wherever symbolic links lead to it; a plain file that
 * nobody may execute does not. */
static bool
may_hold_programs (Json mount)
{
  static const char *const empty[] = { "proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2" };
  char *type = json_member_string (mount, "type"), *source = json_member_string (mount, "source");
  bool may = source == NULL;
  struct stat st;

  if (source != NULL)
    may = stat (source, &st) < 0 || S_ISDIR (st.st_mode) || (st.st_mode & 0111) != 0;
  for (size_t i = 0; i < sizeof empty / sizeof empty[0]; i++)
    may &= type == NULL || strcmp (type, empty[i]) != 0;
  free (type);
  free (source);
  return may;
}

static Verdict
look_at (int root_fd, const char *path)
{
  struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT };
  int fd = (int)syscall (SYS_openat2, root_fd, path, &how, sizeof how);
  struct stat st;
  bool ok;

  if (fd < 0)
    return errno == ENOENT || errno == ENOTDIR ? ABSENT : UNCERTAIN;
  ok = fstat (fd, &st) == 0;
  close (fd);
  if (!ok)
    return UNCERTAIN;
  return !S_ISDIR (st.st_mode) && (st.st_mode & 0111) != 0 ? FOUND : NOT_EXECUTABLE;
}

/* The value of the last PATH= in "env", as the process will see it. Returns: (transfer full). */
static char *
search_path (Json process)
{
  char *path = NULL;
  Json env, entry;

  if (!json_member (process, "env", &env))
    return NULL;
  while (json_next (&env, &entry))
    {
      char *text = json_string (entry);

      if (text != NULL && strncmp (text, "PATH=", 5) == 0)
        {
          free (path);
          path = strdup (text + 5);
        }
      free (text);
    }
  return path;
}

static Verdict
search (int root_fd, char *path, const char *name)
{
  char candidate[MAX_PROGRAM];
  char *directory;

  while ((directory = strsep (&path, ":")) != NULL)
    {
      Verdict verdict;

      /* A relative directory depends on more than we look at. */
      if (directory[0] != '/'
          || snprintf (candidate, sizeof candidate, "%s/%s", directory, name) >= (int)sizeof candidate)
        return UNCERTAIN;
      verdict = look_at (root_fd, candidate);
      if (verdict == FOUND || verdict == UNCERTAIN)
        return verdict;
    }
  return ABSENT;
}

static Verdict
judge (int root_fd, Json process, const char *name)
{
  char *cwd, *path, candidate[MAX_PROGRAM];
  Verdict verdict;
  int n;

  if (strchr (name, '/') == NULL)
    {
      path = search_path (process);
      verdict = path != NULL ? search (root_fd, path, name) : UNCERTAIN;
      free (path);
      return verdict;
    }
  if (name[0] == '/')
    return look_at (root_fd, name);
  cwd = json_member_string (process, "cwd");
  n = snprintf (candidate, sizeof candidate, "%s/%s", cwd != NULL ? cwd : "", name);
  free (cwd);
  return n < (int)sizeof candidate ? look_at (root_fd, candidate) : UNCERTAIN;
}

/* The words are those that containerd has from runc: clients look for them. */
static bool
refuse (Verdict verdict, const char *name, const char *prefix, Error *error)
{
  static const char format[] = "%s: unable to start container process: exec: \"%.200s\": %s%.200s%s";
  bool path = strchr (name, '/') != NULL;

  if (verdict == NOT_EXECUTABLE)
    return fail (error, runc_code (CODE_PERMISSION_DENIED), format, prefix, name, "", "",
                 "permission denied");
  return fail (error, runc_code (CODE_NOT_FOUND), format, prefix, name, path ? "stat " : "", path ? name : "",
               path ? ": no such file or directory" : "executable file not found in $PATH");
}

static bool
check (int root_fd, Json process, const char *prefix, Error *error)
{
  Json args, first;
  char *name = json_member (process, "args", &args) && json_next (&args, &first) ? json_string (first) : NULL;
  Verdict verdict = name != NULL ? judge (root_fd, process, name) : UNCERTAIN;
  bool ok = verdict == FOUND || verdict == UNCERTAIN || refuse (verdict, name, prefix, error);

  free (name);
  return ok;
}

bool
program_check_init (const Container *container, Json spec, Error *error)
{
  Json root, process, mounts, mount;
  char *path = json_member (spec, "root", &root) ? json_member_string (root, "path") : NULL;
  int bundle_fd = open (container->bundle, O_PATH | O_DIRECTORY | O_CLOEXEC);
  int root_fd
      = path != NULL && bundle_fd >= 0 ? openat (bundle_fd, path, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
  bool certain = root_fd >= 0 && json_member (spec, "process", &process), ok = true;

  if (certain && json_member (spec, "mounts", &mounts))
    while (certain && json_next (&mounts, &mount))
      certain = !may_hold_programs (mount);
  if (certain)
    ok = check (root_fd, process, "OCI runtime create failed: runc create failed", error);
  free (path);
  if (root_fd >= 0)
    close (root_fd);
  if (bundle_fd >= 0)
    close (bundle_fd);
  return ok;
}

bool
program_check_exec (Process *process, Error *error)
{
  const Container *container = process->container;
  char path[64];
  struct stat st;
  Json spec;
  int root_fd;
  bool ok = true;

  snprintf (path, sizeof path, "/proc/%d/root", (int)container->init.pid);
  root_fd = open (path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root_fd < 0)
    return true;
  /* An init that has changed its root since has not changed it for execs. */
  if (fstat (root_fd, &st) == 0 && st.st_dev == container->root_dev && st.st_ino == container->root_ino
      && json_parse (process->spec, process->spec_length, &spec))
    ok = check (root_fd, spec, "OCI runtime exec failed: exec failed", error);
  close (root_fd);
  return ok;
}
