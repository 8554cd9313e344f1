/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * From payloads (events.h) to messages, by a table: a payload key fills the field of the same name with "_"
 * for "-". */
#include "event-messages.h"
#include "names.h"

#include <string.h>

#define EVENT(name)       &containerd__events__##name##__descriptor
#define IMAGE_EVENT(name) &containerd__services__images__v1__##name##__descriptor

static const struct
{
  const char *topic;
  const ProtobufCMessageDescriptor *descriptor;
} types[] = {
  { "/namespaces/create", EVENT (namespace_create) },
  { "/namespaces/update", EVENT (namespace_update) },
  { "/namespaces/delete", EVENT (namespace_delete) },
  { "/images/create", IMAGE_EVENT (image_create) },
  { "/images/update", IMAGE_EVENT (image_update) },
  { "/images/delete", IMAGE_EVENT (image_delete) },
  { "/containers/create", EVENT (container_create) },
  { "/containers/update", EVENT (container_update) },
  { "/containers/delete", EVENT (container_delete) },
  { "/content/create", EVENT (content_create) },
  { "/content/delete", EVENT (content_delete) },
  { "/snapshot/prepare", EVENT (snapshot_prepare) },
  { "/snapshot/commit", EVENT (snapshot_commit) },
  { "/snapshot/remove", EVENT (snapshot_remove) },
  { "/sandboxes/create", EVENT (sandbox_create) },
  { "/sandboxes/start", EVENT (sandbox_start) },
  { "/sandboxes/exit", EVENT (sandbox_exit) },
  { "/tasks/create", EVENT (task_create) },
  { "/tasks/start", EVENT (task_start) },
  { "/tasks/exit", EVENT (task_exit) },
  { "/tasks/delete", EVENT (task_delete) },
  { "/tasks/oom", EVENT (task_oom) },
  { "/tasks/paused", EVENT (task_paused) },
  { "/tasks/resumed", EVENT (task_resumed) },
  { "/tasks/checkpointed", EVENT (task_checkpointed) },
  { "/tasks/exec-added", EVENT (task_exec_added) },
  { "/tasks/exec-started", EVENT (task_exec_started) },
};

/* Fields that have another name in a payload. */
static const struct
{
  const char *message;
  const char *field;
  const char *key;
} renamed[] = {
  { "TaskExit", "id", "exec-id" },         { "TaskDelete", "id", "exec-id" },
  { "SandboxCreate", "sandbox_id", "id" }, { "SandboxStart", "sandbox_id", "id" },
  { "SandboxExit", "sandbox_id", "id" },
};

const ProtobufCMessageDescriptor *
event_descriptor (const char *type_url)
{
  for (gsize i = 0; i < G_N_ELEMENTS (types); i++)
    if (strcmp (types[i].descriptor->name, type_url) == 0)
      return types[i].descriptor;
  return NULL;
}

static char *
key_of (Call *call, const ProtobufCMessageDescriptor *descriptor, const ProtobufCFieldDescriptor *field)
{
  char *key;

  for (gsize i = 0; i < G_N_ELEMENTS (renamed); i++)
    if (strcmp (renamed[i].message, descriptor->short_name) == 0
        && strcmp (renamed[i].field, field->name) == 0)
      return (char *)renamed[i].key;
  key = arena_strdup (call->arena, field->name);
  return g_strdelimit (key, "_", '-');
}

static void fill (Call *call, ProtobufCMessage *message, GVariant *payload);

static GPtrArray *
mounts_of (GVariant *value)
{
  GPtrArray *mounts = g_ptr_array_new_with_free_func ((GDestroyNotify)gantry_mount_unref);

  for (gsize i = 0; i < g_variant_n_children (value); i++)
    {
      g_autoptr (GVariant) one = g_variant_get_child_value (value, i);
      g_autofree const char **options = NULL;
      const char *type = "", *source = "", *target = NULL;

      g_variant_lookup (one, "type", "&s", &type);
      g_variant_lookup (one, "source", "&s", &source);
      g_variant_lookup (one, "target", "&s", &target);
      g_variant_lookup (one, "options", "^a&s", &options);
      g_ptr_array_add (mounts, gantry_mount_new (type, source, target, options));
    }
  return mounts;
}

