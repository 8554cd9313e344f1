/* SPDX-License-Identifier: MIT
 *
 * Modules
 * -------
 * Gantry's daemon is a small core that loads modules. A *module* is a shared object with one exported symbol;
 * a *manifest* (a "*.plugin" key file) declares one *plugin*: a module under an id with a configuration; an
 * *interface* is a type string such as "org.gantry.content.v1" together with the header that declares its
 * vtable; a plugin *provides* interfaces and *needs* others.
 *
 * Life of a plugin: the core reads its manifest, opens the file, calls gantry_plugin_get_desc (), checks the
 * descriptor against the manifest and, when every need is served, calls init () once, on a worker thread;
 * plugins that do not depend on each other start in parallel. From then on its interfaces may be called from
 * any thread, until fini (), which the core calls when nothing that needs it is left.
 *
 * A whole module:
 *
 *     static gboolean my_init (const GantryHost *host, gpointer *ret_instance, GError **error) { ... }
 *     static gpointer my_get (gpointer instance, const char *type) { ... }
 *     static void my_fini (gpointer instance) { ... }
 *
 *     static const GantryNeed events = GANTRY_NEED_INIT (GANTRY_EVENTS_TYPE, NULL, 0, GANTRY_NEED_ONE);
 *     static const GantryNeed *const needs[] = { &events, NULL };
 *     static const GantryProvide content = { sizeof content, GANTRY_CONTENT_TYPE };
 *     static const GantryProvide *const provides[] = { &content, NULL };
 *
 *     static const GantryPluginDesc desc = {
 *       .size = sizeof desc, .abi_major = GANTRY_ABI_MAJOR, .name = "content-mine", .version = "1.0",
 * .license = "MIT", .description = "Blobs kept where I like them", .provides = provides, .needs = needs,
 *       .init = my_init, .get = my_get, .fini = my_fini,
 *     };
 *     const GantryPluginDesc *gantry_plugin_get_desc (void) { return &desc; }
 *
 * How structs grow
 * ----------------
 * Every struct that crosses the boundary begins with its size, set with sizeof by whoever makes it; members
 * are only appended; a member is there if the size reaches it and it is not NULL (GANTRY_HAS). The major
 * version of an interface is in its type string. Structs cross by pointer, in arrays of pointers, never in
 * arrays of structs.
 *
 * What every vtable slot promises
 * -------------------------------
 * It ends (..., GCancellable *cancellable, GError **error); both may be NULL. It is synchronous and may be
 * called from any thread but, where its comment says "Blocks", never from the main context's. Its comment
 * says who owns what, what it costs, the errors it may set, and since when it exists. Out-parameters are
 * untouched on failure. Callers use the static inline wrappers, which turn an absent slot into
 * GANTRY_ERROR_NOT_IMPLEMENTED.
 *
 * Objects that cross (handles with a vtable of their own) are counted: a wrapper _ref () and _unref () exists
 * for each.
 */
#pragma once

#include <gio/gio.h>
#include <gantry/error.h>

G_BEGIN_DECLS

/** The layout of GantryPluginDesc, GantryNeed, GantryProvide and GantryHost. They only grow at the end within
 * a major. */
#define GANTRY_ABI_MAJOR 1

/** Whether @obj is new enough to have @slot, and has it. @Type is @obj's struct type. */
#define GANTRY_HAS(obj, Type, slot)                                                                          \
  ((obj) != NULL && (obj)->size >= G_STRUCT_OFFSET (Type, slot) + sizeof (((Type *)0)->slot)                 \
   && (obj)->slot != NULL)

/** The size that a need must ask for to be sure of @slot. */
#define GANTRY_SIZE_UP_TO(Type, slot) (G_STRUCT_OFFSET (Type, slot) + sizeof (((Type *)0)->slot))

/** For wrappers: sets NOT_IMPLEMENTED and returns @value unless @self's vtable (of type @Vtable) has @slot.
 */
