/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The sub-commands: "start" leaves a server behind, or finds the one of the container's group; "delete"
 * cleans up after a server that died. */
#include "shim.h"

#include "pump.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define IDLE_SECONDS    30
#define DRAIN_SECONDS   5
#define MAX_CONFIG      (16 * 1024 * 1024)
#define DEFAULT_SOCKETS "/run/containerd/s"

const char *shim_namespace = "default";
const char *shim_id;
const char *shim_daemon_address = "";
const char *shim_bundle;
const char *shim_sockets;

/* Containers with the same value of one of these annotations share a shim: a pod. Returns: (transfer full),
 * or NULL. */
static char *
find_group (void)
{
  static const char *const keys[] = { "io.containerd.runc.v2.group", "io.kubernetes.cri.sandbox-id" };
  char *group = NULL, *text;
  size_t length;
  Json spec, annotations;

  text = read_file ("config.json", MAX_CONFIG, &length);
  if (text != NULL && json_parse (text, length, &spec) && json_member (spec, "annotations", &annotations))
    for (size_t i = 0; group == NULL && i < sizeof keys / sizeof keys[0]; i++)
      group = json_member_string (annotations, keys[i]);
  free (text);
  return group;
}

/* A name that is this daemon's, namespace's and group's alone: FNV-1a, twice, over what names them. */
static void
socket_name (const char *group, char *name, size_t size)
{
  const char *const parts[] = { shim_daemon_address, "|", shim_namespace, "|", group };
  uint64_t hash[2] = { 0xcbf29ce484222325u, 0x84222325cbf29ce4u };

  for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
    for (const char *at = parts[i]; *at != '\0'; at++)
      for (int j = 0; j < 2; j++)
        hash[j] = (hash[j] ^ ((uint8_t)*at + (unsigned)j)) * 0x100000001b3u;
  snprintf (name, size, "%016llx%016llx", (unsigned long long)hash[0], (unsigned long long)hash[1]);
}

/* By the directory's fd: its path may be longer than sun_path. */
static void
make_address (struct sockaddr_un *address, int directory, const char *name)
{
  *address = (struct sockaddr_un){ .sun_family = AF_UNIX };
  snprintf (address->sun_path, sizeof address->sun_path, "/proc/self/fd/%d/%s", directory, name);
}

static bool
answers (int directory, const char *name)
{
  struct sockaddr_un address;
  int fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  bool ok;

  make_address (&address, directory, name);
  ok = fd >= 0 && connect (fd, (struct sockaddr *)&address, sizeof address) == 0;
  if (fd >= 0)
    close (fd);
  return ok;
}

static int
listen_at (int directory, const char *name)
{
  struct sockaddr_un address;
  int fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

  make_address (&address, directory, name);
  unlinkat (directory, name, 0);
  if (fd >= 0
      && (bind (fd, (struct sockaddr *)&address, sizeof address) < 0
          || fchmodat (directory, name, 0600, 0) < 0 || listen (fd, 64) < 0))
    {
      close (fd);
      return -1;
    }
  return fd;
}

static void
on_signal (Watch *watch, uint32_t events)
{
  struct signalfd_siginfo info;
  int status;
  pid_t pid;

  (void)events;
  while (read (watch->fd, &info, sizeof info) > 0)
    ;
  while ((pid = waitpid (-1, &status, WNOHANG)) > 0)
    process_reap (pid, status);
}

static bool
prepare_server (Watch *signals, int listener)
{
  sigset_t mask;

  sigemptyset (&mask);
  sigaddset (&mask, SIGCHLD);
  sigprocmask (SIG_BLOCK, &mask, NULL);
  signal (SIGPIPE, SIG_IGN);
  signal (SIGTERM, SIG_IGN);
  signal (SIGINT, SIG_IGN);
  signal (SIGHUP, SIG_IGN);
  if (prctl (PR_SET_CHILD_SUBREAPER, 1) < 0 || !loop_init ())
    return false;
  *signals = (Watch){ signalfd (-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK), on_signal, NULL };
  return signals->fd >= 0 && watch_add (signals, EPOLLIN) && server_start (listener);
}

static void
wait_once (int timeout_ms)
{
  const int others[] = { forward_timeout (), processes_timeout () };

  for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
    if (others[i] >= 0 && (timeout_ms < 0 || others[i] < timeout_ms))
      timeout_ms = others[i];
  loop_run_once (timeout_ms);
  forward_retry ();
  processes_settle ();
}

static int
serve (int listener, int directory, const char *name)
{
  static Watch signals;
  int64_t idle_since = now_ns ();

  if (!prepare_server (&signals, listener))
    return 1;
  while (!shim_shutdown)
    {
      bool idle = containers == NULL && !server_busy ();

      if (!idle)
        idle_since = now_ns ();
      else if (now_ns () - idle_since > (int64_t)IDLE_SECONDS * 1000000000)
        break;
      wait_once (idle ? IDLE_SECONDS * 1000 : -1);
    }
  /* Before the last output is waited for, or a container could still be sent here. */
  server_stop_listening ();
  unlinkat (directory, name, 0);
  /* What containers wrote last still reaches those who read, and what became of them the daemon; who does not
   * read is not waited for. */
  for (int64_t end = now_ns () + (int64_t)DRAIN_SECONDS * 1000000000;
       (pump_count () > 0 || forward_busy ()) && now_ns () < end;)
    wait_once (100);
  return 0;
}

