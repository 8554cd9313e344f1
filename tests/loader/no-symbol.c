/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A shared object that is no module, and that must not be opened: its constructor would end the daemon. */
#include <stdlib.h>

__attribute__ ((constructor)) static void
constructor (void)
{
  abort ();
}