#define GANTRY_REQUIRE_SLOT(self, Vtable, slot, value)                                                       \
  G_STMT_START                                                                                               \
  {                                                                                                          \
    if (!GANTRY_HAS ((self)->vtable, Vtable, slot))                                                          \
      {                                                                                                      \
        gantry_throw (error, GANTRY_ERROR_NOT_IMPLEMENTED,                                                   \
                      "this implementation of " #Vtable " has no " #slot);                                   \
        return value;                                                                                        \
      }                                                                                                      \
  }                                                                                                          \
  G_STMT_END

/** The same for wrappers of the host's slots. */
#define GANTRY_REQUIRE_HOST_SLOT(self, slot, value)                                                          \
  G_STMT_START                                                                                               \
  {                                                                                                          \
    if (!GANTRY_HAS (self, GantryHost, slot))                                                                \
      {                                                                                                      \
        gantry_throw (error, GANTRY_ERROR_NOT_IMPLEMENTED, "this daemon has no " #slot);                     \
        return value;                                                                                        \
      }                                                                                                      \
  }                                                                                                          \
  G_STMT_END

typedef enum
{
  GANTRY_NEED_ONE = 0,      /**< exactly one serves it; without it the plugin is SKIPPED */
  GANTRY_NEED_OPTIONAL = 1, /**< one, or NULL */
  GANTRY_NEED_MANY = 2,     /**< every instance that is OK, perhaps none */
} GantryNeedKind;

/** Something that a plugin looks up. Nothing else can be looked up. */
typedef struct
{
  size_t size;
  const char *type; /**< "org.gantry.snapshot-index.v1" */
  const char
      *id; /**< a named plugin, or NULL for the one that ranks highest; a manifest may name it instead */
  size_t min_size; /**< of the vtable: GANTRY_SIZE_UP_TO the newest slot that is called unchecked; 0: any */
  GantryNeedKind kind;
} GantryNeed;

#define GANTRY_NEED_INIT(type_, id_, min_size_, kind_)                                                       \
  {                                                                                                          \
    sizeof (GantryNeed), (type_), (id_), (min_size_), (kind_)                                                \
  }

/** An interface that a plugin offers. */
typedef struct
{
  size_t size;
  const char *type; /**< "org.gantry.snapshotter.v1" */
} GantryProvide;

/** One answer to a MANY need. Valid as long as the host of the plugin that looked it up. */
typedef struct
{
  size_t size;
  const char *type;
  const char *id;    /**< the manifest's Id: "overlay" */
  int rank;          /**< the manifest's Rank; the highest is the default */
  gpointer instance; /**< points to the interface's instance struct */
} GantryBinding;

typedef enum
{
  GANTRY_POOL_IO = 0,      /**< disk and network work that ends by itself; the default */
  GANTRY_POOL_RUNTIME = 1, /**< container life-cycle: short, latency matters */
} GantryPool;

typedef enum
{
  GANTRY_DIR_PERSISTENT = 0, /**< below --root: kept for ever */
  GANTRY_DIR_RUN = 1,        /**< below --state: gone after a boot */
} GantryDir;

typedef enum
{
  GANTRY_LOG_ERROR = 3, /**< syslog's numbers */
  GANTRY_LOG_WARNING = 4,
  GANTRY_LOG_NOTICE = 5,
  GANTRY_LOG_INFO = 6,
  GANTRY_LOG_DEBUG = 7,
} GantryLogLevel;

/** What the core gives to a plugin. Valid from init () until fini () returns; every slot may be called from
 * any thread. */
typedef struct _GantryHost GantryHost;
struct _GantryHost
{
  size_t size;

  /** The instance that serves the declared need @type/@id, as a pointer to that interface's instance struct.
   * Returns: (transfer none) (nullable): NULL without an error for an absent optional one; look it up again
   * when it is needed, for it may come later, and then stays until fini (). Blocks: no. Errors:
   * FAILED_PRECONDITION if the need was not declared (and a g_critical: it is a bug of the caller);
   * UNAVAILABLE if the provider is not there. Since: 1.0 */
  gpointer (*lookup) (const GantryHost *self, const char *type, const char *id, GError **error);

  /** Everything that serves the declared MANY need @type with a vtable of its min_size at least, highest rank
   * first; providers that came later are included, so a caller looks up when it needs one and keeps nothing.
   * Returns: (transfer container) (element-type GantryBinding). Blocks: no. Errors: FAILED_PRECONDITION as in
   * lookup. Since: 1.0 */
  GPtrArray *(*lookup_all) (const GantryHost *self, const char *type, GError **error);

  /** This plugin's [Config] after drop-ins and command line. Returns: (transfer none): a{ss}. Blocks: no.
   * Errors: none. Since: 1.0 */
  GVariant *(*get_config) (const GantryHost *self);

  /** The manifest's Id. Returns: (transfer none). Blocks: no. Errors: none. Since: 1.0 */
  const char *(*get_id) (const GantryHost *self);

  /** An fd of this plugin's own directory ("<root or state>/<type's noun>-<id>", mode 0700), made on the
   * first call. Returns: (transfer none): an O_DIRECTORY fd owned by the host, or -1. Blocks: on local I/O.
   * Errors: of mkdir and open. Since: 1.0 */
  int (*get_dir_fd) (const GantryHost *self, GantryDir dir, GError **error);

  /** The same directory as an absolute path, for programs that want one (runc, mount options). Made on the
   * first call. Returns: (transfer none) (nullable). Blocks: on local I/O. Errors: as get_dir_fd. Since: 1.0
   */
  const char *(*get_dir_path) (const GantryHost *self, GantryDir dir, GError **error);

  /** The instance-wide --root or --state directory itself, for addresses that users know
   * ("<state>/gantry.sock"). Returns: (transfer none). Blocks: no. Errors: none. Since: 1.0 */
  const char *(*get_base_path) (const GantryHost *self, GantryDir dir);

  /** The context of the daemon's main thread, which never blocks. Attach sources to it. Returns: (transfer
   * none). Blocks: no. Errors: none. Since: 1.0 */
  GMainContext *(*get_main_context) (const GantryHost *self);

  /** Runs @func (@data) on a thread of @pool, then @destroy (@data). Work that waits for other work does not
   * belong here. Blocks: no. Errors: RESOURCE_EXHAUSTED if the queue is full, UNAVAILABLE once the daemon
   * ends, which is before the first fini ()
   * (@data is still the caller's then). Since: 1.0 */
  gboolean (*submit) (const GantryHost *self, GantryPool pool, GFunc func, gpointer data,
                      GDestroyNotify destroy, GError **error);

  /** Logs one message. @fields: (nullable): a{sv} of extra journal fields in upper case ("GANTRY_NAMESPACE");
   * floating is consumed. Blocks: no. Errors: none. Since: 1.0 */
  void (*log) (const GantryHost *self, GantryLogLevel level, const char *message_id, GVariant *fields,
               const char *message);

  /** Tells `gantry plugin list` how this plugin is doing although it is OK, such as "no answer from
   * /run/x.sock for 30 s". NULL: well again. Blocks: no. Errors: none. Since: 1.0 */
  void (*report) (const GantryHost *self, const char *status);

  /** Says that the daemon is in use (+1) or that this use has ended (-1). A daemon that was started on demand
   * leaves after it has been unused for its idle time. Blocks: no. Errors: none. Since: 1.0 */
  void (*hold) (const GantryHost *self, int delta);

  /** Asks the daemon to end as SIGTERM would. Blocks: no. Errors: none. Since: 1.0 */
  void (*quit) (const GantryHost *self, const char *reason);
};

/** The one thing that a module exports. Everything it points to is const and lives as long as the process. */
typedef struct
{
  size_t size;
  unsigned abi_major;                   /**< GANTRY_ABI_MAJOR of the header it was built with */
  const char *name;                     /**< "snapshotter-overlay" */
  const char *version;                  /**< "1.0.3" */
  const char *license;                  /**< an SPDX expression */
  const char *description;              /**< one line, for people */
  const GantryProvide *const *provides; /**< NULL-terminated */
  const GantryNeed *const *needs;       /**< NULL-terminated, or NULL */

  /** Makes the instance. @host is valid until fini (). May block on local I/O, never on the network or on
   * another module's work. Returns: TRUE with *@ret_instance set (transfer full), to be handed to get () and
   * fini (). Errors: NOT_IMPLEMENTED: this machine cannot (the plugin is SKIPPED, the message is the reason);
   * UNAVAILABLE: not yet (SKIPPED too, and the core tries again, first after 100 ms, then ever more rarely up
   * to 30 s); any other: FAILED. Since: 1.0 */
  gboolean (*init) (const GantryHost *host, gpointer *ret_instance, GError **error);

  /** The interface @type of @instance. Returns: (transfer none): never NULL for a provided type. Blocks: no.
   * Errors: none. Since: 1.0 */
  gpointer (*get) (gpointer instance, const char *type);

  /** Ends @instance (transfer full): everything it started has stopped when this returns. Accepts NULL.
   * Errors: none. Since: 1.0 */
  void (*fini) (gpointer instance);

  /** Known configuration keys, NULL-terminated, or NULL: keys are not checked. An unknown key in a manifest
   * is then a warning with file and line. Since: 1.0 */
  const char *const *config_keys;

  /** What each of config_keys is when nobody has set it, as "Key=value", in any order; NULL-terminated, or
   * NULL: not told. It is told to people ("gantry config show --effective"), not to the plugin, which passes
   * the same as the fallback when it reads the key. Nothing behind the "=": as if the key were not there.
   * "%i" alone: the plugin's Id. What depends on the machine is filled in by gantry_plugin_get_desc ().
   * Since: 1.0 */
  const char *const *config_defaults;
} GantryPluginDesc;

/** The only exported symbol of a module. */
G_MODULE_EXPORT const GantryPluginDesc *gantry_plugin_get_desc (void);

/* Wrappers. */

/** The provider of a declared need. See GantryHost.lookup. */
static inline gpointer
gantry_host_lookup (const GantryHost *self, const char *type, const char *id, GError **error)
{
  GANTRY_REQUIRE_HOST_SLOT (self, lookup, NULL);
  return self->lookup (self, type, id, error);
}

/** Every provider of a declared MANY need. See GantryHost.lookup_all. */
static inline GPtrArray *
gantry_host_lookup_all (const GantryHost *self, const char *type, GError **error)
{
  GANTRY_REQUIRE_HOST_SLOT (self, lookup_all, NULL);
  return self->lookup_all (self, type, error);
}

/** The manifest's Id. See GantryHost.get_id. */
static inline const char *
gantry_host_get_id (const GantryHost *self)
{
  return self->get_id (self);
}

/** The daemon's --root or --state. See GantryHost.get_base_path. */
static inline const char *
gantry_host_get_base_path (const GantryHost *self, GantryDir dir)
{
  return self->get_base_path (self, dir);
}

/** The context of the daemon's main thread. See GantryHost.get_main_context. */
static inline GMainContext *
gantry_host_get_main_context (const GantryHost *self)
{
  return self->get_main_context (self);
}

/** Says how this plugin is doing. See GantryHost.report. */
static inline void
gantry_host_report (const GantryHost *self, const char *status)
{
  self->report (self, status);
}

/** Says that the daemon is in use, or no longer. See GantryHost.hold. */
static inline void
gantry_host_hold (const GantryHost *self, int delta)
{
  self->hold (self, delta);
}

/** Asks the daemon to end. See GantryHost.quit. */
static inline void
gantry_host_quit (const GantryHost *self, const char *reason)
{
  self->quit (self, reason);
}

/** The value of the configuration key @key, or @fallback. Returns: (transfer none). */
static inline const char *
gantry_host_get_config_string (const GantryHost *self, const char *key, const char *fallback)
{
  const char *value = NULL;

  return g_variant_lookup (self->get_config (self), key, "&s", &value) ? value : fallback;
}

/** The value of @key as a number between @min and @max, or @fallback if it is not set.
 * Errors: INVALID_ARGUMENT, naming the key; *@ret_value is then untouched. */
static inline gboolean
gantry_host_get_config_uint64 (const GantryHost *self, const char *key, guint64 fallback, guint64 min,
                               guint64 max, guint64 *ret_value, GError **error)
{
  const char *text = gantry_host_get_config_string (self, key, NULL);
  GError *local = NULL;
  guint64 value;

  if (text == NULL)
    {
      *ret_value = fallback;
      return TRUE;
    }
  if (!g_ascii_string_to_unsigned (text, 10, min, max, &value, &local))
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "configuration key %s: %s", key, local->message);
      g_error_free (local);
      return FALSE;
    }
  *ret_value = value;
  return TRUE;
}

