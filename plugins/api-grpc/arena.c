/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "arena.h"

#include <string.h>

#define BLOCK 8192
#define ALIGN 16

struct _ArenaBlock
{
  ArenaBlock *next;
  char padding[ALIGN - sizeof (ArenaBlock *)];
  char data[];
};

typedef struct
{
  gpointer data;
  GDestroyNotify destroy;
} Kept;

static char *
take (Arena *self, gsize size)
{
  char *start = self->blocks != NULL ? self->blocks->data : self->first;
  gsize aligned = (size + ALIGN - 1) & ~(gsize)(ALIGN - 1);
  char *at;

  if (self->available - self->used < aligned)
    {
      gsize block = MAX (aligned, (gsize)BLOCK);
      ArenaBlock *made = g_malloc (sizeof (ArenaBlock) + block);

      made->next = self->blocks;
      self->blocks = made;
      self->used = 0;
      self->available = block;
      start = made->data;
    }
  at = start + self->used;
  self->used += aligned;
  self->total += aligned;
  return at;
}

static void *
allocate (void *data, size_t size)
{
  Arena *self = data;

  return size <= ARENA_MAX && self->total + size <= ARENA_MAX ? take (self, size) : NULL;
}

static void
free_nothing (void *data, void *memory)
{
}

void
arena_init (Arena *self)
{
  self->allocator = (ProtobufCAllocator){ allocate, free_nothing, self };
  self->blocks = NULL;
  /* The member stands at an address that need not be aligned. */
  self->used = (gsize)(-(guintptr)self->first & (ALIGN - 1));
  self->available = sizeof self->first;
  self->total = 0;
  self->kept = NULL;
}

void
arena_clear (Arena *self)
{
  while (self->kept != NULL)
    {
      Kept *kept = self->kept->data;

      kept->destroy (kept->data);
      self->kept = g_slist_delete_link (self->kept, self->kept);
    }
  while (self->blocks != NULL)
    {
      ArenaBlock *next = self->blocks->next;

      g_free (self->blocks);
      self->blocks = next;
    }
}

gpointer
arena_alloc (Arena *self, gsize size)
{
  return memset (take (self, size), 0, size);
}

char *
arena_strdup (Arena *self, const char *text)
{
  gsize length = strlen (text) + 1;

  return memcpy (take (self, length), text, length);
}

char *
arena_printf (Arena *self, const char *format, ...)
{
  va_list args;
  char *text;

  va_start (args, format);
  text = g_strdup_vprintf (format, args);
  va_end (args);
  arena_keep (self, text, g_free);
  return text;
}

void
arena_keep (Arena *self, gpointer data, GDestroyNotify destroy)
{
  Kept *kept = arena_new (self, Kept, 1);

  *kept = (Kept){ data, destroy };
  self->kept = g_slist_prepend (self->kept, kept);
}
