/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The answer: which requirements hold for an image, and a report of how that was found out. */
#include "payload.h"
#include "policy.h"
#include "signatures.h"
#include "verifier-gpg.h"

#include <errno.h>
#include <string.h>

#include <fdio.h>
#include <part.h>

#define MAX_KEYRING (4 * 1024 * 1024)
#define MAX_DIGESTS 8

static GantryPart signatures_part = GANTRY_PART ("verifier-gpg-signatures");

/* One question. */
typedef struct
{
  VerifierGpg *self;
  GantryReference *reference;
  const char *transport;
  char **digests; /* each stands for the image */
  gboolean offline;
  GPtrArray *signatures;       /* of Signature, found so far */
  const SignatureTools *tools; /* once one is wanted */
  guint tried;                 /* how many of them the requirement at hand has seen */
  gboolean asked;              /* whether the stores have been */
  GVariantBuilder report;
  GCancellable *cancellable;
} Question;

static void
question_clear (Question *question)
{
  gantry_reference_unref (question->reference);
  g_strfreev (question->digests);
  g_ptr_array_unref (question->signatures);
  g_variant_builder_clear (&question->report);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Question, question_clear)

/* Adds a step; @key and its value, and the sentence. */
static void tell (Question *question, gboolean ok, const char *key, const char *value, const char *format,
                  ...) G_GNUC_PRINTF (5, 6);

static void
tell (Question *question, gboolean ok, const char *key, const char *value, const char *format, ...)
{
  g_autofree char *sentence = NULL;
  va_list args;

  va_start (args, format);
  sentence = g_strdup_vprintf (format, args);
  va_end (args);
  g_variant_builder_open (&question->report, G_VARIANT_TYPE_VARDICT);
  g_variant_builder_add (&question->report, "{sv}", "step", g_variant_new_string (sentence));
  g_variant_builder_add (&question->report, "{sv}", "ok", g_variant_new_boolean (ok));
  if (value != NULL)
    g_variant_builder_add (&question->report, "{sv}", key, g_variant_new_string (value));
  g_variant_builder_close (&question->report);
}

