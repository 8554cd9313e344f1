/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Object paths, escaped as sd_bus_path_encode (3) does. */
#include "api-dbus.h"

#include <string.h>

static char *
escape (const char *text)
{
  GString *out = g_string_new (NULL);

  for (const char *at = text; *at != '\0'; at++)
    if (g_ascii_isalpha (*at) || (g_ascii_isdigit (*at) && at != text))
      g_string_append_c (out, *at);
    else
      g_string_append_printf (out, "_%02x", (guint8)*at);
  if (out->len == 0)
    g_string_append_c (out, '_');
  return g_string_free (out, FALSE);
}

static char *
unescape (const char *text)
{
  g_autoptr (GString) out = g_string_new (NULL);

  for (; *text != '\0'; text++)
    {
      if (*text != '_')
        g_string_append_c (out, *text);
      else if (g_ascii_isxdigit (text[1]) && g_ascii_isxdigit (text[2]) && (text[1] != '0' || text[2] != '0'))
        {
          g_string_append_c (out,
                             (char)(g_ascii_xdigit_value (text[1]) << 4 | g_ascii_xdigit_value (text[2])));
          text += 2;
        }
      else
        return NULL;
    }
  return g_utf8_validate (out->str, -1, NULL) ? g_string_free (g_steal_pointer (&out), FALSE) : NULL;
}

static char *
path_in (const char *collection, const char *ns, const char *id)
{
  g_autofree char *both = g_strconcat (ns, id != NULL ? "/" : NULL, id, NULL);
  g_autofree char *escaped = escape (both);

  return g_strconcat (ROOT "/", collection, "/", escaped, NULL);
}

char *
path_namespace (const char *ns)
{
  return path_in ("namespace", ns, NULL);
}

char *
path_container (const char *ns, const char *id)
{
  return path_in ("container", ns, id);
}

char *
path_image (const char *ns, const char *name)
{
  return path_in ("image", ns, name);
}

char *
path_mount (const char *ns, const char *name)
{
  return path_in ("mount", ns, name);
}

char *
path_sandbox (const char *ns, const char *id)
{
  return path_in ("sandbox", ns, id);
}

char *
path_plugin (const char *name)
{
  return path_in ("plugin", name, NULL);
}

char *
path_job (guint64 id, guint32 uid, const char *token)
{
  g_autofree char *node
      = token != NULL ? g_strdup_printf ("%u_%s", uid, token) : g_strdup_printf ("%" G_GUINT64_FORMAT, id);

  return path_in ("job", node, NULL);
}

char *
path_of_job (GantryJob *job)
{
  g_autoptr (GVariant) properties = gantry_job_get_properties (job);
  const char *token = NULL;
  guint32 uid = 0;

  g_variant_lookup (properties, "token", "&s", &token);
  g_variant_lookup (properties, "started-by-uid", "u", &uid);
  return path_job (gantry_job_get_id (job), uid, token != NULL && token[0] != '\0' ? token : NULL);
}

char *
path_process (const char *ns, const char *id, const char *exec)
{
  g_autofree char *both = g_strconcat (id, "/", exec, NULL);

  return path_in ("process", ns, both);
}

/* Cuts @text at its first "/" and returns a copy of what follows, or NULL if nothing does. */
static char *
cut (char *text)
{
  char *slash = strchr (text, '/');

  if (slash == NULL || slash[1] == '\0')
    return NULL;
  *slash = '\0';
  return g_strdup (slash + 1);
}

gboolean
path_parse (const char *path, const char **ret_collection, char **ret_ns, char **ret_id, char **ret_exec)
{
  static const struct
  {
    const char *name;
    gboolean has_ns, has_id, has_exec;
  } collections[] = {
    { "namespace", TRUE, FALSE, FALSE }, { "image", TRUE, TRUE, FALSE },   { "container", TRUE, TRUE, FALSE },
    { "process", TRUE, TRUE, TRUE },     { "job", FALSE, TRUE, FALSE },    { "plugin", FALSE, TRUE, FALSE },
    { "mount", TRUE, TRUE, FALSE },      { "sandbox", TRUE, TRUE, FALSE },
  };
  const char *rest = g_str_has_prefix (path, ROOT) ? path + strlen (ROOT) : NULL;

  *ret_ns = *ret_id = *ret_exec = NULL;
  *ret_collection = "";
  if (rest == NULL || rest[0] == '\0')
    return rest != NULL;
  for (gsize i = 0; i < G_N_ELEMENTS (collections); i++)
    {
      gsize length = strlen (collections[i].name);
      g_autofree char *name = NULL, *id = NULL, *exec = NULL;

      if (strncmp (rest + 1, collections[i].name, length) != 0 || rest[length + 1] != '/')
        continue;
      name = unescape (rest + length + 2);
      if (name == NULL || name[0] == '\0'
          || (collections[i].has_ns && collections[i].has_id && (id = cut (name)) == NULL)
          || (collections[i].has_exec && (exec = cut (id)) == NULL))
        return FALSE;
      *ret_collection = collections[i].name;
      *ret_id = g_steal_pointer (&id);
      *ret_exec = g_steal_pointer (&exec);
      *(collections[i].has_ns ? ret_ns : ret_id) = g_steal_pointer (&name);
      return TRUE;
    }
  return FALSE;
}
