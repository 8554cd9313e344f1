/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Dates and times of TOML 1.0 (toml.io, "Offset Date-Time" to "Local Time"; the forms of RFC 3339). */
#include "toml-date.h"

#include <string.h>

/* Two digits at @at. Returns: -1 if there are none. */
static int
two_digits (const char *at)
{
  return g_ascii_isdigit (at[0]) && g_ascii_isdigit (at[1]) ? (at[0] - '0') * 10 + at[1] - '0' : -1;
}

/* "2026-01-31". Returns: its length, or 0. */
static gsize
date_length (const char *at)
{
  int century = two_digits (at), year, month, day;

  if (century < 0 || (year = two_digits (at + 2)) < 0 || at[4] != '-' || (month = two_digits (at + 5)) < 1
      || at[7] != '-' || (day = two_digits (at + 8)) < 1)
    return 0;
  /* GLib knows no year 0. */
  year += century * 100;
  return month <= 12 && day <= g_date_get_days_in_month ((GDateMonth)month, (GDateYear)MAX (year, 4)) ? 10
                                                                                                      : 0;
}

/* "23:59:60.25". Returns: its length, or 0. */
static gsize
time_length (const char *at)
{
  int hour = two_digits (at), minute, second;
  gsize fraction = 0;

  if (hour < 0 || hour > 23 || at[2] != ':' || (minute = two_digits (at + 3)) < 0 || minute > 59
      || at[5] != ':' || (second = two_digits (at + 6)) < 0 || second > 60)
    return 0;
  if (at[8] == '.')
    {
      fraction = strspn (at + 9, "0123456789");
      if (fraction == 0)
        return 0;
      fraction++;
    }
  return 8 + fraction;
}

/* "Z" or "-08:00". Returns: its length, or 0. */
static gsize
offset_length (const char *at)
{
  int hour, minute;

  if (*at == 'Z' || *at == 'z')
    return 1;
  if (*at != '+' && *at != '-')
    return 0;
  hour = two_digits (at + 1);
  if (hour < 0 || hour > 23 || at[3] != ':')
    return 0;
  minute = two_digits (at + 4);
  return minute >= 0 && minute <= 59 ? 6 : 0;
}

gboolean
toml_date_begins (const char *at)
{
  gsize digits = strspn (at, "0123456789");

  return (digits == 4 && at[4] == '-') || (digits == 2 && at[2] == ':');
}

gsize
toml_date_length (const char *at)
{
  gsize date = date_length (at), time;

  if (date == 0)
    return time_length (at);
  /* A blank may stand for the T. */
  if (at[date] != 'T' && at[date] != 't' && !(at[date] == ' ' && g_ascii_isdigit (at[date + 1])))
    return date;
  time = time_length (at + date + 1);
  if (time == 0)
    return 0;
  return date + 1 + time + offset_length (at + date + 1 + time);
}