/** The value of @key as yes/no/true/false/1/0, or @fallback. Errors: INVALID_ARGUMENT. */
static inline gboolean
gantry_host_get_config_boolean (const GantryHost *self, const char *key, gboolean fallback,
                                gboolean *ret_value, GError **error)
{
  const char *text = gantry_host_get_config_string (self, key, NULL);

  if (text == NULL)
    *ret_value = fallback;
  else if (g_ascii_strcasecmp (text, "yes") == 0 || g_ascii_strcasecmp (text, "true") == 0
           || strcmp (text, "1") == 0)
    *ret_value = TRUE;
  else if (g_ascii_strcasecmp (text, "no") == 0 || g_ascii_strcasecmp (text, "false") == 0
           || strcmp (text, "0") == 0)
    *ret_value = FALSE;
  else
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "configuration key %s: \"%s\" is neither yes nor no", key, text);
  return TRUE;
}

/** An fd of this plugin's own directory, owned by the host. See GantryHost.get_dir_fd. */
static inline int
gantry_host_get_dir_fd (const GantryHost *self, GantryDir dir, GError **error)
{
  GANTRY_REQUIRE_HOST_SLOT (self, get_dir_fd, -1);
  return self->get_dir_fd (self, dir, error);
}

/** The path of this plugin's own directory. See GantryHost.get_dir_path. */
static inline const char *
gantry_host_get_dir_path (const GantryHost *self, GantryDir dir, GError **error)
{
  GANTRY_REQUIRE_HOST_SLOT (self, get_dir_path, NULL);
  return self->get_dir_path (self, dir, error);
}

