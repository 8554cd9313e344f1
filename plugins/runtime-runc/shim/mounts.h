/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One mount of a root file system. */
#pragma once

#include "shim.h"

#include <idmap.h>

#define MAX_OPTIONS 128

typedef struct
{
  char *type;
  char *source;
  char *target;
  char *options[MAX_OPTIONS];
  size_t n_options;
  char *uids; /* "inside:outside:count": how owners of files are mapped, or NULL */
  char *gids;
  int userns;       /* with these mappings, or 0 */
  bool maps_lowers; /* the layers are mounted beside, with mapped owners */
} Mount;

/* mapping.c */
/** Makes what a mount with mapped owners needs: of an overlay its lower directories, mapped, somewhere in
 * @bundle; everything else only the user namespace. What is written to an overlay goes to its upper directory
 * as it is: that has mapped owners by itself. Returns: false with errno. */
bool mapping_begin (Mount *mount, const char *bundle);
/** Takes away what mapping_begin () made and an overlay that stands has no need of. Keeps errno. */
void mapping_end (Mount *mount, const char *bundle);