/* containerd gives the runtime's options, an Any, on stdin. */
static bool
take_options (Error *error)
{
  Options options = { 0 };
  PbBuffer any = { 0 };
  bool ok = true;

  read_stdin (&any);
  options_read (&options, any.data, any.length);
  if (options.shim_cgroup != NULL)
    ok = cgroup_join (options.shim_cgroup, error);
  options_clear (&options);
  pb_clear (&any);
  return ok;
}

/* Becomes the server: nothing of its starter's stays with it. */
static int
become_server (int listener, int directory, const char *name)
{
  int null = open ("/dev/null", O_RDWR | O_CLOEXEC);
  int low = listener < directory ? listener : directory, high = listener < directory ? directory : listener;

  setsid ();
  for (int i = 0; i < 3; i++)
    dup2 (null, i);
  close (null);
  if (low > 3)
    close_range (3, (unsigned)low - 1, 0);
  if (high > low + 1)
    close_range ((unsigned)low + 1, (unsigned)high - 1, 0);
  close_range ((unsigned)high + 1, ~0u, 0);
  return serve (listener, directory, name);
}

static int
complain (const char *what)
{
  fprintf (stderr, "gantry-shim-runc: %s: %s\n", what, strerror (errno));
  return 1;
}

static bool
tell_address (const char *path, const char *name)
{
  char address[4096];

  snprintf (address, sizeof address, "unix://%s/%s", path, name);
  if (!write_file ("address", address, strlen (address)))
    complain ("writing the address into the bundle");
  else if (printf ("%s", address) < 0 || fflush (stdout) != 0)
    complain ("telling the address");
  else
    return true;
  return false;
}

/* Whoever wanted the server is gone, or has removed the bundle: it is not left behind. */
static int
give_up (pid_t server, int directory, const char *name)
{
  if (server <= 0)
    return 1;
  kill (server, SIGKILL);
  waitpid (server, NULL, 0);
  unlinkat (directory, name, 0);
  return 1;
}

/* Starts a server unless the group's answers. The lock keeps two members of a group from both starting one.
 */
static int
start_in (const char *path, int directory, const char *name)
{
  int listener = -1;
  Error error = { 0 };
  pid_t pid = 0;

  if (flock (directory, LOCK_EX) < 0)
    return complain (path);
  if (!answers (directory, name))
    {
      listener = listen_at (directory, name);
      if (listener < 0)
        return complain (path);
      if (!take_options (&error))
        {
          unlinkat (directory, name, 0);
          fprintf (stderr, "gantry-shim-runc: %s\n", error.message);
          return 1;
        }
      pid = fork ();
      if (pid < 0)
        return complain ("fork");
    }
  if (listener >= 0 && pid == 0)
    /* The lock is the parent's, and goes with it: ours is another description. */
    exit (become_server (listener, open (path, O_PATH | O_DIRECTORY | O_CLOEXEC), name));
  return tell_address (path, name) ? 0 : give_up (pid, directory, name);
}

int
shim_start (void)
{
  const char *path = shim_sockets != NULL ? shim_sockets : DEFAULT_SOCKETS;
  char name[40], *group;
  int directory, status;

  signal (SIGPIPE, SIG_IGN);
  if (shim_bundle != NULL && shim_bundle[0] != '\0' && chdir (shim_bundle) < 0)
    return complain (shim_bundle);
  if (shim_sockets == NULL)
    {
      mkdir ("/run/containerd", 0711);
      mkdir (DEFAULT_SOCKETS, 0700);
    }
  directory = open (path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0)
    return complain (path);
  group = find_group ();
  socket_name (group != NULL ? group : shim_id, name, sizeof name);
  free (group);
  status = start_in (path, directory, name);
  close (directory);
  return status;
}

/* Says how the container ended, as far as that is known: DeleteResponse { exit_status = 2, exited_at = 3 }.
 */
static int
report_exit (void)
{
  char *record = read_file ("exit.", 64, NULL);
  unsigned status = 128 + SIGKILL;
  long long exited = now_ns ();
  PbBuffer reply = { 0 };

  if (record != NULL && sscanf (record, "%u %lld", &status, &exited) != 2)
    status = 128 + SIGKILL;
  free (record);
  pb_put_varint (&reply, 2, status);
  pb_put_timestamp (&reply, 3, exited);
  fwrite (reply.data, 1, reply.length, stdout);
  pb_clear (&reply);
  return fflush (stdout) == 0 ? 0 : 1;
}

int
shim_cleanup (void)
{
  Container container = { .id = (char *)shim_id };
  Error error = { 0 };
  char cwd[4096];

  if (shim_bundle == NULL || shim_bundle[0] == '\0')
    shim_bundle = getcwd (cwd, sizeof cwd);
  if (shim_bundle == NULL || chdir (shim_bundle) < 0)
    return complain ("the bundle");
  container.bundle = (char *)shim_bundle;
  options_load (&container.options, shim_bundle);
  /* Without them the OCI runtime was never called. */
  if (container.options.runtime != NULL)
    runc_delete (&container, true, &error);
  options_clear (&container.options);
  rootfs_unmount (shim_bundle);
  return report_exit ();
}
