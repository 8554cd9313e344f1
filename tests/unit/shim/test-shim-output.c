/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A process that has pipes in place of FIFOs loses nothing: what it wrote is in its FIFOs when its end is
 * announced, whoever reads them and how, and it reads what was written for it. The shim's own streams and
 * processes, without an OCI runtime. Between the announcement and the arrival of the last byte nothing is
 * copied any more, as if the shim had died. GANTRY_OUTPUT_ROUNDS sets how many processes there are. */
#include "shim.h"

#include "pump.h"

#include <glib.h>
#include <glib/gstdio.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_SECONDS 120

/* The rest of the shim. */
const char *shim_namespace = "test";
static guint n_announced;
static int64_t skipped_ns;

bool
fail (Error *error, int code, const char *format, ...)
{
  g_test_message ("%s", format);
  error->code = code;
  return false;
}

bool
fail_errno (Error *error, const char *format, ...)
{
  return fail (error, CODE_INTERNAL, "%s", format);
}

int64_t
now_ns (void)
{
  return g_get_real_time () * 1000;
}

int64_t
uptime_ns (void)
{
  return g_get_monotonic_time () * 1000 + skipped_ns;
}

void
announce_exit (const Process *process)
{
  n_announced++;
}

void
waiters_complete (Process *process)
{
}

void
oom_check (Container *container)
{
}

void
oom_unwatch (Container *container)
{
}

void
options_clear (Options *options)
{
}

void
runc_delete_early (Container *container)
{
}

void
runc_deleted (Container *container, int wait_status)
{
}

bool
runc_kill (Container *container, int signal, bool all, Error *error)
{
  return true;
}

/* How a round goes; the rest is chance. */
typedef struct
{
  gsize length[3]; /* of each stream */
  guint32 seed;
  gboolean grandchild; /* one that keeps the pipes open, and silent */
  gboolean late;       /* readers come when it has begun to write */
  gboolean slow;       /* readers take little at a time, and pauses */
  gboolean stalled;    /* readers stop as soon as they have begun */
  gboolean quits;      /* all is written before it is allowed to end, not only half */
} Plan;

typedef struct
{
  Plan plan;
  Container container;
  char *fifo[3];
  pid_t peer[3]; /* writes to 0, reads from 1 and 2 */
  int told[3];   /* what they tell */
  int gate;      /* a byte of it allows the process to end */
  int leash;     /* its end ends the grandchild */
  Watch signals;
} Round;

static char *directory;

static guint8
pattern (int stream, gsize at)
{
  return (guint8)(at * 7 + at / 251 + (gsize)stream * 101);
}

/* In pieces of chance sizes. */
static void
write_part (int fd, int stream, gsize from, gsize to, GRand *rand)
{
  guint8 piece[20000];

  while (from < to)
    {
      gsize chance = (gsize)g_rand_int_range (rand, 1, sizeof piece), n = MIN (to - from, chance);
      gssize written;

      for (gsize i = 0; i < n; i++)
        piece[i] = pattern (stream, from + i);
      written = write (fd, piece, n);
      if (written <= 0)
        _exit (99);
      from += (gsize)written;
    }
}

/* To the end, which is to be after @length. Calls for @tell: 'a' when it has all. Returns: whether it was. */
static gboolean
read_all (int fd, int stream, gsize length, gboolean slow, GRand *rand, int tell)
{
  guint8 piece[8192];
  gsize at = 0;
  gssize n;

  do
    {
      if (at == length && tell >= 0 && write (tell, "a", 1) != 1)
        return FALSE;
      if (at == length)
        tell = -1;
      if (slow && g_rand_int_range (rand, 0, 4) == 0)
        g_usleep ((gulong)g_rand_int_range (rand, 1, 3000));
      n = read (fd, piece, slow ? (gsize)g_rand_int_range (rand, 1, sizeof piece) : sizeof piece);
      for (gssize i = 0; i < n; i++)
        if (piece[i] != pattern (stream, at + (gsize)i))
          return FALSE;
      at += n > 0 ? (gsize)n : 0;
    }
  while (n > 0);
  return n == 0 && at == length;
}

/* Lets go of all descriptors but @keep, which become 3, 4, …. */
static void
keep_only (const int *keep, int n)
{
  for (int i = 0; i < n; i++)
    dup2 (fcntl (keep[i], F_DUPFD, 100), 90 + i);
  for (int i = 0; i < n; i++)
    dup2 (90 + i, 3 + i);
  close_range (3 + (unsigned)n, ~0u, 0);
}

