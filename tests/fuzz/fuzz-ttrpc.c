/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * ttrpc frames and the messages in them: a header is written the same way as it was read, and a message is
 * walked to any depth that a peer may send without leaving its bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "wire.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

#define MAX_DEPTH 8

static void
walk (PbReader reader, int depth)
{
  PbField field;
  int more;

  while ((more = pb_next (&reader, &field)) > 0)
    {
      char *copy;

      if (field.wire != 2)
        continue;
      if (field.length > 0
          && (field.data < reader.at - field.length || field.data + field.length > reader.end))
        abort ();
      copy = pb_dup (&field);
      if (copy != NULL && strlen (copy) > field.length)
        abort ();
      free (copy);
      pb_read_timestamp (&field);
      if (depth < MAX_DEPTH)
        walk (pb_reader (field.data, field.length), depth + 1);
    }
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  size_t at = 0;

  while (size - at >= TTRPC_HEADER)
    {
      uint8_t again[TTRPC_HEADER];
      TtrpcHeader header;

      ttrpc_header_read (data + at, &header);
      ttrpc_header_write (&header, again);
      if (memcmp (again, data + at, TTRPC_HEADER) != 0)
        abort ();
      at += TTRPC_HEADER;
      if (header.length > size - at)
        break;
      walk (pb_reader (data + at, header.length), 0);
      at += header.length;
    }
  walk (pb_reader (data, size), 0);
  return 0;
}
