/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * OpenSSL, for addresses with TLS. */
#include <grpc-server.h>
#include <part.h>

gconstpointer
gantry_part_get_table (void)
{
  return &grpc_tls;
}
