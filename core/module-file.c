/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "module-file.h"

#include <elf.h>
#include <link.h>
#include <string.h>

#include <gantry/error.h>

#define MAX_SYMBOLS 100000

#if GLIB_SIZEOF_VOID_P == 8
#define OUR_CLASS ELFCLASS64
#else
#define OUR_CLASS ELFCLASS32
#endif

/* A file in memory. */
typedef struct
{
  const char *path;
  const guint8 *data;
  gsize size;
} File;

void
elf_facts_free (ElfFacts *self)
{
  if (self == NULL)
    return;
  g_clear_pointer (&self->symbols, g_ptr_array_unref);
  g_clear_pointer (&self->libraries, g_ptr_array_unref);
  g_free (self);
}

static gboolean
fits (const File *file, guint64 offset, guint64 size)
{
  return offset <= file->size && size <= file->size - offset;
}

static gboolean
cut_off (const File *file, GError **error)
{
  return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                       "module %s is cut off: its headers speak of more than its %zu bytes; install it again",
                       file->path, file->size);
}

static gboolean
check_header (const File *file, const ElfW (Ehdr) * header, GError **error)
{
  if (memcmp (header->e_ident, ELFMAG, SELFMAG) != 0)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "module %s is no ELF file", file->path);
  if (header->e_ident[EI_CLASS] != OUR_CLASS || header->e_type != ET_DYN
      || header->e_phentsize != sizeof (ElfW (Phdr)))
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "module %s is no shared object for this machine; build it with -shared", file->path);
  if (!fits (file, header->e_phoff, (guint64)header->e_phnum * sizeof (ElfW (Phdr)))
      || !fits (file, header->e_shoff, (guint64)header->e_shnum * sizeof (ElfW (Shdr))))
    return cut_off (file, error);
  for (guint i = 0; i < header->e_phnum; i++)
    {
      ElfW (Phdr) segment;

      memcpy (&segment, file->data + header->e_phoff + i * sizeof segment, sizeof segment);
      if (segment.p_type == PT_LOAD && !fits (file, segment.p_offset, segment.p_filesz))
        return cut_off (file, error);
    }
  return TRUE;
}

/* The section @index, if all of it lies within the file. */
static gboolean
get_section (const File *file, const ElfW (Ehdr) * header, guint index, ElfW (Shdr) * ret_section)
{
  if (index >= header->e_shnum || header->e_shentsize != sizeof (ElfW (Shdr)))
    return FALSE;
  memcpy (ret_section, file->data + header->e_shoff + index * sizeof (ElfW (Shdr)), sizeof (ElfW (Shdr)));
  return ret_section->sh_type == SHT_NOBITS || fits (file, ret_section->sh_offset, ret_section->sh_size);
}

/* A string of the table @strings. Returns: (transfer full) (nullable). */
static char *
get_string (const File *file, const ElfW (Shdr) * strings, guint64 offset)
{
  const char *text = (const char *)file->data + strings->sh_offset + offset;

  return offset < strings->sh_size ? g_strndup (text, strings->sh_size - offset) : NULL;
}

static void
read_symbols (const File *file, const ElfW (Shdr) * section, const ElfW (Shdr) * strings, GPtrArray *symbols)
{
  gsize n = MIN (section->sh_size / sizeof (ElfW (Sym)), MAX_SYMBOLS);

  for (gsize i = 1; i < n; i++)
    {
      ElfW (Sym) symbol;
      char *name;

      memcpy (&symbol, file->data + section->sh_offset + i * sizeof symbol, sizeof symbol);
      name = symbol.st_shndx != SHN_UNDEF ? get_string (file, strings, symbol.st_name) : NULL;
      if (name != NULL)
        g_ptr_array_add (symbols, name);
    }
}

static void
read_libraries (const File *file, const ElfW (Shdr) * section, const ElfW (Shdr) * strings,
                GPtrArray *libraries)
{
  for (gsize at = 0; at + sizeof (ElfW (Dyn)) <= section->sh_size; at += sizeof (ElfW (Dyn)))
    {
      ElfW (Dyn) entry;
      char *name;

      memcpy (&entry, file->data + section->sh_offset + at, sizeof entry);
      name = entry.d_tag == DT_NEEDED ? get_string (file, strings, entry.d_un.d_val) : NULL;
      if (name != NULL)
        g_ptr_array_add (libraries, name);
    }
}

ElfFacts *
elf_read (const char *path, GError **error)
{
  g_autoptr (GMappedFile) mapped = g_mapped_file_new (path, FALSE, error);
  g_autoptr (ElfFacts) facts = NULL;
  ElfW (Ehdr) header;
  File file = { path, NULL, 0 };

  if (mapped == NULL)
    return NULL;
  file.data = (const guint8 *)g_mapped_file_get_contents (mapped);
  file.size = g_mapped_file_get_length (mapped);
  if (file.size < sizeof header)
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "module %s is no ELF file", path);
      return NULL;
    }
  memcpy (&header, file.data, sizeof header);
  if (!check_header (&file, &header, error))
    return NULL;
  facts = g_new0 (ElfFacts, 1);
  facts->symbols = g_ptr_array_new_with_free_func (g_free);
  facts->libraries = g_ptr_array_new_with_free_func (g_free);
  for (guint i = 0; i < header.e_shnum; i++)
    {
      ElfW (Shdr) section, strings;

      if (!get_section (&file, &header, i, &section))
        {
          cut_off (&file, error);
          return NULL;
        }
      if ((section.sh_type != SHT_DYNSYM && section.sh_type != SHT_DYNAMIC)
          || !get_section (&file, &header, section.sh_link, &strings))
        continue;
      if (section.sh_type == SHT_DYNSYM)
        read_symbols (&file, &section, &strings, facts->symbols);
      else
        read_libraries (&file, &section, &strings, facts->libraries);
    }
  return g_steal_pointer (&facts);
}
