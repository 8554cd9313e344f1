/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What the unpack worker's parts and the module that starts it share: limits, id maps, names and the messages
 * between them.
 */
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <gantry/error.h>

/* A sanitizer's run-time needs calls and memory that the worker is otherwise denied, and says on stderr what
 * it found. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define UNDER_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define UNDER_SANITIZER 1
#endif
#endif
#ifndef UNDER_SANITIZER
#define UNDER_SANITIZER 0
#endif

/* One request goes to the worker, any number of answers come back, each one packet on a SOCK_SEQPACKET pair.
 * A request is a{sv}; an answer is (yts): what it is, a number, a text. */
#define UNPACK_REQUEST_TYPE G_VARIANT_TYPE ("a{sv}")
#define UNPACK_ANSWER_TYPE  G_VARIANT_TYPE ("(yts)")
#define UNPACK_MOUNTS_TYPE  G_VARIANT_TYPE ("a(ayayayaay)")
#define UNPACK_MAX_PACKET   (192 * 1024)

/* Directories that a layer implies: with more it is not worth settling them one by one. */
#define UNPACK_MAX_IMPLIED 4096

#define UNPACK_ANSWER_PROGRESS 'p' /* bytes read or written so far */
#define UNPACK_ANSWER_IMPLIED  'i' /* a directory that the layer has no entry for; "." is the root */
#define UNPACK_ANSWER_DONE     'd' /* size and digest of the uncompressed tar */
#define UNPACK_ANSWER_ERROR    'e' /* GantryErrorCode and message */

/* The descriptors that a worker starts with, besides 0 to 2. */
#define UNPACK_SOCKET_FD 3
#define UNPACK_BLOB_FD   4 /* the layer: read by apply and recompress, written by compare */
#define UNPACK_OUTPUT_FD 5 /* of recompress: the new layer */

/* gantry-unpack starts as a server that forks the workers. Each packet on its socket, a SOCK_SEQPACKET pair
 * as well, is one byte and the descriptors of a worker: its life, and then those from UNPACK_SOCKET_FD on.
 * The life is one end of a third pair: the worker is killed when the other end is shut, and when it has ended
 * UnpackServerEnd comes, and the server closes the life. */
#define UNPACK_SERVER_FD      3
#define UNPACK_SERVER_START   's'
#define UNPACK_SERVER_MAX_FDS 4

typedef struct
{
  gint32 error;  /* an errno: there was no worker */
  gint32 status; /* of waitpid () */
} UnpackServerEnd;

/* How a new layer is compressed; "compression" (u) of a request. */
typedef enum
{
  PACK_PLAIN,
  PACK_GZIP,
  PACK_ZSTD,
} PackCompression;

typedef struct
{
  guint64 max_entries;
  guint64 max_bytes; /* of the uncompressed tar, and of all files with their holes */
  guint64 max_path;  /* bytes of one name */
  guint64 max_depth; /* directories below each other */
  guint64 max_devices;
  guint64 max_xattrs; /* bytes of names and values of one entry */
  guint64 max_memory; /* of the worker's address space */
  guint64 max_cpu_seconds;
} UnpackLimits;

#define UNPACK_LIMITS_INIT                                                                                   \
  {                                                                                                          \
    .max_entries = 4000000, .max_bytes = 256 * G_GUINT64_CONSTANT (1073741824), .max_path = 4095,            \
    .max_depth = 512, .max_devices = 4096, .max_xattrs = 256 * 1024,                                         \
    .max_memory = 2 * G_GUINT64_CONSTANT (1073741824), .max_cpu_seconds = 3600                               \
  }

/* Every limit by its name in a request; the table ends with a NULL name. */
typedef struct
{
  const char *name;
  gsize offset;
  guint64 min, max;
} UnpackLimitName;

extern const UnpackLimitName unpack_limit_names[];

#define UNPACK_LIMIT(limits, entry) (*(guint64 *)(gpointer)((char *)(limits) + (entry)->offset))

/* A mapping of ids in the layer to ids on disk. */
typedef struct
{
  guint64 inside, outside, count;
} UnpackIdRange;

/** Reads "0:100000:65536[,…]" into @map (element-type UnpackIdRange). Errors: INVALID_ARGUMENT. */
gboolean unpack_id_map_parse (const char *text, GArray *map, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/** What @id of the layer is on disk. An empty map changes nothing. Errors: INVALID_ARGUMENT (not an id, or
 * not mapped). */
gboolean unpack_id_map_lookup (GArray *map, gint64 id, guint32 *ret_id,
                               GError **error) G_GNUC_WARN_UNUSED_RESULT;

/** A key for tables of inodes. */
static inline gint64
unpack_inode_key (const struct stat *st)
{
  return (gint64)((guint64)st->st_ino ^ ((guint64)st->st_dev << 48));
}

/** @name as it can be shown in a message: short and printable. Returns: (transfer full). */
char *unpack_show_name (const char *name);

/** Cleans the name of an entry lexically: no leading or double slashes, no "." and "..", "" for the root
 * itself. Errors: INVALID_ARGUMENT (it leaves the root, or is longer than @limits allow). Returns: (transfer
 * full). */
char *unpack_clean_name (const char *name, const UnpackLimits *limits,
                         GError **error) G_GNUC_WARN_UNUSED_RESULT;