static GBytes *
read_path (const char *path, gsize limit, GError **error)
{
  gantry_autofd int fd = open (path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

  if (fd < 0)
    {
      gantry_throw_errno (error, errno, "%s", path);
      return NULL;
    }
  return gantry_read_all (fd, limit, error);
}

/* The keyrings of @requirement. Returns: (transfer full). */
static GPtrArray *
read_keyrings (const Requirement *requirement, GError **error)
{
  g_autoptr (GPtrArray) keyrings = g_ptr_array_new_with_free_func ((GDestroyNotify)g_bytes_unref);

  if (requirement->key_data != NULL)
    g_ptr_array_add (keyrings, g_bytes_ref (requirement->key_data));
  for (gsize i = 0; requirement->key_paths != NULL && requirement->key_paths[i] != NULL; i++)
    {
      GBytes *bytes = read_path (requirement->key_paths[i], MAX_KEYRING, error);

      if (bytes == NULL)
        {
          g_prefix_error (error, "the policy's keyring: ");
          (*error)->code = GANTRY_ERROR_FAILED_PRECONDITION;
          return NULL;
        }
      g_ptr_array_add (keyrings, bytes);
    }
  return g_steal_pointer (&keyrings);
}

/* Adds what the configured store has. */
static gboolean
ask_store (Question *question, GError **error)
{
  g_autofree char *url = NULL, *write = NULL;
  guint before = question->signatures->len;

  question->asked = TRUE;
  if (!question->tools->find_store (question->self->registries_d, question->reference, &url, &write, error))
    return FALSE;
  if (url == NULL || (question->offline && !g_str_has_prefix (url, "file:")))
    {
      tell (question, TRUE, "source", url,
            url == NULL ? "no signature store is configured" : "the signature store is not asked: offline");
      return TRUE;
    }
  for (gsize i = 0; question->digests[i] != NULL; i++)
    if (!question->tools->read_store (url, question->reference, question->digests[i], question->signatures,
                                      question->cancellable, error))
      return FALSE;
  tell (question, question->signatures->len > before, "source", url, "the signature store has %u signatures",
        question->signatures->len - before);
  return TRUE;
}

/* The next signature that the requirement at hand has not seen. *@ret_signature: (nullable): there is no
 * more. */
static gboolean
next_signature (Question *question, Signature **ret_signature, GError **error)
{
  if (question->tried == question->signatures->len && !question->asked && !ask_store (question, error))
    return FALSE;
  *ret_signature = question->tried < question->signatures->len
                       ? g_ptr_array_index (question->signatures, question->tried++)
                       : NULL;
  return TRUE;
}

/* Whether @signature fulfils @requirement. @error: PERMISSION_DENIED or INVALID_ARGUMENT are about this
 * signature only. */
static gboolean
accepts (Question *question, const Requirement *requirement, GPtrArray *keyrings, Signature *signature,
         char **ret_key, GError **error)
{
  g_autoptr (GBytes) text = NULL;
  g_auto (Payload) payload = { NULL, NULL };

  if (!question->tools->verify (question->self->run_dir, keyrings, signature->data, &text, ret_key, error)
      || !payload_parse (g_bytes_get_data (text, NULL), g_bytes_get_size (text), &payload, error))
    return FALSE;
  if (!g_strv_contains ((const char *const *)question->digests, payload.digest))
    return gantry_throw (error, GANTRY_ERROR_PERMISSION_DENIED, "it is a signature of %s", payload.digest);
  return policy_identity_matches (requirement, question->reference, payload.reference, error);
}

static gboolean
check_signed (Question *question, const Requirement *requirement, const char *what, GError **error)
{
  g_autoptr (GPtrArray) keyrings = read_keyrings (requirement, error);
  Signature *signature;

  if (keyrings == NULL || (question->tools = gantry_part_open (&signatures_part, error)) == NULL)
    return FALSE;
  question->tried = 0;
  for (;;)
    {
      g_autoptr (GError) local = NULL;
      g_autofree char *key = NULL;

      if (!next_signature (question, &signature, error))
        return FALSE;
      if (signature == NULL)
        return gantry_throw (error, GANTRY_ERROR_PERMISSION_DENIED, "no signature fulfils \"%s\"", what);
      if (accepts (question, requirement, keyrings, signature, &key, &local))
        {
          tell (question, TRUE, "key", key, "signed by %s: %s", key, signature->source);
          cache_write (question->self, question->digests[0], signature->data);
          return TRUE;
        }
      if (!gantry_error_is (local, GANTRY_ERROR_PERMISSION_DENIED)
          && !gantry_error_is (local, GANTRY_ERROR_INVALID_ARGUMENT))
        {
          g_propagate_error (error, g_steal_pointer (&local));
          return FALSE;
        }
      tell (question, FALSE, "source", signature->source, "not accepted: %s", local->message);
    }
}

static gboolean
check_requirement (Question *question, const Requirement *requirement, GError **error)
{
  g_autofree char *what = requirement_describe (requirement);
  gboolean ok = FALSE;

  switch (requirement->type)
    {
    case REQUIRE_NOTHING:
      ok = TRUE;
      break;
    case REQUIRE_REJECT:
      gantry_throw (error, GANTRY_ERROR_PERMISSION_DENIED, "it is rejected");
      break;
    case REQUIRE_SIGSTORE:
      gantry_throw (error, GANTRY_ERROR_PERMISSION_DENIED,
                    "sigstore signatures cannot be verified here, and the policy requires one");
      break;
    case REQUIRE_SIGNED_BY:
      ok = check_signed (question, requirement, what, error);
      break;
    }
  tell (question, ok, "requirement", what, "%s: %s", what, ok ? "fulfilled" : "not fulfilled");
  return ok;
}

/* The policy as it is now. *@ret_policy: (transfer full) (nullable): there is none. */
static gboolean
load_policy (VerifierGpg *self, Policy **ret_policy, GError **error)
{
  g_autoptr (GError) local = NULL;
  g_autoptr (GBytes) bytes = read_path (self->policy, 1024 * 1024, &local);

  *ret_policy = NULL;
  if (bytes == NULL && self->policy_is_optional && gantry_error_is (local, GANTRY_ERROR_NOT_FOUND))
    return TRUE;
  if (bytes == NULL)
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION,
                         "the policy cannot be read, so nothing is allowed: %s", local->message);
  *ret_policy = policy_parse (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes), error);
  if (*ret_policy == NULL)
    g_prefix_error (error, "the policy %s is broken, so nothing is allowed: ", self->policy);
  return *ret_policy != NULL;
}

static gboolean
answer (Question *question, GError **error)
{
  g_autoptr (Policy) policy = NULL;
  g_autofree char *scope = NULL;
  GPtrArray *requirements;

  if (!load_policy (question->self, &policy, error))
    return FALSE;
  if (policy == NULL)
    {
      tell (question, TRUE, "scope", NULL, "%s does not exist: every image is accepted",
            question->self->policy);
      return TRUE;
    }
  requirements = policy_find (policy, question->transport, question->reference, &scope);
  tell (question, TRUE, "scope", scope, "the policy's scope is \"%s\"", scope);
  for (guint i = 0; i < requirements->len; i++)
    if (!check_requirement (question, g_ptr_array_index (requirements, i), error))
      {
        g_prefix_error (error, "scope \"%s\" of %s: ", scope, question->self->policy);
        return FALSE;
      }
  return TRUE;
}

