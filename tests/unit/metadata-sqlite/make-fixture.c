/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * make-fixture MODULE DIRECTORY: see populate.c. */
#include "populate.h"

#include <gantry/testing/fake-host.h>

int
main (int argc, char **argv)
{
  g_autoptr (GantryFakeHost) fake = NULL;
  const GantryPluginDesc *desc;
  GError *error = NULL;
  gpointer instance;

  if (argc != 3)
    return 2;
  fake = gantry_fake_host_new (argv[2], NULL);
  gantry_fake_host_set_id (fake, "sqlite");
  if (!gantry_fake_host_load (fake, argv[1], &desc, &instance, &error))
    g_error ("%s", error->message);
  populate (gantry_fake_host_get (fake, GANTRY_METADATA_TYPE),
            gantry_fake_host_get (fake, GANTRY_SNAPSHOT_INDEX_TYPE));
  return 0;
}
