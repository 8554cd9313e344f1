/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What we call things and what containerd's clients call them. */
#include "names.h"

#include <string.h>

static const char *const snapshotters[][2] = { { "overlay", "overlayfs" } };
static const char *const runtimes[][2] = { { "runc", "io.containerd.runc.v2" } };

static const char *
replace (const char *const (*names)[2], gsize n, const char *name, int from)
{
  for (gsize i = 0; name != NULL && i < n; i++)
    if (strcmp (names[i][from], name) == 0)
      return names[i][1 - from];
  return name;
}

const char *
name_of_snapshotter (const char *ours)
{
  return replace (snapshotters, G_N_ELEMENTS (snapshotters), ours, 0);
}

const char *
our_snapshotter (const char *name)
{
  return replace (snapshotters, G_N_ELEMENTS (snapshotters), name, 1);
}

const char *
name_of_runtime (const char *ours)
{
  return replace (runtimes, G_N_ELEMENTS (runtimes), ours, 0);
}
