/* SPDX-License-Identifier: MIT */
#include "views.h"

#include <string.h>

#include <gantry/store.h>

#define NAMESPACE "contract"

/* A fixture of a view, on top of one of its store. */
typedef struct
{
  GantryContractFixture fixture;
  GantryContractFixture *store;
  GantryContractClose close;
} ViewFixture;

typedef struct
{
  GantryContractOpen open;
  GantryContractClose close;
  gpointer user_data;
} Opener;

static gboolean
is_content (ViewFixture *self)
{
  return strcmp (self->fixture.type, GANTRY_CONTENT_TYPE) == 0;
}

static void
open_view (ViewFixture *self)
{
  GantryStore *store = self->store->instance;

  if (is_content (self))
    CONTRACT_OK (gantry_store_open_content (store, NAMESPACE, NULL, NULL,
                                            (GantryContent **)&self->fixture.instance, NULL, &error));
  else
    CONTRACT_OK (gantry_store_open_snapshotter (store, NAMESPACE, NULL, NULL,
                                                (GantrySnapshotter **)&self->fixture.instance, NULL, NULL,
                                                &error));
}

static void
close_view (ViewFixture *self)
{
  if (is_content (self))
    gantry_content_unref (self->fixture.instance);
  else
    gantry_snapshotter_unref (self->fixture.instance);
}

static void
restart_view (GantryContractFixture *fixture)
{
  ViewFixture *self = (ViewFixture *)fixture;

  close_view (self);
  self->store->restart (self->store);
  open_view (self);
}

static gpointer
get_of_store (GantryContractFixture *fixture, const char *type)
{
  ViewFixture *self = (ViewFixture *)fixture;

  return self->store->get (self->store, type);
}

static GantryContractFixture *
view_fixture_open (const GantryContractSuite *suite, gpointer user_data)
{
  const Opener *opener = user_data;
  ViewFixture *self = g_new0 (ViewFixture, 1);

  self->store = opener->open (gantry_contract_find (GANTRY_STORE_TYPE), opener->user_data);
  self->close = opener->close;
  self->fixture = *self->store;
  self->fixture.type = suite->type;
  if (self->fixture.skip == NULL)
    open_view (self);
  if (self->store->restart != NULL)
    self->fixture.restart = restart_view;
  self->fixture.get = get_of_store;
  return &self->fixture;
}

static void
view_fixture_close (GantryContractFixture *fixture)
{
  ViewFixture *self = (ViewFixture *)fixture;

  if (fixture->skip == NULL)
    close_view (self);
  self->close (self->store);
  g_free (self);
}

void
gantry_views_add (const char *prefix, GantryContractOpen open, GantryContractClose close, gpointer user_data)
{
  static const char *const types[] = { GANTRY_CONTENT_TYPE, GANTRY_SNAPSHOTTER_TYPE };
  static const char *const names[] = { "content", "snapshotter" };
  /* As long as the tests, which are as long as the program. */
  static Opener opener;

  opener = (Opener){ open, close, user_data };
  for (gsize i = 0; i < G_N_ELEMENTS (types); i++)
    {
      g_autofree char *path = g_strconcat (prefix, "/", names[i], NULL);

      gantry_contract_add (path, gantry_contract_find (types[i]), view_fixture_open, view_fixture_close,
                           &opener);
    }
}