/** Runs @func on a worker thread. See GantryHost.submit. */
static inline gboolean
gantry_host_submit (const GantryHost *self, GantryPool pool, GFunc func, gpointer data,
                    GDestroyNotify destroy, GError **error)
{
  GANTRY_REQUIRE_HOST_SLOT (self, submit, FALSE);
  return self->submit (self, pool, func, data, destroy, error);
}

static inline void gantry_host_log (const GantryHost *self, GantryLogLevel level, const char *format, ...)
    G_GNUC_PRINTF (3, 4);

/** Logs a formatted message without extra fields. */
static inline void
gantry_host_log (const GantryHost *self, GantryLogLevel level, const char *format, ...)
{
  va_list args;
  char *message;

  va_start (args, format);
  message = g_strdup_vprintf (format, args);
  va_end (args);
  self->log (self, level, NULL, NULL, message);
  g_free (message);
}

/* Value types: immutable, counted boxes that cross by pointer. Each begins with GANTRY_VALUE, so that whoever
 * drops the last reference frees what the maker put in, however new the maker's header was. */

/** The first members of every value type: its size, and the maker's function that frees the members. */
#define GANTRY_VALUE                                                                                         \
  size_t size;                                                                                               \
  GDestroyNotify clear

/** Makes a zeroed box of @Type; @clear_func frees its members and accepts a half-filled one. */
#define GANTRY_VALUE_ALLOC(Type, clear_func) ((Type *)gantry_value_alloc (sizeof (Type), (clear_func)))

