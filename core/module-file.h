/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What a module's file says of itself, read before anything of it runs (ELF: System V gABI, chapters 4 and
 * 5). */
#pragma once

#include <glib.h>

/** What a shared object exports and needs. */
typedef struct
{
  GPtrArray *symbols;   /* of utf8: defined, global ones */
  GPtrArray *libraries; /* of utf8: DT_NEEDED */
} ElfFacts;

void elf_facts_free (ElfFacts *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (ElfFacts, elf_facts_free)

/** Reads the shared object @path. Everything the headers point to has to lie within the file: the loader
 * would crash on one that is cut off. Returns: (transfer full), or NULL. Errors: of open (),
 * INVALID_ARGUMENT. */
ElfFacts *elf_read (const char *path, GError **error);
