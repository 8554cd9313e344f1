/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "policy.h"

#include <string.h>

#define MAX_KEY_PATHS 64

struct _Policy
{
  GPtrArray *fallback;    /* of Requirement: "default" */
  GHashTable *transports; /* name -> GHashTable: scope -> GPtrArray of Requirement */
};

static void
requirement_free (gpointer data)
{
  Requirement *self = data;

  g_strfreev (self->key_paths);
  g_clear_pointer (&self->key_data, g_bytes_unref);
  g_free (self->reference);
  g_free (self->prefix);
  g_free (self->signed_prefix);
  g_free (self);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC (Requirement, requirement_free)

void
policy_free (Policy *self)
{
  if (self == NULL)
    return;
  g_clear_pointer (&self->fallback, g_ptr_array_unref);
  g_clear_pointer (&self->transports, g_hash_table_unref);
  g_free (self);
}

static gboolean broken (GError **error, const char *format, ...) G_GNUC_PRINTF (2, 3);

static gboolean
broken (GError **error, const char *format, ...)
{
  g_autofree char *text = NULL;
  va_list args;

  va_start (args, format);
  text = g_strdup_vprintf (format, args);
  va_end (args);
  return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION, "%s", text);
}

/* Whether every member of @object is in @known. */
static gboolean
only_members (JsonObject *object, const char *const *known, const char *where, GError **error)
{
  JsonObjectIter iter;
  const char *name;

  json_object_iter_init (&iter, object);
  while (json_object_iter_next (&iter, &name, NULL))
    if (!g_strv_contains (known, name))
      return broken (error, "%s: there is no member \"%s\" here", where, name);
  return TRUE;
}

/* The string @name, which must be there if @needed. *@ret_value: (transfer none) (nullable). */
static gboolean
take_string (JsonObject *object, const char *name, gboolean needed, const char *where, const char **ret_value,
             GError **error)
{
  JsonNode *node = json_object_get_member (object, name);

  *ret_value = NULL;
  if (node == NULL)
    return !needed || broken (error, "%s: \"%s\" is missing", where, name);
  if (!JSON_NODE_HOLDS_VALUE (node) || json_node_get_value_type (node) != G_TYPE_STRING
      || json_node_get_string (node)[0] == '\0')
    return broken (error, "%s: \"%s\" must be a string", where, name);
  *ret_value = json_node_get_string (node);
  return TRUE;
}

/* @text as a whole reference again, however short it was written. Returns: (transfer full). */
static char *
whole_reference (const char *text, const char *where, GError **error)
{
  char *name = gantry_reference_normalize (text, error);

  if (name == NULL)
    {
      g_prefix_error (error, "%s: ", where);
      (*error)->code = GANTRY_ERROR_FAILED_PRECONDITION;
    }
  return name;
}

static char *
repository_of (const GantryReference *reference)
{
  return g_strconcat (reference->server, "/", reference->repository, NULL);
}

static char *
whole_repository (const char *text, const char *where, GError **error)
{
  g_autofree char *name = whole_reference (text, where, error);
  g_autoptr (GantryReference) reference = name != NULL ? gantry_reference_parse (name, error) : NULL;
  g_autofree char *repository = reference != NULL ? repository_of (reference) : NULL;

  const char *slash = strrchr (text, '/');

  if (repository != NULL && strpbrk (slash != NULL ? slash : text, ":@") == NULL)
    return g_steal_pointer (&repository);
  if (repository != NULL)
    broken (error, "%s: \"%s\" must be a repository, without tag and digest", where, text);
  return NULL;
}

static gboolean
parse_identity (JsonObject *object, Requirement *requirement, const char *where, GError **error)
{
  static const struct
  {
    const char *name;
    IdentityMatch match;
    const char *members[4];
  } kinds[] = {
    { "matchRepoDigestOrExact", MATCH_REPO_DIGEST_OR_EXACT, { "type", NULL } },
    { "matchExact", MATCH_EXACT, { "type", NULL } },
    { "matchRepository", MATCH_REPOSITORY, { "type", NULL } },
    { "exactReference", MATCH_EXACT_REFERENCE, { "type", "dockerReference", NULL } },
    { "exactRepository", MATCH_EXACT_REPOSITORY, { "type", "dockerRepository", NULL } },
    { "remapIdentity", MATCH_REMAP, { "type", "prefix", "signedPrefix", NULL } },
  };
  const char *type, *value, *signed_prefix;
  gsize i = 0;

  if (!take_string (object, "type", TRUE, where, &type, error))
    return FALSE;
  while (i < G_N_ELEMENTS (kinds) && strcmp (kinds[i].name, type) != 0)
    i++;
  if (i == G_N_ELEMENTS (kinds))
    return broken (error, "%s: there is no signedIdentity of type \"%s\"", where, type);
  if (!only_members (object, kinds[i].members, where, error))
    return FALSE;
  requirement->match = kinds[i].match;
  if (requirement->match == MATCH_EXACT_REFERENCE)
    return take_string (object, "dockerReference", TRUE, where, &value, error)
           && (requirement->reference = whole_reference (value, where, error)) != NULL;
  if (requirement->match == MATCH_EXACT_REPOSITORY)
    return take_string (object, "dockerRepository", TRUE, where, &value, error)
           && (requirement->reference = whole_repository (value, where, error)) != NULL;
  if (requirement->match == MATCH_REMAP)
    {
      if (!take_string (object, "prefix", TRUE, where, &value, error)
          || !take_string (object, "signedPrefix", TRUE, where, &signed_prefix, error))
        return FALSE;
      requirement->prefix = g_strdup (value);
      requirement->signed_prefix = g_strdup (signed_prefix);
    }
  return TRUE;
}

