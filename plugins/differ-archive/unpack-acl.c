/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "unpack-acl.h"

#include <sys/xattr.h>

#include <archive.h>
#include <archive_entry.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>

#include "fdio.h"
#include "unpack-common.h"

#define MAX_ENTRIES 1024

/* The kernel's tag for libarchive's. */
static guint16
kernel_tag (int tag)
{
  switch (tag)
    {
    case ARCHIVE_ENTRY_ACL_USER:
      return ACL_USER;
    case ARCHIVE_ENTRY_ACL_GROUP:
      return ACL_GROUP;
    case ARCHIVE_ENTRY_ACL_USER_OBJ:
      return ACL_USER_OBJ;
    case ARCHIVE_ENTRY_ACL_GROUP_OBJ:
      return ACL_GROUP_OBJ;
    case ARCHIVE_ENTRY_ACL_MASK:
      return ACL_MASK;
    case ARCHIVE_ENTRY_ACL_OTHER:
      return ACL_OTHER;
    default:
      return 0;
    }
}

/* The kernel wants entries by tag, and those of one tag by id. */
static int
compare_entries (gconstpointer a, gconstpointer b)
{
  const struct posix_acl_xattr_entry *x = a, *y = b;
  guint16 x_tag = GUINT16_FROM_LE (x->e_tag), y_tag = GUINT16_FROM_LE (y->e_tag);
  guint32 x_id = GUINT32_FROM_LE (x->e_id), y_id = GUINT32_FROM_LE (y->e_id);

  return x_tag != y_tag ? (x_tag > y_tag ? 1 : -1) : (x_id > y_id) - (x_id < y_id);
}

/* Returns: (transfer full) (nullable): NULL without an error if there is none that can be set. */
static GArray *
read_entries (struct archive_entry *entry, GArray *uid_map, GArray *gid_map, GError **error)
{
  g_autoptr (GArray) entries = g_array_new (FALSE, FALSE, sizeof (struct posix_acl_xattr_entry));
  const int type = ARCHIVE_ENTRY_ACL_TYPE_ACCESS;
  int ignored, permissions, tag, id;
  const char *name;

  if (archive_entry_acl_reset (entry, type) == 0)
    return NULL;
  while (archive_entry_acl_next (entry, type, &ignored, &permissions, &tag, &id, &name) == ARCHIVE_OK)
    {
      struct posix_acl_xattr_entry one
          = { GUINT16_TO_LE (kernel_tag (tag)), GUINT16_TO_LE ((guint16)(permissions & 7)),
              GUINT32_TO_LE ((guint32)ACL_UNDEFINED_ID) };
      gboolean has_id = tag == ARCHIVE_ENTRY_ACL_USER || tag == ARCHIVE_ENTRY_ACL_GROUP;
      guint32 mapped;

      if (kernel_tag (tag) == 0 || (has_id && id < 0))
        return NULL;
      if (entries->len >= MAX_ENTRIES)
        {
          gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "its ACL has more than %d entries",
                        MAX_ENTRIES);
          return NULL;
        }
      if (has_id
          && !unpack_id_map_lookup (tag == ARCHIVE_ENTRY_ACL_USER ? uid_map : gid_map, id, &mapped, error))
        return NULL;
      if (has_id)
        one.e_id = GUINT32_TO_LE (mapped);
      g_array_append_val (entries, one);
    }
  g_array_sort (entries, compare_entries);
  return g_steal_pointer (&entries);
}

gboolean
unpack_acl_set (struct archive_entry *entry, int fd, GArray *uid_map, GArray *gid_map, GError **error)
{
  const struct posix_acl_xattr_header header = { GUINT32_TO_LE (POSIX_ACL_XATTR_VERSION) };
  g_autoptr (GByteArray) value = NULL;
  g_autoptr (GError) local = NULL;
  g_autoptr (GArray) entries = NULL;

  if ((archive_entry_acl_types (entry) & ARCHIVE_ENTRY_ACL_TYPE_ACCESS) == 0)
    return TRUE;
  entries = read_entries (entry, uid_map, gid_map, &local);
  if (local != NULL)
    {
      g_propagate_error (error, g_steal_pointer (&local));
      return FALSE;
    }
  if (entries == NULL)
    return TRUE;
  value = g_byte_array_new ();
  g_byte_array_append (value, (const guint8 *)&header, sizeof header);
  g_byte_array_append (value, (const guint8 *)entries->data,
                       entries->len * (guint)sizeof (struct posix_acl_xattr_entry));
  if (fsetxattr (fd, "system.posix_acl_access", value->data, value->len, 0) == 0 || errno == ENOTSUP)
    return TRUE;
  if (errno == EINVAL)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "its ACL is no valid one");
  return gantry_throw_errno (error, errno, "setting its ACL");
}
