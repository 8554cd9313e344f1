/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "shim-event.h"

static void
read_message (ShimEvent *event, PbReader reader)
{
  PbField field;

  while (pb_next (&reader, &field) > 0)
    {
      if (field.number >= G_N_ELEMENTS (event->number))
        continue;
      if (field.wire == 0)
        event->number[field.number] = field.value;
      else if (field.wire == 2)
        {
          event->time[field.number] = pb_read_timestamp (&field);
          if (field.number < G_N_ELEMENTS (event->text))
            {
              g_free (event->text[field.number]);
              event->text[field.number] = g_strndup ((const char *)field.data, field.length);
            }
        }
    }
}

static void
read_any (ShimEvent *event, const PbField *any)
{
  PbReader reader = pb_reader (any->data, any->length);
  PbField part;

  while (pb_next (&reader, &part) > 0)
    if (part.number == 2 && part.wire == 2)
      read_message (event, pb_reader (part.data, part.length));
}

gboolean
shim_event_read (ShimEvent *event, PbReader reader)
{
  PbField field;

  while (pb_next (&reader, &field) > 0)
    {
      char **text = field.number == 2 ? &event->ns : field.number == 3 ? &event->topic : NULL;

      if (field.wire != 2)
        continue;
      if (text != NULL && *text == NULL)
        *text = g_strndup ((const char *)field.data, field.length);
      else if (field.number == 4)
        read_any (event, &field);
    }
  return event->topic != NULL && event->ns != NULL && event->text[1] != NULL;
}

void
shim_event_clear (ShimEvent *event)
{
  g_free (event->ns);
  g_free (event->topic);
  for (gsize i = 0; i < G_N_ELEMENTS (event->text); i++)
    g_free (event->text[i]);
}