static gboolean
parse_key_paths (JsonNode *node, Requirement *requirement, const char *where, GError **error)
{
  g_autoptr (GStrvBuilder) paths = g_strv_builder_new ();
  JsonArray *array = JSON_NODE_HOLDS_ARRAY (node) ? json_node_get_array (node) : NULL;

  if (array == NULL || json_array_get_length (array) == 0 || json_array_get_length (array) > MAX_KEY_PATHS)
    return broken (error, "%s: \"keyPaths\" must be an array of 1 to %d paths", where, MAX_KEY_PATHS);
  for (guint i = 0; i < json_array_get_length (array); i++)
    {
      JsonNode *path = json_array_get_element (array, i);

      if (!JSON_NODE_HOLDS_VALUE (path) || json_node_get_value_type (path) != G_TYPE_STRING)
        return broken (error, "%s: \"keyPaths\" must hold strings only", where);
      g_strv_builder_add (paths, json_node_get_string (path));
    }
  requirement->key_paths = g_strv_builder_end (paths);
  return TRUE;
}

/* Just one of keyPath, keyPaths and keyData. */
static gboolean
parse_keys (JsonObject *object, Requirement *requirement, const char *where, GError **error)
{
  JsonNode *paths = json_object_get_member (object, "keyPaths");
  const char *path, *data;
  gsize length;
  guchar *raw;

  if (!take_string (object, "keyPath", FALSE, where, &path, error)
      || !take_string (object, "keyData", FALSE, where, &data, error))
    return FALSE;
  if ((path != NULL) + (data != NULL) + (paths != NULL) != 1)
    return broken (error, "%s: just one of \"keyPath\", \"keyPaths\" and \"keyData\" must be there", where);
  if (paths != NULL)
    return parse_key_paths (paths, requirement, where, error);
  if (path != NULL)
    {
      requirement->key_paths = g_strdupv ((char *[]){ (char *)path, NULL });
      return TRUE;
    }
  raw = g_base64_decode (data, &length);
  if (length == 0)
    {
      g_free (raw);
      return broken (error, "%s: \"keyData\" is not base64", where);
    }
  requirement->key_data = g_bytes_new_take (raw, length);
  return TRUE;
}

static gboolean
parse_signed_by (JsonObject *object, Requirement *requirement, const char *where, GError **error)
{
  static const char *const gpg[]
      = { "type", "keyType", "keyPath", "keyPaths", "keyData", "signedIdentity", NULL };
  static const char *const sigstore[] = { "type", "keyPath", "keyData", "signedIdentity", NULL };
  JsonNode *identity = json_object_get_member (object, "signedIdentity");
  const char *key_type;

  if (!only_members (object, requirement->type == REQUIRE_SIGNED_BY ? gpg : sigstore, where, error))
    return FALSE;
  if (!take_string (object, "keyType", requirement->type == REQUIRE_SIGNED_BY, where, &key_type, error))
    return FALSE;
  if (key_type != NULL && strcmp (key_type, "GPGKeys") != 0)
    return broken (error, "%s: the key type \"%s\" is not known; \"GPGKeys\" is", where, key_type);
  if (!parse_keys (object, requirement, where, error))
    return FALSE;
  if (identity == NULL)
    return TRUE;
  if (!JSON_NODE_HOLDS_OBJECT (identity))
    return broken (error, "%s: \"signedIdentity\" must be an object", where);
  return parse_identity (json_node_get_object (identity), requirement, where, error);
}