/* Takes @options, which may have nothing else. */
static gboolean
take_options (Question *question, GVariant *options, const char *digest, GError **error)
{
  g_autoptr (GStrvBuilder) digests = g_strv_builder_new ();
  GVariantIter iter;
  GVariant *value;
  const char *key;

  g_strv_builder_add (digests, digest);
  if (options != NULL)
    g_variant_iter_init (&iter, options);
  while (options != NULL && g_variant_iter_loop (&iter, "{&sv}", &key, &value))
    {
      if (strcmp (key, "transport") == 0 && g_variant_is_of_type (value, G_VARIANT_TYPE_STRING))
        question->transport = g_variant_get_string (value, NULL);
      else if (strcmp (key, "offline") == 0 && g_variant_is_of_type (value, G_VARIANT_TYPE_BOOLEAN))
        question->offline = g_variant_get_boolean (value);
      else if (strcmp (key, "digests") == 0 && g_variant_is_of_type (value, G_VARIANT_TYPE_STRING_ARRAY)
               && g_variant_n_children (value) <= MAX_DIGESTS)
        {
          g_autofree const char **more = g_variant_get_strv (value, NULL);

          for (gsize i = 0; more[i] != NULL; i++)
            if (strcmp (more[i], digest) != 0)
              g_strv_builder_add (digests, more[i]);
        }
      else
        {
          gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "verify has no option \"%s\" of this type",
                        key);
          g_variant_unref (value);
          return FALSE;
        }
    }
  question->digests = g_strv_builder_end (digests);
  for (gsize i = 0; question->digests[i] != NULL; i++)
    if (!gantry_reference_check_digest (question->digests[i], error))
      return FALSE;
  return TRUE;
}

static gboolean
verify (GantryVerifier *verifier, const char *name, const char *digest, GVariant *options,
        GVariant **ret_report, GCancellable *cancellable, GError **error)
{
  g_auto (Question) question
      = { .self = (VerifierGpg *)verifier, .transport = "docker", .cancellable = cancellable };
  gboolean ok;

  question.signatures = g_ptr_array_new_with_free_func (signature_free);
  g_variant_builder_init (&question.report, G_VARIANT_TYPE ("aa{sv}"));
  question.reference = gantry_reference_parse (name, error);
  if (question.reference == NULL || !take_options (&question, options, digest, error))
    return FALSE;
  for (gsize i = 0; question.digests[i] != NULL; i++)
    cache_read (question.self, question.digests[i], question.signatures);
  ok = answer (&question, error);
  if (!ok)
    g_prefix_error (error, "image %s (%s) may not be used: ", name, digest);
  if (ret_report != NULL)
    *ret_report = g_variant_ref_sink (g_variant_builder_end (&question.report));
  return ok;
}

/* Takes the string option @name out of @dict. Returns: (transfer full) (nullable). */
static char *
take_string (GVariantDict *dict, const char *name)
{
  char *value = NULL;

  if (g_variant_dict_lookup (dict, name, "s", &value))
    g_variant_dict_remove (dict, name);
  return value;
}

static gboolean
nothing_left (GVariantDict *dict, GError **error)
{
  g_autoptr (GVariant) rest = g_variant_ref_sink (g_variant_dict_end (dict));
  g_autofree char *key = NULL;

  if (g_variant_n_children (rest) == 0)
    return TRUE;
  g_variant_get_child (rest, 0, "{sv}", &key, NULL);
  return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "sign has no option \"%s\" of this type", key);
}

static gboolean
sign (GantryVerifier *verifier, const char *name, const char *digest, GVariant *options,
      GBytes **ret_signature, char **ret_location, GCancellable *cancellable, GError **error)
{
  VerifierGpg *self = (VerifierGpg *)verifier;
  g_autoptr (GantryReference) reference = gantry_reference_parse (name, error);
  g_autoptr (GBytes) payload = NULL, signature = NULL;
  g_autofree char *key = NULL, *home = NULL, *passphrase = NULL, *whole = NULL, *location = NULL, *url = NULL,
                  *write = NULL;
  const SignatureTools *tools;
  gboolean store = TRUE;
  GVariantDict dict;

  if (reference == NULL || !gantry_reference_check_digest (digest, error))
    return FALSE;
  g_variant_dict_init (&dict, options);
  key = take_string (&dict, "key");
  home = take_string (&dict, "home");
  passphrase = take_string (&dict, "passphrase");
  if (g_variant_dict_lookup (&dict, "store", "b", &store))
    g_variant_dict_remove (&dict, "store");
  if (!nothing_left (&dict, error))
    return FALSE;
  if (key == NULL)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "image %s: say which key signs, by its fingerprint", name);
  tools = gantry_part_open (&signatures_part, error);
  if (tools == NULL || (store && !tools->find_store (self->registries_d, reference, &url, &write, error)))
    return FALSE;
  if (store && write == NULL)
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION, "%s names no signature store for %s",
                         self->registries_d, name);
  whole = gantry_reference_to_string (reference);
  payload = payload_new (whole, digest);
  signature = tools->sign (home, key, passphrase, payload, error);
  if (signature == NULL
      || (store && !tools->write_store (write, reference, digest, signature, &location, error)))
    return FALSE;
  if (ret_signature != NULL)
    *ret_signature = g_steal_pointer (&signature);
  if (ret_location != NULL)
    *ret_location = g_steal_pointer (&location);
  return TRUE;
}

gboolean
verifier_gpg_find_parts (GError **error)
{
  return gantry_part_find (&signatures_part, error);
}

const GantryVerifierVtable verifier_gpg_vtable = { sizeof (GantryVerifierVtable), verify, sign };