static void
fill_message (Call *call, const ProtobufCFieldDescriptor *field, gpointer at, gpointer count, GVariant *value,
              GVariant *payload)
{
  const ProtobufCMessageDescriptor *descriptor = field->descriptor;

  if (descriptor == &google__protobuf__timestamp__descriptor && value != NULL
      && g_variant_is_of_type (value, G_VARIANT_TYPE_INT64))
    *(Timestamp **)at = timestamp_new (call, g_variant_get_int64 (value));
  else if (field->label == PROTOBUF_C_LABEL_REPEATED && descriptor == &containerd__types__mount__descriptor
           && value != NULL)
    *(Containerd__Types__Mount ***)at
        = mounts_to_messages (call, call_keep (call, mounts_of (value), (GDestroyNotify)g_ptr_array_unref),
                              count);
  else if (field->label == PROTOBUF_C_LABEL_REPEATED && value != NULL
           && g_variant_is_of_type (value, G_VARIANT_TYPE ("a{ss}")))
    labels_to_entries (call, value, descriptor, count, at);
  else if (descriptor == &containerd__events__task_io__descriptor)
    {
      *(ProtobufCMessage **)at = message_new (call, descriptor);
      fill (call, *(ProtobufCMessage **)at, payload);
    }
  else if (descriptor == &containerd__events__container_create__runtime__descriptor && value != NULL)
    {
      Containerd__Events__ContainerCreate__Runtime *runtime = message_new (call, descriptor);

      runtime->name = TEXT (name_of_runtime (g_variant_get_string (value, NULL)));
      runtime->options
          = any_from_variant (call, call_keep (call,
                                               g_variant_lookup_value (payload, "runtime-options",
                                                                       G_VARIANT_TYPE ("(say)")),
                                               (GDestroyNotify)g_variant_unref));
      *(Containerd__Events__ContainerCreate__Runtime **)at = runtime;
    }
}

static void
fill_text (const ProtobufCFieldDescriptor *field, gpointer at, GVariant *value)
{
  const char *text = g_variant_get_string (value, NULL);

  *(const char **)at = strcmp (field->name, "snapshotter") == 0 ? name_of_snapshotter (text) : text;
}

static void
fill (Call *call, ProtobufCMessage *message, GVariant *payload)
{
  const ProtobufCMessageDescriptor *descriptor = message->descriptor;

  for (unsigned i = 0; i < descriptor->n_fields; i++)
    {
      const ProtobufCFieldDescriptor *field = &descriptor->fields[i];
      gpointer at = (char *)message + field->offset;
      GVariant *value
          = call_keep (call, g_variant_lookup_value (payload, key_of (call, descriptor, field), NULL),
                       (GDestroyNotify)g_variant_unref);

      if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        fill_message (call, field, at, (char *)message + field->quantifier_offset, value, payload);
      else if (value == NULL)
        continue;
      else if (field->type == PROTOBUF_C_TYPE_STRING && g_variant_is_of_type (value, G_VARIANT_TYPE_STRING))
        fill_text (field, at, value);
      else if (field->type == PROTOBUF_C_TYPE_UINT32 && g_variant_is_of_type (value, G_VARIANT_TYPE_UINT32))
        *(guint32 *)at = g_variant_get_uint32 (value);
      else if (field->type == PROTOBUF_C_TYPE_INT64 && g_variant_is_of_type (value, G_VARIANT_TYPE_UINT64))
        *(gint64 *)at = (gint64)g_variant_get_uint64 (value);
      else if (field->type == PROTOBUF_C_TYPE_BOOL && g_variant_is_of_type (value, G_VARIANT_TYPE_BOOLEAN))
        *(protobuf_c_boolean *)at = g_variant_get_boolean (value);
    }
}

/* What the table can't say. Returns: FALSE for an event that containerd does not send. */
static gboolean
adjust (ProtobufCMessage *message)
{
  if (message->descriptor == &containerd__events__task_exit__descriptor)
    {
      Containerd__Events__TaskExit *exit = (Containerd__Events__TaskExit *)message;

      if (exit->id[0] == '\0')
        exit->id = exit->container_id;
    }
  /* The end of an exec is told by its exit alone. */
  return message->descriptor != &containerd__events__task_delete__descriptor
         || ((Containerd__Events__TaskDelete *)message)->id[0] == '\0';
}

const Containerd__Types__Envelope *
event_to_envelope (Call *call, GantryEvent *event)
{
  Containerd__Types__Envelope *envelope = message_new (call, &containerd__types__envelope__descriptor);
  GVariant *given = call_keep (call, g_variant_lookup_value (event->payload, "any", G_VARIANT_TYPE ("(say)")),
                               (GDestroyNotify)g_variant_unref);

  envelope->timestamp = timestamp_new (call, event->time_ns);
  envelope->namespace_ = event->ns;
  envelope->topic = event->topic;
  if (given != NULL)
    {
      envelope->event = any_from_variant (call, given);
      return envelope;
    }
  for (gsize i = 0; i < G_N_ELEMENTS (types); i++)
    if (strcmp (types[i].topic, event->topic) == 0)
      {
        ProtobufCMessage *message = message_new (call, types[i].descriptor);

        fill (call, message, event->payload);
        if (!adjust (message))
          return NULL;
        envelope->event = any_of_message (call, message);
        return envelope;
      }
  return NULL;
}
