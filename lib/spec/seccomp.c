/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The default seccomp profile: everything that programs normally use is allowed, everything else fails with
 * EPERM. Some calls come with the capability that they belong to. libseccomp says which names the running
 * architecture has; others are left out. */
#include "spec-private.h"

#include <errno.h>
#include <seccomp.h>

static const char allowed[] = "accept accept4 access adjtimex alarm arch_prctl bind brk cachestat capget "
                              "capset chdir chmod chown chown32 clock_adjtime clock_adjtime64"
                              " clock_getres clock_getres_time64 clock_gettime clock_gettime64 "
                              "clock_nanosleep clock_nanosleep_time64 close close_range connect"
                              " copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl "
                              "epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait"
                              " epoll_wait_old eventfd eventfd2 execve execveat exit exit_group faccessat "
                              "faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark"
                              " fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 "
                              "fdatasync fgetxattr flistxattr flock fork fremovexattr"
                              " fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate "
                              "ftruncate64 futex futex_requeue futex_time64 futex_wait"
                              " futex_waitv futex_wake futimesat get_robust_list get_thread_area getcpu "
                              "getcwd getdents getdents64 getegid getegid32 geteuid"
                              " geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpeername "
                              "getpgid getpgrp getpid getppid getpriority getrandom getresgid"
                              " getresgid32 getresuid getresuid32 getrlimit getrusage getsid getsockname "
                              "getsockopt gettid gettimeofday getuid getuid32 getxattr"
                              " inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel "
                              "io_destroy io_getevents io_pgetevents io_pgetevents_time64"
                              " io_setup io_submit ioctl ioprio_get ioprio_set ipc kill landlock_add_rule "
                              "landlock_create_ruleset landlock_restrict_self lchown"
                              " lchown32 lgetxattr link linkat listen listxattr llistxattr _llseek "
                              "lremovexattr lseek lsetxattr lstat lstat64 madvise map_shadow_stack"
                              " membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat "
                              "mlock mlock2 mlockall mmap mmap2 modify_ldt mprotect"
                              " mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 "
                              "mq_timedsend mq_timedsend_time64 mq_unlink mremap msgctl msgget"
                              " msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep "
                              "newfstatat _newselect open openat openat2 pause personality"
                              " pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect "
                              "poll ppoll ppoll_time64 prctl pread64 preadv preadv2"
                              " prlimit64 process_mrelease pselect6 pselect6_time64 pwrite64 pwritev "
                              "pwritev2 read readahead readlink readlinkat readv recv recvfrom"
                              " recvmmsg recvmmsg_time64 recvmsg remap_file_pages removexattr rename "
                              "renameat renameat2 restart_syscall rmdir rseq rt_sigaction"
                              " rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend "
                              "rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo"
                              " sched_get_priority_max sched_get_priority_min sched_getaffinity "
                              "sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval"
                              " sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam "
                              "sched_setscheduler sched_yield seccomp select semctl"
                              " semget semop semtimedop semtimedop_time64 send sendfile sendfile64 sendmmsg "
                              "sendmsg sendto set_robust_list set_thread_area"
                              " set_tid_address setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 "
                              "setgroups setgroups32 setitimer setpgid setpriority setregid"
                              " setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 "
                              "setrlimit setsid setsockopt setuid setuid32 setxattr"
                              " shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 "
                              "sigprocmask sigreturn socketcall socketpair splice stat"
                              " stat64 statfs statfs64 statx symlink symlinkat sync sync_file_range syncfs "
                              "sysinfo tee tgkill time timer_create timer_delete"
                              " timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 "
                              "timerfd_create timerfd_gettime timerfd_gettime64"
                              " timerfd_settime timerfd_settime64 times tkill truncate truncate64 ugetrlimit "
                              "umask uname unlink unlinkat utime utimensat"
                              " utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write writev "
                              "process_vm_readv process_vm_writev ptrace socket";

static const struct
{
  const char *capability;
  const char *names;
} by_capability[] = {
  { "CAP_DAC_READ_SEARCH", "open_by_handle_at" },
  { "CAP_SYS_ADMIN",
    "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr "
    "move_mount open_tree"
    " perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare" },
  { "CAP_SYS_BOOT", "reboot" },
  { "CAP_SYS_CHROOT", "chroot" },
  { "CAP_SYS_MODULE", "delete_module finit_module init_module" },
  { "CAP_SYS_PACCT", "acct" },
  { "CAP_SYS_PTRACE", "kcmp pidfd_getfd process_madvise" },
  { "CAP_SYS_RAWIO", "iopl ioperm" },
  { "CAP_SYS_TIME", "settimeofday stime clock_settime clock_settime64" },
  { "CAP_SYS_TTY_CONFIG", "vhangup" },
  { "CAP_SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node" },
  { "CAP_SYSLOG", "syslog" },
  { "CAP_BPF", "bpf" },
  { "CAP_PERFMON", "perf_event_open" },
};

/* clone () with any of the namespace flags but CLONE_NEWCGROUP's own family is refused: user, pid, net, ipc,
 * uts, mount, cgroup. */
#define NAMESPACE_FLAGS 0x7E020000

