/* SPDX-License-Identifier: MIT */
#include "fake-frontend.h"

typedef struct
{
  GantryFrontend frontend;
  gint serving; /* (atomic) */
} FakeFrontend;

typedef struct
{
  GDestroyNotify done;
  gpointer user_data;
} Stop;

static gboolean
frontend_serve (GantryFrontend *frontend, GCancellable *cancellable, GError **error)
{
  (void)cancellable;
  if (!g_atomic_int_compare_and_exchange (&((FakeFrontend *)frontend)->serving, FALSE, TRUE))
    return gantry_throw (error, GANTRY_ERROR_ALREADY_EXISTS, "the fake serves already");
  return TRUE;
}

static gboolean
on_stopped (gpointer data)
{
  Stop *stop = data;

  stop->done (stop->user_data);
  return G_SOURCE_REMOVE;
}

static void
frontend_stop (GantryFrontend *frontend, guint drain_ms, GDestroyNotify done, gpointer user_data)
{
  Stop *stop = g_new (Stop, 1);

  (void)drain_ms;
  g_atomic_int_set (&((FakeFrontend *)frontend)->serving, FALSE);
  *stop = (Stop){ done, user_data };
  g_idle_add_full (G_PRIORITY_DEFAULT, on_stopped, stop, g_free);
}

static char **
frontend_get_addresses (GantryFrontend *frontend)
{
  static const char *const addresses[] = { "fake:", NULL };

  (void)frontend;
  return g_strdupv ((char **)addresses);
}

static const GantryFrontendVtable vtable = {
  .size = sizeof vtable,
  .serve = frontend_serve,
  .stop = frontend_stop,
  .get_addresses = frontend_get_addresses,
};

GantryFrontend *
gantry_fake_frontend_new (void)
{
  FakeFrontend *self = g_new0 (FakeFrontend, 1);

  self->frontend.vtable = &vtable;
  return &self->frontend;
}

void
gantry_fake_frontend_free (GantryFrontend *frontend)
{
  g_free (frontend);
}

gboolean
gantry_fake_frontend_is_serving (GantryFrontend *frontend)
{
  return g_atomic_int_get (&((FakeFrontend *)frontend)->serving);
}
