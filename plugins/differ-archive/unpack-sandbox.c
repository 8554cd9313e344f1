/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "unpack-sandbox.h"

#include <sched.h>
#include <signal.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <seccomp.h>

/* SYS_ADMIN is for "trusted." attributes; the calls that make it dangerous are not in the filter. */
static const cap_value_t kept_capabilities[] = {
  CAP_CHOWN,  CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER,
  CAP_FSETID, CAP_MKNOD,        CAP_SETFCAP,         CAP_SYS_ADMIN,
};

/* What reading, decompressing and making files takes, and what glibc does on its own. */
static const int allowed_calls[] = {
  /* memory and threads */
  SCMP_SYS (brk),
  SCMP_SYS (munmap),
  SCMP_SYS (mremap),
  SCMP_SYS (madvise),
  SCMP_SYS (futex),
  SCMP_SYS (set_robust_list),
  SCMP_SYS (rseq),
  SCMP_SYS (sched_yield),
  SCMP_SYS (sched_getaffinity),
  SCMP_SYS (gettid),
  SCMP_SYS (getpid),
  SCMP_SYS (exit),
  SCMP_SYS (exit_group),
  SCMP_SYS (rt_sigprocmask),
  SCMP_SYS (rt_sigaction),
  SCMP_SYS (rt_sigreturn),
  SCMP_SYS (sigaltstack),
  SCMP_SYS (restart_syscall),
  SCMP_SYS (clock_gettime),
  SCMP_SYS (clock_nanosleep),
  SCMP_SYS (getrandom),
  SCMP_SYS (getrusage),
  SCMP_SYS (set_tid_address),
  /* data */
  SCMP_SYS (read),
  SCMP_SYS (pread64),
  SCMP_SYS (readv),
  SCMP_SYS (write),
  SCMP_SYS (pwrite64),
  SCMP_SYS (writev),
  SCMP_SYS (lseek),
  SCMP_SYS (close),
  SCMP_SYS (dup),
  SCMP_SYS (fcntl),
  SCMP_SYS (ftruncate),
  SCMP_SYS (fallocate),
  SCMP_SYS (fadvise64),
  SCMP_SYS (sync_file_range),
  SCMP_SYS (syncfs),
  SCMP_SYS (fdatasync),
  SCMP_SYS (fsync),
  SCMP_SYS (sendto),
  SCMP_SYS (sendmsg),
  SCMP_SYS (poll),
  SCMP_SYS (ppoll),
  /* names, all from directories that are open */
  SCMP_SYS (openat),
  SCMP_SYS (openat2),
  SCMP_SYS (getdents64),
  SCMP_SYS (fstat),
  SCMP_SYS (newfstatat),
  SCMP_SYS (statx),
  SCMP_SYS (fstatfs),
  SCMP_SYS (readlinkat),
  SCMP_SYS (mkdirat),
  SCMP_SYS (mknodat),
  SCMP_SYS (symlinkat),
  SCMP_SYS (linkat),
  SCMP_SYS (unlinkat),
  SCMP_SYS (fchown),
  SCMP_SYS (fchownat),
  SCMP_SYS (fchmod),
  SCMP_SYS (fchmodat),
  SCMP_SYS (utimensat),
  SCMP_SYS (fchdir),
  SCMP_SYS (umask),
  SCMP_SYS (flistxattr),
  SCMP_SYS (fgetxattr),
  SCMP_SYS (fsetxattr),
  SCMP_SYS (llistxattr),
  SCMP_SYS (lgetxattr),
  SCMP_SYS (lsetxattr),
};

/* What only an intruder would try. Other calls fail as if the kernel did not have them, for a newer libc may
 * ask for some, and goes on without. */
static const int deadly_calls[] = {
  SCMP_SYS (execve),
  SCMP_SYS (execveat),
  SCMP_SYS (fork),
  SCMP_SYS (vfork),
  SCMP_SYS (kill),
  SCMP_SYS (ptrace),
  SCMP_SYS (socket),
  SCMP_SYS (connect),
  SCMP_SYS (bind),
  SCMP_SYS (mount),
  SCMP_SYS (umount2),
  SCMP_SYS (move_mount),
  SCMP_SYS (open_tree),
  SCMP_SYS (fsopen),
  SCMP_SYS (pivot_root),
  SCMP_SYS (chroot),
  SCMP_SYS (setns),
  SCMP_SYS (unshare),
  SCMP_SYS (bpf),
  SCMP_SYS (keyctl),
  SCMP_SYS (init_module),
  SCMP_SYS (finit_module),
  SCMP_SYS (kexec_load),
  SCMP_SYS (open_by_handle_at),
  SCMP_SYS (process_vm_readv),
  SCMP_SYS (process_vm_writev),
  SCMP_SYS (perf_event_open),
};

