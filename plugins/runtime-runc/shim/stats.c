/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Resource use, read from the container's cgroups and told as containerd does:
 * io.containerd.cgroups.v1.Metrics or .v2.Metrics (github.com/containerd/cgroups, metrics.proto). The files:
 * kernel Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst. */
#include "shim.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_FILE      65536
#define MAX_PATH      4096
#define NS_PER_SECOND 1000000000u

static char *
read_control (const char *directory, const char *name)
{
  char path[MAX_PATH + 64];

  snprintf (path, sizeof path, "%s/%s", directory, name);
  return read_file (path, MAX_FILE, NULL);
}

/* A number, or "max" for none: then UINT64_MAX, as containerd has it. Returns: 0 if the file is not there. */
static uint64_t
read_number (const char *directory, const char *name)
{
  char *text = read_control (directory, name);
  uint64_t value = text == NULL ? 0 : strncmp (text, "max", 3) == 0 ? UINT64_MAX : strtoull (text, NULL, 10);

  free (text);
  return value;
}

/* The value of @key in lines of "key value". */
static uint64_t
find_value (const char *text, const char *key)
{
  size_t length = strlen (key);

  for (const char *line = text; line != NULL && *line != '\0';)
    {
      const char *end = strchr (line, '\n');

      if (strncmp (line, key, length) == 0 && line[length] == ' ')
        return strtoull (line + length + 1, NULL, 10);
      line = end != NULL ? end + 1 : NULL;
    }
  return 0;
}

/* Puts the values of @keys into the fields 1, 2, 3 … */
static void
put_values (PbBuffer *out, const char *text, const char *const *keys, size_t n_keys)
{
  for (size_t i = 0; i < n_keys; i++)
    if (keys[i] != NULL)
      pb_put_varint (out, (uint32_t)i + 1, find_value (text, keys[i]));
}

#define PUT_VALUES(out, text, keys) put_values (out, text, keys, sizeof keys / sizeof keys[0])

static void
put_pids (PbBuffer *out, uint32_t field, const char *directory)
{
  size_t pids = pb_begin (out, field);
  uint64_t limit = read_number (directory, "pids.max");

  pb_put_varint (out, 1, read_number (directory, "pids.current"));
  pb_put_varint (out, 2, limit != UINT64_MAX ? limit : 0);
  pb_end (out, pids);
}

static void
put_per_cpu (PbBuffer *out, const char *directory)
{
  char *text = read_control (directory, "cpuacct.usage_percpu"), *at = text;
  PbBuffer packed = { 0 };

  while (at != NULL && *at >= '0' && *at <= '9')
    {
      pb_put_raw_varint (&packed, strtoull (at, &at, 10));
      while (*at == ' ' || *at == '\n')
        at++;
    }
  if (packed.length > 0)
    pb_put_bytes (out, 4, packed.data, packed.length);
  pb_clear (&packed);
  free (text);
}

static void
put_cpu_v1 (PbBuffer *out, const Container *container)
{
  static const char *const throttling[] = { "nr_periods", "nr_throttled", "throttled_time" };
  uint64_t tick = NS_PER_SECOND / (uint64_t)sysconf (_SC_CLK_TCK);
  size_t cpu = pb_begin (out, 3), part;
  char directory[MAX_PATH], *text;

  if (cgroup_path (container, "cpuacct", directory, sizeof directory))
    {
      text = read_control (directory, "cpuacct.stat");
      part = pb_begin (out, 1);
      pb_put_varint (out, 1, read_number (directory, "cpuacct.usage"));
      pb_put_varint (out, 2, find_value (text, "system") * tick);
      pb_put_varint (out, 3, find_value (text, "user") * tick);
      put_per_cpu (out, directory);
      pb_end (out, part);
      free (text);
    }
  if (cgroup_path (container, "cpu", directory, sizeof directory))
    {
      text = read_control (directory, "cpu.stat");
      part = pb_begin (out, 2);
      PUT_VALUES (out, text, throttling);
      pb_end (out, part);
      free (text);
    }
  pb_end (out, cpu);
}

