/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gantry-shim-runc: the parent of a container's processes. One thread, one epoll; everything that waits is a
 * Watch. Calls of the OCI runtime are waited for in place: they are short, and there is one container, or one
 * pod, to serve.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>
#include <wire.h>

#include "json.h"

#define MAX_ERROR 1024
#define MAX_FDS   8
#define MAX_ID    128

/* google.rpc.Code */
enum
{
  CODE_OK = 0,
  CODE_UNKNOWN = 2,
  CODE_INVALID_ARGUMENT = 3,
  CODE_DEADLINE_EXCEEDED = 4,
  CODE_NOT_FOUND = 5,
  CODE_ALREADY_EXISTS = 6,
  CODE_PERMISSION_DENIED = 7,
  CODE_FAILED_PRECONDITION = 9,
  CODE_UNIMPLEMENTED = 12,
  CODE_INTERNAL = 13,
};

/** Why something failed; filled once. */
typedef struct
{
  int code;
  char message[MAX_ERROR];
} Error;

/** Sets @error. Returns: false. */
bool fail (Error *error, int code, const char *format, ...) __attribute__ ((format (printf, 3, 4)));
bool fail_errno (Error *error, const char *format, ...) __attribute__ ((format (printf, 2, 3)));

/* util.c */
int64_t now_ns (void);
/** A time that nobody sets. */
int64_t uptime_ns (void);
/** A file, whole, cut at @limit. Returns: (transfer full) NUL-terminated and malloc ()ed, or NULL. */
char *read_file (const char *path, size_t limit, size_t *ret_length);
bool write_file (const char *path, const void *data, size_t length);
/** What is on stdin, of a pipe or file, cut at some length. */
void read_stdin (PbBuffer *buffer);

/* loop.c */
typedef struct Watch Watch;
typedef void (*WatchFunc) (Watch *watch, uint32_t events);
struct Watch
{
  int fd;
  WatchFunc func;
  void *data;
};
bool loop_init (void);
bool watch_add (Watch *watch, uint32_t events);
void watch_change (Watch *watch, uint32_t events);
void watch_remove (Watch *watch); /* does not close the fd */
/** Waits at most @timeout_ms (-1: for ever) and calls what is ready. */
void loop_run_once (int timeout_ms);

/* process.c */
typedef struct Process Process;
typedef struct Container Container;
typedef struct Stream Stream;
typedef struct Oom Oom;

/** Where the three streams go, as the request has it. */
typedef struct
{
  char *uri[3];
  bool terminal;
  int fds[MAX_FDS];
  int n_fds;
} Stdio;

struct Process
{
  Process *next;
  Container *container;
  char *exec_id; /* "" for init */
  char *spec;    /* of an exec: its JSON; freed once it has started */
  size_t spec_length;
  Stdio stdio;
  Stream *streams[3];
  int console;   /* the pty master, or -1 */
  uint16_t rows; /* of the console that an exec will have; 0: not told */
  uint16_t columns;
  pid_t pid;
  bool started;
  bool ended;        /* it has been reaped */
  bool exited;       /* that has been announced: what it wrote last is where it belongs */
  int64_t settle_by; /* of uptime_ns (): when it is announced at the latest */
  uint32_t status;
  int64_t exited_ns;
  struct Waiter *waiters;
  pid_t logger;    /* of binary://, or 0 */
  struct Log *log; /* of stream:///path, or NULL */
};

/** containerd.runc.v1.Options, as far as they matter to one container. */
typedef struct
{
  char *runtime; /* the OCI runtime's program */
  char *root;    /* its --root */
  char *criu;
  char *criu_image_path;
  char *criu_work_path;
  char *shim_cgroup;
  bool systemd_cgroup;
  bool no_pivot;
  bool no_new_keyring;
  bool checkpointable; /* whatever its streams are */
  uint32_t io_uid;
  uint32_t io_gid;
} Options;

