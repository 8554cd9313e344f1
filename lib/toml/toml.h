/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * TOML 1.0 (toml.io). Dates and times are checked and kept as they are written. Strict, with limits: 1 MiB,
 * 32 levels, 10,000 values. Tables keep the order of the file, and every value its line, for messages. */
#pragma once

#include <gantry/types.h>

typedef enum
{
  TOML_STRING,
  TOML_INTEGER,
  TOML_FLOAT,
  TOML_BOOLEAN,
  TOML_DATE, /* a date, a time, or both */
  TOML_ARRAY,
  TOML_TABLE,
} TomlKind;

typedef struct _TomlValue TomlValue;
struct _TomlValue
{
  TomlKind kind;
  guint line;
  char *key;      /* (nullable): in a table */
  char *string;   /* without zero bytes; also a date */
  gint64 integer; /* also a boolean */
  double number;
  GPtrArray *items; /* (element-type TomlValue): of an array or a table */
  gboolean closed;  /* while parsing: nothing may be added any more */
  gboolean dotted;  /* while parsing: made by a dotted key */
  gboolean tables;  /* while parsing: an array of [[tables]] */
};

/** Parses a file. Errors: INVALID_ARGUMENT ("line 3: …"), RESOURCE_EXHAUSTED (a limit). Returns: (transfer
 * full): a table. */
TomlValue *toml_parse (const char *text, gsize length, GError **error) G_GNUC_WARN_UNUSED_RESULT;

void toml_free (TomlValue *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (TomlValue, toml_free)

/** The value of @key in the table @self. Returns: (transfer none) (nullable). */
TomlValue *toml_get (const TomlValue *self, const char *key);

/** "a string" and the like, for messages. */
const char *toml_kind_name (TomlKind kind);