static void
put_memory_entry (PbBuffer *out, uint32_t field, const char *directory, const char *prefix)
{
  static const char *const names[] = { "limit_in_bytes", "usage_in_bytes", "max_usage_in_bytes", "failcnt" };
  size_t entry = pb_begin (out, field);

  for (uint32_t i = 0; i < 4; i++)
    {
      char name[64];

      snprintf (name, sizeof name, "%s.%s", prefix, names[i]);
      pb_put_varint (out, i + 1, read_number (directory, name));
    }
  pb_end (out, entry);
}

static void
put_memory_v1 (PbBuffer *out, const Container *container)
{
  static const char *const stat[] = { "cache",
                                      "rss",
                                      "rss_huge",
                                      "mapped_file",
                                      "dirty",
                                      "writeback",
                                      "pgpgin",
                                      "pgpgout",
                                      "pgfault",
                                      "pgmajfault",
                                      "inactive_anon",
                                      "active_anon",
                                      "inactive_file",
                                      "active_file",
                                      "unevictable",
                                      "hierarchical_memory_limit",
                                      "hierarchical_memsw_limit",
                                      "total_cache",
                                      "total_rss",
                                      "total_rss_huge",
                                      "total_mapped_file",
                                      "total_dirty",
                                      "total_writeback",
                                      "total_pgpgin",
                                      "total_pgpgout",
                                      "total_pgfault",
                                      "total_pgmajfault",
                                      "total_inactive_anon",
                                      "total_active_anon",
                                      "total_inactive_file",
                                      "total_active_file",
                                      "total_unevictable" };
  static const char *const oom[] = { "oom_kill_disable", "under_oom", "oom_kill" };
  char directory[MAX_PATH], *text;
  size_t memory;

  if (!cgroup_path (container, "memory", directory, sizeof directory))
    return;
  text = read_control (directory, "memory.stat");
  memory = pb_begin (out, 4);
  PUT_VALUES (out, text, stat);
  put_memory_entry (out, 33, directory, "memory");
  put_memory_entry (out, 34, directory, "memory.memsw");
  put_memory_entry (out, 35, directory, "memory.kmem");
  put_memory_entry (out, 36, directory, "memory.kmem.tcp");
  pb_end (out, memory);
  free (text);
  text = read_control (directory, "memory.oom_control");
  memory = pb_begin (out, 9);
  PUT_VALUES (out, text, oom);
  pb_end (out, memory);
  free (text);
}

static void
put_device (PbBuffer *out, unsigned major, unsigned minor)
{
  char link[64], target[256], name[300];
  ssize_t n;

  snprintf (link, sizeof link, "/sys/dev/block/%u:%u", major, minor);
  n = readlink (link, target, sizeof target - 1);
  if (n <= 0)
    return;
  target[n] = '\0';
  snprintf (name, sizeof name, "/dev/%s", strrchr (target, '/') != NULL ? strrchr (target, '/') + 1 : target);
  pb_put_string (out, 2, name);
}

/* Lines of "major:minor operation value". */
static void
put_blkio_entries (PbBuffer *out, uint32_t field, const char *directory, const char *name)
{
  char *text = read_control (directory, name), *rest = text, *line;

  while (rest != NULL && (line = strsep (&rest, "\n")) != NULL)
    {
      unsigned major, minor;
      unsigned long long value;
      char operation[16];
      size_t entry;

      if (sscanf (line, "%u:%u %15s %llu", &major, &minor, operation, &value) != 4)
        continue;
      entry = pb_begin (out, field);
      pb_put_string (out, 1, operation);
      put_device (out, major, minor);
      pb_put_varint (out, 3, major);
      pb_put_varint (out, 4, minor);
      pb_put_varint (out, 5, value);
      pb_end (out, entry);
    }
  free (text);
}

static void
put_v1 (PbBuffer *out, const Container *container)
{
  char directory[MAX_PATH];
  size_t blkio;

  if (cgroup_path (container, "pids", directory, sizeof directory))
    put_pids (out, 2, directory);
  put_cpu_v1 (out, container);
  put_memory_v1 (out, container);
  if (cgroup_path (container, "blkio", directory, sizeof directory))
    {
      blkio = pb_begin (out, 5);
      put_blkio_entries (out, 1, directory, "blkio.throttle.io_service_bytes_recursive");
      put_blkio_entries (out, 2, directory, "blkio.throttle.io_serviced_recursive");
      pb_end (out, blkio);
    }
}

