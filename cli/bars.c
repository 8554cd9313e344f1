/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Lines on a terminal that are drawn again and again. */
#include "cli.h"

#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define COLUMNS 80
#define ROWS    24

void
cli_screen_size (guint *ret_columns, guint *ret_rows)
{
  struct winsize size;
  gboolean known = ioctl (STDERR_FILENO, TIOCGWINSZ, &size) == 0;

  *ret_columns = known && size.ws_col > 20 ? size.ws_col : COLUMNS;
  *ret_rows = known && size.ws_row > 2 ? size.ws_row : ROWS;
}

char *
cli_bar (double part, guint width)
{
  GString *bar = g_string_sized_new (width);
  guint inner = width - 2;
  guint full = part > 0 ? (guint)(MIN (part, 1.0) * inner) : 0;

  g_string_append_c (bar, '[');
  for (guint i = 0; i < inner; i++)
    g_string_append_c (bar, i < full ? '#' : '.');
  g_string_append_c (bar, ']');
  return g_string_free (bar, FALSE);
}

void
cli_screen_clear (CliScreen *self)
{
  if (self->drawn > 1)
    g_printerr ("\033[%uA", self->drawn - 1);
  if (self->drawn > 0)
    g_printerr ("\r\033[J");
  self->drawn = 0;
}

void
cli_screen_draw (CliScreen *self, GPtrArray *lines)
{
  g_autoptr (GString) text = g_string_new (NULL);
  guint columns, rows;

  cli_screen_size (&columns, &rows);
  if (self->drawn > 1)
    g_string_append_printf (text, "\033[%uA", self->drawn - 1);
  if (self->drawn > 0)
    g_string_append (text, "\r\033[J");
  for (guint i = 0; i < lines->len; i++)
    {
      const char *line = g_ptr_array_index (lines, i);

      /* The last column stays free: some terminals go to the next line there. */
      g_string_append_printf (text, "%s%.*s", i > 0 ? "\r\n" : "", (int)(columns - 1), line);
    }
  g_printerr ("%s", text->str);
  self->drawn = lines->len;
}