static void
be_process (const Plan *plan, const int *fds, int gate, int leash)
{
  g_autoptr (GRand) rand = g_rand_new_with_seed (plan->seed);
  guint8 byte;

  for (int i = 0; i < 3; i++)
    dup2 (fds[i], i);
  keep_only ((int[]){ gate, leash }, 2);
  if (plan->grandchild && fork () == 0)
    _exit (read (4, &byte, 1) == 0 ? 0 : 1);
  for (int i = 1; i < 3; i++)
    write_part (i, i, 0, plan->quits ? plan->length[i] : plan->length[i] / 2, rand);
  if (!read_all (0, 0, plan->length[0], plan->slow, rand, -1))
    _exit (97);
  if (read (3, &byte, 1) != 1)
    _exit (98);
  for (int i = 1; i < 3 && !plan->quits; i++)
    write_part (i, i, plan->length[i] / 2, plan->length[i], rand);
  _exit (7);
}

/* Tells 'o' when it has the FIFO open, 'a' when it has all, and '.' at the end. */
static void
be_peer (const char *path, int stream, const Plan *plan)
{
  g_autoptr (GRand) rand = g_rand_new_with_seed (plan->seed + (guint32)stream);
  int fd = open (path, stream == 0 ? O_WRONLY : O_RDONLY);
  gboolean ok = fd >= 0 && write (3, "o", 1) == 1;

  if (plan->stalled && stream > 0)
    raise (SIGSTOP);
  if (stream == 0)
    write_part (fd, 0, 0, plan->length[0], rand);
  else
    ok = ok && read_all (fd, stream, plan->length[stream], plan->slow, rand, 3);
  _exit (ok && write (3, ".", 1) == 1 ? 0 : 1);
}

static void
start_peer (Round *round, int stream)
{
  int pipe_fds[2];

  g_assert_cmpint (pipe2 (pipe_fds, O_CLOEXEC), ==, 0);
  round->peer[stream] = fork ();
  if (round->peer[stream] == 0)
    {
      keep_only (&pipe_fds[1], 1);
      be_peer (round->fifo[stream], stream, &round->plan);
    }
  close (pipe_fds[1]);
  round->told[stream] = pipe_fds[0];
}

/* The next word of a peer, while nothing is copied: it comes, or the peer has found what is wrong. */
static char
hear (Round *round, int stream)
{
  GPollFD fd = { round->told[stream], G_IO_IN, 0 };
  char word = '!';

  g_assert_cmpint (g_poll (&fd, 1, PATIENCE_SECONDS * 1000), ==, 1);
  g_assert_cmpint (read (round->told[stream], &word, 1), >=, 0);
  return word;
}

static void
on_signal (Watch *watch, uint32_t events)
{
  Round *round = watch->data;
  struct signalfd_siginfo info;
  int status;

  while (read (watch->fd, &info, sizeof info) > 0)
    ;
  if (waitpid (round->container.init.pid, &status, WNOHANG) == round->container.init.pid)
    process_reap (round->container.init.pid, status);
}

static void
run_once (Round *round, gint64 deadline)
{
  int timeout = processes_timeout ();

  g_assert_cmpint (g_get_monotonic_time (), <, deadline);
  loop_run_once (timeout >= 0 ? timeout : 1000);
  processes_settle ();
}

static void
make_pipe (int *ret_reading, int *ret_writing)
{
  int fds[2];

  g_assert_cmpint (pipe2 (fds, O_CLOEXEC), ==, 0);
  *ret_reading = fds[0];
  *ret_writing = fds[1];
}

static void
watch_signals (Round *round)
{
  sigset_t mask;

  sigemptyset (&mask);
  sigaddset (&mask, SIGCHLD);
  sigprocmask (SIG_BLOCK, &mask, NULL);
  round->signals = (Watch){ signalfd (-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK), on_signal, round };
  g_assert_true (watch_add (&round->signals, EPOLLIN));
}

static Round *
round_new (const Plan *plan)
{
  Round *round = g_new0 (Round, 1);
  Process *init = &round->container.init;
  int fds[3] = { -1, -1, -1 }, gate, leash;
  Error error = { 0 };

  n_announced = 0;
  round->plan = *plan;
  round->container.options.checkpointable = true;
  round->container.bundle = directory;
  process_init (init, &round->container, "");
  for (int i = 0; i < 3; i++)
    {
      init->stdio.uri[i] = strdup (round->fifo[i] = g_strdup_printf ("%s/%d", directory, i));
      unlink (round->fifo[i]);
      g_assert_cmpint (mkfifo (round->fifo[i], 0600), ==, 0);
    }
  watch_signals (round);
  make_pipe (&gate, &round->gate);
  make_pipe (&leash, &round->leash);
  for (int i = 0; i < 3; i++)
    if (!plan->late)
      start_peer (round, i);
  g_assert_true (stdio_open (init, fds, &error));
  init->pid = fork ();
  if (init->pid == 0)
    be_process (plan, fds, gate, leash);
  init->started = true;
  stdio_close (fds);
  close (gate);
  close (leash);
  containers = &round->container;
  return round;
}

