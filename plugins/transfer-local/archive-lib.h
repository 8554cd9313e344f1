/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * libarchive, opened when the first archive is read or written, as a part (part.h): with the libraries that
 * it needs for formats nobody uses here (XML, ICU, …) it would be a sixth of the daemon's memory at rest. Its
 * functions have their own names here; archive_lib_load () comes first. */
#pragma once

#include <archive.h>
#include <archive_entry.h>
#include <glib.h>

#define ARCHIVE_LIB_FUNCTIONS(X)                                                                             \
  X (archive_entry_filetype)                                                                                 \
  X (archive_entry_free)                                                                                     \
  X (archive_entry_hardlink)                                                                                 \
  X (archive_entry_new)                                                                                      \
  X (archive_entry_pathname)                                                                                 \
  X (archive_entry_set_filetype)                                                                             \
  X (archive_entry_set_mtime)                                                                                \
  X (archive_entry_set_pathname)                                                                             \
  X (archive_entry_set_perm)                                                                                 \
  X (archive_entry_set_size)                                                                                 \
  X (archive_entry_size)                                                                                     \
  X (archive_entry_symlink)                                                                                  \
  X (archive_errno)                                                                                          \
  X (archive_error_string)                                                                                   \
  X (archive_read_data)                                                                                      \
  X (archive_read_free)                                                                                      \
  X (archive_read_new)                                                                                       \
  X (archive_read_next_header)                                                                               \
  X (archive_read_open)                                                                                      \
  X (archive_read_support_filter_all)                                                                        \
  X (archive_read_support_format_tar)                                                                        \
  X (archive_set_error)                                                                                      \
  X (archive_write_close)                                                                                    \
  X (archive_write_data)                                                                                     \
  X (archive_write_free)                                                                                     \
  X (archive_write_header)                                                                                   \
  X (archive_write_new)                                                                                      \
  X (archive_write_open)                                                                                     \
  X (archive_write_set_bytes_in_last_block)                                                                  \
  X (archive_write_set_bytes_per_block)                                                                      \
  X (archive_write_set_format_pax_restricted)

typedef struct
{
#define ARCHIVE_LIB_MEMBER(name) __typeof__ (name) *name;
  ARCHIVE_LIB_FUNCTIONS (ARCHIVE_LIB_MEMBER)
#undef ARCHIVE_LIB_MEMBER
} ArchiveLib;

/** What archive_lib_load () has opened. */
extern const ArchiveLib *archive_lib;

/** For init (): takes the file. */
gboolean archive_lib_find (GError **error) G_GNUC_WARN_UNUSED_RESULT;

/** Opens the library, once for the life of the process. MT-safe. Errors: INTERNAL. */
gboolean archive_lib_load (GError **error) G_GNUC_WARN_UNUSED_RESULT;

#ifndef ARCHIVE_LIB_IMPLEMENTATION
#define archive_entry_filetype                  archive_lib->archive_entry_filetype
#define archive_entry_free                      archive_lib->archive_entry_free
#define archive_entry_hardlink                  archive_lib->archive_entry_hardlink
#define archive_entry_new                       archive_lib->archive_entry_new
#define archive_entry_pathname                  archive_lib->archive_entry_pathname
#define archive_entry_set_filetype              archive_lib->archive_entry_set_filetype
#define archive_entry_set_mtime                 archive_lib->archive_entry_set_mtime
#define archive_entry_set_pathname              archive_lib->archive_entry_set_pathname
#define archive_entry_set_perm                  archive_lib->archive_entry_set_perm
#define archive_entry_set_size                  archive_lib->archive_entry_set_size
#define archive_entry_size                      archive_lib->archive_entry_size
#define archive_entry_symlink                   archive_lib->archive_entry_symlink
#define archive_errno                           archive_lib->archive_errno
#define archive_error_string                    archive_lib->archive_error_string
#define archive_read_data                       archive_lib->archive_read_data
#define archive_read_free                       archive_lib->archive_read_free
#define archive_read_new                        archive_lib->archive_read_new
#define archive_read_next_header                archive_lib->archive_read_next_header
#define archive_read_open                       archive_lib->archive_read_open
#define archive_read_support_filter_all         archive_lib->archive_read_support_filter_all
#define archive_read_support_format_tar         archive_lib->archive_read_support_format_tar
#define archive_set_error                       archive_lib->archive_set_error
#define archive_write_close                     archive_lib->archive_write_close
#define archive_write_data                      archive_lib->archive_write_data
#define archive_write_free                      archive_lib->archive_write_free
#define archive_write_header                    archive_lib->archive_write_header
#define archive_write_new                       archive_lib->archive_write_new
#define archive_write_open                      archive_lib->archive_write_open
#define archive_write_set_bytes_in_last_block   archive_lib->archive_write_set_bytes_in_last_block
#define archive_write_set_bytes_per_block       archive_lib->archive_write_set_bytes_per_block
#define archive_write_set_format_pax_restricted archive_lib->archive_write_set_format_pax_restricted
#endif
