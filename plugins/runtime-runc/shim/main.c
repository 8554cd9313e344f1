/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The shim's command line, as containerd calls it:
 *     gantry-shim-runc -namespace NS -id ID -address GRPC [-publish-binary P] [-bundle DIR] [-socket PATH] start | delete
 * "start", in the bundle, makes the socket, leaves a server behind and prints its address; "delete" cleans up after a shim that died. */
#include "shim.h"

#include "pump.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define IDLE_SECONDS 30
#define DRAIN_SECONDS 5

const char *shim_namespace = "default";

static const char *container_id;
static const char *daemon_address = "";
static const char *bundle;
static const char *socket_option;

static bool
parse (int argc, char **argv, const char **command)
{
  static const char *const valued[] = { "namespace", "id", "address", "publish-binary", "bundle", "socket" };
  const char **const values[] = { &shim_namespace, &container_id, &daemon_address, NULL, &bundle, &socket_option };

  for (int i = 1; i < argc; i++)
    {
      const char *name = argv[i];
      size_t j;

      if (name[0] != '-')
        {
          *command = name;
          return true;
        }
      name += name[1] == '-' ? 2 : 1;
      if (strcmp (name, "debug") == 0 || strcmp (name, "info") == 0 || strcmp (name, "v") == 0)
        {
          if (name[0] != 'd')
            *command = name;
          continue;
        }
      for (j = 0; j < sizeof valued / sizeof valued[0]; j++)
        if (strcmp (name, valued[j]) == 0)
          break;
      if (j == sizeof valued / sizeof valued[0] || i + 1 == argc)
        {
          fprintf (stderr, "gantry-shim-runc: unknown option or missing value: %s\n", argv[i]);
          return false;
        }
      i++;
      if (values[j] != NULL)
        *values[j] = argv[i];
    }
  return true;
}

/* A path that fits into sun_path and is this container's alone: FNV-1a over what names it. */
static void
socket_path (char *path, size_t size)
{
  const char *const parts[] = { daemon_address, "|", shim_namespace, "|", container_id };
  uint64_t hash[2] = { 0xcbf29ce484222325u, 0x84222325cbf29ce4u };

  for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
    for (const char *at = parts[i]; *at != '\0'; at++)
      for (int j = 0; j < 2; j++)
        hash[j] = (hash[j] ^ ((uint8_t) *at + (unsigned) j)) * 0x100000001b3u;
  mkdir ("/run/containerd", 0711);
  mkdir ("/run/containerd/s", 0700);
  snprintf (path, size, "/run/containerd/s/%016llx%016llx", (unsigned long long) hash[0], (unsigned long long) hash[1]);
}

static int
listen_at (const char *path)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  int fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

  if (fd < 0 || strlen (path) >= sizeof address.sun_path)
    return -1;
  memcpy (address.sun_path, path, strlen (path) + 1);
  unlink (path);
  if (bind (fd, (struct sockaddr *) &address, sizeof address) < 0 || chmod (path, 0600) < 0 || listen (fd, 64) < 0)
    return -1;
  return fd;
}

static void
on_signal (Watch *watch, uint32_t events)
{
  struct signalfd_siginfo info;
  int status;
  pid_t pid;

  (void) events;
  while (read (watch->fd, &info, sizeof info) > 0)
    ;
  while ((pid = waitpid (-1, &status, WNOHANG)) > 0)
    process_reap (pid, status);
}

static int
serve (int listener, const char *path)
{
  static Watch signals;
  sigset_t mask;
  int64_t idle_since = now_ns ();

  sigemptyset (&mask);
  sigaddset (&mask, SIGCHLD);
  sigprocmask (SIG_BLOCK, &mask, NULL);
  signal (SIGPIPE, SIG_IGN);
  signal (SIGTERM, SIG_IGN);
  signal (SIGINT, SIG_IGN);
  signal (SIGHUP, SIG_IGN);
  if (prctl (PR_SET_CHILD_SUBREAPER, 1) < 0 || !loop_init ())
    return 1;
  signals = (Watch){ signalfd (-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK), on_signal, NULL };
  if (signals.fd < 0 || !watch_add (&signals, EPOLLIN) || !server_start (listener))
    return 1;
  while (!shim_shutdown)
    {
      bool idle = containers == NULL && !server_busy ();

      if (!idle)
        idle_since = now_ns ();
      else if (now_ns () - idle_since > (int64_t) IDLE_SECONDS * 1000000000)
        break;
      loop_run_once (idle ? IDLE_SECONDS * 1000 : -1);
    }
  /* What containers wrote last still reaches those who read; a reader that does not read is not waited for. */
  for (int i = 0; i < DRAIN_SECONDS * 10 && pump_count () > 0; i++)
    loop_run_once (100);
  unlink (path);
  return 0;
}