static gboolean
limit (int resource, guint64 value, GError **error)
{
  struct rlimit rlimit = { value, value };

  return setrlimit ((__rlimit_resource_t)resource, &rlimit) == 0
         || gantry_throw_errno (error, errno, "limiting the unpack worker's resources");
}

gboolean
unpack_sandbox_begin (const UnpackLimits *limits, GError **error)
{
  if (prctl (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl (PR_SET_DUMPABLE, 0) < 0)
    return gantry_throw_errno (error, errno, "preparing the unpack worker");
  /* A file that grows too large is an error that names its entry, not the end of the worker. */
  signal (SIGXFSZ, SIG_IGN);
  signal (SIGPIPE, SIG_IGN);
  if (!limit (RLIMIT_FSIZE, limits->max_bytes, error) || !limit (RLIMIT_CORE, 0, error)
      || !limit (RLIMIT_NOFILE, 2 * limits->max_depth + 64, error)
      || !limit (RLIMIT_CPU, limits->max_cpu_seconds, error) || !limit (RLIMIT_MSGQUEUE, 0, error)
      || !limit (RLIMIT_MEMLOCK, 0, error))
    return FALSE;
  /* A sanitizer's shadow needs terabytes of address space. */
  return UNDER_SANITIZER || limit (RLIMIT_AS, limits->max_memory, error);
}

static gboolean
drop_capabilities (GError **error)
{
  cap_t caps = cap_init ();
  int r;

  r = cap_set_flag (caps, CAP_PERMITTED, G_N_ELEMENTS (kept_capabilities), kept_capabilities, CAP_SET);
  if (r == 0)
    r = cap_set_flag (caps, CAP_EFFECTIVE, G_N_ELEMENTS (kept_capabilities), kept_capabilities, CAP_SET);
  if (r == 0)
    r = cap_set_proc (caps);
  cap_free (caps);
  return r == 0 || gantry_throw_errno (error, errno, "dropping the unpack worker's capabilities");
}

/* Rules that look at arguments. */
static int
add_conditional_rules (scmp_filter_ctx filter)
{
  int r = 0;

  /* No code may be brought in. */
  r |= seccomp_rule_add (filter, SCMP_ACT_ALLOW, SCMP_SYS (mmap), 1,
                         SCMP_A2 (SCMP_CMP_MASKED_EQ, 4 /* PROT_EXEC */, 0));
  r |= seccomp_rule_add (filter, SCMP_ACT_ALLOW, SCMP_SYS (mprotect), 1, SCMP_A2 (SCMP_CMP_MASKED_EQ, 4, 0));
  /* Threads but no processes: glibc falls back to clone (), whose flags can be seen. */
  r |= seccomp_rule_add (filter, SCMP_ACT_ALLOW, SCMP_SYS (clone), 1,
                         SCMP_A0 (SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
  r |= seccomp_rule_add (filter, SCMP_ACT_ALLOW, SCMP_SYS (prctl), 1, SCMP_A0 (SCMP_CMP_EQ, PR_SET_NAME));
  /* abort () */
  r |= seccomp_rule_add (filter, SCMP_ACT_ALLOW, SCMP_SYS (tgkill), 1,
                         SCMP_A0 (SCMP_CMP_EQ, (scmp_datum_t)getpid ()));
  /* Asking for limits, not setting them. */
  r |= seccomp_rule_add (filter, SCMP_ACT_ALLOW, SCMP_SYS (prlimit64), 1, SCMP_A2 (SCMP_CMP_EQ, 0));
  return r;
}

static gboolean
filter_calls (GError **error)
{
  scmp_filter_ctx filter = seccomp_init (SCMP_ACT_ERRNO (ENOSYS));
  int r = 0;

  if (filter == NULL)
    return gantry_throw (error, GANTRY_ERROR_INTERNAL,
                         "no memory for the unpack worker's system call filter");
  for (gsize i = 0; !UNDER_SANITIZER && i < G_N_ELEMENTS (deadly_calls); i++)
    r |= seccomp_rule_add (filter, SCMP_ACT_KILL_PROCESS, deadly_calls[i], 0);
  for (gsize i = 0; i < G_N_ELEMENTS (allowed_calls); i++)
    r |= seccomp_rule_add (filter, SCMP_ACT_ALLOW, allowed_calls[i], 0);
  r |= add_conditional_rules (filter);
  if (r == 0)
    r = seccomp_load (filter);
  seccomp_release (filter);
  return r == 0
         || gantry_throw (error, GANTRY_ERROR_INTERNAL,
                          "the unpack worker's system call filter can't be loaded");
}

gboolean
unpack_sandbox_close (GError **error)
{
  return drop_capabilities (error) && filter_calls (error);
}
