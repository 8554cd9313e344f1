/* SPDX-License-Identifier: MIT
 *
 * Contract suites
 * ---------------
 * What an SDK header promises, as tests that every implementation has to pass. There is one *suite* an
 * interface, in <noun>.c; a suite is a list of *cases*. Each case gets a *fixture*: a fresh instance of the
 * implementation in directories of its own.
 *
 * The program gantry-contract runs the suites of a module's interfaces (main.c says how). A test of one's own
 * adds a suite by hand, which is how the fakes in memory are tested too:
 *
 *     g_test_init (&argc, &argv, NULL);
 *     gantry_contract_add ("/content/mine", gantry_contract_find (GANTRY_CONTENT_TYPE), my_open, my_close,
 * NULL); return g_test_run ();
 *
 * A new interface gets a suite by a file with one GantryContractSuite, a line in contract.c, and an entry in
 * fakes.c.
 *
 * Everything here needs the SDK and GLib only. The first failed check ends the program (as g_assert does).
 */
#pragma once

#include <gantry/types.h>

G_BEGIN_DECLS

typedef struct _GantryContractFixture GantryContractFixture;

/** What a case works on. */
struct _GantryContractFixture
{
  size_t size;
  const char *type;    /**< the interface: "org.gantry.content.v1" */
  const char *id;      /**< the plugin's id */
  const char *scratch; /**< an empty directory that the case may use, removed afterwards */
  gpointer instance;   /**< of the interface; another one after a restart */
  const char *skip;    /**< (nullable): why nothing can be tested here: every case is then skipped */

  /** (nullable): ends the plugin as the daemon does and starts it again on the same directories. NULL: it
   * lives in memory. */
  void (*restart) (GantryContractFixture *self);

  /** (nullable): another interface that the plugin itself provides, or that it was given to work with.
   * Returns: (transfer none) (nullable). */
  gpointer (*get) (GantryContractFixture *self, const char *type);
};

typedef struct
{
  const char *name;
  void (*func) (GantryContractFixture *fixture);
} GantryContractCase;

typedef struct
{
  const char *type;
  const GantryContractCase *cases; /**< the last one's name is NULL */
} GantryContractSuite;

/** Opens a fixture for one case. */
typedef GantryContractFixture *(*GantryContractOpen) (const GantryContractSuite *suite, gpointer user_data);
/** Ends it and everything that it made. */
typedef void (*GantryContractClose) (GantryContractFixture *self);

/** The suite of the interface @type, or NULL if there is none. Returns: (transfer none) (nullable). */
const GantryContractSuite *gantry_contract_find (const char *type);

/** All suites, NULL-terminated. Returns: (transfer none). */
const GantryContractSuite *const *gantry_contract_list (void);

/** Adds the cases of @suite below @prefix to GLib's tests. */
void gantry_contract_add (const char *prefix, const GantryContractSuite *suite, GantryContractOpen open,
                          GantryContractClose close, gpointer user_data);

/* What suites are written with. */

/** Whether the fixture can be restarted; if not, the case is marked as skipped and shall return. */
gboolean gantry_contract_can_restart (GantryContractFixture *self);

/** Whether the implementation has @slot; if not, the case is marked as skipped and shall return: the wrapper
 * then says NOT_IMPLEMENTED, which every implementation may. */
#define GANTRY_CONTRACT_HAS(instance, Vtable, slot)                                                          \
  (GANTRY_HAS ((instance)->vtable, Vtable, slot) || (g_test_skip (#slot " is not implemented"), FALSE))

/** Runs @call, which ends in (…, NULL, &error) or alike, and checks that it succeeds and sets no error. */
#define CONTRACT_OK(call)                                                                                    \
  G_STMT_START                                                                                               \
  {                                                                                                          \
    GError *error = NULL;                                                                                    \
    gboolean ok_ = (call);                                                                                   \
    gantry_contract_check_success (G_STRLOC, #call, ok_, error);                                             \
  }                                                                                                          \
  G_STMT_END

/** Runs @call and checks that it fails with an error of class @code whose message is one sentence. */
#define CONTRACT_FAILS(code, call)                                                                           \
  G_STMT_START                                                                                               \
  {                                                                                                          \
    GError *error = NULL;                                                                                    \
    gboolean ok_ = (call);                                                                                   \
    gantry_contract_check_failure (G_STRLOC, #call, ok_, error, (code), NULL);                               \
  }                                                                                                          \
  G_STMT_END

/** The same, and the message has to name @what. */
#define CONTRACT_FAILS_NAMING(code, what, call)                                                              \
  G_STMT_START                                                                                               \
  {                                                                                                          \
    GError *error = NULL;                                                                                    \
    gboolean ok_ = (call);                                                                                   \
    gantry_contract_check_failure (G_STRLOC, #call, ok_, error, (code), (what));                             \
  }                                                                                                          \
  G_STMT_END

void gantry_contract_check_success (const char *where, const char *call, gboolean ok, GError *error);
void gantry_contract_check_failure (const char *where, const char *call, gboolean ok, GError *error,
                                    GantryErrorCode code, const char *names);

/** A cancellable that is cancelled already. Returns: (transfer full). */
GCancellable *gantry_contract_cancelled (void);

/** An out-parameter's value that a failing call must leave alone. */
#define GANTRY_CONTRACT_UNTOUCHED ((gpointer)gantry_contract_untouched)
extern const char gantry_contract_untouched[];

/** Calls @func (i, @data) on @n threads, begun together, and waits for all. */
typedef void (*GantryContractThreadFunc) (guint i, gpointer data);
void gantry_contract_race (guint n, GantryContractThreadFunc func, gpointer data);

/** Iterates the default main context until @done (@data), which is what the daemon's main loop does. Fails
 * the test after a minute or more, however slow the machine. */
void gantry_contract_wait (gboolean (*done) (gpointer data), gpointer data, const char *what);

/** Handles what is pending in the default main context now, and does not wait. */
void gantry_contract_spin (void);

/** A name of @length bytes, for limits. Returns: (transfer full). */
char *gantry_contract_long_name (gsize length);

/** "sha256:<hex>" of @data. Returns: (transfer full). */
char *gantry_contract_digest (gconstpointer data, gsize length);

/** Whether @a and @b, both nullable a{ss}, have the same entries; no labels and empty ones are the same. */
gboolean gantry_contract_same_labels (GVariant *a, GVariant *b);

/** Parses a{ss} or any other value. Returns: (transfer full). */
GVariant *gantry_contract_parse (const char *text);

G_END_DECLS
