/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "differ.h"
#include "fake-content.h"
#include "fake-differ.h"
#include "trees.h"

static GPtrArray *
make_tree (GantryDifferFixture *self, GPtrArray *lower)
{
  g_autofree char *name
      = gantry_fake_tree_new (lower != NULL ? ((GantryMount *)g_ptr_array_index (lower, 0))->source : NULL);

  return gantry_fake_tree_mounts (name, TRUE);
}

static char *
look (GantryDifferFixture *self, GPtrArray *mounts, const char *path)
{
  return gantry_trees_look (mounts, NULL, path);
}

static GantryDifferFixture *
open_fixture (void)
{
  GantryDifferFixture *self = g_new0 (GantryDifferFixture, 1);

  self->size = sizeof *self;
  self->differ = gantry_fake_differ_new ();
  self->content = gantry_fake_content_new ();
  self->make_tree = make_tree;
  self->look = look;
  return self;
}

static void
close_fixture (GantryDifferFixture *self)
{
  gantry_fake_differ_free (self->differ);
  gantry_fake_content_free (self->content);
  g_free (self);
}

int
main (int argc, char *argv[])
{
  g_test_init (&argc, &argv, NULL);
  gantry_contract_differ_add ("/contract/differ/fake", open_fixture, close_fixture);
  return g_test_run ();
}