typedef struct
{
  GANTRY_VALUE;
} GantryValue;

static inline gpointer
gantry_value_alloc (size_t size, GDestroyNotify clear)
{
  GantryValue *value = (GantryValue *)g_atomic_rc_box_alloc0 (size);

  value->size = size;
  value->clear = clear;
  return value;
}

/** Takes a reference to any value type. Accepts NULL. Returns: (transfer full): @value. */
static inline gpointer
gantry_value_ref (gpointer value)
{
  return value != NULL ? g_atomic_rc_box_acquire (value) : NULL;
}

/** Drops a reference to any value type. Accepts NULL. */
static inline void
gantry_value_unref (gpointer value)
{
  if (value != NULL)
    g_atomic_rc_box_release_full (value, ((GantryValue *)value)->clear);
}

/** Defines @prefix_ref (), @prefix_unref () and g_autoptr (@Type) for a value type. */
#define GANTRY_DEFINE_VALUE(Type, prefix)                                                                    \
  static inline Type *prefix##_ref (Type *self)                                                              \
  {                                                                                                          \
    return (Type *)gantry_value_ref (self);                                                                  \
  }                                                                                                          \
  static inline void prefix##_unref (Type *self)                                                             \
  {                                                                                                          \
    gantry_value_unref (self);                                                                               \
  }                                                                                                          \
  G_DEFINE_AUTOPTR_CLEANUP_FUNC (Type, prefix##_unref)

G_END_DECLS