struct Container
{
  Container *next;
  char *id;
  char *bundle;
  Options options;
  char *checkpoint; /* to restore from at Start, or NULL */
  char *cgroups;    /* /proc/PID/cgroup of init */
  Oom *oom;
  dev_t root_dev; /* of init's root directory */
  ino_t root_ino;
  bool shares_pids; /* its pid namespace is not its own: others outlive init */
  bool start_hooks; /* "poststart", which the OCI runtime runs at start */
  bool stop_hooks;  /* "poststop", which it runs when it deletes */
  pid_t deleter;    /* the OCI runtime's "delete", at work since init ended, or 0 */
  bool deleted;     /* its state and cgroups are gone */
  bool mounted;
  bool paused;
  Process init;
  Process *execs;
};

extern Container *containers;
extern const char *shim_namespace;

Container *container_find (const char *id);
Process *process_find (Container *container, const char *exec_id);
void process_init (Process *process, Container *container, const char *exec_id);
void process_clear (Process *process);
void container_free (Container *container);
/** Notes that @pid has ended; announces it if it is one of ours, as soon as its output has been copied. */
void process_reap (pid_t pid, int wait_status);
/** Announces the end of @process if that waits for its output. */
void process_settle (Process *process);
/** Announces those who have waited long enough; to be called when something may have been copied. */
void processes_settle (void);
/** How many milliseconds may pass until then, or -1. */
int processes_timeout (void);

/* runc.c */
/** Runs "<runtime> --root … --log … <args>" and waits. @fds: three for its streams, or NULL: /dev/null.
 * @output: (nullable): its stdout. On failure @error has the last error of its log. */
bool runc_run (Container *container, const char *const *args, const int *fds, PbBuffer *output, Error *error);
/** The code of what the OCI runtime finds wrong: our daemon wants it exact, containerd's clients know
 * UNKNOWN. */
int runc_code (int code);
/** Replaces @error, of a checkpoint or restore, by criu's own words; UNIMPLEMENTED if it can't run on this
 * machine. */
void runc_explain_criu (Container *container, const char *work_path, Error *error);
/** What the OCI runtime says that it can do (runtime-spec, features.md); nothing if it does not know the
 * question. */
bool runc_features (const Options *options, PbBuffer *output, Error *error);
bool runc_create (Container *container, Error *error);
bool runc_restore (Container *container, Error *error);
bool runc_start (Container *container, Error *error);
bool runc_exec (Process *process, Error *error);
bool runc_delete (Container *container, bool force, Error *error);
/** Begins the deletion of a container that has ended, in the hope that it is done when it is asked for. */
void runc_delete_early (Container *container);
void runc_deleted (Container *container, int wait_status);
bool runc_kill (Container *container, int signal, bool all, Error *error);

/* remove.c */
/** Removes what runc has of a container that has ended. Returns: false if that is not all known here: then
 * runc itself is asked. */
bool state_remove (const Container *container);

/* options.c */
/** Reads an Any with containerd.runc.v1.Options. */
void options_read (Options *options, const uint8_t *any, size_t length);
/** Completes @options: runc, and a root of its own for each namespace. */
bool options_complete (Options *options);
void options_clear (Options *options);
/** Keeps in the bundle what a later "delete" needs, and finds it there. */
bool options_save (const Options *options, const char *bundle);
void options_load (Options *options, const char *bundle);
/** Whether @options name what can't be arguments of a program. */
bool options_check (const Options *options, Error *error);

/* program.c */
/** Whether the container's first program is surely absent, or can't be executed. Returns: false, with an
 * error in the OCI runtime's words. */
bool program_check_init (const Container *container, Json spec, Error *error);
/** The same of an exec. */
bool program_check_exec (Process *process, Error *error);

/* cgroup.c */
/** Whether the machine has cgroups of version 2 only. */
bool cgroup_unified (void);
/** Notes where @container's init is. */
void cgroup_note (Container *container);
/** The container's directory in the hierarchy of @controller (in version 2: the only one). Returns: false if
 * it has none of its own. */
bool cgroup_path (const Container *container, const char *controller, char *ret_path, size_t size);
/** Moves this process into the cgroup @path, where it exists. */
bool cgroup_join (const char *path, Error *error);

