/* SPDX-License-Identifier: MIT
 *
 * Messages that operators watch for
 * ---------------------------------
 * Each has an id for ever (MESSAGE_ID, sd_id128 (3)), whatever becomes of its text, so that "journalctl
 * MESSAGE_ID=…" and alerts find it; and a text in data/systemd/gantry.catalog, which "journalctl -x" shows.
 * The fields that come with one stand beside it; every message of a plugin has GANTRY_PLUGIN.
 */
#pragma once

#include <gantry/plugin.h>

G_BEGIN_DECLS

/* One a line, which tests and people read. */
/* clang-format off */
#define GANTRY_MESSAGE_READY           "8ca2241ddaf74f9c8779e7caa60c0a1b" /**< the daemon answers */
#define GANTRY_MESSAGE_STOPPING        "f2c99e222b0542df84f6aeff59bace31" /**< the daemon was asked to end */
#define GANTRY_MESSAGE_PLUGIN_FAILED   "48b197f18cdb468d8ea9353d6c894e30" /**< GANTRY_PLUGIN */
#define GANTRY_MESSAGE_PLUGIN_REQUIRED "9bb90954e44347089ea300cd77532f56" /**< GANTRY_PLUGIN: the daemon ends for it */
#define GANTRY_MESSAGE_CONFIGURATION   "c05a6e14eecb453786f4552d4748fea4" /**< a line without effect */
#define GANTRY_MESSAGE_RECOVERED       "bcca6cac2445415995b13f59acdd9d29" /**< a crash was settled */
#define GANTRY_MESSAGE_TASK_EXITED     "2504a07ba70b49f2b83d6dc35582a49b" /**< GANTRY_NAMESPACE, GANTRY_ID, GANTRY_EXIT_STATUS */
#define GANTRY_MESSAGE_TASK_OOM        "07199946e2a84e7f9e87fe3ebb242f3a" /**< GANTRY_NAMESPACE, GANTRY_ID */
#define GANTRY_MESSAGE_SHIM_LOST       "f97a8d842ee34c01b6fc8f7bb58e6591" /**< GANTRY_NAMESPACE, GANTRY_ID */
#define GANTRY_MESSAGE_PEER_ENDED      "146736b5ca2a4f418baf20d1cfffb8c8" /**< GANTRY_PLUGIN */
#define GANTRY_MESSAGE_EVENT_LOST      "f258599213f5408cb2a6f1cbd5d37fba" /**< GANTRY_NAMESPACE, GANTRY_ID */
#define GANTRY_MESSAGE_GARBAGE_STAYS   "45e1f91685b3435f97efefb74fade716" /**< it is tried again */
/* clang-format on */

static inline void gantry_host_log_about (const GantryHost *self, GantryLogLevel level,
                                          const char *message_id, const char *ns, const char *id,
                                          const char *format, ...) G_GNUC_PRINTF (6, 7);

/** Logs a formatted message under @message_id with the fields GANTRY_NAMESPACE and GANTRY_ID. @ns, @id:
 * (nullable): without. */
static inline void
gantry_host_log_about (const GantryHost *self, GantryLogLevel level, const char *message_id, const char *ns,
                       const char *id, const char *format, ...)
{
  GVariantDict fields;
  va_list args;
  char *message;

  va_start (args, format);
  message = g_strdup_vprintf (format, args);
  va_end (args);
  g_variant_dict_init (&fields, NULL);
  if (ns != NULL)
    g_variant_dict_insert (&fields, "GANTRY_NAMESPACE", "s", ns);
  if (id != NULL)
    g_variant_dict_insert (&fields, "GANTRY_ID", "s", id);
  self->log (self, level, message_id, g_variant_dict_end (&fields), message);
  g_free (message);
}

G_END_DECLS
