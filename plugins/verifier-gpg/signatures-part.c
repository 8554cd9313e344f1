/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <part.h>

#include "signatures.h"

static const SignatureTools tools = {
  .verify = gpg_verify,
  .sign = gpg_sign,
  .find_store = lookaside_find,
  .read_store = lookaside_read,
  .write_store = lookaside_write,
};

gconstpointer
gantry_part_get_table (void)
{
  gpg_init ();
  return &tools;
}