/* stats.c */
/** Puts a StatsResponse. */
bool stats_put (PbBuffer *reply, const Container *container, Error *error);
/** Puts the members of io.containerd.cgroups.v2.Metrics, from a cgroup's directory. */
void stats_put_v2 (PbBuffer *out, const char *directory);

/* oom.c */
void oom_watch (Container *container);
/** Announces what the kernel has killed. */
void oom_check (Container *container);
void oom_unwatch (Container *container);

/* start.c */
int shim_start (void);
int shim_cleanup (void);
extern const char *shim_id;
extern const char *shim_daemon_address;
extern const char *shim_bundle;
extern const char *shim_sockets;

/* info.c */
/** "-info". Returns: an exit code. */
int shim_tell_info (void);

/* stdio.c */
/** Opens what @process's stdio names; @ret_fds: three fds to give to the process (or -1 each with a
 * terminal), the caller's to close by stdio_close (). */
bool stdio_open (Process *process, int ret_fds[3], Error *error);
void stdio_close (int fds[3]);
/** Takes over the console that the OCI runtime made. */
bool stdio_take_console (Process *process, int master, Error *error);
/** The process has ended: copies what it wrote last. */
void stdio_drain (Process *process);
/** Whether that has got to where it goes. */
bool stdio_is_drained (const Process *process);
/** The process has ended: nothing more will come. */
void stdio_finish (Process *process);
/** The FIFO that is a stream of @process itself, which criu can't save. Returns: its URI, or NULL. */
const char *stdio_unsavable (const Process *process);
bool stdio_attach (Process *process, int *fds, int n_fds, Error *error);
bool stdio_close_stdin (Process *process, Error *error);
/** A listening socket for the OCI runtime's --console-socket. @ret_path: MAX_ERROR bytes. */
int console_listen (Container *container, char *ret_path, Error *error);
int console_receive (int listener, Error *error);

/* mounts.c */
bool rootfs_mount (Container *container, const PbField *mounts, size_t n_mounts, Error *error);
void rootfs_unmount (const char *bundle);

/* server.c */
bool server_start (int listener);
void server_stop_listening (void);
/** Whether a connection is open. */
bool server_busy (void);
/** Sends @event (an Envelope message) to every watcher and forwards it to the daemon's events address. */
void server_announce (const char *topic, const char *type, const PbBuffer *event);
/** Puts a ttrpc frame. */
void server_put_frame (PbBuffer *out, uint32_t stream, uint8_t type, const PbBuffer *payload);
/** A Wait that is answered when its process ends. */
struct Waiter
{
  void *connection;
  uint32_t stream;
  struct Waiter *next;
};
/** Answers it. */
void server_complete_wait (struct Waiter *waiter, const Process *process);
void waiters_complete (Process *process);
extern bool shim_shutdown;

/* forward.c */
/** Sends @envelope (taken over, cleared) to the daemon's events address, if there is one. */
void forward_push (PbBuffer *envelope);
/** Whether something is still to be sent. */
bool forward_busy (void);
/** How long the loop may wait before forward_retry () is due: -1 for ever. */
int forward_timeout (void);
void forward_retry (void);

/* service.c */
/** One request. */
typedef struct
{
  void *connection;
  uint32_t stream;
  const char *method;
  PbReader body;
  int fds[MAX_FDS];
  int n_fds;
  bool deferred; /* the answer comes later */
  bool watch;    /* this stream gets events from now on */
  PbBuffer reply;
} Request;
bool service_call (Request *request, const char *service, Error *error);

/* waiters.c */
bool waiter_add (Process *process, Request *request, Error *error);
void waiters_drop (void *connection);

/* events.c */
void announce_create (const Container *container);
void announce_start (const Process *process);
void announce_exec_added (const Process *process);
void announce_exit (const Process *process);
void announce_delete (const Process *process);
void announce_paused (const Container *container, bool paused);
void announce_checkpointed (const Container *container, const char *path);
void announce_simple (const Container *container, const char *topic, const char *type);