static Requirement *
parse_requirement (JsonNode *node, const char *where, GError **error)
{
  static const char *const names[] = { "insecureAcceptAnything", "reject", "signedBy", "sigstoreSigned" };
  static const char *const only_type[] = { "type", NULL };
  g_autoptr (Requirement) requirement = g_new0 (Requirement, 1);
  JsonObject *object = JSON_NODE_HOLDS_OBJECT (node) ? json_node_get_object (node) : NULL;
  const char *type;
  gsize i = 0;

  if (object == NULL)
    {
      broken (error, "%s: a requirement must be an object", where);
      return NULL;
    }
  if (!take_string (object, "type", TRUE, where, &type, error))
    return NULL;
  while (i < G_N_ELEMENTS (names) && strcmp (names[i], type) != 0)
    i++;
  if (i == G_N_ELEMENTS (names))
    {
      broken (error, "%s: there is no requirement of type \"%s\"", where, type);
      return NULL;
    }
  requirement->type = (RequirementType)i;
  if (requirement->type >= REQUIRE_SIGNED_BY ? !parse_signed_by (object, requirement, where, error)
                                             : !only_members (object, only_type, where, error))
    return NULL;
  return g_steal_pointer (&requirement);
}

static GPtrArray *
parse_requirements (JsonNode *node, const char *where, GError **error)
{
  g_autoptr (GPtrArray) requirements = g_ptr_array_new_with_free_func (requirement_free);
  JsonArray *array = node != NULL && JSON_NODE_HOLDS_ARRAY (node) ? json_node_get_array (node) : NULL;

  if (array == NULL || json_array_get_length (array) == 0)
    {
      broken (error, "%s: there must be an array of at least one requirement", where);
      return NULL;
    }
  for (guint i = 0; i < json_array_get_length (array); i++)
    {
      Requirement *requirement = parse_requirement (json_array_get_element (array, i), where, error);

      if (requirement == NULL)
        return NULL;
      g_ptr_array_add (requirements, requirement);
    }
  return g_steal_pointer (&requirements);
}

static GHashTable *
parse_scopes (JsonNode *node, const char *transport, GError **error)
{
  g_autoptr (GHashTable) scopes
      = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_ptr_array_unref);
  JsonObjectIter iter;
  JsonNode *value;
  const char *scope;

  if (!JSON_NODE_HOLDS_OBJECT (node))
    {
      broken (error, "transport \"%s\": its scopes must be an object", transport);
      return NULL;
    }
  json_object_iter_init (&iter, json_node_get_object (node));
  while (json_object_iter_next (&iter, &scope, &value))
    {
      g_autofree char *where = g_strdup_printf ("scope \"%s:%s\"", transport, scope);
      GPtrArray *requirements = parse_requirements (value, where, error);

      if (requirements == NULL)
        return NULL;
      g_hash_table_insert (scopes, g_strdup (scope), requirements);
    }
  return g_steal_pointer (&scopes);
}

static gboolean
parse_transports (Policy *self, JsonNode *node, GError **error)
{
  JsonObjectIter iter;
  JsonNode *value;
  const char *transport;

  if (!JSON_NODE_HOLDS_OBJECT (node))
    return broken (error, "\"transports\" must be an object");
  json_object_iter_init (&iter, json_node_get_object (node));
  while (json_object_iter_next (&iter, &transport, &value))
    {
      GHashTable *scopes = parse_scopes (value, transport, error);

      if (scopes == NULL)
        return FALSE;
      g_hash_table_insert (self->transports, g_strdup (transport), scopes);
    }
  return TRUE;
}

Policy *
policy_parse (const void *data, gsize length, GError **error)
{
  static const char *const members[] = { "default", "transports", NULL };
  g_autoptr (Policy) self = g_new0 (Policy, 1);
  g_autoptr (JsonNode) root = strict_json_parse (data, length, error);
  JsonObject *object;

  self->transports
      = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_hash_table_unref);
  if (root == NULL)
    {
      if (error != NULL)
        (*error)->code = GANTRY_ERROR_FAILED_PRECONDITION;
      return NULL;
    }
  object = json_node_get_object (root);
  if (!only_members (object, members, "the policy", error)
      || (self->fallback
          = parse_requirements (json_object_get_member (object, "default"), "\"default\"", error))
             == NULL
      || (json_object_has_member (object, "transports")
          && !parse_transports (self, json_object_get_member (object, "transports"), error)))
    return NULL;
  return g_steal_pointer (&self);
}

char *
scope_of (const GantryReference *reference)
{
  return g_strconcat (reference->server, "/", reference->repository, reference->digest != NULL ? "@" : ":",
                      reference->digest != NULL ? reference->digest : reference->tag, NULL);
}

