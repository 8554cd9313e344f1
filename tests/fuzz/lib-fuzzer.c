/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What libFuzzer's own main () begins with: what GLib calls critical is a bug, and so is g_error (), whose
 * signal libFuzzer leaves alone, so that the input would be lost.
 */
#include <signal.h>
#include <stdlib.h>

#include <glib.h>

int LLVMFuzzerInitialize (int *argc, char ***argv);

static void
on_trap (int number)
{
  abort ();
}

int
LLVMFuzzerInitialize (int *argc, char ***argv)
{
  g_log_set_always_fatal (G_LOG_FATAL_MASK | G_LOG_LEVEL_CRITICAL);
  signal (SIGTRAP, on_trap);
  return 0;
}
