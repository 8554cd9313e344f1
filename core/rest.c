/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A start takes memory and touches program text that nothing at rest needs: malloc keeps the one, the page
 * tables the other, with all the neighbours that the kernel maps around each fault. Both are given back once
 * the daemon has come to rest. Text stays in the page cache: what is called again comes back by a minor
 * fault, sixteen pages at a time. */
#include "rest.h"

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <malloc.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#define REST_SECONDS 2

/* Bits of an entry of /proc/self/pagemap, as the kernel's admin-guide/mm/pagemap has them. */
#define PAGEMAP_PRESENT ((guint64)1 << 63)
#define PAGEMAP_FILE    ((guint64)1 << 61)
#define PAGES_AT_ONCE   512

typedef struct
{
  int pagemap;
  gsize page;
  gsize released; /* bytes */
} Release;

/* Text is as it is in the file but where a debugger or a probe has put something: those pages are not the
 * file's, and stay. */
static gboolean
is_of_file (guint64 entry)
{
  return (entry & PAGEMAP_PRESENT) != 0 && (entry & PAGEMAP_FILE) != 0;
}

static void
release_pages (Release *self, gsize start, const guint64 *entries, gsize n)
{
  gsize begin = 0;

  for (gsize i = 0; i <= n; i++)
    {
      if (i < n && is_of_file (entries[i]))
        continue;
      if (i > begin
          && madvise ((gpointer)(start + begin * self->page), (i - begin) * self->page, MADV_DONTNEED) == 0)
        self->released += (i - begin) * self->page;
      begin = i + 1;
    }
}

static void
release_segment (Release *self, gsize start, gsize end)
{
  guint64 entries[PAGES_AT_ONCE];

  start &= ~(self->page - 1);
  end = (end + self->page - 1) & ~(self->page - 1);
  while (start < end)
    {
      gsize n = MIN ((end - start) / self->page, PAGES_AT_ONCE);

      if (pread (self->pagemap, entries, n * sizeof *entries, (off_t)(start / self->page * sizeof *entries))
          != (ssize_t)(n * sizeof *entries))
        return;
      release_pages (self, start, entries, n);
      start += n * self->page;
    }
}

/* Called with the loader's lock: what is listed is wholly mapped and stays so. Relocations are in writable
 * segments alone. */
static int
release_object (struct dl_phdr_info *info, size_t size, void *data)
{
  if (info->dlpi_addr != 0 && info->dlpi_addr == getauxval (AT_SYSINFO_EHDR))
    return 0;
  for (guint i = 0; i < info->dlpi_phnum; i++)
    if (info->dlpi_phdr[i].p_type == PT_DYNAMIC)
      for (const ElfW (Dyn) *entry = (gconstpointer)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
           entry->d_tag != DT_NULL; entry++)
        if (entry->d_tag == DT_TEXTREL)
          return 0;
  for (guint i = 0; i < info->dlpi_phnum; i++)
    {
      const ElfW (Phdr) *segment = &info->dlpi_phdr[i];
      gsize start = info->dlpi_addr + segment->p_vaddr;

      if (segment->p_type == PT_LOAD && (segment->p_flags & PF_W) == 0)
        release_segment (data, start, start + segment->p_memsz);
    }
  return 0;
}

static gboolean
on_rest (gpointer data)
{
  Core *core = data;
  Release release = { open ("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), (gsize)sysconf (_SC_PAGESIZE), 0 };

  g_clear_pointer (&core->rest, g_source_unref);
  malloc_trim (0);
  if (release.pagemap < 0)
    {
      g_debug ("/proc/self/pagemap: %s; program text stays mapped at rest", g_strerror (errno));
      return G_SOURCE_REMOVE;
    }
  dl_iterate_phdr (release_object, &release);
  close (release.pagemap);
  g_debug ("at rest: %" G_GSIZE_FORMAT " KiB of program text are mapped no more", release.released / 1024);
  return G_SOURCE_REMOVE;
}

void
rest_watch (Core *core)
{
  rest_end (core);
  core->rest = g_timeout_source_new_seconds (REST_SECONDS);
  g_source_set_priority (core->rest, G_PRIORITY_LOW);
  g_source_set_callback (core->rest, on_rest, core, NULL);
  g_source_attach (core->rest, core->context);
}

void
rest_unused (Core *core)
{
  if (core->settled && core->rest == NULL)
    rest_watch (core);
}

void
rest_end (Core *core)
{
  if (core->rest != NULL)
    g_source_destroy (core->rest);
  g_clear_pointer (&core->rest, g_source_unref);
}