static void
round_free (Round *round)
{
  int status;

  process_clear (&round->container.init);
  containers = NULL;
  watch_remove (&round->signals);
  close (round->signals.fd);
  close (round->gate);
  for (int i = 0; i < 3; i++)
    {
      g_assert_cmpint (waitpid (round->peer[i], &status, 0), ==, round->peer[i]);
      g_assert_cmpint (status, ==, 0);
      close (round->told[i]);
      g_free (round->fifo[i]);
    }
  g_assert_cmpuint (pump_count (), ==, 0);
  g_free (round);
}

static void
end_grandchild (Round *round)
{
  if (round->leash >= 0)
    close (round->leash);
  round->leash = -1;
}

/* Who stopped itself goes on, once the end of the process has not been announced for as long as it may be. */
static void
wait_for_the_limit (Round *round, gint64 deadline)
{
  while (!round->container.init.ended)
    run_once (round, deadline);
  run_once (round, deadline);
  g_assert_cmpuint (n_announced, ==, 0);
  skipped_ns += G_GINT64_CONSTANT (5000000000);
  run_once (round, deadline);
  g_assert_cmpuint (n_announced, ==, 1);
  for (int i = 1; i < 3; i++)
    kill (round->peer[i], SIGCONT);
  end_grandchild (round);
  while (pump_count () > 0)
    run_once (round, deadline);
}

static void
play (const Plan *plan)
{
  gint64 deadline = g_get_monotonic_time () + PATIENCE_SECONDS * G_USEC_PER_SEC;
  Round *round = round_new (plan);
  Error error;

  for (guint turns = plan->late ? plan->seed % 7 : 0; turns > 0; turns--)
    loop_run_once (1);
  for (int i = 0; i < 3; i++)
    {
      if (plan->late)
        start_peer (round, i);
      g_assert_cmpint (hear (round, i), ==, 'o');
    }
  for (guint turns = plan->seed % 5; turns > 0; turns--)
    loop_run_once (0);
  g_assert_true (stdio_close_stdin (&round->container.init, &error));
  g_assert_cmpint (write (round->gate, "x", 1), ==, 1);
  if (plan->stalled)
    wait_for_the_limit (round, deadline);
  while (n_announced == 0)
    run_once (round, deadline);
  g_assert_cmpuint (round->container.init.status, ==, 7);
  g_assert_cmpint (hear (round, 0), ==, '.');
  for (int i = 1; i < 3; i++)
    g_assert_cmpint (hear (round, i), ==, 'a');
  end_grandchild (round);
  while (pump_count () > 0)
    run_once (round, deadline);
  g_assert_cmpuint (n_announced, ==, 1);
  for (int i = 1; i < 3; i++)
    g_assert_cmpint (hear (round, i), ==, '.');
  round_free (round);
}

static void
test_rounds (void)
{
  const char *given = g_getenv ("GANTRY_OUTPUT_ROUNDS");
  guint64 n = given != NULL ? g_ascii_strtoull (given, NULL, 10) : 200;

  for (guint64 i = 0; i < n; i++)
    {
      Plan plan = { .seed = (guint32)g_test_rand_int () };
      static const gint32 limits[] = { 1, 100, 5000, 70000, 300000 };

      for (int j = 0; j < 3; j++)
        plan.length[j]
            = (gsize)g_test_rand_int_range (0, limits[g_test_rand_int_range (0, G_N_ELEMENTS (limits))]);
      plan.grandchild = g_test_rand_int_range (0, 4) == 0;
      plan.late = g_test_rand_bit ();
      plan.slow = g_test_rand_int_range (0, 4) == 0;
      plan.quits = g_test_rand_bit ();
      play (&plan);
    }
}

/* More than a FIFO has room for, and nobody who reads: the end is announced in the end, and nothing is lost.
 */
static void
test_stalled_reader (void)
{
  Plan plan = { .length = { 0, 130000, 100 }, .stalled = TRUE, .quits = TRUE };

  play (&plan);
  plan.grandchild = TRUE;
  play (&plan);
}

int
main (int argc, char **argv)
{
  g_autofree char *made = NULL;
  int status;

  g_test_init (&argc, &argv, NULL);
  signal (SIGPIPE, SIG_IGN);
  directory = made = g_dir_make_tmp ("gantry-output.XXXXXX", NULL);
  g_assert_nonnull (directory);
  g_assert_true (loop_init ());
  g_test_add_func ("/shim/output/rounds", test_rounds);
  g_test_add_func ("/shim/output/stalled-reader", test_stalled_reader);
  status = g_test_run ();
  for (int i = 0; i < 3; i++)
    {
      g_autofree char *fifo = g_strdup_printf ("%s/%d", directory, i);

      unlink (fifo);
    }
  {
    g_autofree char *record = g_strconcat (directory, "/exit.", NULL);

    unlink (record);
  }
  rmdir (directory);
  return status;
}
