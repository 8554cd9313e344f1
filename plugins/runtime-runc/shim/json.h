/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Reads single values out of a JSON text (RFC 8259) in place: the shim needs a few members of config.json and
 * no tree. What is malformed is as good as absent: the OCI runtime, which reads the same file, refuses it in
 * its own words. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/** A value: from its first byte to behind its last. Points into the text. */
typedef struct
{
  const char *at;
  const char *end;
} Json;

/** The value of a whole text. Returns: false if it is malformed, or nested deeper than 64. */
bool json_parse (const char *text, size_t length, Json *ret_value);
/** The member @key of an object. Returns: false if there is none. */
bool json_member (Json object, const char *key, Json *ret_value);
/** Goes through an array: *@rest is the array at first, and what remains of it after each call. */
bool json_next (Json *rest, Json *ret_value);
/** The same through the values of an object's members. */
bool json_next_member (Json *rest, Json *ret_value);
/** A string's characters. Returns: (transfer full) malloc ()ed, or NULL: not a string. */
char *json_string (Json value);
/** The member @key of an object, if it is a string. Returns: (transfer full) malloc ()ed, or NULL. */
char *json_member_string (Json object, const char *key);