static void
put_memory_v2 (PbBuffer *out, const char *directory)
{
  static const char *const stat[] = { "anon",
                                      "file",
                                      "kernel_stack",
                                      "slab",
                                      "sock",
                                      "shmem",
                                      "file_mapped",
                                      "file_dirty",
                                      "file_writeback",
                                      "anon_thp",
                                      "inactive_anon",
                                      "active_anon",
                                      "inactive_file",
                                      "active_file",
                                      "unevictable",
                                      "slab_reclaimable",
                                      "slab_unreclaimable",
                                      "pgfault",
                                      "pgmajfault",
                                      "workingset_refault",
                                      "workingset_activate",
                                      "workingset_nodereclaim",
                                      "pgrefill",
                                      "pgscan",
                                      "pgsteal",
                                      "pgactivate",
                                      "pgdeactivate",
                                      "pglazyfree",
                                      "pglazyfreed",
                                      "thp_fault_alloc",
                                      "thp_collapse_alloc" };
  static const char *const numbers[] = { "memory.current",  "memory.max",  "memory.swap.current",
                                         "memory.swap.max", "memory.peak", "memory.swap.peak" };
  static const char *const events[] = { "low", "high", "max", "oom", "oom_kill" };
  char *text = read_control (directory, "memory.stat");
  size_t memory = pb_begin (out, 4);

  PUT_VALUES (out, text, stat);
  for (uint32_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
    pb_put_varint (out, 32 + i, read_number (directory, numbers[i]));
  pb_end (out, memory);
  free (text);
  text = read_control (directory, "memory.events");
  memory = pb_begin (out, 8);
  PUT_VALUES (out, text, events);
  pb_end (out, memory);
  free (text);
}

/* Lines of "major:minor rbytes=N wbytes=N rios=N wios=N …". */
static void
put_io_v2 (PbBuffer *out, const char *directory)
{
  static const char *const keys[] = { " rbytes=", " wbytes=", " rios=", " wios=" };
  char *text = read_control (directory, "io.stat"), *rest = text, *line;
  size_t io = pb_begin (out, 6);

  while (rest != NULL && (line = strsep (&rest, "\n")) != NULL)
    {
      unsigned major, minor;
      size_t entry;

      if (sscanf (line, "%u:%u", &major, &minor) != 2)
        continue;
      entry = pb_begin (out, 1);
      pb_put_varint (out, 1, major);
      pb_put_varint (out, 2, minor);
      for (uint32_t i = 0; i < 4; i++)
        {
          const char *found = strstr (line, keys[i]);

          pb_put_varint (out, i + 3, found != NULL ? strtoull (found + strlen (keys[i]), NULL, 10) : 0);
        }
      pb_end (out, entry);
    }
  pb_end (out, io);
  free (text);
}

void
stats_put_v2 (PbBuffer *out, const char *directory)
{
  static const char *const cpu[]
      = { "usage_usec", "user_usec", "system_usec", "nr_periods", "nr_throttled", "throttled_usec" };
  char *text = read_control (directory, "cpu.stat");
  size_t part;

  put_pids (out, 1, directory);
  part = pb_begin (out, 2);
  PUT_VALUES (out, text, cpu);
  pb_end (out, part);
  put_memory_v2 (out, directory);
  put_io_v2 (out, directory);
  free (text);
}

bool
stats_put (PbBuffer *reply, const Container *container, Error *error)
{
  bool unified = cgroup_unified ();
  PbBuffer metrics = { 0 };
  char directory[MAX_PATH];
  size_t any;

  if (!cgroup_path (container, unified ? NULL : "memory", directory, sizeof directory)
      && (unified || !cgroup_path (container, "pids", directory, sizeof directory)))
    return fail (error, CODE_FAILED_PRECONDITION, "container %s has no cgroup of its own", container->id);
  if (access (directory, F_OK) < 0)
    return fail (error, CODE_FAILED_PRECONDITION, "container %s has ended: its cgroup is gone",
                 container->id);
  if (unified)
    stats_put_v2 (&metrics, directory);
  else
    put_v1 (&metrics, container);
  any = pb_begin (reply, 1);
  pb_put_string (reply, 1, unified ? "io.containerd.cgroups.v2.Metrics" : "io.containerd.cgroups.v1.Metrics");
  pb_put_bytes (reply, 2, metrics.data, metrics.length);
  pb_end (reply, any);
  pb_clear (&metrics);
  return true;
}