static void
write_address (const char *address)
{
  int fd = open ("address", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

  if (fd < 0)
    return;
  if (write (fd, address, strlen (address)) < 0)
    unlink ("address");
  close (fd);
}

static int
start (void)
{
  char path[108], address[128];
  int listener, null;
  pid_t pid;

  if (bundle != NULL && bundle[0] != '\0' && chdir (bundle) < 0)
    {
      fprintf (stderr, "gantry-shim-runc: bundle %s: %s\n", bundle, strerror (errno));
      return 1;
    }

  if (socket_option != NULL)
    snprintf (path, sizeof path, "%s", socket_option);
  else
    socket_path (path, sizeof path);
  listener = listen_at (path);
  if (listener < 0)
    {
      fprintf (stderr, "gantry-shim-runc: listening on %s: %s\n", path, strerror (errno));
      return 1;
    }
  snprintf (address, sizeof address, "unix://%s", path);
  write_address (address);
  pid = fork ();
  if (pid < 0)
    {
      fprintf (stderr, "gantry-shim-runc: fork: %s\n", strerror (errno));
      return 1;
    }
  if (pid > 0)
    {
      printf ("%s", address);
      return fflush (stdout) == 0 ? 0 : 1;
    }
  setsid ();
  null = open ("/dev/null", O_RDWR | O_CLOEXEC);
  for (int i = 0; i < 3; i++)
    dup2 (null, i);
  close (null);
  /* Whatever our starter forgot to close must not stay open as long as the container runs. */
  if (listener > 3)
    close_range (3, (unsigned) listener - 1, 0);
  close_range ((unsigned) listener + 1, ~0u, 0);
  _exit (serve (listener, path));
}

/* Cleans up after a shim that died and says how its container ended, as far as that is known. */
static int
cleanup (void)
{
  Container container = { 0 };
  PbBuffer reply = { 0 };
  Error error = { 0 };
  char cwd[4096], root[4096];
  unsigned status = 128 + SIGKILL;
  long long exited = now_ns ();
  FILE *record;

  if (bundle == NULL || bundle[0] == '\0')
    bundle = getcwd (cwd, sizeof cwd);
  if (bundle == NULL || chdir (bundle) < 0)
    {
      fprintf (stderr, "gantry-shim-runc: no bundle\n");
      return 1;
    }
  snprintf (root, sizeof root, "/run/containerd/runc/%s", shim_namespace);
  container.id = (char *) container_id;
  container.bundle = (char *) bundle;
  container.root = getenv ("GANTRY_RUNC_ROOT") != NULL ? getenv ("GANTRY_RUNC_ROOT") : root;
  container.runtime = getenv ("GANTRY_RUNC") != NULL ? getenv ("GANTRY_RUNC") : (char *) "runc";
  runc_delete (&container, true, &error);
  rootfs_unmount (bundle);
  record = fopen ("exit.", "re");
  if (record != NULL)
    {
      if (fscanf (record, "%u %lld", &status, &exited) != 2)
        status = 128 + SIGKILL;
      fclose (record);
    }
  pb_put_varint (&reply, 2, status);
  pb_put_timestamp (&reply, 3, exited);
  fwrite (reply.data, 1, reply.length, stdout);
  pb_clear (&reply);
  return fflush (stdout) == 0 ? 0 : 1;
}

int
main (int argc, char **argv)
{
  const char *command = NULL;

  if (!parse (argc, argv, &command))
    return 2;
  if (command != NULL && strcmp (command, "v") == 0)
    {
      printf ("gantry-shim-runc %s\n", GANTRY_VERSION);
      return 0;
    }
  if (container_id == NULL || command == NULL)
    {
      fprintf (stderr, "usage: gantry-shim-runc -namespace NS -id ID [-address ADDRESS] [-bundle DIR] start|delete\n");
      return 2;
    }
  if (strcmp (command, "start") == 0)
    return start ();
  if (strcmp (command, "delete") == 0)
    return cleanup ();
  fprintf (stderr, "gantry-shim-runc: unknown command %s\n", command);
  return 2;
}
