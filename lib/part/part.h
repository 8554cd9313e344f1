/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A module in parts: what only some work needs, with the libraries that only it needs, is a shared object of
 * its own, which is opened when that work first comes and is kept from then on. At rest it is a descriptor,
 * no memory.
 *
 * The part is linked like any module and exports one function, which gives a table of what the module calls:
 *
 *     typedef struct { gboolean (*parse) (const char *text, GError **error); } Parser;      in a header of
 * both
 *
 *     gconstpointer gantry_part_get_table (void) { return &parser; }                        in the part
 *
 *     static GantryPart part = GANTRY_PART ("verifier-mine-parser");                        in the module
 *     if (!gantry_part_find (&part, error)) …                                               in its init ()
 *     const Parser *parser = gantry_part_open (&part, error);                               where it is
 * needed
 *
 * Built by `own_parts` of the plugin's meson.build; the file is parts/NAME.so beside the module.
 */
#pragma once

#include <gmodule.h>

/** A part. Static: it is never closed, as modules are not. */
typedef struct
{
  const char *name;
  GMutex lock;
  int fd; /* of its file, plus one; with lock, as all below */
  gconstpointer table;
} GantryPart;

/** The part of that name, of the module that this is in. */
#define GANTRY_PART(name)                                                                                    \
  {                                                                                                          \
    (name), { NULL }, 0, NULL                                                                                \
  }

/** Takes the file, so that it is there when it is needed, and the one that was installed with this module
 * also when the package is replaced meanwhile. For init (). May be called again. Blocks: on local I/O.
 * MT-safe. Errors: of open () (NOT_FOUND, …); PERMISSION_DENIED: others than root or the daemon's user can
 * write it. */
gboolean gantry_part_find (GantryPart *self, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/** Opens it, the first time. Blocks: on local I/O, some milliseconds the first time. MT-safe. Errors: of
 * gantry_part_find (); INTERNAL: it cannot be loaded. Returns: (transfer none): its table. */
gconstpointer gantry_part_open (GantryPart *self, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/** The only exported symbol of a part. Returns: (transfer none): its table. */
G_MODULE_EXPORT gconstpointer gantry_part_get_table (void);