char *
scope_widen (const char *scope)
{
  const char *slash = strrchr (scope, '/');
  const char *mark = strpbrk (slash != NULL ? slash : "", "@:");
  const char *dot;

  if (slash != NULL && mark != NULL)
    return g_strndup (scope, (gsize)(mark - scope));
  if (slash != NULL)
    return g_strndup (scope, (gsize)(slash - scope));
  /* A host: then its domains, "*.example.com", without the port. */
  dot = scope[0] == '[' ? NULL : strchr (scope[0] == '*' ? scope + 2 : scope, '.');
  return dot != NULL ? g_strdup_printf ("*%.*s", (int)strcspn (dot, ":"), dot) : NULL;
}

GPtrArray *
policy_find (Policy *self, const char *transport, const GantryReference *reference, char **ret_scope)
{
  GHashTable *scopes = g_hash_table_lookup (self->transports, transport);
  GPtrArray *found = NULL;

  for (g_autofree char *scope = scopes != NULL ? scope_of (reference) : NULL; scope != NULL && found == NULL;)
    {
      char *wider = scope_widen (scope);

      found = g_hash_table_lookup (scopes, scope);
      if (found != NULL)
        *ret_scope = g_strconcat (transport, ":", scope, NULL);
      g_free (scope);
      scope = wider;
    }
  if (found == NULL && scopes != NULL && (found = g_hash_table_lookup (scopes, "")) != NULL)
    *ret_scope = g_strdup (transport);
  if (found != NULL)
    return found;
  *ret_scope = g_strdup ("default");
  return self->fallback;
}

/* Whether @name is @prefix or something beneath it. */
static gboolean
is_beneath (const char *name, const char *prefix)
{
  gsize length = strlen (prefix);

  return strncmp (name, prefix, length) == 0 && strchr ("/:@", name[length]) != NULL;
}

/* @reference after the remapping of @requirement. Returns: (transfer full). */
static GantryReference *
remap (const Requirement *requirement, const GantryReference *reference, GError **error)
{
  g_autofree char *name = scope_of (reference);
  g_autofree char *mapped = NULL;

  if (is_beneath (name, requirement->prefix))
    mapped = g_strconcat (requirement->signed_prefix, name + strlen (requirement->prefix), NULL);
  return gantry_reference_parse (mapped != NULL ? mapped : name, error);
}

static gboolean
same_repository (const GantryReference *a, const GantryReference *b)
{
  return strcmp (a->server, b->server) == 0 && strcmp (a->repository, b->repository) == 0;
}

static gboolean
same_reference (const GantryReference *a, const GantryReference *b)
{
  return same_repository (a, b) && g_strcmp0 (a->tag, b->tag) == 0 && g_strcmp0 (a->digest, b->digest) == 0;
}

/* By digest any tag of the repository will do: the digest was compared already. */
static gboolean
same_or_by_digest (const GantryReference *wanted, const GantryReference *found)
{
  return wanted->digest != NULL ? same_repository (wanted, found) : same_reference (wanted, found);
}

gboolean
policy_identity_matches (const Requirement *requirement, const GantryReference *reference,
                         const char *signed_name, GError **error)
{
  g_autoptr (GantryReference) found = gantry_reference_parse (signed_name, error);
  g_autoptr (GantryReference) wanted = NULL;
  gboolean ok = FALSE;

  if (found == NULL)
    return FALSE;
  switch (requirement->match)
    {
    case MATCH_EXACT:
      ok = same_reference (reference, found);
      break;
    case MATCH_REPO_DIGEST_OR_EXACT:
      ok = same_or_by_digest (reference, found);
      break;
    case MATCH_REPOSITORY:
      ok = same_repository (reference, found);
      break;
    case MATCH_EXACT_REFERENCE:
      wanted = gantry_reference_parse (requirement->reference, error);
      if (wanted == NULL)
        return FALSE;
      ok = same_reference (wanted, found);
      break;
    case MATCH_EXACT_REPOSITORY:
      wanted = gantry_reference_parse (requirement->reference, error);
      if (wanted == NULL)
        return FALSE;
      ok = same_repository (wanted, found);
      break;
    case MATCH_REMAP:
      wanted = remap (requirement, reference, error);
      if (wanted == NULL)
        return FALSE;
      ok = same_or_by_digest (wanted, found);
      break;
    }
  return ok
         || gantry_throw (error, GANTRY_ERROR_PERMISSION_DENIED, "it is a signature for \"%s\"", signed_name);
}

char *
requirement_describe (const Requirement *self)
{
  static const char *const types[] = { "insecureAcceptAnything", "reject", "signedBy", "sigstoreSigned" };
  static const char *const matches[] = { "matchRepoDigestOrExact", "matchExact",      "matchRepository",
                                         "exactReference",         "exactRepository", "remapIdentity" };

  return self->type < REQUIRE_SIGNED_BY
             ? g_strdup (types[self->type])
             : g_strconcat (types[self->type], " with ", matches[self->match], NULL);
}