static void
begin_rule (JsonBuilder *builder, const char *action)
{
  json_builder_begin_object (builder);
  json_builder_set_member_name (builder, "action");
  json_builder_add_string_value (builder, action);
}

static void
add_names (JsonBuilder *builder, const char *names)
{
  g_auto (GStrv) list = g_strsplit (names, " ", -1);

  json_builder_set_member_name (builder, "names");
  json_builder_begin_array (builder);
  for (gsize i = 0; list[i] != NULL; i++)
    if (seccomp_syscall_resolve_name (list[i]) != __NR_SCMP_ERROR)
      json_builder_add_string_value (builder, list[i]);
  json_builder_end_array (builder);
}

static void
add_clone_rules (JsonBuilder *builder)
{
  begin_rule (builder, "SCMP_ACT_ALLOW");
  add_names (builder, "clone");
  json_builder_set_member_name (builder, "args");
  json_builder_begin_array (builder);
  json_builder_begin_object (builder);
  json_builder_set_member_name (builder, "index");
  json_builder_add_int_value (builder, 0);
  json_builder_set_member_name (builder, "value");
  json_builder_add_int_value (builder, NAMESPACE_FLAGS);
  json_builder_set_member_name (builder, "valueTwo");
  json_builder_add_int_value (builder, 0);
  json_builder_set_member_name (builder, "op");
  json_builder_add_string_value (builder, "SCMP_CMP_MASKED_EQ");
  json_builder_end_object (builder);
  json_builder_end_array (builder);
  json_builder_end_object (builder);
  /* Its flags are behind a pointer, so programs must fall back to clone (). */
  begin_rule (builder, "SCMP_ACT_ERRNO");
  add_names (builder, "clone3");
  json_builder_set_member_name (builder, "errnoRet");
  json_builder_add_int_value (builder, ENOSYS);
  json_builder_end_object (builder);
}

/* The 32-bit architecture whose programs run on @native, too. Its rules take libseccomp and runc some 10 ms
 * at each start of a container, so they are only there for images that need them. */
static const struct
{
  uint32_t native;
  const char *name;
  const char *name_32bit;
  const char *image; /* the image's "architecture" */
  const char *loaders[5];
} architectures[] = {
  { SCMP_ARCH_X86_64,
    "SCMP_ARCH_X86_64",
    "SCMP_ARCH_X86",
    "386",
    { "lib/ld-linux.so.2", "usr/lib/ld-linux.so.2", "lib/ld-musl-i386.so.1", "usr/lib/ld-musl-i386.so.1",
      NULL } },
  { SCMP_ARCH_AARCH64,
    "SCMP_ARCH_AARCH64",
    "SCMP_ARCH_ARM",
    "arm",
    { "lib/ld-linux-armhf.so.3", "usr/lib/ld-linux-armhf.so.3", "lib/ld-musl-armhf.so.1",
      "usr/lib/ld-musl-armhf.so.1", NULL } },
};

static int
find_architecture (void)
{
  for (gsize i = 0; i < G_N_ELEMENTS (architectures); i++)
    if (architectures[i].native == seccomp_arch_native ())
      return (int)i;
  return -1;
}

gboolean
spec_has_32bit (JsonObject *config, GPtrArray *mounts)
{
  int found = find_architecture ();

  if (found < 0)
    return FALSE;
  if (g_strcmp0 (config != NULL ? oci_string (config, "architecture") : NULL, architectures[found].image)
      == 0)
    return TRUE;
  for (const char *const *loader = architectures[found].loaders; *loader != NULL; loader++)
    if (spec_root_has (mounts, *loader))
      return TRUE;
  return FALSE;
}

static void
add_architectures (JsonBuilder *builder, gboolean with_32bit)
{
  int found = find_architecture ();

  json_builder_set_member_name (builder, "architectures");
  json_builder_begin_array (builder);
  if (found >= 0)
    json_builder_add_string_value (builder, architectures[found].name);
  if (found >= 0 && with_32bit)
    json_builder_add_string_value (builder, architectures[found].name_32bit);
  json_builder_end_array (builder);
}

void
spec_add_seccomp (JsonBuilder *builder, const char *const *capabilities, gboolean with_32bit)
{
  json_builder_set_member_name (builder, "seccomp");
  json_builder_begin_object (builder);
  json_builder_set_member_name (builder, "defaultAction");
  json_builder_add_string_value (builder, "SCMP_ACT_ERRNO");
  json_builder_set_member_name (builder, "defaultErrnoRet");
  json_builder_add_int_value (builder, EPERM);
  add_architectures (builder, with_32bit);
  json_builder_set_member_name (builder, "syscalls");
  json_builder_begin_array (builder);
  begin_rule (builder, "SCMP_ACT_ALLOW");
  add_names (builder, allowed);
  json_builder_end_object (builder);
  for (gsize i = 0; i < G_N_ELEMENTS (by_capability); i++)
    if (g_strv_contains (capabilities, by_capability[i].capability))
      {
        begin_rule (builder, "SCMP_ACT_ALLOW");
        add_names (builder, by_capability[i].names);
        json_builder_end_object (builder);
      }
  if (!g_strv_contains (capabilities, "CAP_SYS_ADMIN"))
    add_clone_rules (builder);
  json_builder_end_array (builder);
  json_builder_end_object (builder);
}
