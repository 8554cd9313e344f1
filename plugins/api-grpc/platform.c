/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "platform.h"
#include "convert.h"

#include <string.h>
#include <sys/utsname.h>

Containerd__Types__Platform *
own_platform (Call *call)
{
  static const char *const machines[][3] = {
    { "x86_64", "amd64", "" }, { "aarch64", "arm64", "" },       { "i686", "386", "" },
    { "armv7l", "arm", "v7" }, { "ppc64le", "ppc64le", "" },     { "riscv64", "riscv64", "" },
    { "s390x", "s390x", "" },  { "loongarch64", "loong64", "" },
  };
  Containerd__Types__Platform *platform = message_new (call, &containerd__types__platform__descriptor);
  struct utsname name;

  platform->os = TEXT ("linux");
  if (uname (&name) < 0)
    return platform;
  platform->architecture = arena_strdup (call->arena, name.machine);
  for (gsize i = 0; i < G_N_ELEMENTS (machines); i++)
    if (strcmp (machines[i][0], name.machine) == 0)
      {
        platform->architecture = TEXT (machines[i][1]);
        platform->variant = TEXT (machines[i][2]);
      }
  return platform;
}

char *
platform_to_text (const Containerd__Types__Platform *platform)
{
  return g_strdup_printf ("%s/%s%s%s", platform->os, platform->architecture,
                          platform->variant[0] != '\0' ? "/" : "", platform->variant);
}
